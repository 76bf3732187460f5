"""The compiled form of an ONNX graph: nodes with decoded attributes and their functions, constants by key.

Compiling happens once a model; running it lives in `run.py`, reading files in `proto.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from faultsim.errors import ModelError, UnsupportedOpError
from faultsim.model.functions import way_without_op
from faultsim.model.ops.registry import Op, find
from faultsim.model.values import CODE_BITS, Value, from_proto

QUANTIZED_OPS = frozenset(
    {
        "DequantizeLinear",
        "QuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
        "QGemm",
        "QAttention",
        "MatMulNBits",
        "GatherBlockQuantized",
        "QLinearAdd",
        "QLinearMul",
        "QLinearSigmoid",
        "QLinearLeakyRelu",
        "QLinearGlobalAveragePool",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearSoftmax",
        "QLinearWhere",
        "QEmbedLayerNormalization",
        "DequantizeBFP",
        "QMoE",
    }
)
"""Ops whose integer inputs are stored codes, so that a 32-bit initializer there is a bias and not an index."""


Path = tuple[str | int, ...]


@dataclass(slots=True)
class Node:
    """One node, ready to run.

    Attributes:
        op_type: ONNX op type.
        domain: Its domain, ``""`` for ai.onnx.
        name: The node's name, or ``op_type_position`` where the file gives none; unique in the model.
        inputs: Names of the inputs, ``""`` where absent.
        outputs: Names of the outputs, ``""`` where not wanted.
        attributes: Decoded attributes: numbers, text, lists, `Value` tensors, `Graph` subgraphs.
        opset: Version of the domain.
        op: Its function from the table, or None where `functions.py` expands or falls back.
        proto: The original node.
        free: Names whose last use this node is.
        bodies: Compiled function bodies by input types, where `functions.py` expands the node.
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
    """A compiled model.

    Attributes:
        graph: The main graph.
        tensors: Every constant's clean value by key. The key of an initializer of the main graph is its name; of a
            Constant node its output's name; inside a subgraph the path of node names stands before it.
        paths: The way from the ModelProto to each key's TensorProto (field names and positions), for writing back.
        opsets: Imported domains.
        functions: Model-local functions by (domain, name).
        fallbacks: Op types that run in NumPy (`onnx.reference`): right, slow, and no gradient passes them.
    """

    graph: Graph
    tensors: dict[str, Value]
    paths: dict[str, Path]
    opsets: dict[str, int]
    functions: dict[tuple[str, str], onnx.FunctionProto]
    fallbacks: set[str] = field(default_factory=set)

    def nodes(self) -> Iterator[Node]:
        """Every node, those of subgraphs right after the node that holds them."""
        yield from walk(self.graph)


def walk(graph: Graph) -> Iterator[Node]:
    """Every node of *graph* in order, depth first."""
    for node in graph.nodes:
        yield node
        for value in node.attributes.values():
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, Graph):
                    yield from walk(inner)


def compile_model(model: ModelProto) -> Program:
    """Compile *model*: look every op up, decode attributes, lift Constant nodes to constants.

    Raises:
        UnsupportedOpError: If nothing can execute a node; the message names op, node and domain.
        ModelError: If the graph is not well formed.
    """
    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
    functions = {(("" if f.domain == "ai.onnx" else f.domain), f.name): f for f in model.functions}
    program = Program(Graph("", (), (), []), {}, {}, opsets, functions)
    program.graph = _Compiler(program).graph(model.graph, prefix="", path=("graph",))
    return program


class _Compiler:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.names: set[str] = set()

    def graph(self, proto: GraphProto, *, prefix: str, path: Path) -> Graph:
        constants: dict[str, str] = {}
        as_codes = _codes_inputs(proto.node)
        for position, tensor in enumerate(proto.initializer):
            place = (*path, "initializer", position)
            self._constant(tensor.name, tensor, prefix, constants, as_codes, place)
        for sparse in proto.sparse_initializer:
            self._constant(sparse.values.name, _densify(sparse), prefix, constants, as_codes, None)
        nodes: list[Node] = []
        for position, node in enumerate(proto.node):
            tensor_attribute = _constant_tensor(node)
            if tensor_attribute is not None:
                place = (*path, "node", position, "attribute", 0, "t")
                self._constant(node.output[0], tensor_attribute, prefix, constants, as_codes, place)
                continue
            nodes.append(self._node(node, position, prefix, (*path, "node", position)))
        graph = Graph(
            proto.name,
            tuple(i.name for i in proto.input),
            tuple(o.name for o in proto.output),
            nodes,
            constants,
            tuple(o.type for o in proto.output),
        )
        _mark_last_uses(graph)
        return graph

    def _constant(
        self,
        name: str,
        tensor: TensorProto,
        prefix: str,
        constants: dict[str, str],
        as_codes: set[str],
        path: Path | None,
    ) -> None:
        key = prefix + name
        if key in self.program.tensors:
            raise ModelError(f"the graph defines the constant {key!r} twice; names must be unique (run onnx.checker)")
        narrow = tensor.data_type in CODE_BITS and CODE_BITS[tensor.data_type] <= 16
        self.program.tensors[key] = from_proto(tensor, codes=narrow or name in as_codes)
        if path is not None:
            self.program.paths[key] = path
        constants[name] = key

    def _node(self, node: NodeProto, position: int, prefix: str, path: Path) -> Node:
        name = prefix + (node.name or f"{node.op_type}_{position}")
        while name in self.names:
            name = f"{name}_{position}"
        self.names.add(name)
        domain = "" if node.domain == "ai.onnx" else node.domain
        opset = self.program.opsets.get(domain, 1)
        attributes = {
            a.name: self._attribute(a, f"{name}/{a.name}/", (*path, "attribute", i))
            for i, a in enumerate(node.attribute)
        }
        local = self.program.functions.get((domain, node.op_type))
        found = None if local else find(domain, node.op_type, opset)
        bodies: dict[Any, Program] = {}
        if local is not None:
            bodies[()] = compile_function(local, {a.name: a for a in node.attribute}, self.program)
        elif found is None:
            way = way_without_op(node, opset)
            if way is None:
                raise UnsupportedOpError(
                    f"node {name!r}: faultsim cannot execute the op {node.op_type!r} of domain "
                    f"{domain or 'ai.onnx'!r} (opset {opset}); export the model with standard ONNX ops, "
                    "or give the op as a model-local function"
                )
            if way == "reference":
                self.program.fallbacks.add(node.op_type)
        if found is not None and found.attributes is not None:
            attributes = {k: v for k, v in attributes.items() if k in found.attributes}
        ends = tuple(node.input), tuple(node.output)
        return Node(node.op_type, domain, name, *ends, attributes, opset, found, node, bodies=bodies)

    def _attribute(self, attribute: AttributeProto, prefix: str, path: Path) -> Any:
        match attribute.type:
            case AttributeProto.GRAPH:
                return self.graph(attribute.g, prefix=prefix, path=(*path, "g"))
            case AttributeProto.GRAPHS:
                return [
                    self.graph(g, prefix=f"{prefix}{i}/", path=(*path, "graphs", i))
                    for i, g in enumerate(attribute.graphs)
                ]
            case AttributeProto.TENSOR:
                return from_proto(attribute.t)
            case AttributeProto.SPARSE_TENSOR:
                return from_proto(_densify(attribute.sparse_tensor))
            case AttributeProto.STRING:
                return attribute.s.decode("utf-8", "replace")
            case AttributeProto.STRINGS:
                return [s.decode("utf-8", "replace") for s in attribute.strings]
            case AttributeProto.INTS | AttributeProto.FLOATS:
                return list(onnx.helper.get_attribute_value(attribute))
            case _:
                return onnx.helper.get_attribute_value(attribute)


def compile_function(
    function: onnx.FunctionProto, attributes: Mapping[str, AttributeProto], caller: Program
) -> Program:
    """Compile the body of *function* for one call: references to its attributes are replaced by the call's.

    Args:
        function: The function.
        attributes: Attributes of the call, by name; the function's own defaults stand in for the others.
        caller: The program that calls, whose opsets, functions and record of fallbacks the body shares.
    """
    given = {a.name: a for a in function.attribute_proto}
    given.update(attributes)
    imported = dict(caller.opsets)
    imported.update({("" if o.domain == "ai.onnx" else o.domain): o.version for o in function.opset_import})
    body = GraphProto(name=function.name)
    for node in function.node:
        body.node.append(_bind(node, given))
    body.input.extend(onnx.ValueInfoProto(name=n) for n in function.input)
    body.output.extend(onnx.ValueInfoProto(name=n) for n in function.output)
    program = Program(Graph("", (), (), []), {}, {}, imported, caller.functions, caller.fallbacks)
    program.graph = _Compiler(program).graph(body, prefix="", path=())
    made = {*function.input, *program.graph.constants, *(o for n in program.graph.nodes for o in n.outputs)}
    # A body may leave out the outputs that this call does not ask for.
    program.graph.output_names = tuple(o if o in made else "" for o in function.output)
    return program


def _bind(node: NodeProto, given: Mapping[str, AttributeProto]) -> NodeProto:
    bound = NodeProto()
    bound.CopyFrom(node)
    del bound.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in given:
                filled = AttributeProto()
                filled.CopyFrom(given[attribute.ref_attr_name])
                filled.name = attribute.name
                bound.attribute.append(filled)
            continue
        filled = AttributeProto()
        filled.CopyFrom(attribute)
        if filled.type == AttributeProto.GRAPH:
            inner = [_bind(n, given) for n in filled.g.node]
            del filled.g.node[:]
            filled.g.node.extend(inner)
        bound.attribute.append(filled)
    return bound


def _constant_tensor(node: NodeProto) -> TensorProto | None:
    """The tensor of a Constant node that holds a dense tensor; None for every other node."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    return attribute.t if attribute.name == "value" and not attribute.ref_attr_name else None


def _codes_inputs(nodes: Sequence[NodeProto]) -> set[str]:
    """Names that a quantized op reads, also through ops that only move elements."""
    wanted: set[str] = set()
    for node in reversed(nodes):
        if node.op_type in QUANTIZED_OPS:
            wanted.update(node.input)
        elif node.op_type in ("Clip", "Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze", "Flatten"):
            wanted.update(i for i in node.input[:1] if set(node.output) & wanted)
    return wanted


def _densify(sparse: onnx.SparseTensorProto) -> TensorProto:
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    import numpy as np

    dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
    if indices.ndim == 2:
        dense[tuple(indices.T)] = values
    else:
        dense.reshape(-1)[indices] = values
    return numpy_helper.from_array(dense, sparse.values.name)


def _captured(graph: Graph) -> set[str]:
    """Names that *graph* takes from the scopes around it."""
    made = set(graph.input_names) | set(graph.constants)
    names: set[str] = set()
    for node in graph.nodes:
        names |= {i for i in _needs(node) if i and i not in made}
        made |= set(node.outputs)
    return names | {o for o in graph.output_names if o not in made}


def _needs(node: Node) -> set[str]:
    names = set(node.inputs)
    for value in node.attributes.values():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Graph):
                names |= _captured(inner)
    return names


def _mark_last_uses(graph: Graph) -> None:
    keep = set(graph.output_names) | set(graph.constants) | set(graph.input_names)
    seen: set[str] = set()
    for node in reversed(graph.nodes):
        needed = {n for n in _needs(node) if n}
        made = {o for o in node.outputs if o}
        node.free = tuple(sorted((needed | made) - seen - keep))
        seen |= needed
