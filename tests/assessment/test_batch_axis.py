"""Time-major models get the figures of their batch-first twins, and what cannot be told is asked for."""

import numpy as np
import onnx
import pytest
import time_major
import torch
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import Options, assess
from faultsim.cli import main
from faultsim.errors import DataError, OptionError
from faultsim.model import load_model
from faultsim.results import load_result

F = np.float32
BOTH = {"named": {"x": {0: "seq", 1: "batch"}, "y": {0: "seq", 1: "batch"}}, "unnamed": {"x": [0, 1]}, "fixed": None}


def _options(**changes):
    return Options(**{"trials": 3, "search_gradients": 2, "site_trials": 1, "threads": 1, **changes})


def _truth(module, x):
    """Classes of torch itself, N×T, half of them changed: an accuracy that no other order of axes gives."""
    with torch.no_grad():
        time_first = module(x if module.time else x.transpose(0, 1))
    classes = (time_first if module.time else time_first.transpose(0, 1)).argmax(-1).numpy()
    wrong = np.random.default_rng(1).random(classes.shape) < 0.5
    return (classes + wrong) % time_major.CLASSES, float(1 - wrong.mean())


def _twins(kind, *, ids=False, last=False):
    """The same network, time-major and batch-first."""
    return [time_major.Tagger(kind, batch_first=one, ids=ids, last=last) for one in (False, True)]


def _same_figures(one, two):
    assert one.clean.accuracy == two.clean.accuracy
    assert one.clean.loss == pytest.approx(two.clean.loss, rel=1e-5)
    assert one.worst_case is not None
    assert one.worst_case.loss == pytest.approx(two.worst_case.loss, rel=1e-3)


@pytest.mark.parametrize("dynamic", list(BOTH))
@pytest.mark.parametrize("kind", ["LSTM", "encoder"])
def test_a_time_major_tagger_has_the_figures_of_its_batch_first_twin(kind, dynamic, tmp_path):
    turned, plain = _twins(kind)
    x = time_major.inputs()
    labels, accuracy = _truth(plain, x)
    axes = BOTH[dynamic]
    batch_first = None if axes is None else {"x": {0: "batch", 1: "seq"}, "y": {0: "batch", 1: "seq"}}
    np.savez(tmp_path / "plain.npz", x=x.numpy(), labels=labels)
    np.savez(tmp_path / "turned.npz", x=x.transpose(0, 1).numpy(), labels=labels.T)
    np.savez(tmp_path / "mixed.npz", x=x.transpose(0, 1).numpy(), labels=labels)
    one = load_model(time_major.export(plain, x, axes=batch_first))
    two = load_model(time_major.export(turned, x.transpose(0, 1), axes=axes))
    twin = assess(one, "reram", tmp_path / "plain.npz", options=_options())
    assert twin.clean.accuracy == pytest.approx(accuracy)
    for name in ("turned", "mixed"):
        found = assess(two, "reram", tmp_path / f"{name}.npz", options=_options(batch_size=16))
        assert found.data.samples == time_major.SAMPLES
        _same_figures(found, twin)
    again = assess(two, "reram", tmp_path / "turned.npz", options=_options())
    assert again.agreement.max_abs_difference is not None
    assert any("axis 1 was taken to count the samples, 40 of them" in note for note in again.notes)


@pytest.mark.parametrize("ids", [False, True])
def test_a_class_for_a_whole_sequence_is_scored_against_torch_itself(ids, tmp_path):
    turned, _ = _twins("GRU", ids=ids, last=True)
    x = time_major.inputs(ids=ids)
    with torch.no_grad():
        classes = turned(x.transpose(0, 1)).argmax(-1).numpy()
    labels = np.where(np.arange(len(classes)) % 4 == 0, (classes + 1) % 5, classes)
    np.savez(tmp_path / "d.npz", x=x.transpose(0, 1).numpy(), labels=labels)
    proto = time_major.export(turned, x.transpose(0, 1)[:, :4], axes={"x": [0, 1], "y": [0]})
    result = assess(load_model(proto), "reram", tmp_path / "d.npz", options=_options())
    assert result.clean.accuracy == pytest.approx(0.75)


@pytest.mark.parametrize("samples", [1, 10])
def test_a_batch_baked_in_on_the_second_axis_is_filled(samples, tmp_path):
    turned, plain = _twins("LSTM")
    x = time_major.inputs()
    labels, accuracy = _truth(plain, x)
    np.savez(tmp_path / "d.npz", x=x.transpose(0, 1).numpy(), labels=labels.T)
    model = load_model(time_major.export(turned, x.transpose(0, 1)[:, :samples], dynamo=samples == 1))
    result = assess(model, "reram", tmp_path / "d.npz", options=_options())
    assert (result.data.samples, result.clean.accuracy) == (time_major.SAMPLES, pytest.approx(accuracy))


def test_samples_first_where_only_that_fits(tmp_path):
    turned, plain = _twins("LSTM")
    x = time_major.inputs()
    labels, accuracy = _truth(plain, x)
    np.savez(tmp_path / "d.npz", x=x.numpy(), labels=labels)
    model = load_model(time_major.export(turned, x.transpose(0, 1), axes={"x": {1: "batch"}, "y": {1: "batch"}}))
    result = assess(model, "reram", tmp_path / "d.npz", options=_options())
    assert result.clean.accuracy == pytest.approx(accuracy)
    assert any("its samples were taken to come first" in note for note in result.notes)


def test_drawn_inputs_are_drawn_along_the_samples():
    turned, plain = _twins("LSTM")
    x = time_major.inputs()
    two = load_model(time_major.export(turned, x.transpose(0, 1), axes=BOTH["named"]))
    one = load_model(time_major.export(plain, x, axes={"x": {0: "batch", 1: "seq"}}))
    shapes = [("x=7,1,8",), ("x=1,7,8",)]
    first, second = (
        assess(model, "reram", options=_options(limit=30, input_shape=shape))
        for model, shape in zip((two, one), shapes, strict=True)
    )
    assert first.data.samples == second.data.samples == 30
    assert first.clean.loss == pytest.approx(second.clean.loss, rel=1e-5)


def test_the_command_line_gives_both_twins_one_accuracy(tmp_path):
    turned, plain = _twins("LSTM")
    x = time_major.inputs()
    labels, accuracy = _truth(plain, x)
    onnx.save(time_major.export(turned, x.transpose(0, 1), axes=BOTH["unnamed"]), tmp_path / "turned.onnx")
    onnx.save(time_major.export(plain, x, axes={"x": [0, 1]}), tmp_path / "plain.onnx")
    np.savez(tmp_path / "turned.npz", x=x.transpose(0, 1).numpy(), labels=labels.T)
    np.savez(tmp_path / "plain.npz", x=x.numpy(), labels=labels)
    found = []
    for name, extra in (("turned", ["--batch-axis", "x=1", "--batch-axis", "labels=1"]), ("turned", []), ("plain", [])):
        out = tmp_path / f"{name}{len(extra)}"
        call = ["assess", str(tmp_path / f"{name}.onnx"), "-d", "reram", "--trials", "2", "--search-gradients", "1",
                "--site-trials", "0", "--threads", "1", "-q", "-o", str(out), *extra]  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main(call)
        assert stop.value.code == 0
        found.append(load_result(out / "result.json").clean.accuracy)
    assert found == [pytest.approx(accuracy)] * 3


def test_as_many_steps_as_samples_need_a_word_about_the_labels(tmp_path):
    turned, plain = _twins("LSTM")
    x = time_major.inputs(samples=time_major.STEPS)
    labels, accuracy = _truth(plain, x)
    np.savez(tmp_path / "d.npz", x=x.transpose(0, 1).numpy(), labels=labels)
    model = load_model(time_major.export(turned, x.transpose(0, 1), axes=BOTH["named"]))
    with pytest.raises(
        DataError, match=r"labels in d.npz have shape 7×7 for 7 samples.*--batch-axis labels=0 \(or 1\)"
    ):
        assess(model, "reram", tmp_path / "d.npz", options=_options())
    result = assess(model, "reram", tmp_path / "d.npz", options=_options(batch_axis=("labels=0",)))
    assert result.clean.accuracy == pytest.approx(accuracy)


def _hand(nodes, weights, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))


def _weight(rows=8):
    return np.random.default_rng(0).standard_normal((rows, 5)).astype(F)


def _ambiguous():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("CumSum", ["p", "zero"], ["y"])]
    kind = TensorProto.FLOAT
    return _hand(
        nodes, {"w": _weight(), "zero": np.array(0)}, {"x": (kind, [None] * 3 + [8])}, {"y": (kind, [None] * 4)}
    )


def test_what_cannot_be_told_is_one_error_with_its_remedy(tmp_path):
    model = _ambiguous()
    x = np.random.default_rng(2).standard_normal((3, 6, 4, 8)).astype(F)
    np.savez(tmp_path / "d.npz", x=x, labels=np.zeros((4, 3, 6), np.int64))
    with pytest.raises(OptionError, match="axis 1 and axis 2 both could; name it with --batch-axis x=1"):
        assess(model, "reram", tmp_path / "d.npz", options=_options())
    result = assess(model, "reram", tmp_path / "d.npz", options=_options(batch_axis=("x=2",), task="tagging"))
    assert result.data.samples == 4
    expected = (np.cumsum(x @ _weight(), axis=0).argmax(-1) == 0).mean()
    assert result.clean.accuracy == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "--batch-axis 'x': give NAME=AXIS with the number of the axis that counts the samples, from 0"),
        ("x=-1", "--batch-axis 'x=-1': give NAME=AXIS"),
        ("labels=none", "labels have samples; give the number of their axis"),
    ],
)
def test_axes_that_are_no_axes_are_refused(text, message):
    with pytest.raises(OptionError, match=message):
        assess(_ambiguous(), "reram", options=_options(batch_axis=(text,)))


def test_an_axis_of_labels_that_are_not_there_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 6, 4, 8), F))
    options = _options(batch_axis=("x=1", "labels=1"))
    with pytest.raises(
        DataError, match=r"axis 1 of the labels is said to count the samples, but d\.npz holds no labels"
    ):
        assess(_ambiguous(), "reram", tmp_path / "d.npz", options=options)


def test_an_output_that_follows_no_axis_is_refused_with_the_remedy(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Reshape", ["p", "flat"], ["y"])]
    kind = TensorProto.FLOAT
    flat = np.array([-1, 5])
    model = _hand(nodes, {"w": _weight(), "flat": flat}, {"x": (kind, ["seq", "batch", 8])}, {"y": (kind, [None, 5])})
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 6, 8), F), labels=np.zeros((6, 3), np.int64))
    with pytest.raises(DataError, match=r"output 'y' has shape \(18, 5\) for a batch of 6: .*--batch-axis y=1"):
        assess(model, "reram", tmp_path / "d.npz", options=_options())


def test_another_output_brings_its_own_axis(tmp_path):
    """Scores of a sequence and of its steps: the samples lie along other axes."""
    rng = np.random.default_rng(3)
    weights = {name: rng.standard_normal((1, 15, size)).astype(F) for name, size in (("w", 8), ("r", 5))}
    nodes = [
        helper.make_node("GRU", ["x", "w", "r"], ["all", "last"], hidden_size=5),
        helper.make_node("Squeeze", ["last", "front"], ["y"]),
        helper.make_node("Squeeze", ["all", "second"], ["steps"]),
    ]
    weights |= {"front": np.array([0]), "second": np.array([1])}
    kind = TensorProto.FLOAT
    outputs = {"y": (kind, [None] * 2), "steps": (kind, [None] * 3)}
    model = _hand(nodes, weights, {"x": (kind, [None, None, 8])}, outputs)
    x = rng.standard_normal((7, 12, 8)).astype(F)
    steps = model.run({"x": x})["steps"].argmax(-1)
    np.savez(tmp_path / "steps.npz", x=x, labels=steps.T)
    np.savez(tmp_path / "last.npz", x=x, labels=steps[-1])
    assert assess(model, "reram", tmp_path / "last.npz", options=_options()).clean.accuracy == 1
    found = assess(model, "reram", tmp_path / "steps.npz", options=_options(output="steps"))
    assert (found.data.samples, found.clean.accuracy) == (12, 1)


def test_a_shared_state_is_saved_once_and_serves_every_sample(tmp_path):
    rng = np.random.default_rng(4)
    weights = {name: rng.standard_normal((1, 15, size)).astype(F) for name, size in (("w", 8), ("r", 5))}
    nodes = [
        helper.make_node("GRU", ["x", "w", "r", "", "", "h"], ["", "last"], hidden_size=5),
        helper.make_node("Squeeze", ["last", "front"], ["y"]),
    ]
    kind = TensorProto.FLOAT
    inputs = {"x": (kind, [7, 1, 8]), "h": (kind, [1, 1, 5])}
    model = _hand(nodes, {**weights, "front": np.array([0])}, inputs, {"y": (kind, [1, 5])})
    x, h = rng.standard_normal((7, 12, 8)).astype(F), rng.standard_normal((1, 1, 5)).astype(F)
    each = [model.run({"x": x[:, i : i + 1], "h": h})["y"].argmax() for i in range(12)]
    np.savez(tmp_path / "d.npz", x=x, h=h, labels=each)
    result = assess(model, "reram", tmp_path / "d.npz", options=_options())
    assert (result.data.samples, result.clean.accuracy) == (12, 1)
    assert any("array 'h' in d.npz holds one sample, which served them all" in note for note in result.notes)
