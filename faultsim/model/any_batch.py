"""`with_any_batch`: a graph that insists on one number of samples, rewritten to take any. What runs it lives elsewhere.

An exporter that is given one batch writes its size into the declared inputs, and into constants: the shape of a Reshape
or an Expand, the size of a Resize, an initial state, a class token that is joined to every sample. Those are the places
that change here; no stored number does. Whether the result gives the same answers is for its caller to try.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from faultsim.corruption import Site
from faultsim.errors import FaultsimError
from faultsim.model.attributes import constant_field, is_constant, tensor_of
from faultsim.model.load import load_model
from faultsim.model.model import Model
from faultsim.model.values import to_numpy

Array = NDArray[Any]
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
_OF_SHAPES = frozenset({"Shape", "Size"})
MOST_BYTES = 1 << 28
"""Larger models are left as they are: the rewritten graph is held beside that of the file."""


def with_any_batch(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> Model | None:
    """Return the same network in a graph that takes any number of samples; None where that cannot be written.

    Its sites are those of *model*, and so are its hash and its path: `Model.deployed` is the graph of the file.

    Args:
        model: A model whose inputs all insist on one number of samples, along axis 0.
        shapes: Of every tensor that one batch makes, by name (`shapes_of`).
    """
    size = model.fixed_batch
    counted = [spec for spec in model.inputs if spec.batch_axis is not None]
    if (
        size is None
        or model.proto.ByteSize() > MOST_BYTES
        or any(spec.batch_axis != 0 or spec.fixed_batch != size for spec in counted)
    ):
        return None
    try:
        proto = ModelProto()
        proto.CopyFrom(model.proto)
        graph = _Graph(proto, [spec.name for spec in counted], size, shapes)
        if not graph.rewrite():
            return None
        _declare(proto, [spec.name for spec in counted], model.axes.outputs, graph.symbol)
        made = load_model(proto, torch_device=str(model.device), name=model.name)
    except (FaultsimError, MemoryError, ValueError):
        return None
    known = {_key(site) for site in made.sites}
    if not all(_key(site) in known for site in model.sites):
        return None
    axes = {**model.axes.outputs, **{spec.name: spec.batch_axis for spec in model.inputs}}
    return replace(
        made,
        sites=model.sites,
        sha256=model.sha256,
        path=model.path,
        given_axes=axes,
        judged=model.judged,
        deployed=model,
    )


def _key(site: Site) -> tuple[object, ...]:
    return site.name, site.shape, site.role, site.kind, site.layer, site.depth, site.channel_axis


class _Graph:
    """The main graph while it is rewritten.

    Args:
        proto: Changed in place.
        inputs: Those that count samples, along axis 0.
        size: The number of samples that it insists on.
        shapes: Of every tensor that a run makes, by name.
    """

    def __init__(
        self, proto: ModelProto, inputs: Sequence[str], size: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._graph = proto.graph
        self._size = size
        self._constants = {one.name: one for one in self._graph.initializer}
        for position, node in enumerate(self._graph.node):
            node.name = node.name or f"{node.op_type}_{position}"  # as layers are called; positions change
            if is_constant(node):
                self._constants.update(_constant_of(node))
        self._shapes = {**{name: tuple(one.dims) for name, one in self._constants.items()}, **shapes}
        values = (*self._graph.input, *self._graph.output)
        sizes = (size.dim_param for value in values for size in value.type.tensor_type.shape.dim)
        names = {*self._shapes, *(node.name for node in self._graph.node), *sizes}
        self.symbol = "batch"
        while any(name.startswith(self.symbol) for name in names):
            self.symbol += "_"
        self._first = inputs[0]
        self._moving = self._reached(inputs)
        self._made: list[NodeProto] = []
        self._counted = ""
        self._names = 0

    def rewrite(self) -> bool:
        """Rewrite every node that the number of samples is written into; False where that cannot be done."""
        nodes: list[NodeProto] = []
        for node in self._graph.node:
            self._made = []
            if not self._node(node):
                return False
            nodes += [*self._made, node]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        return True

    def _reached(self, inputs: Sequence[str]) -> set[str]:
        """Return the tensors that hang on the samples; their mere shapes do not."""
        found = set(inputs)
        for node in self._graph.node:
            if node.op_type not in _OF_SHAPES and any(name in found for name in node.input):
                found |= set(node.output)
        return found

    def _node(self, node: NodeProto) -> bool:
        if node.op_type == "Reshape" and node.input[0] in self._moving:
            return self._reshape(node)
        if node.op_type == "Expand" and node.input[0] in self._moving:
            return self._expand(node)
        if node.op_type == "Resize" and node.input[0] in self._moving:
            return self._resize(node)
        if node.op_type == "Concat" and any(name in self._moving for name in node.input):
            return self._concat(node)
        if node.op_type in _STATES:
            return self._recurrent(node)
        return True

    def _reshape(self, node: NodeProto) -> bool:
        """Leave the axis of the samples to be told from the rest."""
        shape = self._constant(node.input[1])
        if shape is None:
            return True
        made = list(self._shapes.get(node.output[0], ()))
        if not made or 0 in made:
            return False
        place = made.index(self._size) if made[0] != self._size and self._size in made else 0
        if place >= shape.size or shape[place] > 0:
            made[place] = -1
            node.input[1] = self._named("shape", np.array(made, dtype=np.int64))
        return True

    def _expand(self, node: NodeProto) -> bool:
        """A size of 1 keeps the axis of the samples as it is."""
        shape, given = self._constant(node.input[1]), self._shapes.get(node.input[0], ())
        if shape is None or shape.size < len(given):  # what is missing in front keeps its size
            return True
        if shape.size > len(given):
            return False
        if given[:1] == (self._size,) and shape[0] == self._size:
            node.input[1] = self._named("shape", np.array([1, *shape[1:]], dtype=np.int64))
        return True

    def _resize(self, node: NodeProto) -> bool:
        sizes = self._constant(node.input[3]) if len(node.input) > 3 else None
        if sizes is None or sizes.size != len(self._shapes.get(node.input[0], ())) or sizes[0] != self._size:
            return True
        node.input[3] = self._target((), sizes[1:])
        return True

    def _concat(self, node: NodeProto) -> bool:
        """Join what is the same for every sample to each of them."""
        if _int(node, "axis", 0) == 0:
            return False
        for position, name in enumerate(node.input):
            if name not in self._moving and not self._widen(node, position, 0):
                return False
        return True

    def _recurrent(self, node: NodeProto) -> bool:
        axis = 0 if _int(node, "layout", 0) == 1 else 1
        places = [(4, 0), *((position, axis) for position in _STATES[node.op_type])]
        return all(
            self._widen(node, position, at)
            for position, at in places
            if position < len(node.input) and node.input[position] and node.input[position] not in self._moving
        )

    def _widen(self, node: NodeProto, position: int, axis: int) -> bool:
        """Let an operand that one sample has serve every sample."""
        shape = self._shapes.get(node.input[position])
        if shape is None or len(shape) <= axis or shape[axis] != 1 or self._size != 1:
            return False
        target = self._target(shape[:axis], shape[axis + 1 :])
        wide = self._name("wide")
        self._made.append(helper.make_node("Expand", [node.input[position], target], [wide], name=wide))
        node.input[position] = wide
        return True

    def _target(self, before: Sequence[int], after: Sequence[int] | Array) -> str:
        """Return the name of a shape: sizes before the number of samples, that number, and those after it."""
        if not self._counted:
            shape, self._counted = self._name("all"), self._name("count")
            first = self._named("first", np.zeros(1, dtype=np.int64))
            self._made += [
                helper.make_node("Shape", [self._first], [shape], name=shape),
                helper.make_node("Gather", [shape, first], [self._counted], name=self._counted),
            ]
        target = self._name("target")
        front = [self._named("sizes", np.array(before, dtype=np.int64))] if len(before) else []
        back = [self._named("sizes", np.array(after, dtype=np.int64))] if len(after) else []
        parts = [*front, self._counted, *back]
        self._made.append(helper.make_node("Concat", parts, [target], name=target, axis=0))
        return target

    def _constant(self, name: str) -> Array | None:
        """Return a constant shape; None for one that is computed."""
        one = self._constants.get(name)
        return None if one is None or len(one.dims) != 1 else numpy_helper.to_array(one)

    def _named(self, what: str, array: Array) -> str:
        name = self._name(what)
        tensor: TensorProto = numpy_helper.from_array(array, name)
        self._graph.initializer.append(tensor)
        return name

    def _name(self, what: str) -> str:
        self._names += 1
        return f"{self.symbol}_{what}_{self._names}"


def _constant_of(node: NodeProto) -> dict[str, TensorProto]:
    """Return what a Constant node holds by its name; nothing for a string or a sparse tensor."""
    attribute, name = node.attribute[0], node.output[0]
    if attribute.name == "value":
        return {name: attribute.t}
    field = constant_field(node)
    return {} if field is None else {name: tensor_of(attribute, field, name)}


def _int(node: NodeProto, name: str, default: int) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), default)


def shapes_of(model: Model, feeds: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every input and of every tensor that one batch makes, by name."""
    found: dict[str, tuple[int, ...]] = {name: np.shape(array) for name, array in feeds.items()}

    def observe(_: Any, name: str, value: Any) -> Any:
        array = to_numpy(value)
        if isinstance(array, np.ndarray):
            found[name] = array.shape
        return value

    model.run(feeds, observer=observe)
    return found


def _declare(proto: ModelProto, inputs: Sequence[str], outputs: Mapping[str, int], symbol: str) -> None:
    """Declare any number of samples, and no shapes in between."""
    for value in proto.graph.input:
        if value.name in inputs:
            _open(value, 0, symbol)
    for value in proto.graph.output:
        if value.name in outputs:
            _open(value, outputs[value.name], symbol)
    for value in proto.graph.value_info:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _open(value: ValueInfoProto, axis: int, symbol: str) -> None:
    dims = value.type.tensor_type.shape.dim
    if len(dims) > axis:
        dims[axis].dim_param = symbol
