"""Products of 8-bit codes are exact on every processor, in sessions that onnxruntime optimises too."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.model.exact_codes import unshared
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


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mlperf_resnet8_int8", "mlperf_kws_int8"])
def test_layers_that_share_a_zero_point_run_as_they_do_unoptimised(shared: Path, name: str) -> None:
    proto = onnx.load(shared / "data" / "zoo" / f"{name}.onnx")
    assert unshared(proto) is not proto
    assert unshared(unshared(proto)).graph == unshared(proto).graph
    plain, optimised = (session(proto, optimised=one, threads=1) for one in (False, True))
    (given,) = plain.get_inputs()
    sizes = [64, *(size for size in given.shape[1:])]
    feeds = {given.name: np.random.default_rng(0).integers(-128, 128, sizes).astype(np.int8)}
    one, other = (found.run(None, feeds)[0].astype(int) for found in (plain, optimised))
    assert np.abs(one - other).max() <= 4  # a step of a layer's codes, rounded otherwise; saturation: 29
    assert np.array_equal(one.argmax(1), other.argmax(1))
