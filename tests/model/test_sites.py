"""Which tensors are sites and what each is to its layer, on small graphs and on the real models beside the checkout."""

from collections import Counter

import numpy as np
import pytest
from graphs import (
    ALL,
    F,
    branches,
    codes,
    constant,
    conv_bn,
    loop,
    mlp,
    mlp_sparse,
    model,
    node,
    numbers,
    qcdq_4bit,
    qdq,
    qoperator,
    quant,
    real_int4,
    tensor,
    text_net,
    through_carriers,
)

from faultsim.formats import IntFormat
from faultsim.model import load_model
from faultsim.model.stored import sparse_names


def facts(proto, *names):
    """Layer, kind, role, depth and channel axis by site name."""
    loaded = load_model(proto)
    wanted = names or [s.name for s in loaded.sites]
    return {n: (s.layer, s.kind, s.role, s.depth, s.channel_axis) for n in wanted for s in [loaded.site(n)]}


def test_dense_layers_in_every_way_of_storing_them():
    expected = {
        "w1": ("first", "gemm", "weight", 0, 0),  # transB: output channels first
        "b1": ("first", "gemm", "bias", 0, 0),
        "w2": ("second", "gemm", "weight", 1, 1),
        "b2": ("add", "gemm", "bias", 1, 0),  # an Add right after a MatMul is its bias
    }
    for name in ("mlp", "mlp_typed_fields", "mlp_constant_nodes", "mlp_initializers_as_inputs", "mlp_float16"):
        assert facts(ALL[name]()) == expected, name


@pytest.mark.parametrize(
    ("name", "format_"),
    [("mlp", "float32"), ("mlp_float16", "float16"), ("mlp_float64", "float64"), ("mlp_bfloat16", "bfloat16")],
)
def test_format_is_the_stored_type(name, format_):
    assert {s.format.name for s in load_model(ALL[name]()).sites} == {format_}


def test_convolutions_and_norms():
    assert facts(conv_bn()) == {
        "mean": ("centre", "elementwise", "constant", 0, 1),  # input normalisation is no parameter
        "std": ("divide", "elementwise", "constant", 0, 1),
        "w1": ("conv", "conv", "weight", 0, 0),
        "g": ("bn", "norm", "norm", 1, 0),
        "o": ("bn", "norm", "norm", 1, 0),
        "m": ("bn", "norm", "norm", 1, 0),
        "v": ("bn", "norm", "norm", 1, 0),
        "w2": ("depthwise", "depthwise", "weight", 2, 0),
        "b2": ("depthwise", "depthwise", "bias", 2, 0),
        "w3": ("grouped", "conv", "weight", 3, 0),  # two channels a group: not depthwise
        "b3": ("grouped", "conv", "bias", 3, 0),
        "w4": ("up", "conv", "weight", 4, 1),
    }


def test_text_layers():
    found = facts(text_net())
    assert found == {
        "table": ("embed", "embedding", "weight", 0, 0),
        "positions": ("place", "elementwise", "bias", 0, found["positions"][4]),
        "gain": ("ln", "norm", "norm", 1, 0),
        "offset": ("ln", "norm", "norm", 1, 0),
        "W": ("lstm", "recurrent", "weight", 2, 1),
        "R": ("lstm", "recurrent", "weight", 2, 1),
        "B": ("lstm", "recurrent", "bias", 2, 1),
        "mask": ("mask_add", "elementwise", "constant", 2, 0),  # -1e9 shuts positions out: no parameter
    }


def test_carriers_and_shared_weights():
    found = facts(through_carriers())
    assert found["w"] == ("turned", "gemm", "weight", 0, 0)
    assert found["shared"] == ("once", "gemm", "weight", 1, 1)
    assert len(found) == 2, "the target shape of Reshape is no site"


def test_channel_axis_goes_back_through_transposes():
    nodes = [node("Transpose", ["w"], ["t"], perm=[1, 2, 0]), node("MatMul", ["x", "t"], ["y"])]
    proto = model(nodes, [tensor("w", numbers(4, 3, 6))], ("N", 3, 2, 6), rank=4)
    assert load_model(proto).site("w").channel_axis == 0


def test_bodies_of_control_flow():
    found = facts(branches())
    weights = {n: f for n, f in found.items() if f[2] in ("weight", "bias")}
    assert set(weights) == {f"if/{b}_branch/{t}" for b in ("then", "else") for t in ("w", "b")}
    assert weights["if/then_branch/w"] == ("if/then_branch/inner", "gemm", "weight", 1, 1)
    assert weights["if/else_branch/b"] == ("if/else_branch/inner", "gemm", "bias", 0, 0)  # as the file orders them
    assert facts(loop()) == {"loop/body/w": ("loop/body/step", "gemm", "weight", 0, 1)}


@pytest.mark.parametrize("per_channel", [False, True])
def test_qdq(per_channel):
    loaded = load_model(qdq(per_channel=per_channel))
    weight, bias = loaded.site("w"), loaded.site("b")
    assert (weight.layer, weight.kind, weight.role, weight.channel_axis) == ("gemm", "gemm", "weight", 0)
    assert (bias.layer, bias.kind, bias.role) == ("gemm", "gemm", "bias")
    assert weight.format == IntFormat(8, dtype="int8")
    assert bias.format == IntFormat(32, dtype="int32")
    scale = loaded.numbers["sw"].astype(np.float64)
    np.testing.assert_allclose(weight.scale, scale.reshape(4, 1) if per_channel else scale)
    np.testing.assert_allclose(bias.scale, loaded.numbers["sb"])
    roles = {s.name: (s.role, s.kind, s.depth) for s in loaded.sites if s.name not in "wb"}
    assert roles == {
        "sx": ("scale", "quantization", 0),
        "zx": ("zero_point", "quantization", 0),
        "sw": ("scale", "quantization", 0),
        "zw": ("zero_point", "quantization", 0),
        "sb": ("scale", "quantization", 0),
    }
    assert loaded.site("zx").format == IntFormat(8, signed=False, dtype="uint8")


def test_4_bit_weights_behind_clip_have_4_bits():
    site = load_model(qcdq_4bit()).site("w")
    assert (site.format.bits, site.code_bits, site.format.dtype) == (4, 4, "int8")
    # A fault flips one of the four real bits, the sign is bit 3.
    words = site.format.encode(np.array([-1, 7, -7], np.int8))
    assert site.format.decode(words ^ np.uint64(8)).tolist() == [7, -1, 1]
    assert site.scale.shape == (4, 1)
    assert [s.name for s in load_model(qcdq_4bit()).sites] == ["sw", "zw", "w"], "limits of Clip are no sites"


@pytest.mark.parametrize(
    ("low", "high", "dtype", "bits"),
    [(-7, 7, np.int8, 4), (-8, 7, np.int8, 4), (-127, 127, np.int8, 8), (0, 15, np.uint8, 4), (-1, 1, np.int8, 2),
     (-2, 1, np.int8, 2), (0, 3, np.uint8, 2), (-31, 31, np.int8, 6), (0, 255, np.uint8, 8)],
)  # fmt: skip
def test_bits_behind_clip(low, high, dtype, bits):
    nodes = [
        node("Clip", ["w", "low", "high"], ["wc"]),
        node("DequantizeLinear", ["wc", "s"], ["wd"]),
        node("MatMul", ["x", "wd"], ["y"]),
    ]
    weights = [tensor("w", codes(6, 4, low=low, high=high, dtype=dtype)), tensor("s", F(0.1))]
    limits = [tensor("low", dtype(low)), tensor("high", dtype(high))]
    site = load_model(model(nodes, weights + limits)).site("w")
    assert (site.code_bits, site.format.bits) == (bits, bits)
    assert site.format.signed == (low < 0)


def test_onnx_int4_has_4_bits_without_clip():
    site = load_model(real_int4()).site("w")
    assert (site.format.bits, site.format.dtype, site.code_bits) == (4, "int8", None)
    assert site.scale.shape == (1, 4)
    assert site.channel_axis == 1


def test_qoperator():
    loaded = load_model(qoperator())
    weight, bias = loaded.site("w"), loaded.site("b")
    assert (weight.kind, weight.role, weight.channel_axis, weight.scale.shape) == ("conv", "weight", 0, (4, 1, 1, 1))
    assert (bias.kind, bias.role, bias.format.bits) == ("conv", "bias", 32)
    np.testing.assert_allclose(bias.scale, np.linspace(0.01, 0.02, 4, dtype=F).astype(np.float64) * F(0.05))
    assert Counter(s.role for s in loaded.sites) == {"weight": 1, "bias": 1, "scale": 3, "zero_point": 3}


def test_integer_matmul_of_the_quantizer():
    """QGemm with transB: per-channel scales run along axis 0, and a bias counts in steps of input times weight."""
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        node("QGemm", ["xq", "sx", "zx", "w", "sw", "zw", "b", "sy", "zy"], ["yq"], domain="com.microsoft", transB=1),
        node("DequantizeLinear", ["yq", "sy", "zy"], ["y"]),
    ]
    sw = np.linspace(0.01, 0.02, 4, dtype=F)
    weights = [tensor("sx", F(0.05)), tensor("zx", np.uint8(128)), tensor("w", codes(4, 6)), tensor("sw", sw)]
    weights += [tensor("zw", np.zeros(4, np.int8)), tensor("b", codes(4, dtype=np.int32)), tensor("sy", F(0.1))]
    loaded = load_model(model(nodes, [*weights, tensor("zy", np.uint8(128))], domains=["com.microsoft"]))
    np.testing.assert_allclose(loaded.site("w").scale, sw.astype(np.float64).reshape(4, 1))
    np.testing.assert_allclose(loaded.site("b").scale, sw.astype(np.float64) * F(0.05))


def test_codes_of_an_embedding_are_dequantized_after_the_look_up():
    nodes = [node("Gather", ["table", "x"], ["e"]), node("DequantizeLinear", ["e", "s"], ["y"])]
    proto = model(nodes, [tensor("table", codes(9, 4)), tensor("s", F(0.1))], elem=7, rank=3)
    site = load_model(proto).site("table")
    assert (site.kind, site.role, site.format.bits) == ("embedding", "weight", 8)
    np.testing.assert_allclose(site.scale, F(0.1))


def test_qonnx():
    found = {n: (f[1], f[2]) for n, f in facts(quant()).items()}
    assert found["w"] == ("gemm", "weight")
    assert found["s"] == ("quantization", "scale")
    assert found["z"] == ("quantization", "zero_point")
    assert found["bits"] == ("other", "constant")


def test_scale_shared_through_identity_is_found():
    proto = qdq(per_channel=False)
    proto.graph.node.insert(0, node("Identity", ["sw"], ["sw_same"]))
    next(n for n in proto.graph.node if n.name == "dqw").input[1] = "sw_same"
    site = load_model(proto).site("w")
    np.testing.assert_allclose(site.scale, F(0.01))


def test_scale_axis_behind_a_transpose():
    nodes = [
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("DequantizeLinear", ["t", "s"], ["d"], axis=0),
        node("Gemm", ["x", "d"], ["y"], transB=1),
    ]
    weights = [tensor("w", codes(6, 6)), tensor("s", np.linspace(0.1, 0.2, 6, dtype=F))]
    site = load_model(model(nodes, weights)).site("w")
    assert (site.scale.shape, site.channel_axis) == ((1, 6), 1)


def test_order_and_names():
    loaded = load_model(mlp())
    assert [s.name for s in loaded.sites] == ["w1", "b1", "w2", "b2"]
    assert [s.name for s in loaded.select(["bias"])] == ["b1", "b2"]
    for name, build in ALL.items():
        sites = load_model(build()).sites
        assert len({s.name for s in sites}) == len(sites), name
        model_numbers = load_model(build()).numbers
        assert all(model_numbers[s.name].shape == s.shape for s in sites), name


def test_a_constant_that_nothing_reads_is_no_site():
    proto = mlp()
    proto.graph.initializer.append(tensor("left_over", numbers(3, 3)))
    proto.graph.node.insert(0, constant("unused", numbers(2)))
    assert len(load_model(proto).sites) == 4


# Real models: counts by (role, kind).
REAL = {
    "cifar10_models/resnet20_cifar10.onnx": {
        ("weight", "conv"): 19, ("bias", "conv"): 19, ("weight", "gemm"): 1, ("bias", "gemm"): 1,
    },
    "cifar10_models/resnet32_cifar10.onnx": {
        ("weight", "conv"): 31, ("bias", "conv"): 31, ("weight", "gemm"): 1, ("bias", "gemm"): 1,
    },
    "cifar10_models/resnet56_cifar10.onnx": {
        ("weight", "conv"): 55, ("bias", "conv"): 55, ("weight", "gemm"): 1, ("bias", "gemm"): 1,
    },
    "cifar10_models/resnet20_cifar10_bn.onnx": {
        ("norm", "norm"): 76, ("weight", "conv"): 19, ("weight", "gemm"): 1, ("bias", "gemm"): 1,
    },
    "cifar10_models/plaincnn_cifar10.onnx": {
        ("weight", "conv"): 6, ("bias", "conv"): 6, ("norm", "elementwise"): 6, ("bias", "elementwise"): 6,
        ("weight", "gemm"): 3, ("bias", "gemm"): 3,
    },
    "zoo/mlperf_resnet8_float.onnx": {
        ("weight", "conv"): 9, ("bias", "conv"): 9, ("weight", "gemm"): 1, ("bias", "gemm"): 1,
    },
    "zoo/mlperf_resnet8_int8.onnx": {
        ("weight", "conv"): 9, ("bias", "conv"): 9, ("weight", "gemm"): 1, ("bias", "gemm"): 1,
    },
    "zoo/mlperf_kws_int8.onnx": {
        ("weight", "conv"): 5, ("bias", "conv"): 5, ("weight", "depthwise"): 4, ("bias", "depthwise"): 4,
        ("weight", "gemm"): 1, ("bias", "gemm"): 1,
    },
    "zoo/coral_mobilenet_v2_quant.onnx": {
        ("weight", "conv"): 36, ("bias", "conv"): 36, ("weight", "depthwise"): 17, ("bias", "depthwise"): 17,
    },
    "zoo/TFC_2W2A.onnx": {("weight", "gemm"): 4, ("norm", "norm"): 12},
}  # fmt: skip


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_models(name, shared):
    loaded = load_model(shared / "data" / name)
    chosen = loaded.select()
    assert Counter((s.role, s.kind) for s in chosen) == REAL[name]
    layers = sorted({s.depth for s in chosen})
    assert layers == list(range(len(layers))), "depth counts the layers without a gap"
    quantized = [s for s in chosen if isinstance(s.format, IntFormat)]
    if "int8" in name or "quant" in name:
        assert len(quantized) == len(chosen)
        assert all(s.scale is not None and (s.scale > 0).all() for s in chosen)


@pytest.mark.shared
def test_input_normalisation_of_resnet20_is_constant(shared):
    loaded = load_model(shared / "data/cifar10_models/resnet20_cifar10.onnx")
    assert len(loaded.select()) == 40
    assert {loaded.site(n).role for n in ("mean", "std")} == {"constant"}


def test_a_sparse_weight_is_no_site_and_is_named():
    proto = mlp_sparse()
    assert "w2" not in {site.name for site in load_model(proto).sites}
    assert sparse_names(proto) == ("w2",), "the weight, not the places of its numbers"
    assert sparse_names(mlp()) == ()
