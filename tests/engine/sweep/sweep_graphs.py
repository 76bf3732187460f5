"""Random graphs of layers that networks are made of, in floats or between QuantizeLinear and DequantizeLinear."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

IMAGE_LAYERS = (
    "conv", "conv1x1", "strided", "grouped", "depthwise", "transposed", "norm", "relu", "leaky", "clip", "sigmoid",
    "residual", "shortcut", "concat", "concat_first", "split", "maxpool", "avgpool", "scale", "slice_pad", "softmax",
)  # fmt: skip
TOKEN_LAYERS = ("matmul", "layernorm", "attention", "gelu", "residual", "softmax", "prelu")


class Net:
    """A graph that grows layer by layer.

    Args:
        seed: Of its numbers.
        quantized: Whether weights and activations are int8 codes between QuantizeLinear and DequantizeLinear.
        unsigned: Whether the activations' codes are uint8.
    """

    def __init__(self, seed: int, *, quantized: bool = False, unsigned: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.quantized = quantized
        self.codes = np.uint8 if unsigned else np.int8
        self.nodes: list = []
        self.weights: dict[str, NDArray] = {}
        self.count = 0

    def new(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def op(self, kind: str, inputs: Sequence[str], quiet: bool = False, **attributes) -> str:
        out = self.new()
        self.nodes.append(helper.make_node(kind, list(inputs), [out], f"{kind}_{out}", **attributes))
        return out if quiet or not self.quantized else self.requantized(out)

    def number(self, *shape: int, scale: float = 1.0, offset: float = 0.0) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = (self.rng.normal(size=shape) * scale + offset).astype(np.float32)
        return name

    def constant(self, array: NDArray) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = array
        return name

    def weight(self, *shape: int, axis: int = 0) -> str:
        fan = max(int(np.prod(shape)) // max(shape[axis], 1), 1)
        if not self.quantized:
            return self.number(*shape, scale=fan**-0.5)
        codes = self.constant(self.rng.integers(-127, 128, shape).astype(np.int8))
        per_channel = bool(self.rng.integers(2))
        size = (shape[axis],) if per_channel else ()
        scale = self.constant(
            np.abs(self.rng.normal(size=size) * 0.2 + 1).astype(np.float32) / np.float32(64 * fan**0.5)
        )
        zero = self.constant(np.zeros(size, np.int8))
        out = self.new()
        self.nodes.append(helper.make_node("DequantizeLinear", [codes, scale, zero], [out], axis=axis))
        return out

    def requantized(self, name: str) -> str:
        scale = self.constant(np.float32(self.rng.choice([0.02, 0.03, 0.05])).reshape(()))
        middle = 128 if self.codes is np.uint8 else 0
        zero = self.constant(np.array(middle + self.rng.integers(-20, 21), self.codes))
        coded, out = self.new(), self.new()
        self.nodes.append(helper.make_node("QuantizeLinear", [name, scale, zero], [coded]))
        self.nodes.append(helper.make_node("DequantizeLinear", [coded, scale, zero], [out]))
        return out

    def model(self, x: tuple[str, int, Sequence], y: str) -> ModelProto:
        name, kind, shape = x
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info(name, kind, shape)],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, one) for one, array in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def images(
    layers: Sequence[str], seed: int, *, quantized: bool = False, unsigned: bool = False, flat: str = "gemm"
) -> ModelProto:
    """Return a net on 3 x 8 x 8 images with three outputs."""
    net = Net(seed, quantized=quantized, unsigned=unsigned)
    at, channels, side = ("x" if not quantized else net.requantized("x")), 3, 8
    past: list[tuple[str, int, int]] = []
    for layer in layers:
        past.append((at, channels, side))
        at, channels, side = _image_layer(net, layer, at, channels, side, past)
    if flat == "gemm":
        at = net.op("Flatten", [net.op("GlobalAveragePool", [at])], quiet=True)
        y = net.op("Gemm", [at, net.weight(3, channels), net.number(3)], quiet=True, transB=1)
    elif flat == "gemm_wide":
        at = net.op("Flatten", [at], quiet=True)
        y = net.op("Gemm", [at, net.weight(channels * side * side, 3, axis=1), net.number(3)], quiet=True)
    else:
        shape = net.constant(np.array([-1, channels * side * side], np.int64))
        at = net.op("Reshape", [at, shape], quiet=True)
        y = net.op("MatMul", [at, net.weight(channels * side * side, 3, axis=1)], quiet=True)
        y = net.op("Add", [y, net.number(3)], quiet=True)
    return net.model(("x", TensorProto.FLOAT, ["N", 3, 8, 8]), y)


def _image_layer(net: Net, layer: str, at: str, c: int, side: int, past: list) -> tuple[str, int, int]:
    wide = int(net.rng.choice([4, 6, 8, 16]))
    bias = [net.number(wide, scale=0.3)] if net.rng.integers(2) and not net.quantized else []
    if layer == "conv":
        return net.op("Conv", [at, net.weight(wide, c, 3, 3), *bias], pads=[1] * 4), wide, side
    if layer == "conv1x1":
        return net.op("Conv", [at, net.weight(wide, c, 1, 1), *bias]), wide, side
    if layer == "strided" and side > 2:
        return net.op("Conv", [at, net.weight(wide, c, 2, 2), *bias], strides=[2, 2]), wide, side // 2
    if layer == "grouped" and c % 2 == 0:
        return net.op("Conv", [at, net.weight(wide, c // 2, 3, 3), *bias], pads=[1] * 4, group=2), wide, side
    if layer == "depthwise":
        double = int(net.rng.integers(1, 3))
        return net.op("Conv", [at, net.weight(c * double, 1, 3, 3)], pads=[1] * 4, group=c), c * double, side
    if layer == "transposed" and side <= 8:
        return net.op("ConvTranspose", [at, net.weight(c, wide, 3, 3, axis=1), *bias], pads=[1] * 4), wide, side
    if layer == "norm":
        scale, shift, mean = net.number(c, offset=1, scale=0.2), net.number(c, scale=0.2), net.number(c, scale=0.2)
        variance = net.constant(np.abs(net.rng.normal(size=c)).astype(np.float32) + np.float32(0.2))
        return net.op("BatchNormalization", [at, scale, shift, mean, variance]), c, side
    if layer in ("relu", "leaky", "sigmoid"):
        return net.op({"relu": "Relu", "leaky": "LeakyRelu", "sigmoid": "Sigmoid"}[layer], [at]), c, side
    if layer == "clip":
        low, high = (net.constant(np.float32(v).reshape(())) for v in (0.0, net.rng.choice([0.5, 6.0, 60.0])))
        return net.op("Clip", [at, low, high]), c, side
    if layer in ("residual", "shortcut"):
        for name, other, size in past[:-1]:
            if size == side and (other == c or layer == "shortcut"):
                if other != c:
                    name = net.op("Conv", [name, net.weight(c, other, 1, 1)])
                return net.op("Add", [at, name]), c, side
    if layer in ("concat", "concat_first"):
        for name, other, size in past[:-1]:
            if size == side and c + other <= 40:
                both = [name, at] if layer == "concat" else [at, name]
                return net.op("Concat", both, axis=1), c + other, side
    if layer == "split" and c % 2 == 0:
        one, two = net.new(), net.new()
        net.nodes.append(helper.make_node("Split", [at], [one, two], axis=1))
        return net.op("Mul", [one, net.op("Sigmoid", [two])]), c // 2, side
    if layer in ("maxpool", "avgpool") and side > 2:
        kind = "MaxPool" if layer == "maxpool" else "AveragePool"
        return net.op(kind, [at], kernel_shape=[2, 2], strides=[2, 2]), c, side // 2
    if layer == "scale":
        return net.op("Mul", [at, net.number(1, c, 1, 1, offset=1, scale=0.3)]), c, side
    if layer == "slice_pad" and side > 2:
        ends = [net.constant(np.array(v, np.int64)) for v in ([0, 0], [999, 999], [2, 3], [2, 2])]
        cut = net.op("Slice", [at, *ends])
        pads = net.constant(np.array([0, 1, 0, 0, 0, 1, 0, 0], np.int64))
        return net.op("Pad", [cut, pads]), c + 2, side // 2
    if layer == "softmax":
        return net.op("Softmax", [at], axis=1), c, side
    return at, c, side


def tokens(layers: Sequence[str], seed: int, *, quantized: bool = False, length: int = 5, width: int = 8) -> ModelProto:
    """Return a net on token ids: an embedding, layers on (length, width), and three outputs."""
    net = Net(seed, quantized=quantized)
    table = net.number(11, width)
    at = net.op("Gather", [table, "ids"], axis=0)
    first = at
    for layer in layers:
        if layer == "matmul":
            at = net.op("Add", [net.op("MatMul", [at, net.weight(width, width, axis=1)]), net.number(width, scale=0.2)])
        elif layer == "layernorm":
            at = net.op("LayerNormalization", [at, net.number(width, offset=1), net.number(width)], axis=-1)
        elif layer == "gelu":
            half = net.op("Div", [at, net.constant(np.float32(2**0.5).reshape(()))], quiet=True)
            one = net.op(
                "Add", [net.op("Erf", [half], quiet=True), net.constant(np.float32(1).reshape(()))], quiet=True
            )
            at = net.op("Mul", [net.op("Mul", [at, one], quiet=True), net.constant(np.float32(0.5).reshape(()))])
        elif layer == "residual":
            at = net.op("Add", [at, first])
        elif layer == "softmax":
            at = net.op("Softmax", [at], axis=-1)
        elif layer == "prelu":
            at = net.op("PRelu", [at, net.number(width, scale=0.3)])
        elif layer == "attention":
            q, k, v = (net.op("MatMul", [at, net.weight(width, width, axis=1)]) for _ in range(3))
            weights = net.op("Softmax", [net.op("MatMul", [q, net.op("Transpose", [k], perm=[0, 2, 1])])], axis=-1)
            at = net.op("Add", [at, net.op("MatMul", [weights, v])])
    at = net.op("ReduceMean", [at], axes=[1], keepdims=0)
    y = net.op("Gemm", [at, net.weight(3, width), net.number(3)], quiet=True, transB=1)
    return net.model(("ids", TensorProto.INT64, ["N", length]), y)
