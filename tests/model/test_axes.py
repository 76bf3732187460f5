"""Which axis counts the samples: by name, by trial, by the user's word, and what is said where nobody can tell."""

import numpy as np
import pytest
import time_major
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from faultsim.errors import DataError, ModelError
from faultsim.model import load_model

F = np.float32
AUTO = torch.export.Dim.AUTO
OPEN = {
    "named": {"x": {0: "seq", 1: "batch"}, "y": {0: "seq", 1: "batch"}},
    "unnamed": {"x": [0, 1], "y": [0, 1]},
    "samples alone": {"x": {1: "foo"}, "y": {1: "foo"}},
    "fixed": None,
}


def _swapped(axes):
    """The same for a batch-first model."""
    if axes is None:
        return None
    return {
        name: {1 - axis: one for axis, one in of.items()} if isinstance(of, dict) else of for name, of in axes.items()
    }


def _graph(nodes, weights, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))


def _linear(shape, output=None, *, kind=TensorProto.FLOAT):
    """Every slice along every axis but the last is on its own."""
    weight = np.random.default_rng(0).standard_normal((8, 5)).astype(F)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return _graph(nodes, {"w": weight}, {"x": (kind, shape)}, {"y": output or [None] * len(shape)})


def _gru(x, h, *, open_output=(None, None, None, None)):
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal((1, 18, size)).astype(F) for name, size in (("w", 8), ("r", 6))}
    nodes = [helper.make_node("GRU", ["x", "w", "r", "", "", "h"], ["y"], hidden_size=6)]
    inputs = {"x": (TensorProto.FLOAT, x), "h": (TensorProto.FLOAT, h)}
    return _graph(nodes, weights, inputs, {"y": list(open_output)})


@pytest.mark.parametrize("dynamic", list(OPEN))
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "encoder"])
def test_torch_exports_have_their_samples_found(kind, ids, dynamic):
    x = time_major.inputs(ids=ids, samples=4)
    for batch_first in (False, True):
        axes = _swapped(OPEN[dynamic]) if batch_first else OPEN[dynamic]
        module = time_major.Tagger(kind, batch_first=batch_first, ids=ids)
        model = load_model(time_major.export(module, x if batch_first else x.transpose(0, 1), axes=axes))
        axis = 0 if batch_first else 1
        assert model.axes == ({"x": axis}, {"y": axis}, None)
        assert [spec.batch_axis for spec in model.inputs] == [axis]


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("kind", ["LSTM", "encoder"])
@pytest.mark.parametrize("last", [False, True])
def test_a_batch_baked_in_by_either_exporter_is_found(kind, samples, last):
    for batch_first in (False, True):
        module = time_major.Tagger(kind, batch_first=batch_first, last=last)
        x = time_major.inputs(samples=samples)
        for dynamo in (False, True):
            model = load_model(time_major.export(module, x if batch_first else x.transpose(0, 1), dynamo=dynamo))
            axis = 0 if batch_first else 1
            assert model.axes == ({"x": axis}, {"y": 0 if last else axis}, None)
            assert model.inputs[0].fixed_batch == samples


def test_symbols_of_the_new_exporter_say_nothing_and_trials_do():
    for batch_first in (False, True):
        module = time_major.Tagger("encoder", batch_first=batch_first)
        x = time_major.inputs(samples=4)
        shapes = {"x": {0: AUTO, 1: AUTO}}
        proto = time_major.export(module, x if batch_first else x.transpose(0, 1), dynamo=True, axes=shapes)
        assert load_model(proto).axes.inputs == {"x": 0 if batch_first else 1}


def test_names_settle_it_without_a_run(monkeypatch):
    model = load_model(time_major.export(_Picture(), torch.randn(2, 3, 9, 9), axes={"x": {0: "N"}, "y": {0: "N"}}))
    monkeypatch.setattr(type(model), "_outputs", lambda *_: pytest.fail("the graph ran"))
    assert model.axes == ({"x": 0}, {"y": 0}, None)


class _Picture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


@pytest.mark.parametrize("shape", [[None, 3, 9, 9], ["unk__7", 3, 9, 9], [6, 3, 9, 9], [1, 3, 9, 9], [None] * 4])
def test_images_keep_their_samples_in_front(shape):
    proto = time_major.export(_Picture(), torch.randn(2, 3, 9, 9), axes={"x": {0: "N"}})
    for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.Clear()
        if isinstance(size, int):
            dim.dim_value = size
        elif size:
            dim.dim_param = size
    for dim in proto.graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()
    assert load_model(proto).axes.inputs == {"x": 0}


def test_where_every_axis_would_do_the_first_is_taken():
    assert _linear([None, None, 8]).axes == ({"x": 0}, {"y": 0}, None)
    assert _linear(["seq", None, 8]).axes.inputs == {"x": 1}
    assert _linear(["seq", 8]).axes.inputs == {"x": 0}


def test_an_initial_state_of_a_batch_of_one_goes_with_its_sequence():
    assert _gru([7, 1, 8], [1, 1, 6]).axes.inputs == {"x": 1, "h": 1}
    assert _gru([None, None, 8], [1, None, 6]).axes == ({"x": 1, "h": 1}, {"y": 2}, None)
    assert _gru(["T", "N", 8], [1, "N", 6]).axes == ({"x": 1, "h": 1}, {"y": 2}, None)


def test_an_input_that_is_the_same_for_every_sample_is_passed_whole():
    nodes = [
        helper.make_node("Add", ["x", "style"], ["s"]),
        helper.make_node("Mul", ["s", "gain"], ["m"]),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).standard_normal((8, 5)).astype(F)}
    kind = TensorProto.FLOAT
    inputs = {"x": (kind, ["N", 8]), "style": (kind, [1, 8]), "gain": (kind, [])}
    model = _graph(nodes, weights, inputs, {"y": ["N", 5]})
    assert model.axes.inputs == {"x": 0, "style": None, "gain": None}


def test_scales_of_the_whole_batch_do_not_hide_the_samples():
    weights = {
        "w": np.random.default_rng(0).integers(-90, 90, (8, 5)).astype(np.int8),
        "zero": np.int8(0).reshape(()),
        "small": np.float32(0.01).reshape(()),
        "r": np.random.default_rng(2).standard_normal((1, 15, 5)).astype(F),
        "v": np.random.default_rng(1).standard_normal((1, 15, 5)).astype(F),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "zero"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "small"], ["ss"]),
        helper.make_node("Mul", ["f", "ss"], ["e"]),
        helper.make_node("GRU", ["e", "v", "r"], ["y"], hidden_size=5),
    ]
    model = _graph(nodes, weights, {"x": (TensorProto.FLOAT, [None, None, 8])}, {"y": [None] * 4})
    assert model.axes == ({"x": 1}, {"y": 2}, None)


def test_two_axes_that_both_could_are_a_doubt_with_a_remedy():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("CumSum", ["p", "zero"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).standard_normal((8, 5)).astype(F), "zero": np.array(0, np.int64)}
    model = _graph(nodes, weights, {"x": (TensorProto.FLOAT, [None, None, None, 8])}, {"y": [None] * 4})
    assert model.axes.doubt is not None
    assert "axis 1 and axis 2 both could; name it with --batch-axis x=1" in model.axes.doubt
    named = model.with_batch_axes({"x": 2})
    assert named.axes == ({"x": 2}, {"y": 2}, None)
    assert model.axes.inputs == {"x": 1}


def _centred(axes, shape):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=axes),
        helper.make_node("Sub", ["x", "m"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).standard_normal((8, 5)).astype(F)}
    return _graph(nodes, weights, {"x": (TensorProto.FLOAT, shape)}, {"y": [None] * len(shape)})


def test_samples_that_touch_each_other_are_found_by_their_number_or_are_a_doubt():
    assert _centred([0], [None, 8]).axes == ({"x": 0}, {"y": 0}, None)
    assert _centred([0], [6, 8]).axes == ({"x": 0}, {"y": 0}, None)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("CumSum", ["p", "zero"], ["c"]),
        helper.make_node("CumSum", ["c", "one"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).standard_normal((8, 5)).astype(F), "zero": np.array(0), "one": np.array(1)}
    model = _graph(nodes, weights, {"x": (TensorProto.FLOAT, [None, None, 8])}, {"y": [None] * 3})
    assert "no axis of input 'x' (float32, ?×?×8) counts the samples" in str(model.axes.doubt)
    assert model.with_batch_axes({"x": 1}).axes == ({"x": 1}, {"y": 1}, None)


def test_a_graph_that_draws_numbers_itself_has_its_samples_in_front():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("RandomNormalLike", ["p"], ["noise"]),
        helper.make_node("Add", ["p", "noise"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).standard_normal((8, 5)).astype(F)}
    model = _graph(nodes, weights, {"x": (TensorProto.FLOAT, [None, 8])}, {"y": [None, 5]})
    assert (model.axes.inputs, model.axes.doubt) == ({"x": 0}, None)


def test_a_time_axis_named_like_a_batch_is_a_doubt():
    module = time_major.Tagger("LSTM", batch_first=False)
    model = load_model(module, time_major.inputs(samples=4).transpose(0, 1))  # exported with axis 0 named N
    assert "axis 0 of input 'input' (float32, N×4×8) is named as if it counted the samples" in str(model.axes.doubt)
    assert "--batch-axis input=1, or input=0" in str(model.axes.doubt)
    assert model.with_batch_axes({"input": 1}).axes.doubt is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"z": 0}, "a batch axis is given for 'z'; its inputs are x, its outputs y"),
        ({"x": 3}, "'x' has no axis 3; give one of 0…2"),
        ({"x": -1}, "'x' has no axis -1; give one of 0…2"),
        ({"y": 3}, "'y' has no axis 3"),
        ({"y": None}, "output 'y' needs an axis that counts the samples; give a number"),
    ],
)
def test_axes_that_are_none_are_refused(given, message):
    with pytest.raises(ModelError, match=message):
        _linear(["N", None, 8]).with_batch_axes(given)


def test_a_single_number_has_no_axis():
    nodes = [helper.make_node("Mul", ["x", "gain"], ["y"])]
    kind = TensorProto.FLOAT
    model = _graph(nodes, {}, {"x": (kind, ["N", 8]), "gain": (kind, [])}, {"y": ["N", 8]})
    with pytest.raises(ModelError, match="'gain' has no axis 0; it is a single number"):
        model.with_batch_axes({"gain": 0})


def test_any_batch_runs_along_the_samples_axis_and_no_other_size():
    model = _centred([0], [7, 4, 8])
    assert model.axes.inputs == {"x": 1}
    assert model.run({"x": np.zeros((7, 2, 8), F)})["y"].shape == (7, 2, 5)
    with pytest.raises(DataError, match="got float32 of shape 6×4×8: convert or reshape the data"):
        model.run({"x": np.zeros((6, 4, 8), F)})


def test_states_and_inputs_that_a_recurrent_layer_cannot_take_are_refused():
    """torch's own kernels check no sizes: they read beyond the memory of what they are given."""
    model = _gru(["T", "N", 8], [1, None, 6])
    with pytest.raises(ModelError, match=r"an initial state of shape \(1, 1, 6\) for 1 directions, a batch of 3"):
        model.run({"x": np.zeros((7, 3, 8), F), "h": np.zeros((1, 1, 6), F)})
    lstm = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6)]
    weights = {name: np.zeros((1, 24, size), F) for name, size in (("w", 8), ("r", 6))}
    model = _graph(lstm, weights, {"x": (TensorProto.FLOAT, ["T", "N", None])}, {"y": [None] * 4})
    with pytest.raises(ModelError, match="inputs of width 5 for weights of width 8"):
        model.run({"x": np.zeros((7, 3, 5), F)})
    lengths = [helper.make_node("LSTM", ["x", "w", "r", "", "n"], ["y"], hidden_size=6)]
    model = _graph(lengths, {**weights, "n": np.array([7], np.int32)}, {"x": (TensorProto.FLOAT, ["T", "N", 8])},
                   {"y": [None] * 4})  # fmt: skip
    with pytest.raises(ModelError, match="1 sequence lengths for a batch of 3"):
        model.run({"x": np.zeros((7, 3, 8), F)})


@pytest.mark.parametrize("axis", [1, 3])
def test_an_axis_of_images_does_not_count_the_samples_where_another_is_named(axis):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    model = _graph(
        nodes, {"w": np.ones((4, 3, 3, 3), F)}, {"x": (TensorProto.FLOAT, ["N", 3, 8, 8])}, {"y": [None] * 4}
    )
    size = [None, 3, 8, 8][axis]
    with pytest.raises(ModelError, match=rf"--batch-axis x={axis} names an axis of {size} .*that is axis 0; leave the"):
        model.with_batch_axes({"x": axis})
    assert model.with_batch_axes({"x": 0}).axes.inputs == {"x": 0}
