"""Products of 8-bit codes are exact on every processor, in sessions that onnxruntime optimises too."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from faultsim.model.references import session


def test_two_large_products_do_not_saturate() -> None:
    """255 x 127 + 255 x 127 does not fit into the 16 bits in which processors without VNNI add pairs."""
    made = [
        numpy_helper.from_array(np.float32(1.0), "scale"),
        numpy_helper.from_array(np.uint8(0), "zero"),
        numpy_helper.from_array(np.float32(40000.0), "wide"),
        numpy_helper.from_array(np.full((64, 32), 127, np.int8), "codes"),
        numpy_helper.from_array(np.int8(0), "centre"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "centre"], ["w"]),
        helper.make_node("MatMul", ["xd", "w"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "wide", "zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "wide", "zero"], ["out"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 32])
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [x], [out], made), opset_imports=[helper.make_opsetid("", 17)]
    )
    proto.ir_version = 8
    onnx.checker.check_model(proto)
    feeds = {"x": np.full((8, 64), 255.0, np.float32)}
    exact = np.full((8, 32), 40000.0 * np.rint(64 * 255 * 127 / 40000.0), np.float32)
    for optimised in (False, True):
        found = session(proto, optimised=optimised, threads=1).run(None, feeds)[0]
        np.testing.assert_array_equal(found, exact)
