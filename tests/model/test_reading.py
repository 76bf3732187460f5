"""How the graph reads a constant: real bits, the quantizer's own codes, channels; what no format tells is said."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment.left_out import untold
from faultsim.campaign.storage import _deployed
from faultsim.corruption import Add, Stored, Xor, apply_edit
from faultsim.formats import BinaryFormat, FloatFormat, IntFormat
from faultsim.model import load_model

F = np.float32
QONNX = "qonnx.custom_op.general"
W = np.array([[1, -1, 0.5], [0.03, -0.04, 0.05], [0.7, 0.2, -0.3], [-0.9, 0.01, 1]], F)


def _model(nodes, constants, *, outputs=None, rows=4, op="MatMul", **attributes):
    """``y = x · wq`` behind *nodes*, or another *op* of x and wq."""
    graph = helper.make_graph(
        [*nodes, helper.make_node(op, ["x", "wq"], ["y"], "product", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [a if isinstance(a, onnx.TensorProto) else numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(QONNX, 1), helper.make_opsetid("com.microsoft", 1)]
    return load_model(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def _same_as_computed(model, name="w", seen="wq"):
    """Return whether what is stored as deployed is what the graph computes with."""
    values = {}
    model.run({"x": np.eye(4, dtype=F)}, observer=lambda node, out, value: values.setdefault(out, value))
    return np.allclose(_deployed(model.site(name), model.numbers[name]).values, values[seen].numpy(), atol=1e-7)


def _quantize(*, axis=1):
    return [
        helper.make_node("QuantizeLinear", ["wc", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["wq"], axis=axis),
    ]


def test_a_clip_of_real_weights_before_they_are_quantized_says_nothing_about_bits():
    nodes = [helper.make_node("Clip", ["w", "low", "high"], ["wc"]), *_quantize()]
    limits = {"low": np.array(-1, F), "high": np.array(1, F)}
    model = _model(nodes, {"w": W, **limits, "s": np.array(0.01, F), "z": np.array(0, np.int8)})
    assert model.site("w").quantizer == IntFormat(8, scale=np.float64(np.float32(0.01)))
    assert _same_as_computed(model)


@pytest.mark.parametrize("high", [1.0, np.inf])
def test_a_clip_behind_the_dequantizer_says_nothing_about_bits(high):
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"]), helper.make_node("Clip", ["d", "l", "h"], ["wq"])]
    codes = np.full((4, 3), 100, np.int8)
    model = _model(nodes, {"w": codes, "s": np.array(0.01, F), "l": np.array(0, F), "h": np.array(high, F)})
    site = model.site("w")
    assert (site.format, site.code_bits) == (IntFormat(8, dtype="int8"), None)
    flipped = apply_edit(Xor(indices=np.array([0]), masks=np.array([1], np.uint64)), Stored(site, site.format, codes))
    assert flipped[0, 0] == 101


def test_unsigned_codes_in_a_signed_container_keep_their_upper_half():
    nodes = [helper.make_node("Clip", ["w", "l", "h"], ["c"]), helper.make_node("DequantizeLinear", ["c", "s"], ["wq"])]
    codes = np.arange(12, dtype=np.int8).reshape(4, 3) + 4
    model = _model(nodes, {"w": codes, "s": np.array(0.01, F), "l": np.array(0, np.int8), "h": np.array(15, np.int8)})
    kept = model.site("w").format
    assert kept == IntFormat(4, signed=False, dtype="int8")
    assert np.array_equal(kept.decode(kept.encode(codes)), codes)


def test_two_quantizers_of_parts_of_one_weight_are_not_one_format():
    nodes = [
        helper.make_node("Split", ["w"], ["a", "b"], axis=0, num_outputs=2),
        *(
            helper.make_node(op, [src, f"s{p}", "z"], [dst])
            for p in "ab"
            for op, src, dst in (("QuantizeLinear", p, f"q{p}"), ("DequantizeLinear", f"q{p}", f"d{p}"))
        ),
        helper.make_node("Concat", ["da", "db"], ["wq"], axis=0),
    ]
    scales = {"sa": np.array(0.01, F), "sb": np.array(0.001, F), "z": np.array(0, np.int8)}
    site = _model(nodes, {"w": W, **scales}).site("w")
    assert site.quantizer is None
    assert site.untold


def test_one_weight_that_is_quantized_twice_in_two_ways_has_no_one_format():
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["wq"]),
        helper.make_node("QuantizeLinear", ["w", "t", "z"], ["q2"]),
        helper.make_node("DequantizeLinear", ["q2", "t", "z"], ["unused"]),
    ]
    constants = {"w": W, "s": np.array(0.01, F), "t": np.array(0.02, F), "z": np.array(0, np.int8)}
    assert _model(nodes, constants).site("w").quantizer is None
    same = _model([*nodes[:2], *nodes[2:]], {**constants, "t": np.array(0.02, F)})
    assert same.site("w").untold
    nodes[2].input[1] = nodes[3].input[1] = "s"
    assert _model(nodes, constants).site("w").quantizer is not None


def test_scales_of_channels_follow_a_transpose():
    square = np.arange(16, dtype=F).reshape(4, 4) / 17
    nodes = [helper.make_node("Transpose", ["w"], ["wc"], perm=[1, 0]), *_quantize()]
    scales = np.array([0.01, 0.1, 0.5, 0.02], F)
    model = _model(nodes, {"w": square, "s": scales, "z": np.zeros(4, np.int8)})
    assert np.shape(model.site("w").quantizer.scale) == (4, 1)
    stored = _deployed(model.site("w"), square).values
    seen = {}
    model.run({"x": np.eye(4, dtype=F)}, observer=lambda node, out, value: seen.setdefault(out, value))
    assert np.allclose(stored.T, seen["wq"].numpy(), atol=1e-7)


@pytest.mark.parametrize(("mode", "known"), [("ROUND", True), ("HALF_EVEN", True), ("FLOOR", False), ("CEIL", False)])
def test_only_rounding_to_the_nearest_is_a_format(mode, known):
    node = helper.make_node("Quant", ["w", "s", "z", "b"], ["wq"], domain=QONNX, rounding_mode=mode, signed=1, narrow=0)
    model = _model([node], {"w": W, "s": np.array(0.1, F), "z": np.array(0, F), "b": np.array(4, F)})
    assert (model.site("w").quantizer is not None) is known
    assert model.site("w").untold is not known
    if known:
        assert _same_as_computed(model)


def test_binary_weights_with_a_scale_of_each_channel_have_one_bit():
    node = helper.make_node("BipolarQuant", ["w", "s"], ["wq"], domain=QONNX)
    model = _model([node], {"w": W, "s": np.array([[0.5, 0.25, 2.0]], F)})
    assert model.site("w").quantizer == BinaryFormat([[0.5, 0.25, 2.0]])
    assert _same_as_computed(model)


def test_weights_that_no_format_tells_are_named():
    node = helper.make_node("Quant", ["w", "s", "z", "b"], ["wq"], domain=QONNX, rounding_mode="FLOOR", signed=1)
    model = _model([node], {"w": W, "s": np.array(0.1, F), "z": np.array(0, F), "b": np.array(4, F)})

    def said(model):
        return untold(SimpleNamespace(stored={"w": Stored(model.site("w"), FloatFormat("float32"), W)}))

    assert said(model)[0].startswith("The graph quantizes w in a way that no number format here tells")
    assert said(_model([helper.make_node("Identity", ["w"], ["wq"])], {"w": W})) == []


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "swap", "axis"),
    [
        ("FusedMatMul", (5, 4), {"transB": 1, "domain": "com.microsoft"}, False, 0),
        ("FusedMatMul", (4, 5), {"domain": "com.microsoft"}, False, 1),
        ("Einsum", (5, 4), {"equation": "bi,oi->bo"}, False, 0),
        ("Einsum", (4, 5), {"equation": "bi,io->bo"}, False, 1),
        ("Gemm", (5, 4), {"transB": 1}, False, 0),
        ("Gemm", (4, 5), {}, False, 1),
        ("Gemm", (5, 4), {"transB": 1}, True, 0),
        ("Gemm", (4, 5), {"transA": 1, "transB": 1}, True, 1),
    ],
)
def test_channels_of_a_product_are_those_of_its_result(op, shape, attributes, swap, axis):
    graph = helper.make_graph(
        [helper.make_node(op, ["w", "x"] if swap else ["x", "w"], ["y"], "product", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(shape, F), "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = load_model(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    moved = np.ones(shape, F)
    np.moveaxis(moved, axis, 0)[2] = 2  # one channel alone moves in the result
    x = np.ones((3, 4), F)
    changed = model.run({"x": x}, {"w": moved})["y"] != model.run({"x": x})["y"]
    assert changed.any(0).sum() == (3 if swap else 1) or changed.any(1).sum() == 1
    assert model.site("w").channel_axis == axis


@pytest.mark.parametrize(
    ("kind", "name", "bits"),
    [
        (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn", 8),
        (TensorProto.FLOAT8E5M2, "float8_e5m2", 8),
        (TensorProto.FLOAT8E4M3FNUZ, "float8_e4m3fnuz", 8),
        (TensorProto.FLOAT8E5M2FNUZ, "float8_e5m2fnuz", 8),
        (TensorProto.FLOAT4E2M1, "float4_e2m1fn", 4),
    ],
)
def test_narrow_floats_are_stored_in_their_own_bits_and_run(kind, name, bits):
    tensor = helper.make_tensor("w", kind, [4, 3], [1.0, -1.0, 0.5, 2.0] * 3)
    model = _model([helper.make_node("Cast", ["w"], ["wq"], to=TensorProto.FLOAT)], {"w": tensor})
    site, values = model.site("w"), model.numbers["w"]
    assert (site.format, site.format.bits) == (FloatFormat(name), bits)
    x = np.eye(4, dtype=F)
    assert np.array_equal(model.run({"x": x}, {"w": values})["y"], model.run({"x": x})["y"])
    top = np.array([1 << (bits - 1)], np.uint64)
    stored = Stored(site, site.format, site.format.decode(site.format.encode(values)))
    flipped = apply_edit(Xor(indices=np.array([1]), masks=top), stored)
    assert flipped.reshape(-1)[1] == 1.0
    assert model.run({"x": x}, {"w": flipped})["y"][0, 1] == 1.0
    assert model.with_numbers({"w": flipped})


def test_a_delta_stays_in_the_codes_that_the_tensor_can_hold():
    tensor = helper.make_tensor("w", TensorProto.INT4, [4, 3], [7, -8, 0, 1] * 3)
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["wq"])]
    model = _model(nodes, {"w": tensor, "s": np.array(1, F)})
    site = model.site("w")
    stored = Stored(site, site.format, model.numbers["w"])
    moved = apply_edit(Add(indices=np.array([0, 1, 2]), delta=np.array([5.0, -5.0, 3.0])), stored)
    assert moved.reshape(-1)[:4].tolist() == [7, -8, 3, 1]
    assert model.with_numbers({"w": moved})


def test_names_that_run_in_a_circle_through_a_body_do_not_hang():
    then = helper.make_graph(
        [helper.make_node("Identity", ["b"], ["a"]), helper.make_node("DequantizeLinear", ["w", "a"], ["t"])],
        "then", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["w", "b"], ["e"])],
        "else", [], [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("If", ["c"], ["wq"], then_branch=then, else_branch=other),
    ]
    constants = {"w": np.ones((4, 3), np.int8), "a": np.array(0.5, F), "c": np.array(True)}
    assert _model(nodes, constants).run({"x": np.eye(4, dtype=F)})["y"][0, 0] == 0.5
