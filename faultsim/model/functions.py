"""Nodes that no op function serves: model-local functions, ONNX function bodies, the NumPy fallback.

Ops of our own live in `ops/`. No gradient passes the fallback: `Program.fallbacks` names who needs it.
"""

import importlib
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
import torch
from onnx import NodeProto, TypeProto, helper

from faultsim.errors import ModelError, UnsupportedOpError
from faultsim.model.values import Codes, Value, elem_type_of, from_numpy, moved, to_numpy

if TYPE_CHECKING:
    from faultsim.model.nodes import Node, Program
    from faultsim.model.run import Execution


NEWER_OPSET = (
    "if the graph is written in a newer opset than its opset_import says, correct opset_import; else convert the model "
    "with onnx.version_converter.convert_version"
)
"""What to do about an op whose old version cannot be run."""


def way_without_op(node: NodeProto, opset: int) -> Literal["function", "reference"] | None:
    """Return how a node without an op function can run, None if it cannot.

    ``function`` is the body that ONNX's schema gives the op: as good as an op of ours. ``reference`` is
    ONNX's NumPy implementation: forward only.
    """
    schema = _schema(node.domain, node.op_type, opset)
    if schema is not None and (schema.has_function or schema.has_context_dependent_function):
        return "function"
    # A subgraph may read names of the graph around it, which the reference evaluator would not see.
    subgraphs = any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute)
    return "reference" if not subgraphs and _has_reference(node.domain, node.op_type, opset) else None


def needs_reference(node: "Node") -> bool:
    """Whether ONNX's NumPy implementation alone runs *node*."""
    return node.op is None and not node.bodies


def outdated(node: "Node") -> bool:
    """Whether ONNX's NumPy implementation alone runs *node* and a later opset has another version of its op."""
    return needs_reference(node) and has_newer(node.domain, node.op_type, node.opset)


def has_newer(domain: str, op_type: str, opset: int) -> bool:
    """Whether an opset after *opset* has another version of an op."""
    domain = "" if domain == "ai.onnx" else domain
    return bool(
        any(
            s.name == op_type and s.domain == domain and s.since_version > opset
            for s in onnx.defs.get_all_schemas_with_history()
        )
    )


def run_without_op(execution: "Execution", node: "Node", arguments: list[Value]) -> Sequence[Value]:
    """Run a node that the table of op functions does not serve, the way `way_without_op` tells.

    Raises:
        UnsupportedOpError: If these input types have neither a function body nor a NumPy implementation.
    """
    local = node.body
    body = local if local is not None else _schema_body(execution.program, node, arguments)
    if body is not None:
        return _run_body(execution, body, arguments)
    if not _has_reference(node.domain, node.op_type, node.opset):
        types = ", ".join(helper.printable_type(type_proto(a)) for a in arguments)
        raise UnsupportedOpError(
            f"node {node.name!r}: faultsim cannot execute the op {node.op_type!r} on inputs of these types "
            f"({types}); export the model with standard ONNX ops"
        )
    execution.program.fallbacks.add(node.op_type)
    return _run_reference(execution, node, arguments)


def _run_body(execution: "Execution", body: "Program", arguments: list[Value]) -> list[Value]:
    names = body.graph.input_names
    if len(arguments) > len(names):
        raise ModelError(
            f"the function {body.graph.name!r} is called with {len(arguments)} inputs and takes "
            f"{len(names)}; run onnx.checker on the file"
        )
    inputs = dict(zip(names, [*arguments, *[None] * (len(names) - len(arguments))], strict=True))
    inner = execution.inside(body)
    if body.borrowed:  # stored in the file: under other numbers the caller holds those
        inner.tensors = {**inner.tensors, **{key: execution.tensors[key] for key in body.borrowed}}
    return inner.run(body.graph, inputs)


def _schema_body(program: "Program", node: "Node", arguments: list[Value]) -> "Program | None":
    """The compiled function body of the op's schema for inputs of these types; None if there is none."""
    schema = _schema(node.domain, node.op_type, node.opset)
    if schema is None:
        return None
    if schema.has_function:
        if "function" not in node.bodies:
            version = _version(schema.function_opset_versions, node.opset)
            function = onnx.FunctionProto.FromString(schema.get_function_with_opset_version(version))
            node.bodies["function"] = _compile(program, node, function, schema)
        return node.bodies["function"]
    if not schema.has_context_dependent_function:
        return None
    types = [type_proto(a) for a in arguments]
    key = tuple(t.SerializeToString(deterministic=True) for t in types)
    if key not in node.bodies:
        version = _version(schema.context_dependent_function_opset_versions, node.opset)
        serialized = schema.get_context_dependent_function_with_opset_version(
            version, node.proto.SerializeToString(), list(key)
        )
        if not serialized:
            return None
        function = onnx.FunctionProto.FromString(serialized)
        if not function.node:
            return None
        node.bodies[key] = _compile(program, node, function, schema)
    return node.bodies[key]


def _compile(program: "Program", node: "Node", function: onnx.FunctionProto, schema: Any) -> "Program":
    from faultsim.model.graph import compile_function

    attributes = {n: a.default_value for n, a in schema.attributes.items() if a.default_value.name}
    attributes.update({a.name: a for a in node.proto.attribute})
    return compile_function(function, attributes, program)


def _version(versions: Sequence[int], opset: int) -> int:
    return max((v for v in versions if v <= opset), default=min(versions))


@cache
def _schema(domain: str, op_type: str, opset: int) -> Any:
    try:
        return onnx.defs.get_schema(op_type, opset, "" if domain == "ai.onnx" else domain)
    except onnx.defs.SchemaError:
        return None


@cache
def _has_reference(domain: str, op_type: str, opset: int) -> bool:
    # Importing onnx.reference costs a third of a second: only models that need it pay.
    places = {"ai.onnx.ml": "aionnxml", "ai.onnx.preview.training": "aionnx_preview_training"}
    place = f"onnx.reference.ops.{places[domain]}" if domain in places else "onnx.reference.ops"
    try:
        importlib.import_module(place).load_op("" if domain == "ai.onnx" else domain, op_type, opset)
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError, NotImplementedError):
        return False
    return _schema(domain, op_type, opset) is not None


def _run_reference(execution: "Execution", node: "Node", arguments: list[Value]) -> list[Value]:
    from onnx.reference import ReferenceEvaluator

    opsets = [helper.make_opsetid(d, v) for d, v in execution.program.opsets.items()]
    inputs = list(dict.fromkeys(n for n in node.inputs if n))
    outputs = [n for n in node.outputs if n]
    function = helper.make_function("faultsim", "fallback", inputs, outputs, [node.proto], opsets)
    feeds = {n: to_numpy(a) for n, a in zip(node.inputs, arguments, strict=True) if n}
    results = dict(zip(outputs, ReferenceEvaluator(function).run(None, feeds, {}), strict=True))
    return [_back(results[n], execution.device) if n else None for n in node.outputs]


def _back(result: Any, device: torch.device) -> Value:
    if result is None:
        return None
    if isinstance(result, list):
        return [_back(item, device) for item in result]
    return moved(from_numpy(np.asarray(result)), device)


def type_proto(value: Value) -> TypeProto:
    """Return the ONNX type of a graph value, its sizes included; an empty type for an absent optional."""
    if value is None:
        return TypeProto()
    if isinstance(value, list):
        return helper.make_sequence_type_proto(
            type_proto(value[0]) if value else helper.make_tensor_type_proto(1, None)
        )
    shape = value.values.shape if isinstance(value, Codes) else value.shape
    return helper.make_tensor_type_proto(elem_type_of(value), [int(d) for d in shape])
