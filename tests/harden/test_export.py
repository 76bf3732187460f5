"""The written file: the original in all but the trained numbers, never in its place, checked as it lies there."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from faultsim.errors import ModelError, OptionError
from faultsim.harden.export import check_same_graph, export
from faultsim.harden.trainable import Trainable
from faultsim.model import load_model
from tests.harden.conftest import DIGITS


def _moved(model, *, scales="keep"):
    trainable = Trainable(model, scales=scales)
    leaves = trainable.leaves()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for leaf in leaves.values():
            leaf += 0.02 * torch.randn(leaf.shape, generator=rng, dtype=leaf.dtype)
    return trainable, trainable.numbers(leaves)


def _bare(proto):
    """The model without the contents of its initializers, and those by name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    contents = {}
    for tensor in copy.graph.initializer:
        contents[tensor.name] = numpy_helper.to_array(tensor)
        kept = (tensor.name, tensor.data_type, list(tensor.dims))
        tensor.Clear()
        tensor.name, tensor.data_type = kept[0], kept[1]
        tensor.dims.extend(kept[2])
    return copy.SerializeToString(deterministic=True), contents


@pytest.mark.parametrize("name", ["digits_float", "digits_int8"])
@pytest.mark.parametrize("scales", ["keep", "learn"])
def test_the_file_differs_from_the_original_in_initializers_alone(tmp_path, digits, name, scales):
    path = DIGITS / f"{name}.onnx"
    before = path.read_bytes()
    trainable, numbers = _moved(load_model(path), scales=scales)
    done = export(trainable, numbers, tmp_path / "h.onnx", {"image": digits[0][:32]})
    assert path.read_bytes() == before
    (old, were), (new, are) = _bare(onnx.load(path)), _bare(onnx.load(done.path))
    assert old == new
    differing = {key for key in were if not np.array_equal(were[key], are[key])}
    assert differing == set(done.changed)
    assert differing <= set(numbers)
    assert len(differing) >= 4
    assert done.agreement.max_abs_difference <= done.agreement.tolerance
    onnx.checker.check_model(onnx.load(done.path), full_check=True)


@pytest.mark.parametrize("inside", [False, True])
def test_numbers_of_a_constant_node_are_written_in_its_attribute(tmp_path, inside):
    """A torch exporter may put a bias into ``value_floats``, in the graph or in a function that it calls."""
    bias = helper.make_node("Constant", [], ["b"], value_floats=[0.5, -0.25, 0.125])
    layer = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    functions, nodes = [], [bias, layer]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    if inside:
        functions = [helper.make_function("own", "Layer", ["x", "w"], ["y"], nodes, opsets[:1])]
        nodes = [helper.make_node("Layer", ["x", "w"], ["y"], domain="own")]
    weight = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = load_model(helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9))
    trainable, numbers = _moved(model)
    assert sorted(array.size for array in numbers.values()) == [3, 12]
    done = export(trainable, numbers, tmp_path / "h.onnx", {"x": np.eye(4, dtype=np.float32)})
    assert sorted(done.changed) == sorted(numbers)
    bias, weight = sorted(numbers.values(), key=np.size)
    session = ort.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.eye(4, dtype=np.float32)})[0] == pytest.approx(weight + bias, abs=1e-6)


def test_the_original_is_never_written_over(tmp_path, digits):
    path = tmp_path / "model.onnx"
    path.write_bytes((DIGITS / "digits_float.onnx").read_bytes())
    before = path.read_bytes()
    trainable, numbers = _moved(load_model(path))
    link = tmp_path / "link.onnx"
    link.symlink_to(path)
    for place in (path, link):
        with pytest.raises(OptionError, match="that is the original, which is never overwritten"):
            export(trainable, numbers, place, {"image": digits[0][:4]})
    assert path.read_bytes() == before


def test_numbers_that_are_not_finite_are_not_written(tmp_path, digits):
    trainable, numbers = _moved(load_model(DIGITS / "digits_float.onnx"))
    next(iter(numbers.values())).flat[0] = np.nan
    with pytest.raises(ModelError, match="training left a number that is not finite"):
        export(trainable, numbers, tmp_path / "h.onnx", {"image": digits[0][:4]})
    assert not (tmp_path / "h.onnx").exists()


def test_any_other_difference_is_seen():
    model = load_model(DIGITS / "digits_float.onnx")
    written = onnx.ModelProto()
    written.CopyFrom(model.proto)
    written.graph.node[0].name = "other"
    with pytest.raises(ModelError, match="differs in more than the trained numbers"):
        check_same_graph(model, written, {})
