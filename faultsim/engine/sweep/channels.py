"""Which nodes compute every output channel by itself, and what a few channels of them need. Nothing is built here.

A *slice* of an activation holds some of its channels. A node that makes its output channel by channel can make a slice
of it from a slice of its weights (Conv, Gemm, MatMul: `producer`) or of its inputs (element by element, norms, pooling:
`follower`). What each input has to give is an `Ask`.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from onnx import NodeProto, helper

from faultsim.engine.sweep.flow import Flow, TensorType

UNARY = frozenset(
    {
        *("Relu", "LeakyRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Gelu", "Mish", "Swish", "HardSwish"),
        *("Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Softsign", "Erf", "Exp", "Log", "Sqrt", "Reciprocal"),
        *("Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Identity", "Cast"),
    }
)
BINARY = frozenset(["Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "PRelu", "Sum", "Mean"])
POOLS = frozenset(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool"])
_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_SCALED = {"QLinearSigmoid": (1, 2, 3, 4), "QLinearLeakyRelu": (1, 2, 3, 4)}
_SCALED_PAIRS = {"QLinearAdd": (1, 2, 4, 5, 6, 7), "QLinearMul": (1, 2, 4, 5, 6, 7)}


class Ask(NamedTuple):
    """What one input gives to a slice.

    Attributes:
        what: ``whole``: as it is. ``slice``: its channels of the slice along `axis`. ``blocks``: of a grouped
            convolution, the input channels behind each channel of the slice.
        axis: The axis that counts channels, from 0.
    """

    what: Literal["whole", "slice", "blocks"]
    axis: int = 0


WHOLE = Ask("whole")


class Rule(NamedTuple):
    """How a node makes a slice.

    Attributes:
        asks: One for each input that is there, by position.
        axis: The channel axis of its output, from 0.
        grouped: Whether its ``group`` becomes the number of channels of the slice.
        block: Input channels of a group.
        outputs_per_group: Output channels of a group.
    """

    asks: Mapping[int, Ask]
    axis: int
    grouped: bool = False
    block: int = 1
    outputs_per_group: int = 1


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def producer(flow: Flow, node: NodeProto, types: Mapping[str, TensorType], shape: "Shapes") -> Rule | None:
    """Return how a node that mixes its inputs makes a few of its output channels; None where it cannot.

    Args:
        flow: The graph.
        node: The node.
        types: Types of the activations.
        shape: Shapes of the constants.
    """
    if not node.output or node.output[0] not in types:
        return None
    rank = len(types[node.output[0]].shape) + 1
    given = attributes(node)
    live = flow.activations
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv") and node.domain in ("", "ai.onnx"):
        weight = 3 if node.op_type == "QLinearConv" else 1
        if node.input[weight] in live:
            return None
        found = shape(node.input[weight])
        if found is None:
            return None
        asks: dict[int, Ask] = {i: WHOLE for i, name in enumerate(node.input) if name}
        asks[weight] = Ask("slice", 0)
        one_each = {"Conv": (2,), "ConvInteger": (3,), "QLinearConv": (4, 5, 8)}[node.op_type]
        for position in one_each:
            if position in asks and (shape(node.input[position]) or ()) == (found[0],) and found[0] > 1:
                asks[position] = Ask("slice", 0)
        group = int(given.get("group", 1))
        if group == 1:
            return Rule(asks, 1)
        asks[0] = Ask("blocks", 1)
        return Rule(asks, 1, grouped=True, block=found[1], outputs_per_group=found[0] // group)
    if node.op_type == "ConvTranspose" and int(given.get("group", 1)) == 1 and node.input[1] not in live:
        asks = {0: WHOLE, 1: Ask("slice", 1)}
        if len(node.input) > 2 and node.input[2]:
            asks[2] = Ask("slice", 0)
        return Rule(asks, 1)
    if node.op_type == "Gemm" and node.input[1] not in live and node.input[0] in live:
        asks = {0: WHOLE, 1: Ask("slice", 0 if given.get("transB", 0) else 1)}
        if len(node.input) > 2 and node.input[2]:
            bias = shape(node.input[2])
            if bias is None:
                return None
            asks[2] = Ask("slice", len(bias) - 1) if bias and bias[-1] > 1 else WHOLE
        return None if given.get("transA", 0) else Rule(asks, 1)
    matmuls = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
    if node.op_type in matmuls and node.domain in ("", "ai.onnx"):
        weight = matmuls[node.op_type]
        found = None if node.input[weight] in live else shape(node.input[weight])
        if found is None or len(found) < 2 or node.input[0] not in live:
            return None
        asks = {i: WHOLE for i, name in enumerate(node.input) if name}
        asks[weight] = Ask("slice", len(found) - 1)
        for position in {"MatMul": (), "MatMulInteger": (3,), "QLinearMatMul": (4, 5)}[node.op_type]:
            if position in asks and (shape(node.input[position]) or ()) == (found[-1],) and found[-1] > 1:
                asks[position] = Ask("slice", 0)
        return Rule(asks, rank - 1)
    return None


def follower(
    flow: Flow, node: NodeProto, types: Mapping[str, TensorType], shape: "Shapes", axis: int, channels: int
) -> Rule | None:
    """Return how a node makes a slice from a slice, along the same axis; None where it mixes channels or is unknown.

    Args:
        flow: The graph.
        node: The node; at least one of its inputs is an activation with *channels* along *axis*.
        types: Types of the activations.
        shape: Shapes of the constants.
        axis: The axis that counts channels, from 0, with the samples at 0.
        channels: How many there are.
    """
    if not node.output or node.output[0] not in types or any(node.output[1:]):
        return None
    out = types[node.output[0]].shape
    if len(out) < axis or out[axis - 1] != channels:
        return None
    rank = len(out) + 1
    given = attributes(node)
    asks: dict[int, Ask] = {}
    if node.op_type in UNARY and node.domain in ("", "ai.onnx", "com.microsoft"):
        return Rule({0: Ask("slice", axis)}, axis) if len(node.input) == 1 else None
    if node.op_type == "Clip" or node.op_type in _SCALED:
        return Rule({0: Ask("slice", axis)} | {i: WHOLE for i, n in enumerate(node.input) if n and i}, axis)
    if node.op_type in POOLS and axis == 1 and node.domain in ("", "ai.onnx"):
        return Rule({0: Ask("slice", 1)}, 1)
    if node.op_type in BINARY or node.op_type in _SCALED_PAIRS:
        scalars = _SCALED_PAIRS.get(node.op_type, ())
        for position, name in enumerate(node.input):
            ask = WHOLE if position in scalars else _broadcast(flow, name, types, shape, rank, axis, channels)
            if ask is None:
                return None
            asks[position] = ask
        return Rule(asks, axis)
    if node.op_type == "BatchNormalization" and axis == 1 and not given.get("training_mode", 0):
        return Rule({0: Ask("slice", 1)} | {i: Ask("slice", 0) for i in range(1, 5)}, 1)
    if node.op_type in _QUANTIZERS and not given.get("block_size", 0):
        for position, name in enumerate(node.input):
            if not name:
                continue
            size = () if position == 0 else shape(name)
            if size is None:
                return None
            along = int(given.get("axis", 1)) % rank
            if position and size and size[0] > 1:
                if along != axis or len(size) != 1:
                    return None
                asks[position] = Ask("slice", 0)
            else:
                asks[position] = WHOLE if position else Ask("slice", axis)
        return Rule(asks, axis)
    if node.op_type == "Quant" or node.op_type == "BipolarQuant":
        for position, name in enumerate(node.input):
            ask = _broadcast(flow, name, types, shape, rank, axis, channels)
            if ask is None:
                return None
            asks[position] = ask
        return Rule(asks, axis)
    if node.op_type == "Conv" and axis == 1 and int(given.get("group", 1)) == channels > 1:
        size = None if node.input[1] in flow.activations else shape(node.input[1])
        if size is None or size[0] != channels or size[1] != 1:
            return None
        asks = {0: Ask("slice", 1), 1: Ask("slice", 0)}
        if len(node.input) > 2 and node.input[2]:
            asks[2] = Ask("slice", 0)
        return Rule(asks, 1, grouped=True)
    return None


def _broadcast(
    flow: Flow,
    name: str,
    types: Mapping[str, TensorType],
    shape: "Shapes",
    rank: int,
    axis: int,
    channels: int,
) -> Ask | None:
    if name in flow.activations:
        own = types.get(name)
        if own is None:
            return None
        size: tuple[int, ...] = (0, *own.shape)
    else:
        found = shape(name)
        if found is None:
            return None
        size = found
    place = axis - (rank - len(size))
    if place < 0 or size[place] == 1:
        return WHOLE
    return Ask("slice", place) if size[place] == channels else None


class Shapes:
    """Shapes of constants: initializers, and what constant nodes make of them without changing the shape."""

    _KEEP = frozenset({"DequantizeLinear", "QuantizeLinear", "Identity", "Cast", "Clip", "Quant", "BipolarQuant"})

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __call__(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a constant, None where it is not known."""
        tensor = self._flow.initializers.get(name)
        if tensor is not None:
            return tuple(tensor.dims)
        maker = self._flow.makers.get(name)
        if maker is None or maker in self._flow.live:
            return None
        node = self._flow.nodes[maker]
        if node.op_type in self._KEEP:
            return self(node.input[0])
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            return tuple(node.attribute[0].t.dims)
        if node.op_type == "Transpose":
            inner = self(node.input[0])
            perm = attributes(node).get("perm")
            if inner is None:
                return None
            return tuple(inner[p] for p in perm) if perm else inner[::-1]
        return None
