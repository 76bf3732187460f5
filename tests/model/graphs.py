"""Small graphs of every kind, built by hand: what the tests of loading, sites and write-back share. No test here."""

from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F = np.float32
node = helper.make_node


def numbers(*shape: int, seed: int = 0, dtype: type = F) -> np.ndarray:
    """Seeded numbers, at most 2 in size."""
    return np.clip(np.random.default_rng(seed + sum(shape)).normal(0, 0.5, shape), -2, 2).astype(dtype)


def codes(*shape: int, seed: int = 0, low: int = -127, high: int = 127, dtype: type = np.int8) -> np.ndarray:
    return np.random.default_rng(seed + sum(shape)).integers(low, high + 1, shape).astype(dtype)


def tensor(name: str, array: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def typed(name: str, array: np.ndarray, elem: int) -> TensorProto:
    """The same numbers in the typed field (float_data, int32_data), not as raw bytes."""
    return helper.make_tensor(name, elem, array.shape, array.reshape(-1).tolist())


def value(name: str, shape: Sequence[int | str], elem: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[TensorProto],
    shape: Sequence[int | str] = ("N", 6),
    *,
    elem: int = TensorProto.FLOAT,
    rank: int = 2,
    opset: int = 21,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """One input ``x``, one float output ``y`` of free sizes."""
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    graph = helper.make_graph(
        list(nodes), "net", [value("x", shape, elem)], [value("y", [f"d{i}" for i in range(rank)])], list(weights)
    )
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return node("Constant", [], [name], value=tensor(name, array), name=f"make_{name}")


def mlp() -> onnx.ModelProto:
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"], name="first", transB=1),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "w2"], ["m"], name="second"),
        node("Add", ["m", "b2"], ["y"], name="add"),
    ]
    weights = {"w1": numbers(8, 6), "b1": numbers(8), "w2": numbers(8, 4), "b2": numbers(4)}
    return model(nodes, [tensor(n, a) for n, a in weights.items()])


def mlp_sparse() -> onnx.ModelProto:
    """The same network whose second weight is stored sparse, a third of its numbers."""
    made = mlp()
    whole = numpy_helper.to_array(made.graph.initializer[2]).reshape(-1)
    kept = np.arange(0, whole.size, 3)
    del made.graph.initializer[2]
    sparse = made.graph.sparse_initializer.add(dims=[8, 4])
    sparse.values.CopyFrom(tensor("w2", whole[kept]))
    sparse.indices.CopyFrom(tensor("places", kept))
    return made


def mlp_typed_fields() -> onnx.ModelProto:
    made = mlp()
    for i, stored in enumerate(list(made.graph.initializer)):
        made.graph.initializer[i].CopyFrom(typed(stored.name, numpy_helper.to_array(stored), TensorProto.FLOAT))
    return made


def mlp_constant_nodes() -> onnx.ModelProto:
    made = mlp()
    fresh = [constant(t.name, numpy_helper.to_array(t)) for t in made.graph.initializer]
    nodes = [*fresh, *made.graph.node]
    del made.graph.initializer[:], made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def mlp_initializers_as_inputs() -> onnx.ModelProto:
    made = mlp()
    made.graph.input.extend(value(t.name, list(t.dims)) for t in made.graph.initializer)
    return made


def mlp_in(dtype: type, elem: int) -> onnx.ModelProto:
    """The same network whose weights are narrow or wide, between casts."""
    made = mlp()
    for i, stored in enumerate(list(made.graph.initializer)):
        made.graph.initializer[i].CopyFrom(tensor(stored.name, numpy_helper.to_array(stored).astype(dtype)))
    made.graph.node[0].input[0] = "xc"
    made.graph.node[-1].output[0] = "yc"
    nodes = [node("Cast", ["x"], ["xc"], to=elem), *made.graph.node, node("Cast", ["yc"], ["y"], to=TensorProto.FLOAT)]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def mlp_float16() -> onnx.ModelProto:
    return mlp_in(np.float16, TensorProto.FLOAT16)


def mlp_float64() -> onnx.ModelProto:
    return mlp_in(np.float64, TensorProto.DOUBLE)


def mlp_bfloat16() -> onnx.ModelProto:
    return mlp_in(ml_dtypes.bfloat16, TensorProto.BFLOAT16)


def mlp_bfloat16_weights() -> onnx.ModelProto:
    """Weights in bfloat16, widened before use, so that onnxruntime can run it."""
    made = mlp()
    for i, stored in enumerate(list(made.graph.initializer)):
        array = numpy_helper.to_array(stored).astype(ml_dtypes.bfloat16)
        made.graph.initializer[i].CopyFrom(tensor(stored.name + "_16", array))
    casts = [node("Cast", [t.name], [t.name.removesuffix("_16")], to=TensorProto.FLOAT) for t in made.graph.initializer]
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def branches() -> onnx.ModelProto:
    """Weights inside the two bodies of an If; the batch's first number decides."""

    def body(name: str, seed: int) -> onnx.GraphProto:
        nodes = [node("Gemm", ["x", "w", "b"], ["o"], name="inner")]
        weights = [tensor("w", numbers(6, 4, seed=seed)), tensor("b", numbers(4, seed=seed))]
        return helper.make_graph(nodes, name, [], [value("o", ["N", 4])], weights)

    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], name="if", then_branch=body("then", 1), else_branch=body("else", 2)),
    ]
    return model(nodes, [tensor("zero", F(0))])


def loop() -> onnx.ModelProto:
    """A recurrent step of three turns whose weight is a Constant node inside the body."""
    body = helper.make_graph(
        [
            constant("w", numbers(6, 6)),
            node("MatMul", ["state", "w"], ["m"], name="step"),
            node("Tanh", ["m"], ["next"]),
            node("Identity", ["go"], ["on"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", ["N", 6])],
        [value("on", [], TensorProto.BOOL), value("next", ["N", 6])],
    )
    nodes = [node("Loop", ["turns", "", "x"], ["y"], name="loop", body=body)]
    return model(nodes, [tensor("turns", np.int64(3))])


def qdq(*, per_channel: bool = True) -> onnx.ModelProto:
    """A Gemm with int8 weights and int32 biases behind DequantizeLinear, and a quantized input."""
    scale = np.linspace(0.004, 0.02, 4, dtype=F) if per_channel else F(0.01)
    zero = np.zeros(4, np.int8) if per_channel else np.int8(0)
    axis = {"axis": 0} if per_channel else {}
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["xq"], name="q"),
        node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"], name="dq"),
        node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], name="dqw", **axis),
        node("DequantizeLinear", ["b", "sb"], ["bd"], name="dqb", **axis),
        node("Gemm", ["xd", "wd", "bd"], ["y"], name="gemm", transB=1),
    ]
    weights = [
        tensor("sx", F(0.05)),
        tensor("zx", np.uint8(128)),
        tensor("w", codes(4, 6)),
        tensor("sw", scale),
        tensor("zw", zero),
        tensor("b", codes(4, low=-900, high=900, dtype=np.int32)),
        tensor("sb", np.asarray(scale * F(0.05))),
    ]
    return model(nodes, weights)


def qcdq_4bit() -> onnx.ModelProto:
    """What Brevitas writes for 4-bit weights: an int8 tensor behind Clip(-7, 7), never INT4."""
    nodes = [
        node("Clip", ["w", "low", "high"], ["wc"], name="clip"),
        node("DequantizeLinear", ["wc", "sw", "zw"], ["wd"], name="dqw", axis=0),
        node("Gemm", ["x", "wd"], ["y"], name="gemm", transB=1),
    ]
    weights = [
        tensor("w", codes(4, 6, low=-7, high=7)),
        tensor("low", np.int8(-7)),
        tensor("high", np.int8(7)),
        tensor("sw", np.linspace(0.1, 0.3, 4, dtype=F)),
        tensor("zw", np.zeros(4, np.int8)),
    ]
    return model(nodes, weights)


def real_int4() -> onnx.ModelProto:
    """Weights in ONNX's own INT4, two a byte."""
    nodes = [
        node("DequantizeLinear", ["w", "sw"], ["wd"], name="dqw", axis=1),
        node("MatMul", ["x", "wd"], ["y"], name="matmul"),
    ]
    w = codes(6, 4, low=-8, high=7).astype(ml_dtypes.int4)
    return model(nodes, [tensor("w", w), tensor("sw", np.linspace(0.1, 0.3, 4, dtype=F))])


def qoperator() -> onnx.ModelProto:
    """QLinearConv, per channel, with int32 bias."""
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["xq"], name="q"),
        node("QLinearConv", ["xq", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"], ["yq"], name="conv"),
        node("DequantizeLinear", ["yq", "sy", "zy"], ["y"], name="dq"),
    ]
    weights = [
        tensor("sx", F(0.05)),
        tensor("zx", np.uint8(128)),
        tensor("w", codes(4, 3, 3, 3)),
        tensor("sw", np.linspace(0.01, 0.02, 4, dtype=F)),
        tensor("zw", np.zeros(4, np.int8)),
        tensor("sy", F(0.1)),
        tensor("zy", np.uint8(120)),
        tensor("b", codes(4, low=-900, high=900, dtype=np.int32)),
    ]
    return model(nodes, weights, ("N", 3, 6, 6), rank=4)


def conv_bn() -> onnx.ModelProto:
    """Input normalisation, a convolution, a norm, a depthwise convolution with bias, a grouped one."""
    nodes = [
        node("Sub", ["x", "mean"], ["x0"], name="centre"),
        node("Div", ["x0", "std"], ["x1"], name="divide"),
        node("Conv", ["x1", "w1"], ["c1"], name="conv", pads=[1] * 4),
        node("BatchNormalization", ["c1", "g", "o", "m", "v"], ["n1"], name="bn"),
        node("Relu", ["n1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], name="depthwise", group=4),
        node("Conv", ["c2", "w3", "b3"], ["c3"], name="grouped", group=2),
        node("ConvTranspose", ["c3", "w4"], ["y"], name="up"),
    ]
    shapes = {"w1": (4, 3, 3, 3), "g": (4,), "o": (4,), "m": (4,), "w2": (4, 1, 3, 3), "b2": (4,)}
    shapes |= {"w3": (6, 2, 1, 1), "b3": (6,), "w4": (6, 5, 2, 2)}
    weights = [tensor(n, numbers(*s)) for n, s in shapes.items()]
    weights += [tensor("mean", numbers(1, 3, 1, 1)), tensor("std", np.full((1, 3, 1, 1), 0.5, F))]
    return model(nodes, [*weights, tensor("v", np.full(4, 0.7, F))], ("N", 3, 6, 6), rank=4)


def text_net() -> onnx.ModelProto:
    """Embedding, positions, LayerNorm, LSTM, a masked addition and a tied output projection."""
    nodes = [
        node("Gather", ["table", "x"], ["e"], name="embed"),
        node("Add", ["e", "positions"], ["p"], name="place"),
        node("LayerNormalization", ["p", "gain", "offset"], ["n"], name="ln"),
        node("Transpose", ["n"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "W", "R", "B"], ["h"], name="lstm", hidden_size=4),
        node("Squeeze", ["h", "one"], ["s"]),
        node("Add", ["s", "mask"], ["masked"], name="mask_add"),
        node("Relu", ["masked"], ["relu"]),
        node("Transpose", ["table"], ["back"], perm=[1, 0]),
        node("MatMul", ["relu", "back"], ["y"], name="project"),
    ]
    shapes = {"table": (9, 4), "positions": (1, 5, 4), "gain": (4,), "offset": (4,)}
    shapes |= {"W": (1, 16, 4), "R": (1, 16, 4), "B": (1, 32)}
    mask = np.where(np.arange(5)[:, None, None] > 2, -1e9, 0.0).astype(F)
    weights = [tensor(n, numbers(*s)) for n, s in shapes.items()]
    weights += [tensor("one", np.array([1], np.int64)), tensor("mask", mask)]
    return model(nodes, weights, ("N", 5), elem=TensorProto.INT64, rank=3)


def through_carriers() -> onnx.ModelProto:
    """One weight behind Identity, Reshape and Transpose; the other used twice."""
    nodes = [
        node("Identity", ["w"], ["w_same"]),
        node("Reshape", ["w_same", "to"], ["w_grid"]),
        node("Transpose", ["w_grid"], ["w_turned"], perm=[1, 0]),
        node("MatMul", ["x", "w_turned"], ["a"], name="turned"),
        node("MatMul", ["a", "shared"], ["b"], name="once"),
        node("MatMul", ["b", "shared"], ["y"], name="twice"),
    ]
    weights = [tensor("w", numbers(24)), tensor("to", np.array([4, 6])), tensor("shared", numbers(4, 4))]
    return model(nodes, weights)


def quant() -> onnx.ModelProto:
    """QONNX: float weights behind Quant."""
    nodes = [
        node("Quant", ["w", "s", "z", "bits"], ["wq"], name="quant", domain="qonnx.custom_op.general",
             signed=1, narrow=1, rounding_mode="ROUND"),
        node("MatMul", ["x", "wq"], ["y"], name="matmul"),
    ]  # fmt: skip
    weights = [tensor("w", numbers(6, 4)), tensor("s", F(0.1)), tensor("z", F(0)), tensor("bits", F(4))]
    return model(nodes, weights, domains=["qonnx.custom_op.general"])


ALL: dict[str, Callable[[], onnx.ModelProto]] = {
    f.__name__: f
    for f in (
        mlp, mlp_typed_fields, mlp_constant_nodes, mlp_initializers_as_inputs, mlp_float16, mlp_float64, mlp_bfloat16,
        mlp_bfloat16_weights, branches, loop, qdq, qcdq_4bit, real_int4, qoperator, conv_bn, text_net,
        through_carriers, quant,
    )
}  # fmt: skip


def feeds(proto: onnx.ModelProto, rows: int = 3, seed: int = 5) -> dict[str, np.ndarray]:
    """A batch for ``x``."""
    kind = proto.graph.input[0].type.tensor_type
    shape = [rows if d.dim_param else d.dim_value for d in kind.shape.dim]
    rng = np.random.default_rng(seed)
    if kind.elem_type == TensorProto.INT64:
        return {"x": rng.integers(0, 9, shape)}
    return {"x": rng.normal(size=shape).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))}
