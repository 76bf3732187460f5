"""The benchmark of campaigns: the faults, the agreement of tools, the clock, and the command on the bundled model."""

import importlib
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

OURS = ("bare-torch", "bare-onnxruntime", "naive-torch", "naive-onnxruntime", "faultsim-naive")


@pytest.fixture(scope="module", autouse=True)
def _importable(root):
    """Let the benchmarks' own package be imported, as their script does."""
    sys.path.insert(0, str(root / "benchmarks"))
    yield
    sys.path.remove(str(root / "benchmarks"))


@pytest.fixture(scope="module")
def peers(_importable):
    """Import a module of the package ``peers``."""
    return lambda name: importlib.import_module(f"peers.{name}")


@pytest.fixture(scope="module")
def small(peers, root):
    """Twenty digits in batches of seven, so that the last one is short."""
    folder = root / "scenarios" / "digits"
    with np.load(folder / "digits_float.npz", allow_pickle=False) as data:
        return peers("campaign").Campaign(folder / "digits_float.onnx", data["image"][:20], data["labels"][:20], 7, 1)


@pytest.fixture(scope="module")
def faults(peers, small):
    """Twelve random flips, and three of the highest exponent bit, which surely break something."""
    module = peers("campaign")
    tensors = module.weights(onnx.load(small.path))
    sure = [module.Fault(name, 3, 30) for name in tensors]
    return sure + module.draw_faults(tensors, 12, 0)


def expected_flags(small, faults):
    """Each fault by onnx.reference and struct alone."""
    from onnx.reference import ReferenceEvaluator

    def classes(proto):
        logits = ReferenceEvaluator(proto).run(None, {"image": small.images})[0]
        return np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1)

    clean = onnx.load(small.path)
    golden, rows = classes(clean), []
    for fault in faults:
        proto = onnx.load(small.path)
        tensor = next(one for one in proto.graph.initializer if one.name == fault.site)
        array = onnx.numpy_helper.to_array(tensor).copy()
        (word,) = struct.unpack("<I", struct.pack("<f", array.flat[fault.element]))
        array.flat[fault.element] = struct.unpack("<f", struct.pack("<I", word ^ (1 << fault.bit)))[0]
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, fault.site))
        rows.append(classes(proto) != golden)
    return np.stack(rows)


@pytest.fixture(scope="module")
def expected(small, faults):
    """The mismatches that every tool must find."""
    with np.errstate(all="ignore"):
        return expected_flags(small, faults)


def installed_tools(peers):
    tools = peers("tools")
    return [key for key in tools.TOOLS if not key.startswith("bare") and key not in tools.missing()]


def test_the_reference_sees_faults_and_masking(expected):
    assert expected.any()
    assert not expected.all()


@pytest.mark.parametrize("key", ["naive-torch", "naive-onnxruntime", "faultsim-naive", "pytorchfi", "mrfi", "seu"])
def test_a_tool_finds_the_mismatches_of_the_reference_evaluator(key, peers, small, faults, expected):
    if key not in installed_tools(peers):
        pytest.skip(f"{key} is not installed")
    tool = peers("tools").TOOLS[key](small)
    np.testing.assert_array_equal(tool.run(faults), expected)
    np.testing.assert_array_equal(tool.run(faults[::-1]), expected[::-1])  # nothing is left over from a trial


def test_bare_passes_flag_nothing(peers, small, faults):
    for key in ("bare-torch", "bare-onnxruntime"):
        assert not peers("tools").TOOLS[key](small).run(faults[:2]).any()


def test_a_longer_list_of_faults_begins_with_the_shorter(peers):
    draw = peers("campaign").draw_faults
    tensors = {"a": np.zeros((3, 2), np.float32), "b": np.zeros(5, np.int8)}
    assert draw(tensors, 50, 7)[:20] == draw(tensors, 20, 7)
    assert draw(tensors, 20, 7) != draw(tensors, 20, 8)


def test_faults_are_uniform_over_the_bits_of_all_weights(peers):
    tensors = {"a": np.zeros((3, 2), np.float32), "b": np.zeros(5, np.int8)}
    cells = [("a", i, bit) for i in range(6) for bit in range(32)] + [
        ("b", i, bit) for i in range(5) for bit in range(8)
    ]
    drawn = peers("campaign").draw_faults(tensors, 40 * len(cells), 0)
    counts = np.array([drawn.count(cell) for cell in cells])
    assert counts.sum() == len(drawn)
    chi2 = float(((counts - 40) ** 2 / 40).sum())
    from scipy.stats import chi2 as law

    assert law.sf(chi2, len(cells) - 1) > 1e-3


def test_weights_of_a_quantized_graph_are_its_codes(peers, root):
    found = peers("campaign").weights(onnx.load(root / "scenarios" / "digits" / "digits_int8.onnx"))
    assert found
    assert {array.dtype for array in found.values()} == {np.dtype(np.int8)}
    assert all(array.ndim > 1 for array in found.values())


def test_a_torch_network_with_other_numbers_is_refused(peers, small, tmp_path):
    from dataclasses import replace

    proto = onnx.load(small.path)
    del proto.graph.initializer[0]
    onnx.save(proto, tmp_path / "less.onnx")
    with pytest.raises(ValueError, match=r"less\.onnx lacks \['conv1\.weight'\]; give resnet20_cifar10_bn"):
        peers("network").load_network(replace(small, path=tmp_path / "less.onnx"))


def test_the_module_is_resnet20(peers, shared):
    data = shared / "data"
    with np.load(data / "cifar10" / "cifar10_test.npz", allow_pickle=False) as arrays:
        images = arrays["images"][:16].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    path = data / "cifar10_models" / "resnet20_cifar10_bn.onnx"
    campaign = peers("campaign").Campaign(path, np.ascontiguousarray(images), np.zeros(16, np.int64), 16, 1)
    network = peers("network").load_network(campaign)  # compares with onnxruntime
    weights = peers("campaign").weights(onnx.load(path))
    assert [f"{name}.weight" for name in peers("network").injectable(network)] == list(weights)
    convolutions = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
    assert sum(array.size for array in weights.values()) == convolutions + 64 * 10


class TestDisagreements:
    def test_equal_flags_have_none(self, peers):
        flags = np.eye(3, dtype=bool)
        assert peers("campaign").disagreements(flags, flags.copy()) == []

    def test_a_differing_trial_is_listed_with_its_images(self, peers):
        reference = np.zeros((3, 5), bool)
        reference[1, :2] = True
        found = reference.copy()
        found[1] = [False, False, True, True, False]  # as many mismatches, other images
        found[2, 4] = True
        assert peers("campaign").disagreements(reference, found) == [(1, 2, 2, 4), (2, 0, 1, 1)]

    def test_only_trials_that_both_ran_are_compared(self, peers):
        long = np.zeros((4, 2), bool)
        long[3] = True
        assert peers("campaign").disagreements(np.zeros((2, 2), bool), long) == []

    @pytest.mark.parametrize("shape", [(2, 3), (0, 2)])
    def test_other_images_or_no_trials_are_refused(self, peers, shape):
        with pytest.raises(ValueError, match="do not compare; run the same campaign"):
            peers("campaign").disagreements(np.zeros((2, 2), bool), np.zeros(shape, bool))


class Recorder:
    """A tool that takes down what it is given; flags the images whose number is the fault's element."""

    def __init__(self, name, whole, calls):
        self.name, self.whole, self.calls = name, whole, calls

    def run(self, faults):
        self.calls.append((self.name, [fault.element for fault in faults]))
        return np.stack([np.arange(10) == fault.element for fault in faults])


class TestRounds:
    def test_each_takes_its_share_in_turn_and_the_order_of_trials_is_kept(self, peers):
        faults = [peers("campaign").Fault("w", i, 0) for i in range(5)]
        calls = []
        tools = {"a": Recorder("a", False, calls), "b": Recorder("b", True, calls)}
        timed = peers("rounds").round_robin(tools, faults, faults[:4], 2)
        assert calls[2:] == [("a", [0, 2, 4]), ("b", [0, 1, 2, 3]), ("b", [0, 1, 2, 3]), ("a", [1, 3])]
        np.testing.assert_array_equal(timed["a"].flags.argmax(axis=1), range(5))
        np.testing.assert_array_equal(timed["b"].flags.argmax(axis=1), range(4))
        assert len(timed["a"].seconds) == len(timed["b"].cpu_seconds) == 2

    def test_too_few_trials_are_refused(self, peers):
        with pytest.raises(ValueError, match="1 trials do not fill 2 rounds; give as many trials as rounds"):
            peers("rounds").round_robin({}, [peers("campaign").Fault("w", 0, 0)], [], 2)

    def test_a_ratio_is_of_the_same_round(self, peers):
        rounds = peers("rounds")
        none = np.zeros((1, 1), bool)
        ratio = rounds.Timed([2.0, 30.0, 4.0], [1.0, 1.0, 1.0], none).over(
            rounds.Timed([1.0, 10.0, 1.0], [2.0, 4.0, 8.0], none)
        )
        assert ratio == (3.0, 2.0, 4.0)


def test_growth_is_the_exponent_of_a_power_law(peers):
    sizes = [1, 3, 10, 40]
    assert peers("campaign").growth(sizes, [5 * n**1.5 for n in sizes]) == pytest.approx(1.5)


def test_the_memory_peak_rises_with_what_is_held(peers):
    before = peers("memory").peak_mib()
    held = np.ones(64 << 17)  # 64 MiB
    assert peers("memory").peak_mib() >= min(before + 32, held.nbytes / (1 << 20))


def test_a_failing_run_for_memory_is_an_error(peers, tmp_path):
    script = tmp_path / "fails.py"
    script.write_text("raise SystemExit('no such thing')")
    with pytest.raises(RuntimeError, match=r"mrfi: the run for its memory peak failed: \['no such thing'\]"):
        peers("memory").peak_of("mrfi", script, [])


@pytest.mark.parametrize("figure", [1, 2])
def test_workers_are_timed_in_turn_and_must_not_change_a_figure(peers, small, monkeypatch, capsys, figure):
    module, asked = peers("workers"), []

    class Result(SimpleNamespace):
        def model_dump_json(self, exclude):
            assert exclude == {"provenance"}
            return str(self.figure)

    def run(campaign, workers, trials, seed):
        asked.append(workers)
        phases = {"load and check": 99.0, "trials": trials * 0.004 / workers}
        return Result(figure=figure if workers > 1 else 1, provenance=SimpleNamespace(phases_s=phases))

    monkeypatch.setattr(module, "_run", run)
    monkeypatch.setattr(module, "processors", lambda: 4)
    if figure == 2:
        with pytest.raises(ValueError, match="workers give 2 different results; there must be one"):
            module.print_workers(small, 10, 2, 0)
        return
    module.print_workers(small, 10, 2, 0)
    assert asked == [1, 2, 4, 2, 4, 1]
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[:4] == ["4", "workers", "1.0", "0.250"]


def command(root: Path, *arguments: str) -> str:
    script = root / "benchmarks" / "campaign_cost.py"
    done = subprocess.run(
        [sys.executable, script, "--threads", "1", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_quick_command_prints_every_section(root, peers):
    printed = command(root, "--quick", "--tools", *OURS)
    assert "digits_float.onnx: 64 images in batches of 32, 4 trials in 2 rounds" in printed
    for key in ("naive-onnxruntime", "faultsim-naive"):
        name = peers("tools").TOOLS[key].name
        assert f"{name}: the same on all 4 trials" in printed
    assert "the campaign's CPU time grows as images^" in printed
    assert "digits_float, int8 QDQ" in printed
    assert "Workers: faultsim campaign, 40 trials on 64 images, 1 threads" in printed
    assert "1.000 (1.000–1.000)" in next(line for line in printed.splitlines() if line.startswith("  1 worker "))
    assert "\n  2 workers " in printed


@pytest.mark.slow
def test_the_command_prints_one_memory_peak(root):
    assert 50 < float(command(root, "--quick", "--memory-of", "naive-torch")) < 5000
