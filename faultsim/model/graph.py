"""Compiles an ONNX graph: looks every op up, decodes attributes, lifts Constant nodes, binds function bodies.

Compiling happens once a model. What comes out is in `nodes.py`; running it lives in `run.py`, files in `proto.py`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from faultsim.errors import ModelError, UnsupportedOpError
from faultsim.model.attributes import constant_field, tensor_of
from faultsim.model.calls import Held, Store, bound, given_by, step, store_of
from faultsim.model.codes import FunctionKey, asked_of, called, codes_names, domain_of, key_of
from faultsim.model.functions import NEWER_OPSET, has_newer, way_without_op
from faultsim.model.nodes import Graph, Node, Path, Program, mark_last_uses, walk
from faultsim.model.ops.registry import find
from faultsim.model.packed import unpack
from faultsim.model.stored import constant_tensor, densify
from faultsim.model.values import CODE_BITS, from_proto

__all__ = ["Graph", "Node", "Path", "Program", "compile_function", "compile_model", "walk"]

_SPARSE = "sparse_initializer"


def compile_model(model: ModelProto) -> Program:
    """Compile *model*: look every op up, decode attributes, lift Constant nodes to constants.

    Raises:
        UnsupportedOpError: If nothing can execute a node; the message names op, node and domain.
        ModelError: If the graph is not well formed.
    """
    functions = {key_of(f): f for f in model.functions}
    program = Program(Graph("", (), (), []), {}, {}, _opsets(model.opset_import), functions)
    program.graph = _Compiler(program, store_of(model, program)).graph(model.graph, prefix="", path=("graph",))
    unpack(program)
    return program


def compile_function(
    function: onnx.FunctionProto, attributes: Mapping[str, AttributeProto], caller: Program
) -> Program:
    """Compile the body of *function* for one call: references to its attributes are replaced by the call's.

    Its constants belong to the body alone: for a function that no file stores, such as that of an ONNX schema.

    Args:
        function: The function.
        attributes: Attributes of the call, by name; the function's own defaults stand in for the others.
        caller: The program that calls, whose opsets, functions and record of fallbacks the body shares.
    """
    given = {a.name: Held(a) for a in [*function.attribute_proto, *attributes.values()]}
    return _compile_body(function, given, caller, None, ("", ""), None)


def _compile_body(
    function: onnx.FunctionProto,
    given: Mapping[str, Held],
    caller: Program,
    store: Store | None,
    rename: tuple[str, str],
    path: Path | None,
) -> Program:
    imported = caller.opsets | _opsets(function.opset_import)
    program = Program(Graph("", (), (), []), {}, {}, imported, caller.functions, caller.fallbacks)
    compiler = _Compiler(program, store, given=given, rename=rename)
    nodes, constants = compiler.scope(function.node, (), prefix=rename[0], path=path, wanted=())
    made = {*function.input, *constants, *(o for n in nodes for o in n.outputs)}
    # A body may leave out the outputs that this call does not ask for.
    outputs = tuple(o if o in made else "" for o in function.output)
    program.graph = Graph(function.name, tuple(function.input), outputs, nodes, constants)
    mark_last_uses(program.graph)
    return program


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {("" if o.domain == "ai.onnx" else o.domain): o.version for o in imports}


class _Compiler:
    """Compiles the scopes of one program; `given` are the attributes of the call where it is a function body.

    `rename` is what names of nodes begin with in such a body, and what stands in its place in the keys of constants:
    nodes are named after the call, constants after the function.
    """

    def __init__(
        self,
        program: Program,
        store: Store | None,
        *,
        given: Mapping[str, Held] | None = None,
        rename: tuple[str, str] = ("", ""),
    ) -> None:
        self.program = program
        self.store = store
        self.given = given or {}
        self.rename = rename
        self.names: set[str] = set()

    def graph(self, proto: GraphProto, *, prefix: str, path: Path | None, wanted: Collection[str] = ()) -> Graph:
        """Compile a graph or subgraph that lies at *path* in the file; *wanted* as in `codes_names`."""
        stored: list[tuple[str, TensorProto, Path | None]] = [
            (tensor.name, tensor, step(path, "initializer", position))
            for position, tensor in enumerate(proto.initializer)
        ]
        stored += [
            (sparse.values.name, densify(sparse), step(path, _SPARSE, position))
            for position, sparse in enumerate(proto.sparse_initializer)
        ]
        nodes, constants = self.scope(proto.node, stored, prefix=prefix, path=path, wanted=wanted)
        ends = tuple(i.name for i in proto.input), tuple(o.name for o in proto.output)
        graph = Graph(proto.name, *ends, nodes, constants, tuple(o.type for o in proto.output))
        mark_last_uses(graph)
        return graph

    def scope(
        self,
        protos: Sequence[NodeProto],
        stored: Iterable[tuple[str, TensorProto, Path | None]],
        *,
        prefix: str,
        path: Path | None,
        wanted: Collection[str],
    ) -> tuple[list[Node], dict[str, str]]:
        """Compile the nodes of one scope, and lift its stored tensors and Constant nodes to constants."""
        constants: dict[str, str] = {}
        as_codes = codes_names(protos, self.program.functions, wanted=wanted)
        for name, tensor, place in stored:
            self._constant(name, tensor, prefix, constants, as_codes, place)
        nodes: list[Node] = []
        for position, proto in enumerate(protos):
            node, held = bound(proto, step(path, "node", position), self.given)
            lifted = constant_tensor(node)
            if lifted is not None:
                place = step(held[0].path, "t")
                self._constant(node.output[0], lifted, prefix, constants, as_codes, place, held[0].key)
                continue
            field = constant_field(node)
            if field is not None and held[0].path is not None and held[0].alone:
                lifted = tensor_of(node.attribute[0], field, node.output[0])
                place = step(held[0].path, field)
                self._constant(node.output[0], lifted, prefix, constants, as_codes, place, held[0].key)
                continue
            nodes.append(self._node(node, position, prefix, held, as_codes))
        return nodes, constants

    def _constant(
        self,
        name: str,
        tensor: TensorProto,
        prefix: str,
        constants: dict[str, str],
        as_codes: set[str],
        path: Path | None,
        key: str | None = None,
    ) -> None:
        key = self._key(prefix + name) if key is None else key
        holder = self.program if self.store is None else self.store.root
        places = {} if self.store is None else self.store.places
        if key in holder.tensors and (path is None or places.get(key) != path):
            raise ModelError(f"the graph defines the constant {key!r} twice; names must be unique (run onnx.checker)")
        if key not in holder.tensors:
            narrow = tensor.data_type in CODE_BITS and CODE_BITS[tensor.data_type] <= 16
            holder.tensors[key] = from_proto(tensor, codes=narrow or name in as_codes)
            places[key] = path
            if path is not None and _SPARSE not in path:
                holder.paths[key] = path
        if holder is not self.program:
            self.program.borrowed.add(key)
        constants[name] = key

    def _key(self, name: str) -> str:
        before, after = self.rename
        return after + name.removeprefix(before)

    def _node(self, node: NodeProto, position: int, prefix: str, held: Sequence[Held], as_codes: set[str]) -> Node:
        name = prefix + (node.name or f"{node.op_type}_{position}")
        while name in self.names:
            name = f"{name}_{position}"
        self.names.add(name)
        domain = domain_of(node)
        opset = self.program.opsets.get(domain, 1)
        attributes = {h.attribute.name: self._attribute(h, f"{name}/{h.attribute.name}/", node, as_codes) for h in held}
        key = called(node)
        local = self.program.functions.get(key)
        found = None if local else find(domain, node.op_type, opset)
        bodies: dict[Any, Program] = {}
        if local is not None:
            bodies[()] = self._call(local, key, node, held, name)
        elif found is None:
            way = way_without_op(node, opset)
            if way is None and has_newer(domain, node.op_type, opset):
                raise UnsupportedOpError(
                    f"node {name!r}: faultsim cannot execute the op {node.op_type!r} as opset {opset} of domain "
                    f"{domain or 'ai.onnx'!r} has it; {NEWER_OPSET}"
                )
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

    def _call(
        self,
        function: onnx.FunctionProto,
        key: FunctionKey,
        node: NodeProto,
        held: Sequence[Held],
        name: str,
    ) -> Program:
        if self.store is None:
            return compile_function(function, {a.name: a for a in node.attribute}, self.program)
        given = given_by(self._key(name), held, function, self.store)
        rename = f"{name}/", f"{self.store.stems[key]}/"
        body = _compile_body(function, given, self.program, self.store, rename, self.store.path(key))
        if self.program is not self.store.root:
            self.program.borrowed |= body.borrowed
        return body

    def _attribute(self, held: Held, prefix: str, node: NodeProto, as_codes: set[str]) -> Any:
        attribute, path = held.attribute, held.path
        match attribute.type:
            case AttributeProto.GRAPH:
                asked = asked_of(node, attribute.g, as_codes)
                return self.graph(attribute.g, prefix=prefix, path=step(path, "g"), wanted=asked)
            case AttributeProto.GRAPHS:
                return [
                    self.graph(g, prefix=f"{prefix}{i}/", path=step(path, "graphs", i))
                    for i, g in enumerate(attribute.graphs)
                ]
            case AttributeProto.TENSOR:
                return from_proto(attribute.t)
            case AttributeProto.SPARSE_TENSOR:
                return from_proto(densify(attribute.sparse_tensor))
            case AttributeProto.STRING:
                return attribute.s.decode("utf-8", "replace")
            case AttributeProto.STRINGS:
                return [s.decode("utf-8", "replace") for s in attribute.strings]
            case AttributeProto.INTS | AttributeProto.FLOATS:
                return list(onnx.helper.get_attribute_value(attribute))
            case _:
                return onnx.helper.get_attribute_value(attribute)
