"""Activations are sites: names, shapes and formats as onnxruntime makes them."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from faultsim.model import load_model
from faultsim.model.activations import activation_sites
from faultsim.model.check import session


def test_every_activation_has_the_shape_and_type_that_onnxruntime_gives_it():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"], name="fc"),
            helper.make_node("QuantizeLinear", ["y", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("Relu", ["d"], ["out"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
        [
            onnx.numpy_helper.from_array(weight, "w"),
            onnx.numpy_helper.from_array(np.float32(0.05), "s"),
            onnx.numpy_helper.from_array(np.int8(0), "z"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"x": rng.standard_normal((5, 4)).astype(np.float32)}
    sites = activation_sites(load_model(proto), feeds)
    assert [(s.name, s.shape, s.format.name, s.kind) for s in sites] == [
        ("y", (5, 3), "float32", "gemm"),
        ("q", (5, 3), "int8", "quantization"),
        ("d", (5, 3), "float32", "quantization"),
        ("out", (5, 3), "float32", "elementwise"),
    ]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in ("y", "q", "d"))
    for site, array in zip(sites, session(proto).run([s.name for s in sites], feeds), strict=True):
        assert site.shape == array.shape
        assert site.format.name == array.dtype.name
    assert all(site.role == "activation" for site in sites)
