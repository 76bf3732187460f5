"""`Cut`: a convolution on blocked channels, cut by blocks of its input channels, and pieces that compute it in part.

onnxruntime keeps channels in blocks of 8 or 16 (the domain ``com.microsoft.nchwc``), and weights in an order that goes
with them. What the pieces are good for is told in `sums.py`; nothing runs here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from faultsim.engine.sweep.flow import TensorType, model_of, value_info
from faultsim.engine.sweep.form import Form
from faultsim.engine.sweep.twin import Twin

Array = NDArray[Any]
_DOMAIN = "com.microsoft.nchwc"
_WIDTHS = (16, 8)


class Layer(NamedTuple):
    """A convolution on blocked channels that reads the boundary.

    Attributes:
        node: Its position.
        reorder: Position of the node that brings the boundary into blocks, None where it is in blocks already.
        weight: Its weight as the runtime holds it, O×I×kh×kw in blocks.
        bias: Its bias, None without.
        added: Name of the clean activation that it adds, empty without.
        relu: Whether it ends in a ReLU.
    """

    node: int
    reorder: int | None
    weight: Array
    bias: Array | None
    added: str
    relu: bool


def cuts(twin: Twin, tail: frozenset[int], feeds: Sequence[str], form: Form) -> list["Cut"]:
    """Return the ways to cut a convolution that reads the boundary, the largest one first.

    Args:
        twin: The graph that runs.
        tail: Positions of the nodes behind the boundary.
        feeds: Clean activations that they read, the boundary among them.
        form: How the twin holds the boundary.
    """
    if form.layout == "last" or form.unsigned:
        return []
    widths = (form.block,) if form.layout == "blocked" else _WIDTHS
    found = sorted(_layers(twin, tail, feeds, form), key=lambda one: -one.weight.size)
    return [
        Cut(layer, width)
        for layer in found
        for width in widths
        if layer.weight.ndim == 4 and layer.weight.shape[1] % width == 0 and layer.weight.shape[1] > width
    ]


def _layers(twin: Twin, tail: frozenset[int], feeds: Sequence[str], form: Form) -> Iterator[Layer]:
    flow = twin.flow
    brought: list[tuple[str, int | None]] = [(form.name, None)]
    if form.layout == "plain":
        inputs = [i for i in flow.users.get(form.name, ()) if i in tail and flow.nodes[i].op_type == "ReorderInput"]
        brought = [(flow.nodes[i].output[0], i) for i in inputs if not given(flow.nodes[i]).get("channels_last", 0)]
    for name, reorder in brought:
        for i in flow.users.get(name, ()):
            node = flow.nodes[i]
            if i in tail and node.op_type == "Conv" and node.domain == _DOMAIN and node.output[0] in twin.types:
                layer = _layer(twin, i, reorder)
                if layer is not None and node.input[0] == name and layer.added in ("", *(set(feeds) - {form.name})):
                    yield layer


def _layer(twin: Twin, i: int, reorder: int | None) -> Layer | None:
    """Return a convolution as it is cut; None where it has groups, another activation, or weights that are computed."""
    node, stored = twin.flow.nodes[i], twin.flow.initializers
    options = given(node)
    activation = options.get("activation", b"")
    _, weight, bias, added = [*node.input, "", ""][:4]
    if int(options.get("group", 1)) != 1 or activation not in (b"", b"Relu"):
        return None
    if weight not in stored or (bias and bias not in stored):
        return None
    shift = numpy_helper.to_array(stored[bias]) if bias else None
    return Layer(i, reorder, numpy_helper.to_array(stored[weight]), shift, added, activation == b"Relu")


def given(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of a node."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


@dataclass(frozen=True, eq=False)
class Cut:
    """A convolution and the channels of its blocks."""

    layer: Layer
    width: int

    @property
    def count(self) -> int:
        """Number of blocks."""
        return int(self.layer.weight.shape[1]) // self.width

    def view(self, held: Array, number: int) -> Array:
        """Return a view of one block of the boundary as the twin holds it: in both layouts it lies in one piece."""
        return held[:, number * self.width : (number + 1) * self.width]

    def block(self, held: Array, number: int) -> Array:
        """Return a copy of it."""
        return np.ascontiguousarray(self.view(held, number))

    def weight(self, number: int) -> Array:
        """Return the weights of one block of input channels."""
        out, _, *kernel = self.layer.weight.shape
        split = self.layer.weight.reshape(out // self.width, self.count, *kernel, self.width, self.width)
        return np.ascontiguousarray(split[:, number]).reshape(out, self.width, *kernel)


class Draft:
    """Writes a piece that computes a convolution in part."""

    def __init__(self, twin: Twin, layer: Layer, cut: Cut, made: str) -> None:
        self._twin = twin
        self._layer = layer
        self._cut = cut
        self._shape = twin.types[made].shape
        node = twin.flow.nodes[layer.node]
        self._options = {name: value for name, value in given(node).items() if name != "activation"}
        self._held = twin.types[_source(twin, layer)].shape
        self._inputs: dict[str, tuple[int, ...]] = {}
        self._nodes: list[NodeProto] = []
        self._stored: list[TensorProto] = []

    def convolve(self, number: int, name: str, *, before: str = "", last: bool = False) -> None:
        """Convolve block *number*, added to *before*; bias and activation where it is the *last* one."""
        options = dict(self._options)
        read = f"x{number}"
        self._inputs[read] = (self._cut.width, *self._held[1:])
        if self._layer.reorder is not None:
            self._nodes.append(_copy(self._twin.flow.nodes[self._layer.reorder], [read], [f"{read}/blocked"]))
            read = f"{read}/blocked"
        self._store(f"w{number}", self._cut.weight(number))
        bias = ""
        if last and self._layer.bias is not None:
            self._store("bias", self._layer.bias)
            bias = "bias"
        if last and self._layer.relu:
            options["activation"] = "Relu"
        if before:
            self._inputs[before] = self._shape
        named = [read, f"w{number}", *([bias, before] if before else [bias] if bias else [])]
        self._nodes.append(helper.make_node("Conv", named, [name], domain=_DOMAIN, **options))

    def faulty(self, number: int) -> None:
        """Convolve block *number* behind what is before it, and add what is behind it."""
        count = self._cut.count
        before = "before" if number or self._layer.added else ""
        if number == count - 1:
            self.convolve(number, "made", before=before, last=True)
            return
        self.convolve(number, "sum", before=before)
        name = "sum"
        for k in range(number + 1, count):
            self._inputs[f"t{k}"] = self._shape
            self._nodes.append(helper.make_node("Add", [name, f"t{k}"], [f"sum{k}"]))
            name = f"sum{k}"
        if self._layer.bias is not None:
            width = self._cut.width
            out, pixels = self._shape[0] // width, int(np.prod(self._shape[1:]))
            self._store("blocks", np.array([-1, out, pixels, width], np.int64))
            self._store("image", np.array([-1, *self._shape], np.int64))
            self._store("bias", self._layer.bias.reshape(1, out, 1, width))
            self._nodes.append(helper.make_node("Reshape", [name, "blocks"], ["split"]))
            self._nodes.append(helper.make_node("Add", ["split", "bias"], ["biased"]))
            self._nodes.append(helper.make_node("Reshape", ["biased", "image"], ["joined"]))
            name = "joined"
        self._nodes.append(helper.make_node("Relu" if self._layer.relu else "Identity", [name], ["made"]))

    def model(self, outputs: Sequence[str]) -> ModelProto:
        """Return the piece."""
        inputs = [value_info(name, TensorType(TensorProto.FLOAT, shape)) for name, shape in self._inputs.items()]
        wanted = [value_info(name, TensorType(TensorProto.FLOAT, self._shape)) for name in outputs]
        return model_of(helper.make_graph(self._nodes, "sums", inputs, wanted, self._stored), self._twin.flow.proto)

    def _store(self, name: str, array: Array) -> None:
        self._stored.append(numpy_helper.from_array(array, name))


def _source(twin: Twin, layer: Layer) -> str:
    return str(twin.flow.nodes[layer.node if layer.reorder is None else layer.reorder].input[0])


def _copy(node: NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> NodeProto:
    return helper.make_node(node.op_type, inputs, outputs, domain=node.domain, **given(node))
