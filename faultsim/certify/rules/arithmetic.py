"""Rules of sums, differences, products and quotients element by element."""

from typing import Any

import torch

from faultsim.certify.rules.base import Compute, aligned, finish, no_param, refuse, rule, summing
from faultsim.certify.tape import Tape
from faultsim.model.nodes import Node


@rule("Add", "Sub", "Sum", "Neg", "Mean")
def add(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """Terms with a sign each, or a share of a mean; one that is stored may move."""
    y = compute(arguments)[0]
    radius, magnitude = torch.zeros_like(y.detach()), torch.zeros_like(y.detach())
    share = 1 / len(arguments) if node.op_type == "Mean" else 1.0
    for position, term in enumerate(arguments):
        minus = node.op_type == "Neg" or (node.op_type == "Sub" and position == 1)
        aligned(tape, node, term, y)
        if tape.param(term) is not None:
            factor = torch.full((), -share if minus else share, dtype=torch.float64)
            tape.use(term, y, factor, None, summing(node, term, y))
        moved = share * (tape.radius(term) + tape.param_radius(term))
        radius, magnitude = radius + moved, magnitude + share * term.detach().abs() + moved
    return [finish(tape, node, y, radius, magnitude=magnitude, terms=len(arguments))]


@rule("Mul")
def mul(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """A product of two: d_y = a d_b + b d_a + d_a d_b."""
    a, b = arguments
    y = compute([a, b])[0]
    if tape.param(a) is not None and tape.param(b) is not None:
        raise refuse(node, "it multiplies two parameters that move")
    for one, other in ((a, b), (b, a)):
        aligned(tape, node, one, y)
        moved = tape.radius(other) if tape.moves(other) else None
        if tape.param(one) is not None:
            tape.use(one, y, other.detach(), moved, summing(node, one, y))
    by_a, by_b = (tape.radius(v) + tape.param_radius(v) for v in (a, b))
    if tape.moves(a) and tape.moves(b):
        tape.remain(y, -by_a * by_b, by_a * by_b)
    radius = a.detach().abs() * by_b + b.detach().abs() * by_a + by_a * by_b
    return [finish(tape, node, y, radius, magnitude=y.detach().abs() + radius)]


@rule("Div")
def div(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """A quotient whose divisor is a constant."""
    a, b = arguments
    if tape.moves(b) or tape.param(b) is not None:
        raise refuse(node, "its divisor can move; bounds are known for a constant one")
    y = compute([a, b])[0]
    aligned(tape, node, a, y)
    by = 1 / b.detach()
    tape.use(a, y, by, None, summing(node, a, y)) if tape.param(a) is not None else None
    radius = (tape.radius(a) + tape.param_radius(a)) * by.abs()
    return [finish(tape, node, y, radius, magnitude=y.detach().abs() + radius)]


@rule("Dropout")
def dropout(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """The input itself."""
    x = arguments[0]
    with torch.no_grad():
        y, *rest = compute(arguments)
    if not torch.equal(y, x):
        raise refuse(node, "it draws at random; export the model for inference")
    if not tape.moves(x) and rest:
        no_param(tape, node, [x])
    return [x, *rest]
