"""Float weights that the graph itself quantizes are stored as the codes that it makes of them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faultsim.device import load_device
from faultsim.errors import DeviceError
from faultsim.formats import BinaryFormat, IntFormat
from faultsim.model import load_model

F = np.float32


def _model(quantize: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    weight = np.linspace(-1, 1, 12, dtype=F).reshape(4, 3)
    graph = helper.make_graph(
        [*quantize, helper.make_node("MatMul", ["x", "wq"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(a, n) for n, a in {"w": weight, **constants}.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _quant(bits: float, **attributes: int) -> onnx.ModelProto:
    node = helper.make_node(
        "Quant", ["w", "s", "z", "b"], ["wq"], domain="qonnx.custom_op.general", rounding_mode="ROUND", **attributes
    )
    return _model([node], {"s": np.full((1, 3), 0.25, F), "z": np.zeros((), F), "b": np.array(bits, F)})


def test_a_weight_behind_quant_is_stored_in_its_own_bits():
    model = load_model(_quant(4.0, signed=1, narrow=1))
    site = model.site("w")
    assert isinstance(site.quantizer, IntFormat)
    assert (site.quantizer.bits, site.quantizer.signed, site.quantizer.narrow) == (4, True, True)
    stored = load_device("sram_low_voltage").store({"w": (site, model.numbers["w"])})["w"]
    assert stored.format.name == "int4"
    seen = {}
    model.run({"x": np.eye(4, dtype=F)}, observer=lambda node, name, value: seen.setdefault(name, value))
    assert np.array_equal(stored.values, seen["wq"].numpy())  # what Quant makes of the weight, exactly


def test_a_weight_behind_bipolar_quant_has_one_bit():
    node = helper.make_node("BipolarQuant", ["w", "s"], ["wq"], domain="qonnx.custom_op.general")
    site = load_model(_model([node], {"s": np.array(0.5, F)})).site("w")
    assert site.quantizer == BinaryFormat(0.5)


def test_a_float_weight_before_quantize_linear_has_the_codes_type():
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["wq"], axis=1),
    ]
    constants = {"s": np.array([0.1, 0.2, 0.3], F), "z": np.zeros(3, np.int8)}
    site = load_model(_model(nodes, {**constants, "z": np.array([0, 3, -2], np.int8)})).site("w")
    assert site.quantizer == IntFormat(8, scale=[[0.1, 0.2, 0.3]], zero_point=[[0, 3, -2]])
    constants["z"] = np.zeros((), np.int8)
    constants["s"] = np.array(0.1, F)
    site = load_model(_model(nodes, constants)).site("w")
    assert isinstance(site.quantizer, IntFormat)
    assert (site.quantizer.name, float(site.quantizer.scale)) == ("int8", pytest.approx(0.1))


def test_a_plain_float_weight_has_no_quantizer():
    assert load_model(_model([helper.make_node("Identity", ["w"], ["wq"])], {})).site("w").quantizer is None


def test_more_bits_than_the_memory_has_are_refused():
    model = load_model(_quant(12.0, signed=1, narrow=0))
    with pytest.raises(DeviceError, match="the graph quantizes it to 12 bits"):
        load_device("sram_low_voltage").store({"w": (model.site("w"), model.numbers["w"])})


@pytest.mark.parametrize(
    ("zero_point", "name"),
    [
        (helper.make_tensor("z", TensorProto.INT16, [], [0]), "int16"),
        (helper.make_tensor("z", TensorProto.UINT16, [], [32768]), "uint16"),
        (helper.make_tensor("z", TensorProto.INT4, [], [0]), "int4"),
        (helper.make_tensor("z", TensorProto.UINT4, [], [8]), "uint4"),
        (helper.make_tensor("z", TensorProto.INT8, [], [0]), "int8"),
        (None, "uint8"),
    ],
)
def test_what_the_graph_makes_of_a_float_weight_is_what_is_stored(zero_point, name):
    extra = ["z"] if zero_point is not None else []
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", *extra], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", *extra], ["wq"]),
    ]
    model = _model(nodes, {"s": np.array(0.3 if "4" in name else 2.0**-9, F)})
    if zero_point is not None:
        model.graph.initializer.append(zero_point)
    model.opset_import[0].version = 21
    model.ir_version = 10
    loaded = load_model(model)
    site = loaded.site("w")
    assert site.quantizer is not None
    assert site.quantizer.name == name
    seen = {}
    loaded.run({"x": np.eye(4, dtype=F)}, observer=lambda node, out, value: seen.setdefault(out, value))
    values = loaded.numbers["w"]
    assert np.allclose(site.quantizer.decode(site.quantizer.encode(values)), seen["wq"].numpy(), atol=1e-7)
