"""What a rule is, the table of rules, and what several rules share. Each family of rules has a file of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from faultsim.certify.certificate import NotCertifiedError
from faultsim.certify.tape import Contract, Tape, check_range
from faultsim.model.nodes import Node

Compute = Callable[[list[Any]], Sequence[Any]]
Rule = Callable[[Tape, Node, list[Any], Compute], list[Any]]
"""Runs a node on inputs of which one at least moves or is a parameter that does, and records it on the tape."""

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of these ONNX ops."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


def told(node: Node) -> str:
    """Return how messages name a node."""
    return f"node {node.name!r} ({node.op_type})"


def refuse(node: Node, why: str) -> NotCertifiedError:
    """Return the error for a node that no bound is known for."""
    return NotCertifiedError(f"{told(node)}: {why}")


def no_param(tape: Tape, node: Node, operands: Sequence[Any]) -> None:
    """Check that none of *operands* is a parameter that moves.

    Raises:
        NotCertifiedError: If one is.
    """
    for operand in operands:
        param = tape.param(operand)
        if param is not None:
            raise refuse(node, f"the parameter {param.leaf!r} is used in a way that no bound is known for")


def aligned(tape: Tape, node: Node, term: Tensor, y: Tensor) -> None:
    """Check that a value that moves keeps its samples on the first axis where it is broadcast to *y*.

    Raises:
        NotCertifiedError: If it does not.
    """
    if tape.moves(term) and term.ndim < y.ndim:
        raise refuse(node, f"samples of shape {tuple(term.shape)} are broadcast to {tuple(y.shape)} along a new axis")


def check_width(tape: Tape, node: Node, value: object) -> None:
    """Check that a float of a node is as wide as the arithmetic whose rounding the bounds cover, where they cover any.

    Raises:
        NotCertifiedError: If it is narrower.
    """
    if tape.exact or not isinstance(value, Tensor) or not value.is_floating_point():
        return
    if torch.finfo(value.dtype).eps > 2 * tape.roundoff:
        kind = str(value.dtype).removeprefix("torch.")
        raise refuse(node, f"it computes in {kind}, whose rounding the bounds do not cover")


def plain(compute: Compute, arguments: list[Any]) -> Tensor:
    """Return the node's first output on other inputs, outside of the autograd graph."""
    with torch.no_grad():
        result: Tensor = compute(arguments)[0]
    return result.detach()


def finish(
    tape: Tape, node: Node, y: Tensor, radius: Tensor, *, magnitude: Tensor | None = None, terms: int = 1
) -> Tensor:
    """Record the radius of a node's output, with the rounding of a sum of so many terms.

    Args:
        tape: What is known of the batch.
        node: The node.
        y: Its output.
        radius: How far the exact output moves.
        magnitude: Sum of the terms' magnitudes, at most, over the set; None for an op that does not round.
        terms: Number of terms.

    Returns:
        *y*.

    Raises:
        NotCertifiedError: If the samples are not on its first axis, or a sum may leave the range of the arithmetic.
    """
    tape.check_batch(y, told(node))
    if not tape.exact:
        check_range(y.detach().abs() + radius if magnitude is None else magnitude, told(node))
    if magnitude is not None:
        lost = (terms + 4) * tape.roundoff * 1.01 * magnitude.expand(y.shape)
        tape.remain(y, -lost, lost)
        radius = radius + lost
    tape.set_radius(y, radius.expand(y.shape))
    return y


def summing(node: Node, operand: Tensor, y: Tensor) -> Contract:
    """Return the contraction of a parameter that is multiplied element by element, broadcast to *y*.

    Raises:
        NotCertifiedError: If the parameter has numbers of its own for every sample.
    """
    full = (1,) * (y.ndim - operand.ndim) + tuple(operand.shape)
    if full[0] != 1:
        raise refuse(node, f"a parameter of shape {tuple(operand.shape)} lies along the samples' axis")
    away = [axis + 1 for axis in range(1, y.ndim) if full[axis] == 1]

    def contract(adjoint: Tensor, factor: Tensor, summed: bool) -> Tensor:
        product = adjoint * factor
        dims = [1, *away] if summed else away
        product = product.sum(dims) if dims else product
        lead = 1 if summed else 2
        return product.reshape(*product.shape[:lead], operand.numel())

    return contract
