"""Networks in float16, bfloat16 and float64, made by hand from exported ones."""

import numpy as np
import onnx
import pytest
import torch
from exports import build, export
from onnx import TensorProto, helper, numpy_helper

from faultsim.model import check_agreement, load_model


def _in_type(proto, elem):
    """All float tensors of a graph in another float type, casts at both ends."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    dtype = helper.tensor_dtype_to_np_dtype(elem)
    graph = made.graph
    stored = [*graph.initializer, *(a.t for n in graph.node for a in n.attribute if a.name == "value")]
    for tensor in stored:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for node in graph.node:
        for a in node.attribute:
            if node.op_type == "Cast" and a.i == TensorProto.FLOAT:
                a.i = elem
    del graph.value_info[:]
    for node in graph.node:
        for ends in (node.input, node.output):
            for i, name in enumerate(ends):
                if name in ("x", "y"):
                    ends[i] = name + "_narrow"
    nodes = [helper.make_node("Cast", ["x"], ["x_narrow"], to=elem), *graph.node]
    nodes.append(helper.make_node("Cast", ["y_narrow"], ["y"], to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    return made


@pytest.mark.parametrize("elem", ["FLOAT16", "DOUBLE", "BFLOAT16"])
@pytest.mark.parametrize("name", ["cnn", "gru", "attention"])
def test_other_float_types(name, elem):
    module, example = build(name)
    number = TensorProto.DataType.Value(elem)
    loaded = load_model(_in_type(export(module, example), number))
    fed = {"x": example.numpy()}
    found = check_agreement(loaded, fed)
    if found.max_abs_difference is None:  # onnxruntime's CPU build lacks many bfloat16 and float64 kernels
        assert elem != "FLOAT16"
        assert found.runtime.startswith("not checked: onnxruntime")
    with torch.no_grad():
        expected = module(example).numpy()
    tolerance = {"FLOAT16": 1e-2, "DOUBLE": 1e-5, "BFLOAT16": 8e-2}[elem] * max(1, np.abs(expected).max())
    np.testing.assert_allclose(loaded.run(fed)["y"], expected, atol=tolerance)
    weights = [s.name for s in loaded.sites if s.role == "weight"]
    _, slopes = loaded.gradient(fed, lambda out: out["y"].double().square().mean(), sites=weights)
    assert all(np.any(g) for g in slopes.values())
    assert all(g.dtype == (np.float64 if elem == "DOUBLE" else np.float32) for g in slopes.values())
