"""A graph of one sample at a time gives what the same graph of any batch gives, and is written as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_nets
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import freed as module
from faultsim.assessment.freed import freed
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.attacks import Cells, attack
from faultsim.campaign import CampaignOptions, run_campaign
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep
from faultsim.model import load_model
from faultsim.results import to_dict

SAMPLES = 24


def _network(batch: int | str) -> onnx.ModelProto:
    """Conv, ReLU, a Reshape that names the batch, and a Conv in place of the last dense layer."""
    rng = np.random.default_rng(2)
    weights: dict[str, Any] = {
        "k": rng.normal(size=(4, 2, 3, 3)).astype(np.float32),
        "b": rng.normal(size=4).astype(np.float32),
        "to": np.array([batch if isinstance(batch, int) else -1, 64, 1, 1]),
        "w": rng.normal(size=(5, 64, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Reshape", ["r", "to"], ["f"], "flat"),
        helper.make_node("Conv", ["f", "w"], ["s"], "last"),
        helper.make_node("Flatten", ["s"], ["y"], "scores"),
    ]
    kind = TensorProto.FLOAT
    ends = {"inputs": {"x": (kind, (batch, 2, 6, 6))}, "outputs": {"y": (kind, (batch, 5))}}
    return tiny_nets.model(nodes, weights, **ends)


def _saved(batch: int | str, folder: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(3)
    path, data = folder / f"net_{batch}.onnx", folder / f"net_{batch}.npz"
    onnx.save(_network(batch), path)
    np.savez(data, x=rng.normal(size=(SAMPLES, 2, 6, 6)).astype(np.float32), labels=rng.integers(0, 5, SAMPLES))
    return path, data


def _setting(path: Path, data: Path, device: str = "reram", **options: Any) -> Setting:
    return make_setting(path, device, data, Options(**options), torch_device="cpu")


@pytest.mark.parametrize("batch", [1, 4])
def test_it_is_run_in_batches_that_the_file_does_not_take(batch: int, tmp_path: Path) -> None:
    setting = _setting(*_saved(batch, tmp_path), batch_size=10)
    assert setting.model.fixed_batch is None
    assert setting.model.as_deployed.fixed_batch == batch
    assert setting.scorer.batch_size == 10
    assert any("to the same bits" in note for note in setting.notes())


@pytest.mark.parametrize("batch", [1, 4])
def test_a_campaign_sweeps_it_and_gives_the_same_outcomes(batch: int, tmp_path: Path) -> None:
    found = []
    for one in (batch, "N"):
        path, data = _saved(one, tmp_path)
        done = run_campaign(path, data, campaign=CampaignOptions(trials=60), options=Options(seed=1))
        found.append(to_dict(done))
    fixed, free = found
    assert fixed["rates"] == free["rates"]
    assert [fixed[part] for part in ("sites", "bits", "worst")] == [free[part] for part in ("sites", "bits", "worst")]
    assert "whole" not in fixed["provenance"]["ways"]
    assert fixed["provenance"]["ways"] == free["provenance"]["ways"]


def test_the_worst_model_is_written_with_its_own_batch_and_scores_alike(tmp_path: Path) -> None:
    path, data = _saved(1, tmp_path)
    target = tmp_path / "worst.onnx"
    result = attack(path, data, cells=Cells(count=3), write=target)
    written = onnx.load(target)
    assert written.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert [node.op_type for node in written.graph.node] == [node.op_type for node in _network(1).graph.node]
    assert result.written is not None
    assert result.written.same


def test_a_graph_that_insists_is_run_as_it_is(tmp_path: Path) -> None:
    path, data = tmp_path / "net.onnx", tmp_path / "net.npz"
    onnx.save(tiny_nets.insisting(_network("N"), 1), path)
    np.savez(data, x=np.random.default_rng(3).normal(size=(SAMPLES, 2, 6, 6)).astype(np.float32))
    setting = _setting(path, data, batch_size=10)
    assert setting.model.fixed_batch == setting.scorer.batch_size == 1
    assert not any("to the same bits" in note for note in setting.notes())


def test_samples_that_touch_each_other_keep_their_batch(tmp_path: Path) -> None:
    """Each sample less the mean of its batch of four: another batch size gives other answers."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], "mean", axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["d"], "centred"),
        helper.make_node("MatMul", ["d", "w"], ["y"], "product"),
    ]
    rng = np.random.default_rng(0)
    proto = tiny_nets.model(
        nodes,
        {"w": rng.normal(size=(6, 3)).astype(np.float32)},
        inputs={"x": (TensorProto.FLOAT, (4, 6))},
        outputs={"y": (TensorProto.FLOAT, (4, 3))},
    )
    path, data = tmp_path / "net.onnx", tmp_path / "net.npz"
    onnx.save(proto, path)
    np.savez(data, x=rng.normal(size=(SAMPLES, 6)).astype(np.float32))
    assert _setting(path, data).model.fixed_batch == 4


def test_other_bits_keep_the_batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, data = _saved(1, tmp_path)
    model, samples = load_model(path), _setting(path, data).data
    given = {"batch_size": 10, "prefer": "auto", "threads": 1}
    assert freed(model, samples, "y", **given).model is not model
    whole = module.with_any_batch

    def other(model: Any, shapes: Any) -> Any:
        made = whole(model, shapes)
        kernel = next(one for one in made.proto.graph.initializer if one.name == "k")
        kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * np.float32(1 + 1e-6), "k"))
        return made

    free = whole(model, module.shapes_of(model, samples.inputs(0, 1)))
    monkeypatch.setattr(module, "with_any_batch", other)
    assert freed(model, samples, "y", **given) == (model, 1)
    assert freed(free, samples, "y", **given) == (free, 10)
    monkeypatch.setattr(module, "_same", lambda one, two: False)
    assert freed(free, samples, "y", **given) == (model, 1)  # tried anew: what computes may be another runtime


@pytest.mark.parametrize(("batch", "limit", "size"), [(1, 1, 1), (1, 2, 10), (1, 3, 10), (4, 4, 4), (4, 8, 10)])
def test_two_batches_are_enough_to_tell(batch: int, limit: int, size: int, tmp_path: Path) -> None:
    assert _setting(*_saved(batch, tmp_path), batch_size=10, limit=limit).scorer.batch_size == size


def test_large_activations_are_computed_in_small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "ROOM_BYTES", 4 * 4 * 72 * 6)  # the input, 2×6×6, is the largest: 72 numbers
    setting = _setting(*_saved(1, tmp_path), batch_size=10)
    assert setting.scorer.batch_size == 6
    again = make_setting(setting.model, "reram", setting.data, Options(batch_size=10), torch_device="cpu")
    assert again.scorer.batch_size == 6
    monkeypatch.setattr(module, "ROOM_BYTES", 1)
    assert _setting(*_saved(4, tmp_path), batch_size=10).scorer.batch_size == 4


def test_a_deep_quantized_network_of_one_sample_is_swept_to_the_counts_of_the_file(shared: Path) -> None:
    """53 layers of uint8 codes: what a layer rounds otherwise by a step adds up, and every activation is found."""
    path = shared / "data/zoo/coral_mobilenet_v2_quant.onnx"
    setting = make_setting(path, "fpga_bram_int8", None, Options(limit=12, threads=1), torch_device="cpu")
    assert setting.model.fixed_batch is None
    full = setting.scorer
    full.set_golden(setting.fault_free())
    sites = [site for site in setting.model.select(("weight",)) if site.name in setting.stored]
    rng = np.random.default_rng(0)
    patches = []
    for site in sites[::18]:
        clean = setting.fault_free()[site.name].reshape(-1)
        where = np.sort(rng.choice(clean.size, 2, replace=False))
        patches.append({site.name: Sparse(where, clean[where] ^ np.array([64, 128], clean.dtype))})
    sweep = Sweep(full, setting.fault_free())
    swept = sweep.score(patches)
    assert sweep.spent.trials["whole"] == 0
    own = Scorer(Runner(setting.model.as_deployed, full.output.name, threads=1), full.output, full.task, full.data, 1,
                 golden=full.golden, labels=full.labels, digests=full.digests)  # fmt: skip
    for patch, tally in zip(patches, swept, strict=True):
        numbers = setting.fault_free()
        for name, faults in patch.items():
            numbers[name] = numbers[name].copy()
            numbers[name].reshape(-1)[faults.indices] = faults.values
        assert own.score(numbers).counts == tally.counts
