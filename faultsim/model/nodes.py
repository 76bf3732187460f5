"""The compiled form of an ONNX graph: nodes, graphs, programs, and which names each of them needs.

Nothing is compiled here (`graph.py`) and nothing runs (`run.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import NodeProto

from faultsim.model.codes import FunctionKey
from faultsim.model.ops.registry import Op
from faultsim.model.values import Value

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Node:
    """One node, ready to run.

    Attributes:
        op_type: ONNX op type.
        domain: Its domain, ``""`` for ai.onnx.
        name: The node's name, or ``op_type_position`` where the file gives none; unique in the model. In a subgraph or
            a function body the names of the nodes around it stand before it.
        inputs: Names of the inputs, ``""`` where absent.
        outputs: Names of the outputs, ``""`` where not wanted.
        attributes: Decoded attributes: numbers, text, lists, `Value` tensors, `Graph` subgraphs.
        opset: Version of the domain.
        op: Its function from the table, or None where `functions.py` expands or falls back.
        proto: The original node; in a function body the attributes of the call are filled in.
        free: Names whose last use this node is.
        bodies: Compiled function bodies by input types, where `functions.py` expands the node; that of a model-local
            function under ``()``.
    """

    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    op: Op | None
    proto: NodeProto
    free: tuple[str, ...] = ()
    bodies: dict[Any, "Program"] = field(default_factory=dict)

    @property
    def body(self) -> "Program | None":
        """The body of the model-local function that the node calls, None for every other node."""
        return self.bodies.get(())

    def subgraphs(self) -> Iterator["Graph"]:
        """The subgraphs among the attributes: branches, loop bodies."""
        for value in self.attributes.values():
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, Graph):
                    yield inner


@dataclass(slots=True)
class Graph:
    """A graph or a subgraph: formal inputs, nodes in order, outputs, and where its constants' numbers are.

    `output_types` are as the file declares them.
    """

    name: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    nodes: list[Node]
    constants: dict[str, str] = field(default_factory=dict)
    output_types: tuple[onnx.TypeProto, ...] = ()


@dataclass(slots=True)
class Program:
    """A compiled model, or the compiled body of a function.

    Attributes:
        graph: The main graph.
        tensors: Every constant's clean value by key. The key of an initializer of the main graph is its name; of a
            Constant node its output's name; inside a subgraph the path of node names stands before it; inside a
            model-local function the function's name does, once for all calls.
        paths: The way from the ModelProto to each key's TensorProto (field names and positions), for writing back; to
            the field of the AttributeProto where a Constant node holds plain numbers. Sparse tensors have none.
        opsets: Imported domains.
        functions: Model-local functions by `FunctionKey`.
        fallbacks: Op types that run in NumPy (`onnx.reference`): right, slow, and no gradient passes them.
        packed: Keys of codes that the file packs several to a byte, with the bits of each (`packed.unpack`).
        borrowed: In a function body: the keys whose values the calling program holds, its own callees' included.
    """

    graph: Graph
    tensors: dict[str, Value]
    paths: dict[str, Path]
    opsets: dict[str, int]
    functions: dict[FunctionKey, onnx.FunctionProto]
    fallbacks: set[str] = field(default_factory=set)
    packed: dict[str, int] = field(default_factory=dict)
    borrowed: set[str] = field(default_factory=set)

    def nodes(self) -> Iterator[Node]:
        """Every node; those of subgraphs and of the model-local function that it calls right after each."""
        for node in walk(self.graph):
            yield node
            if node.body is not None:
                yield from node.body.nodes()


def walk(graph: Graph) -> Iterator[Node]:
    """Every node of *graph* and of its subgraphs in order, depth first; function bodies are other graphs."""
    for node in graph.nodes:
        yield node
        for inner in node.subgraphs():
            yield from walk(inner)


def captured(graph: Graph) -> set[str]:
    """Names that *graph* takes from the scopes around it."""
    made = set(graph.input_names) | set(graph.constants)
    names: set[str] = set()
    for node in graph.nodes:
        names |= needs(node) - made
        made |= set(node.outputs)
    return names | {o for o in graph.output_names if o and o not in made}


def needs(node: Node) -> set[str]:
    """Names that *node* reads, those that its subgraphs capture included."""
    names = {name for name in node.inputs if name}
    for inner in node.subgraphs():
        names |= captured(inner)
    return names


def mark_last_uses(graph: Graph) -> None:
    """Write into every node of *graph* which names nothing reads after it."""
    keep = set(graph.output_names) | set(graph.constants) | set(graph.input_names)
    seen: set[str] = set()
    for node in reversed(graph.nodes):
        needed = needs(node)
        made = {o for o in node.outputs if o}
        node.free = tuple(sorted((needed | made) - seen - keep))
        seen |= needed
