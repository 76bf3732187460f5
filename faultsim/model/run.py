"""Executes a compiled graph on torch, node by node. What an op does lives in `ops/`; what a graph is, in `graph.py`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from faultsim.errors import FaultsimError, ModelError
from faultsim.model.functions import NEWER_OPSET, needs_reference, outdated, run_without_op
from faultsim.model.graph import Graph, Node, Program
from faultsim.model.values import Codes, Value, concrete, moved

Observer = Callable[[Node, str, Value], Value]
"""Sees every output of every node of the main graph as it is made, and returns what flows on."""

Compute = Callable[[list[Value]], Sequence[Value]]
"""What a node makes of its inputs."""

Interceptor = Callable[[Node, list[Value], Compute], Sequence[Value]]
"""Stands in for every node, those of subgraphs and function bodies too: takes its inputs and what computes it, returns
its outputs."""


class Scope:
    """Names that a graph can see: its own, then those of the graphs around it."""

    __slots__ = ("parent", "values")

    def __init__(self, values: dict[str, Value], parent: "Scope | None" = None) -> None:
        self.values = values
        self.parent = parent

    def get(self, name: str) -> Value:
        """Return the value of *name*, an absent optional for ``""``.

        Raises:
            ModelError: If no scope has it.
        """
        if not name:
            return None
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        raise ModelError(f"the graph reads {name!r} before anything makes it; run onnx.checker on the file")


class Execution:
    """One run of a program: its weights, its observer and interceptor, its device."""

    def __init__(
        self,
        program: Program,
        tensors: Mapping[str, Value],
        *,
        device: torch.device,
        observer: Observer | None = None,
        interceptor: Interceptor | None = None,
    ) -> None:
        self.program = program
        self.tensors = tensors
        self.device = device
        self.observer = observer
        self.interceptor = interceptor

    def run(self, graph: Graph, inputs: Mapping[str, Value], parent: Scope | None = None) -> list[Value]:
        """Execute *graph* and return its outputs in order; *inputs* go by name and win over constants of their name."""
        values: dict[str, Value] = {local: self.tensors[key] for local, key in graph.constants.items()}
        values.update(inputs)
        scope = Scope(values, parent)
        top = parent is None
        for node in graph.nodes:
            arguments = [scope.get(name) for name in node.inputs]
            try:
                if self.interceptor is None:
                    results = self._call(node, arguments, scope)
                else:
                    results = self.interceptor(node, arguments, partial(self._call, node, scope=scope))
            except FaultsimError:
                raise
            except (
                RuntimeError,
                ValueError,
                TypeError,
                IndexError,
                KeyError,
                NotImplementedError,
                ArithmeticError,
                AttributeError,  # an absent or mistyped input
                MemoryError,
            ) as error:
                shapes = ", ".join(_describe(a) for a in arguments)
                if isinstance(error, TypeError) and "argument" in str(error):
                    raise ModelError(
                        f"node {node.name!r}: {node.op_type} of opset {node.opset} does not take these inputs "
                        f"({shapes}) or attributes; {NEWER_OPSET}"
                    ) from error
                if outdated(node) or (isinstance(error, TypeError) and needs_reference(node)):
                    raise ModelError(
                        f"node {node.name!r}: {node.op_type} of opset {node.opset} runs in onnx's NumPy code alone, "
                        f"and that fails on these inputs ({shapes}) or attributes; {NEWER_OPSET}"
                    ) from error
                raise ModelError(
                    f"node {node.name!r} ({node.op_type}) failed on inputs ({shapes}): {_first_line(error)}"
                ) from error
            for name, value in zip(node.outputs, results, strict=False):
                if name:
                    values[name] = self.observer(node, name, value) if top and self.observer is not None else value
            for name in node.free:
                values.pop(name, None)
        return [scope.get(name) for name in graph.output_names]

    def inside(self, body: Program) -> "Execution":
        """Return an execution of a function body: same device and interceptor, own constants, no observer."""
        tensors = {k: moved(v, self.device) for k, v in body.tensors.items()}
        return Execution(body, tensors, device=self.device, interceptor=self.interceptor)

    def _call(self, node: Node, arguments: list[Value], scope: Scope) -> Sequence[Value]:
        entry = node.op
        if entry is None:
            return run_without_op(self, node, arguments)
        kwargs = node.attributes
        if entry.wants_context:
            kwargs = {**kwargs, "ctx": NodeContext(self, node, scope)}
        wrap: int | None = None
        if entry.codes == "concrete":
            arguments = [concrete(a) if isinstance(a, Codes) else a for a in arguments]
        elif entry.codes == "carry" and arguments and isinstance(arguments[0], Codes):
            wrap = arguments[0].elem_type
            arguments = [a.values if isinstance(a, Codes) and a.elem_type == wrap else concrete(a) for a in arguments]
        elif entry.codes == "carry":
            arguments = [concrete(a) if isinstance(a, Codes) else a for a in arguments]
        result = entry.function(*arguments, **kwargs)
        results: Sequence[Value] = result if isinstance(result, tuple) else (result,)
        if wrap is not None:
            results = [Codes(r, wrap) if isinstance(r, Tensor) and r.is_floating_point() else r for r in results]
        return results


class NodeContext:
    """What an op function may know of where it stands (`ops.registry.Context`)."""

    __slots__ = ("_execution", "_scope", "node")

    def __init__(self, execution: Execution, node: Node, scope: Scope) -> None:
        self._execution = execution
        self._scope = scope
        self.node = node

    @property
    def opset(self) -> int:
        """Version of the node's domain that the model imports."""
        return self.node.opset

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the node's outputs, ``""`` where one is not wanted."""
        return self.node.outputs

    @property
    def device(self) -> torch.device:
        """Where tensors made from nothing belong."""
        return self._execution.device

    def run(self, subgraph: Any, inputs: Sequence[Value]) -> list[Value]:
        """Execute a subgraph attribute on *inputs*, in the scope of this node."""
        given = dict(zip(subgraph.input_names, inputs, strict=False))
        return self._execution.run(subgraph, given, self._scope)


def _describe(value: Value) -> str:
    if isinstance(value, Codes):
        return f"codes{tuple(value.values.shape)}"
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{tuple(value.shape)}"
    return "absent" if value is None else type(value).__name__


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
