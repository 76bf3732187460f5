"""`Flow`: who makes and who reads every tensor of a graph, and which part of the graph a piece of it needs.

It works on the ONNX file itself, not on its compiled form: pieces of it become models of their own. Nothing runs here.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from faultsim.model.bodies import reads
from faultsim.model.stored import constant_tensor

Array = NDArray[Any]
_DEQUANTIZE = "DequantizeLinear"


class TensorType(NamedTuple):
    """Element type and shape of one sample's activation: the sample axis is axis 0 and not counted."""

    elem_type: int
    shape: tuple[int, ...]

    @property
    def is_image(self) -> bool:
        """Whether it is float32 of channels, height and width."""
        return self.elem_type == TensorProto.FLOAT and len(self.shape) == 3


class Flow:
    """The top level of a graph as a flow of tensors from node to node.

    Attributes:
        proto: The model.
        nodes: Its nodes, in an order in which they can run; Constant nodes stand among the initializers instead.
        initializers: Stored tensors by name.
        inputs: Names of the inputs that no initializer fills.
        outputs: Names of the outputs.
        makers: Position of the node that makes a tensor.
        users: Positions of the nodes that read a tensor, those whose subgraphs read it included.
        reads: What each node reads, its subgraphs included.
        packed: Initializers whose elements are codes that the file packs several to a byte, with the bits of each.
    """

    def __init__(self, proto: ModelProto, packed: Mapping[str, int] | None = None) -> None:
        self.proto = proto
        self.packed = dict(packed or {})
        self.initializers: dict[str, TensorProto] = {t.name: t for t in proto.graph.initializer}
        nodes: list[NodeProto] = []
        for node in proto.graph.node:
            lifted = constant_tensor(node)
            if lifted is None:
                nodes.append(node)
            else:
                self.initializers[node.output[0]] = lifted
        self.nodes = tuple(nodes)
        self.sparse = {t.values.name: t for t in proto.graph.sparse_initializer}
        filled = self.initializers.keys() | self.sparse.keys()
        self.inputs = tuple(i.name for i in proto.graph.input if i.name not in filled)
        self.outputs = tuple(o.name for o in proto.graph.output)
        self.makers = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        self.reads = tuple(frozenset(reads(node)) for node in self.nodes)
        users: dict[str, list[int]] = {}
        for i, names in enumerate(self.reads):
            for name in sorted(names):
                users.setdefault(name, []).append(i)
        self.users: dict[str, tuple[int, ...]] = {name: tuple(found) for name, found in users.items()}

    @cached_property
    def live(self) -> frozenset[int]:
        """Positions of the nodes whose result depends on an input of the graph; all others are constants."""
        moving = set(self.inputs)
        found: set[int] = set()
        for i, node in enumerate(self.nodes):
            if self.reads[i] & moving:
                found.add(i)
                moving.update(name for name in node.output if name)
        return frozenset(found)

    @cached_property
    def activations(self) -> frozenset[str]:
        """Names of the tensors that depend on an input of the graph, the inputs included."""
        return frozenset(self.inputs) | {o for i in self.live for o in self.nodes[i].output if o}

    def readers(self, name: str) -> tuple[int, ...]:
        """Return the live nodes that a constant reaches first, through nodes that are constants themselves."""
        found: set[int] = set()
        stack, seen = [name], {name}
        while stack:
            for i in self.users.get(stack.pop(), ()):
                if i in self.live:
                    found.add(i)
                    continue
                fresh = [o for o in self.nodes[i].output if o and o not in seen]
                seen.update(fresh)
                stack.extend(fresh)
        return tuple(sorted(found))

    def descendants(self, names: Iterable[str], *, without: Collection[int] = ()) -> set[int]:
        """Return the nodes that any of the tensors *names* reaches, those in *without* neither counted nor passed."""
        moved = set(names)
        found: set[int] = set()
        for i, node in enumerate(self.nodes):
            if i not in without and self.reads[i] & moved:
                found.add(i)
                moved.update(o for o in node.output if o)
        return found

    def ancestors(self, names: Iterable[str]) -> set[int]:
        """Return the nodes that any of the tensors *names* needs."""
        found: set[int] = set()
        stack = list(names)
        while stack:
            maker = self.makers.get(stack.pop())
            if maker is not None and maker not in found:
                found.add(maker)
                stack.extend(self.reads[maker])
        return found

    def waists(self, output: str) -> tuple[str, ...]:
        """Return the activations that everything on the way to *output* passes through, in order.

        Behind a waist the graph needs nothing else of what came before. What a DequantizeLinear makes is none.
        """
        way = sorted(self.ancestors([output]) & self.live)
        last = {name: i for i in way for name in self.reads[i] if name in self.activations}
        last[output] = len(self.nodes)
        alive = {name for name in self.inputs if name in last}
        found: list[str] = []
        for i in way:
            alive = {name for name in alive if last[name] > i}
            alive |= {o for o in self.nodes[i].output if o in last}
            if len(alive) == 1 and self.nodes[i].op_type != _DEQUANTIZE:
                found.extend(alive - set(found) - {output})
        return tuple(found)

    def needed(self, nodes: Collection[int], given: Collection[str] = ()) -> tuple[set[int], tuple[str, ...]]:
        """Return what must run and what must be fed so that *nodes* can run on clean activations.

        A piece never begins at what a DequantizeLinear makes: runtimes fuse it with the node behind it, and compute
        other numbers without it. The codes are fed instead.

        Args:
            nodes: Positions of live nodes.
            given: Activations that are fed whatever makes them.

        Returns:
            Positions of all nodes of the piece, and the activations that are its inputs, in order.
        """
        inside = set(nodes)
        feeds: set[str] = set(given)
        stack = [name for i in inside for name in self.reads[i]]
        while stack:
            name = stack.pop()
            maker = self.makers.get(name)
            if name in feeds or maker in inside:
                continue
            if maker is None:
                if name in self.activations:
                    feeds.add(name)
                continue
            if maker in self.live and self.nodes[maker].op_type != _DEQUANTIZE:
                feeds.add(name)
                continue
            inside.add(maker)
            stack.extend(self.reads[maker])
        used = feeds & ({name for i in inside for name in self.reads[i]} | set(given))
        return inside, tuple(sorted(used, key=self._order))

    def _order(self, name: str) -> tuple[int, str]:
        return self.makers.get(name, -1), name

    def piece(
        self,
        nodes: Collection[int],
        inputs: Mapping[str, TensorType],
        outputs: Mapping[str, TensorType],
        *,
        numbers: Mapping[str, TensorProto] | None = None,
    ) -> ModelProto:
        """Return the nodes at the given positions as a model of its own.

        Args:
            nodes: Positions; constant nodes that they need are among them.
            inputs: What is fed, with its type.
            outputs: What is wanted, with its type.
            numbers: Initializers in place of the model's own.
        """
        changed = numbers or {}
        chosen = [self.nodes[i] for i in sorted(nodes)]
        wanted = {name for i in nodes for name in self.reads[i]}
        wanted |= {name for name in outputs if name in self.initializers}
        stored = [_named(changed.get(name, one), name) for name, one in self.initializers.items() if name in wanted]
        graph = helper.make_graph(
            chosen,
            "piece",
            [value_info(name, one) for name, one in inputs.items()],
            [value_info(name, one) for name, one in outputs.items()],
            stored,
            sparse_initializer=[tensor for name, tensor in self.sparse.items() if name in wanted],
        )
        return model_of(graph, self.proto)


def model_of(graph: GraphProto, like: ModelProto) -> ModelProto:
    """Return a model of *graph* with the opsets and functions of *like*."""
    model = ModelProto(ir_version=like.ir_version, graph=graph)
    model.opset_import.extend(like.opset_import)
    model.functions.extend(like.functions)
    return model


def value_info(name: str, one: TensorType) -> onnx.ValueInfoProto:
    """Return the declaration of an activation: its number of samples is open."""
    return helper.make_tensor_value_info(name, one.elem_type, ["samples", *one.shape])


def _named(tensor: TensorProto, name: str) -> TensorProto:
    if tensor.name == name:
        return tensor
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def elem_type(array: Array) -> int:
    """Return the ONNX element type of a NumPy array."""
    return int(helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype))
