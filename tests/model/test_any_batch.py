"""Graphs that insist on one number of samples, rewritten for any: against onnxruntime on the file, batch by batch."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from faultsim.model import any_batch, load_model
from faultsim.model.any_batch import shapes_of, with_any_batch

F = np.float32
RNG = np.random.default_rng(5)


def _model(nodes, weights, x, y, *, opset=17):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _ints(*numbers):
    return np.array(numbers, dtype=np.int64)


def _weight(*shape):
    return RNG.standard_normal(shape).astype(F)


def _onnxruntime(proto, feeds):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def _check(proto, *, samples=6):
    """Assert that the rewritten graph gives for all samples at once what the file gives batch by batch."""
    model = load_model(proto)
    spec = model.inputs[0]
    size = spec.fixed_batch
    x = RNG.standard_normal((samples, *spec.sample_shape)).astype(F)
    free = with_any_batch(model, shapes_of(model, {"x": x[:size]}))
    assert free is not None
    assert free.fixed_batch is None
    assert free.as_deployed is model
    assert free.sites == model.sites
    wanted = np.concatenate([_onnxruntime(proto, {"x": x[i : i + size]}) for i in range(0, samples, size)])
    np.testing.assert_allclose(_onnxruntime(free.proto, {"x": x}), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(free.run({"x": x})[model.output_names[0]], wanted, rtol=1e-5, atol=1e-6)
    return free


def _refused(proto):
    model = load_model(proto)
    x = RNG.standard_normal((model.inputs[0].fixed_batch, *model.inputs[0].sample_shape)).astype(F)
    return with_any_batch(model, shapes_of(model, {"x": x})) is None


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("shape", [(4, 2, 5), (8, 5), (2, 20), (40,)])
def test_a_reshape_that_names_the_samples(size, shape):
    nodes = [
        helper.make_node("Reshape", ["x", "to"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "back"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    weights = {"to": _ints(size, *shape), "back": _ints(size, 40), "w": _weight(40, 3)}
    _check(_model(nodes, weights, [size, 8, 5], [size, 3]))


def test_a_reshape_that_joins_the_samples_to_another_axis():
    """As attention heads do: (1·heads, steps, width)."""
    nodes = [
        helper.make_node("Reshape", ["x", "split"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["b", "heads"], ["c"]),
        helper.make_node("Softmax", ["c"], ["d"], axis=-1),
        helper.make_node("Reshape", ["d", "four"], ["e"]),
        helper.make_node("Transpose", ["e"], ["f"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["f", "flat"], ["g"]),
        helper.make_node("MatMul", ["g", "w"], ["y"]),
    ]
    weights = {
        "split": _ints(1, 6, 4, 2),
        "heads": _ints(4, 6, 2),
        "four": _ints(1, 4, 6, 2),
        "flat": _ints(1, 48),
        "w": _weight(48, 3),
    }
    _check(_model(nodes, weights, [1, 6, 8], [1, 3]))


def test_a_shape_in_a_constant_node_and_shared_by_two():
    nodes = [
        helper.make_node("Constant", [], ["to"], value_ints=[1, 40]),
        helper.make_node("Reshape", ["x", "to"], ["a"]),
        helper.make_node("MatMul", ["a", "v"], ["b"]),
        helper.make_node("Reshape", ["b", "to"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    _check(_model(nodes, {"v": _weight(40, 40), "w": _weight(40, 3)}, [1, 8, 5], [1, 3]))


def test_a_resize_to_sizes():
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"]),
        helper.make_node("Resize", ["a", "", "", "sizes"], ["b"], mode="linear"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    weights = {"k": _weight(4, 2, 1, 1), "sizes": _ints(1, 4, 9, 7)}
    _check(_model(nodes, weights, [1, 2, 5, 5], [1, 4]))


def test_a_class_token_serves_every_sample_and_stays_a_site():
    nodes = [
        helper.make_node("Expand", ["token", "one"], ["wide"]),
        helper.make_node("Concat", ["wide", "x"], ["a"], axis=1),
        helper.make_node("ReduceMean", ["a"], ["b"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    weights = {"token": _weight(1, 1, 8), "one": _ints(1, 1, 8), "w": _weight(8, 3)}
    proto = _model(nodes, weights, [1, 6, 8], [1, 3])
    free = _check(proto)
    token = _weight(1, 1, 8)
    x = RNG.standard_normal((4, 6, 8)).astype(F)
    broken = free.deployed.with_numbers({"token": token})
    wanted = np.concatenate([_onnxruntime(broken, {"x": x[i : i + 1]}) for i in range(4)])
    np.testing.assert_allclose(_onnxruntime(free.with_numbers({"token": token}), {"x": x}), wanted, rtol=1e-5)


def test_an_expand_of_the_samples():
    nodes = [
        helper.make_node("Expand", ["x", "to"], ["a"]),
        helper.make_node("ReduceSum", ["a", "axes"], ["b"], keepdims=0),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    weights = {"to": _ints(1, 6, 8), "axes": _ints(1), "w": _weight(8, 3)}
    _check(_model(nodes, weights, [1, 1, 8], [1, 3]))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_initial_states_of_one_sample_serve_all(kind, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = kind(5, 6, batch_first=True, bidirectional=True)
            self.head = nn.Linear(12, 3)

        def forward(self, x):
            return self.head(self.cell(x)[0][:, -1])

    torch.manual_seed(0)
    path = tmp_path / "net.onnx"
    torch.onnx.export(Net().eval(), (torch.zeros(1, 7, 5),), path, input_names=["x"], output_names=["y"], dynamo=False)
    _check(load_model(path).proto)


def test_the_written_file_is_the_deployed_graph(tmp_path):
    nodes = [helper.make_node("Reshape", ["x", "to"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    proto = _model(nodes, {"to": _ints(1, 40), "w": _weight(40, 3)}, [1, 8, 5], [1, 3])
    free = _check(proto)
    new = _weight(40, 3)
    free.write(tmp_path / "new.onnx", {"w": new})
    back = load_model(tmp_path / "new.onnx")
    assert back.fixed_batch == 1
    np.testing.assert_array_equal(back.numbers["w"], new)
    written, wanted = back.proto, free.deployed.with_numbers({"w": new})
    assert written.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)


def test_names_that_are_taken_are_not_used_twice():
    nodes = [helper.make_node("Reshape", ["x", "batch_shape_1"], ["batch"]),
             helper.make_node("MatMul", ["batch", "w"], ["y"])]  # fmt: skip
    _check(_model(nodes, {"batch_shape_1": _ints(1, 40), "w": _weight(40, 3)}, [1, 8, 5], [1, 3]))


def test_what_joins_the_samples_is_not_rewritten():
    across = [helper.make_node("Concat", ["x", "more"], ["y"], axis=0)]
    assert _refused(_model(across, {"more": _weight(2, 8)}, [1, 8], [3, 8]))
    wide = [helper.make_node("Concat", ["x", "more"], ["a"], axis=1), helper.make_node("MatMul", ["a", "w"], ["y"])]
    weights = {"more": _weight(3, 2), "w": _weight(10, 3)}  # three rows, one for each place in the batch
    assert _refused(_model(wide, weights, [3, 8], [3, 3]))


def test_a_graph_of_any_batch_is_left_alone():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = load_model(_model(nodes, {"w": _weight(8, 3)}, ["n", 8], ["n", 3]))
    assert with_any_batch(model, shapes_of(model, {"x": _weight(4, 8)})) is None


def test_large_models_are_left_alone(monkeypatch):
    proto = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": _weight(8, 3)}, [1, 8], [1, 3])
    assert not _refused(proto)
    monkeypatch.setattr(any_batch, "MOST_BYTES", 80)
    assert _refused(proto)


def test_a_symbol_that_is_taken_is_not_used_twice():
    proto = _model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": _weight(8, 3)}, [1, "batch", 8], [1, "batch", 3]
    )
    model = load_model(proto).with_batch_axes({"x": 0, "y": 0})
    free = with_any_batch(model, shapes_of(model, {"x": _weight(1, 4, 8)}))
    assert [spec.shape for spec in free.declared] == [("batch_", "batch", 8)]
    assert free.run({"x": _weight(5, 4, 8)})["y"].shape == (5, 4, 3)
