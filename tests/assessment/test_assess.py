"""`assess` from end to end: the same for any batch size, valid for every device, never a worst case that is none."""

import itertools
import json

import jsonschema
import numpy as np
import pytest
import tiny_nets
import torch
from onnx import TensorProto, helper

import faultsim
from faultsim.assessment import Options
from faultsim.assessment.run import Interrupted
from faultsim.device import Conditions
from faultsim.errors import DataError, OptionError
from faultsim.results import result_schema, to_dict

DEVICES = ("fpga_bram_int8", "sram_low_voltage", "reram_1t1r", "pcm_analog")
QUICK = {"trials": 3, "search_gradients": 4, "site_trials": 1, "site_samples": 60, "threads": 1}


@pytest.fixture
def digits(root):
    return {kind: root / "scenarios" / "digits" / f"digits_{kind}.onnx" for kind in ("float", "int8")}


def run(model, device="sram_low_voltage", data=None, *, progress=None, **options):
    return faultsim.assess(model, device, data, options=Options(**(QUICK | options)), progress=progress)


def worse_or_equal(one, other):
    return one is None or other is None or one <= other


def same(one, other, place=""):
    """Compare two results: numbers that are losses or radii to 1e-6, everything else exactly."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one.keys() - {"provenance", "batch_size"}:
            same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{place}[{i}]")
    elif isinstance(one, float) and any(word in place for word in ("loss", "indicator", "agreement")):
        assert other == pytest.approx(one, abs=1e-6, rel=1e-6), place
    else:
        assert one == other, place


@pytest.mark.parametrize(("kind", "device"), [("float", "reram"), ("int8", "sram_low_voltage")])
def test_the_same_seed_gives_the_same_result_for_any_batch_size(kind, device, digits):
    results = [to_dict(run(digits[kind], device, batch_size=size, limit=120)) for size in (250, 7, 1)]
    same(results[0], results[1])
    same(results[0], results[2])


def test_another_seed_draws_other_chips(digits):
    first, again, other = (run(digits["float"], limit=60, site_trials=0, seed=s) for s in (0, 0, 1))
    assert first.random == again.random
    assert [r.loss for r in first.random.per_trial] != [r.loss for r in other.random.per_trial]
    assert [r.loss for r in first.random_in_set.per_trial] != [r.loss for r in other.random_in_set.per_trial]


@pytest.mark.parametrize(("kind", "device"), itertools.product(("float", "int8"), DEVICES))
def test_every_device_gives_a_valid_result_on_every_model(kind, device, digits, root, tmp_path):
    result = run(digits[kind], device, limit=200)
    document = to_dict(result)
    jsonschema.validate(document, result_schema())
    jsonschema.validate(document, json.loads((root / "docs" / "result.schema.json").read_text()))
    (tmp_path / "result.json").write_text(json.dumps(document))
    assert faultsim.load_result(tmp_path / "result.json") == result
    clean = (result.clean_stored or result.clean).accuracy
    assert result.clean.accuracy > 0.95
    assert result.worst_case.accuracy <= clean
    assert result.worst_case.accuracy <= result.random_in_set.accuracy.min
    assert result.worst_case.gradients <= QUICK["search_gradients"] + 1
    assert [s.name for s in result.sites] == list(dict.fromkeys(s.name for s in result.sites))
    tested = sum(k.elements for k in result.kinds)
    assert tested == sum(s.elements for s in result.sites) == result.model.tested_parameters <= result.model.parameters
    conditional = device == "fpga_bram_int8"
    assert (result.random.event_probability is not None) == conditional
    if conditional:
        assert 0 < result.random.event_probability < 1e-3
        assert all(row.mismatch or row.loss != result.clean.loss for row in result.random.per_trial)


def test_an_unsearched_worst_case_is_still_no_better_than_what_was_seen(digits):
    result = run(digits["float"], "reram", trials=12, search_gradients=1, search_samples=20, limit=200, site_trials=0)
    assert result.worst_case.accuracy <= min(result.random_in_set.accuracy.min, result.clean_stored.accuracy)
    assert any("search saw 20 evenly spaced samples" in note for note in result.notes)


def test_sites_and_exclude_choose_what_is_corrupted(digits):
    everything = {s.name for s in run(digits["float"], limit=20, site_trials=0).sites}
    some = run(digits["float"], limit=20, site_trials=0, sites=("conv*",), exclude=("conv1.*",))
    assert {s.name for s in some.sites} == {n for n in everything if n.startswith("conv2.")} != set()
    rest = run(digits["float"], limit=20, site_trials=0, exclude=("fc.*", "conv1.*"))
    assert {s.name for s in rest.sites} == {n for n in everything if n.startswith("conv2.")}


def test_roles_choose_among_what_the_device_stores(digits):
    quick = {"limit": 20, "site_trials": 0, "trials": 3}
    everything = run(digits["int8"], "sram_low_voltage", **quick)
    weights = run(digits["int8"], "sram_low_voltage", **quick, roles=("weight",))
    biases = tuple(one.name for one in everything.sites if "bias" in one.name)
    others = run(digits["int8"], "sram_low_voltage", **quick, exclude=biases)
    assert len(weights.sites) == 3 == len(everything.sites) - len(biases)
    assert weights.random == others.random


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"roles": ("wheel",)}, "--roles is 'wheel', allowed are some of weight,bias,norm"),
        ({"roles": ("weight", "scale")}, "--roles 'scale': sram_low_voltage stores .* alone; choose among these"),
        ({"sites": ("conv9*",)}, "--sites 'conv9.' fits no site of digits_float.onnx; "),
        ({"exclude": ("fc.wait",)}, "--exclude 'fc.wait' fits no site.*did you mean 'fc.weight'"),
        ({"exclude": ("*",)}, "--sites and --exclude leave no site of digits_float.onnx; widen them"),
    ],
)
def test_globs_that_fit_nothing_are_refused(options, said, digits):
    with pytest.raises(OptionError, match=said):
        run(digits["float"], **options)


def test_requirements_are_met_missed_or_inconclusive(digits):
    result = run(
        digits["float"],
        limit=100,
        trials=4,
        require=("accuracy>=0.01@p05", "worst_case_accuracy>=0.99", "clean_accuracy>=0.9", "mismatch<=0.9@max"),
    )
    met, missed, clean, mismatch = result.verdict.criteria
    assert result.verdict.passed is False
    assert met.passed
    assert met.inconclusive  # the 5th percentile of 4 chips has no lower bound
    assert not missed.passed
    assert clean.passed
    assert not clean.inconclusive
    assert mismatch.passed
    assert run(digits["float"], limit=20, site_trials=0, require=("clean_accuracy>=0.5",)).verdict.passed is True


def test_without_data_the_result_is_agreement_with_the_clean_model(tmp_path):
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx")
    result = run(path, "sram_low_voltage", limit=50)
    assert result.data.labels == "golden"
    assert result.clean.accuracy == 1.0
    assert result.data.task.startswith("agreement with the clean model")
    assert any("agreement with the clean model's own answers" in note for note in result.notes)
    rows = result.random.per_trial
    kept = [r.n - r.mismatch for r in rows]
    assert len(kept) == 3
    if result.clean_stored.accuracy == 1.0:
        assert [r.correct for r in rows] == kept


def test_labels_out_of_range_are_refused_before_anything_is_scored(tmp_path):
    data = tiny_nets.samples()
    data["labels"][29] = 4  # in the last batch
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", data)
    seen = []
    with pytest.raises(DataError, match=r"label 4 at \[29\] in .* is out of range: the model has 4 classes, 0…3"):
        run(path, batch_size=5, progress=lambda phase, done, total: seen.append(phase))
    assert set(seen) <= {"load and check"}


def test_graphs_with_a_fixed_batch_get_whole_batches(tmp_path):
    path = tiny_nets.save(tiny_nets.insisting(tiny_nets.dense(), 10), tmp_path / "net.onnx", tiny_nets.samples(n=60))
    result = run(path, "reram", site_samples=25, search_samples=35)
    assert result.data.samples == 60
    assert result.worst_case is not None
    assert any(note.startswith("The search saw 30 evenly spaced samples;") for note in result.notes)
    assert "Tables by site and kind: 20 evenly spaced samples, one gradient step, 1 chip." in result.notes


def test_the_tables_always_say_how_they_were_made(digits):
    made = [
        next(note for note in run(digits["float"], limit=20, site_trials=n).notes if note.startswith("Tables"))
        for n in (0, 2)
    ]
    assert made == [
        "Tables by site and kind: all 20 samples, one gradient step.",
        "Tables by site and kind: all 20 samples, one gradient step, 2 chips.",
    ]


def test_what_the_profile_assumes_of_exposure_is_an_assumption_with_its_status(digits):
    quick = {"limit": 20, "site_trials": 0, "search_gradients": 1}
    assumed = run(digits["int8"], "fpga_bram_int8", **quick).device.assumptions
    exposure = next(one for one in assumed if one.parameter == "assess.exposure")
    assert (exposure.value, exposure.status) == ("8760 h", "illustrative")
    derived = [one for one in assumed if one.status == "derived"]
    assert derived
    assert all((one.rests_on is not None) == (one.status == "derived") for one in assumed)
    given = run(digits["int8"], "fpga_bram_int8", conditions=Conditions(exposure_h=24.0), **quick)
    exposure = next(one for one in given.device.assumptions if one.parameter == "assess.exposure")
    assert (exposure.value, exposure.status) == ("24 h", "given")


def test_an_input_that_all_samples_share_is_passed_whole_to_a_subset(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "m"),
        helper.make_node("Mul", ["h", "gain"], ["y"], "gained"),
    ]
    proto = tiny_nets.model(
        nodes,
        {"w": np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)},
        inputs={"x": (TensorProto.FLOAT, ("N", 6)), "gain": (TensorProto.FLOAT, ())},
        outputs={"y": (TensorProto.FLOAT, ("N", 4))},
    )
    data = tiny_nets.samples() | {"gain": np.float32(2.0)}
    result = run(tiny_nets.save(proto, tmp_path / "net.onnx", data), "reram", site_samples=7, search_samples=11)
    assert result.data.samples == 30
    assert result.sites[0].worst_case is not None


def test_text_labels_and_token_ids_give_random_figures_without_a_worst_case(tmp_path):
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["x3"]),
        helper.make_node("MatMul", ["x3", "w"], ["logits"], "m"),
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=-1, keepdims=0),
    ]
    weights = {
        "w": np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32),
        "axes": np.array([1], np.int64),
    }
    proto = tiny_nets.model(
        nodes,
        weights,
        inputs={"x": (TensorProto.FLOAT, ("N", 6))},
        outputs={"ids": (TensorProto.INT64, ("N", 1))},
    )
    data = {"x": tiny_nets.samples()["x"], "labels": np.array([str(i % 5) for i in range(30)])}
    path = tiny_nets.save(proto, tmp_path / "net.onnx", data)
    result = run(path, "sram_low_voltage")
    assert result.worst_case is None
    assert any(note.startswith("No worst case: ") for note in result.notes)
    assert all(site.random is not None and site.worst_case is None for site in result.sites)
    with pytest.raises(OptionError, match="no worst case: the output has no loss and no gradient"):
        run(path, "sram_low_voltage", require=("worst_case_loss<=1",))
    with pytest.raises(OptionError, match=r"accuracy>=0\.5' cannot be judged: the task counts no correct answers"):
        run(path, "sram_low_voltage", require=("accuracy>=0.5",))


def test_regression_has_losses_and_no_accuracy(tmp_path):
    data = tiny_nets.samples()
    data["labels"] = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    result = run(tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", data), "reram", require=("loss<=1e9",))
    assert result.clean.accuracy is None
    assert result.random.accuracy.mean is None
    assert result.worst_case.accuracy is None
    assert result.worst_case.loss >= max(result.random_in_set.loss.max, result.clean_stored.loss)
    assert result.verdict.passed


PHASES = ("chips", "random in the set", "worst case", "sites")


@pytest.mark.parametrize("phase", ["load and check", *PHASES])
@pytest.mark.parametrize("at", [0, 1])
def test_ctrl_c_leaves_a_valid_partial_result_or_nothing(phase, at, digits):
    def stop(name, done, total):
        if name == phase and done >= at:
            raise KeyboardInterrupt

    if phase == "load and check" or (phase, at) == ("chips", 0):
        with pytest.raises(KeyboardInterrupt):
            run(digits["float"], limit=60, progress=stop)
        return
    with pytest.raises(Interrupted) as caught:
        run(digits["float"], limit=60, progress=stop, require=("worst_case_accuracy>=0.5", "accuracy>=0.5"))
    result = caught.value.result
    jsonschema.validate(to_dict(result), result_schema())
    assert any(note.startswith("Interrupted") for note in result.notes)
    done = PHASES.index(phase)
    assert result.random.trials == (3 if done else 1)
    assert (result.random.stopped is None) == (done > 0)
    assert (result.random_in_set is not None) == (done > 1 or (done == 1 and at == 1))
    assert (result.worst_case is not None) == (done > 2)
    assert len(result.sites) == (at if done == 3 else 0)
    judged = result.worst_case is not None
    assert (result.verdict.passed is not None) == judged
    assert result.verdict.unjudged == (() if judged else ("worst_case_accuracy>=0.5", "accuracy>=0.5"))
    assert any("No requirement was judged" in note for note in result.notes) != judged


def test_no_global_state_is_touched(digits):
    assert torch.get_num_threads() == 1
    run(digits["float"], limit=20, site_trials=0, threads=2)
    assert torch.get_num_threads() == 1
    before = np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    run(digits["float"], limit=40)
    after = np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 0}, "trials is 0, it must be at least 1"),
        ({"trials": -5}, "trials is -5, it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0, it must be at least 1"),
        ({"limit": 0}, "limit is 0, it must be at least 1"),
        ({"level": 1.0}, "level is 1, it must lie strictly between 0 and 1"),
        ({"confidence": float("nan")}, "confidence is nan, it must lie strictly between"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(OptionError, match=said):
        Options(**options)
