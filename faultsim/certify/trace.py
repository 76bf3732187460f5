"""`trace`: runs a graph in float64 with a rule for every node that a corruption reaches. No rule lives here.

Nodes that none reaches run in the graph's own types where bounds cover the rounding of the deployed arithmetic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.certify.certificate import NotCertifiedError
from faultsim.certify.rules import RULES, Compute, check_width, refuse
from faultsim.certify.tape import Param, Tape
from faultsim.corruption import Stored
from faultsim.errors import ModelError
from faultsim.model import Model
from faultsim.model.nodes import Graph, Node, needs
from faultsim.model.run import Execution
from faultsim.model.values import Codes, Value, from_numpy

_ROUNDS = ("QuantizeLinear", "DynamicQuantizeLinear", "Quant", "BipolarQuant", "Trunc", "Round", "Floor", "Ceil")


class Tracer:
    """Stands in for every node of a run (`model.run.Interceptor`): outputs in float64, what moves on the tape.

    The softmax or sigmoid that the scored output ends in is left out: logits flow on in its place.
    """

    def __init__(self, tape: Tape, ends: Node | None) -> None:
        self.tape = tape
        self.ends = ends

    def __call__(self, node: Node, arguments: list[Value], compute: Compute) -> Sequence[Value]:
        """Run one node.

        Raises:
            NotCertifiedError: If it has no rule.
        """
        if next(iter(node.subgraphs()), None) is not None:
            raise refuse(node, "it runs a subgraph; bounds are known for straight graphs")
        reached = any(self.tape.moves(value) or self.tape.param(value) is not None for value in arguments)
        if not reached and not self.tape.exact and node is not self.ends:
            return compute(arguments)
        for value in arguments:
            check_width(self.tape, node, value)
        inputs = [widened(value) for value in arguments]
        if node is self.ends:
            return self._end(node, inputs)
        if not reached:
            return [widened(value) for value in compute(inputs)]
        if node.op is None:
            return self._inside(node, compute(inputs))
        rule = RULES.get(node.op_type) if node.domain == "" else None
        if rule is None and (node.op_type in _ROUNDS or node.op_type.startswith("QLinear")):
            raise refuse(node, "it rounds: a corruption however small can move its output by a whole step")
        if rule is None:
            raise refuse(node, "no bound is known for this op")
        return rule(self.tape, node, inputs, compute)

    def _inside(self, node: Node, outputs: Sequence[Value]) -> Sequence[Value]:
        """Check that the nodes of a function body left a record of everything that the body gives."""
        for value in outputs:
            known = self.tape.moves(value) or self.tape.param(value) is not None
            if isinstance(value, Tensor) and value.is_floating_point() and not known:
                raise refuse(node, "no bound is known for this op")
        return outputs

    def _end(self, node: Node, inputs: list[Value]) -> Sequence[Value]:
        x = inputs[0]
        if not isinstance(x, Tensor):
            raise refuse(node, "its input is no tensor of floats")
        axis = int(node.attributes.get("axis", 1 if node.opset < 13 else -1))
        if node.op_type != "Sigmoid" and axis % x.ndim == 0:
            raise refuse(node, "its distributions lie along the samples' axis, which couples the samples")
        whole = x.numel() == x.shape[0] * (1 if node.op_type == "Sigmoid" else x.shape[axis])
        if not whole:
            raise refuse(node, f"outputs of shape {tuple(x.shape)} are not one distribution a sample")
        if node.op_type != "Sigmoid" and x.shape[axis] < 2:
            raise refuse(node, "over one class it gives the same number whatever the logit is")
        return [x]


def trace(
    model: Model,
    stored: Mapping[str, Stored],
    feeds: Mapping[str, NDArray[Any]],
    tape: Tape,
    output: str,
    head: Node | None,
) -> Tensor:
    """Return the logits of one batch at the fault-free numbers, in the autograd graph, and fill the tape.

    Args:
        model: The network.
        stored: Fault-free numbers, by name; those that are not there are the graph's own.
        feeds: The batch.
        tape: Takes what is known of every value.
        output: The output that is scored.
        head: The node that it ends in and that logits flow past (`head.head_of`).

    Raises:
        NotCertifiedError: If a corruption reaches a node that no bound is known for, or the graph needs float32.
    """
    graph = model.program.graph
    tensors: dict[str, Value] = dict(model.program.tensors)
    for name, one in stored.items():
        clean = tensors[name]
        number = torch.from_numpy(np.array(one.values, dtype=np.float64))
        if isinstance(clean, Codes):
            tensors[name] = Codes(number.to(clean.values.dtype), clean.elem_type)
        elif isinstance(clean, Tensor):
            tensors[name] = number.to(clean.dtype)
    for name in tape.budget.names:
        leaf = torch.from_numpy(np.array(stored[name].values, dtype=np.float64)).requires_grad_(True)
        tensors[name] = leaf
        tape.set_param(leaf, Param(name, None))
    values = {name: from_numpy(np.asarray(array)) for name, array in feeds.items()}
    tracer = Tracer(tape, head)
    execution = Execution(model.program, tensors, device=torch.device("cpu"), interceptor=tracer)
    try:
        with torch.enable_grad():
            (found,) = execution.run(_leading_to(graph, output), values)
    except ModelError as error:
        raise NotCertifiedError(f"the graph does not run in float64, in which bounds are computed: {error}") from error
    if not isinstance(found, Tensor):
        raise NotCertifiedError(f"output {output!r} is no tensor of floats: bounds are known for logits")
    return found if found.dtype == torch.float64 else found.double()


def _leading_to(graph: Graph, output: str) -> Graph:
    """Return the graph of one output: nodes that nothing of it depends on can be anything."""
    wanted, kept = {output}, []
    for node in reversed(graph.nodes):
        if wanted & set(node.outputs):
            kept.append(node)
            wanted |= needs(node)
    return replace(graph, nodes=kept[::-1], output_names=(output,))


def widened(value: Value) -> Value:
    """Return a float tensor in float64, and everything else as it is."""
    if isinstance(value, Codes) or not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value if value.dtype == torch.float64 else value.double()
