"""Rules of functions of one number: those of straight pieces, exactly; smooth ones by their curvature."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.certify.reverse import sharpen
from faultsim.certify.rules.arithmetic import mul
from faultsim.certify.rules.base import Compute, finish, no_param, plain, refuse, rule
from faultsim.certify.tape import Tape
from faultsim.model.nodes import Node

Kinks = Callable[[Node, Sequence[Any]], list[Tensor]]


class Smooth(NamedTuple):
    """Largest slope, largest magnitude of the second derivative, and width of the range of a function.

    *off* is the least magnitude by which it rounds: onnxruntime's sigmoid has no relative accuracy.
    """

    slope: float
    curvature: float
    width: float
    off: float = 0.0


# Maxima of |f'| and |f''|: sigmoid 1/4 and 1/(6√3); tanh 1 and 4/(3√3); erf 2/√π and (4/√(2π)) e^(-1/2), rounded up.
SMOOTH = {
    "Sigmoid": Smooth(0.25, 0.09623, 1.0, 1.0),
    "Tanh": Smooth(1.0, 0.76981, 2.0),
    "Erf": Smooth(1.12838, 0.96789, 2.0),
}


@rule("Relu", "LeakyRelu", "PRelu", "Clip", "HardSigmoid", "Abs")
def pieces(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """A function of straight pieces: what it adds beyond its slope is largest at a kink or as far as x can go."""
    x, *rest = arguments
    no_param(tape, node, arguments)
    if any(tape.moves(other) for other in rest):
        raise refuse(node, "its bounds or slopes depend on the input")
    sharpen(tape, x)
    radius = tape.radius(x)
    y = compute(arguments)[0]
    slope = _slope(node, y, x)
    at, value = x.detach(), y.detach()
    if tape.chords:
        ends = [plain(compute, [at + step, *rest]) for step in (-radius, radius)]
        slope = torch.where(radius > 0, (ends[1] - ends[0]) / (2 * radius).clamp(min=1e-300), slope)
        y = value + slope * (x - at)
    steps = [-radius, radius]
    for kink in _kinks(node, rest):
        to = kink - at
        steps.append(torch.where(to.abs() <= radius, to, torch.zeros_like(to)))
    low, high, moved = (torch.zeros_like(value) for _ in range(3))
    for step in steps:
        change = plain(compute, [at + step, *rest]) - value
        low, high = torch.minimum(low, change - slope * step), torch.maximum(high, change - slope * step)
        moved = torch.maximum(moved, change.abs())
    tape.remain(y, low, high)
    return [finish(tape, node, y, moved, magnitude=value.abs() + moved)]


@rule("HardSwish")
def hard_swish(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """X · HardSigmoid(x; 1/6, 1/2): both factors move."""
    inner = replace(node, op_type="HardSigmoid", attributes={"alpha": 1 / 6, "beta": 0.5})
    (gate,) = pieces(tape, inner, arguments, lambda given: [functional.hardsigmoid(given[0])])
    return mul(tape, node, [arguments[0], gate], lambda given: [given[0] * given[1]])


@rule(*SMOOTH)
def smooth(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """A function with a bounded second derivative: |f(x + d) - f(x) - f'(x) d| <= max|f''| d² / 2."""
    x = arguments[0]
    no_param(tape, node, arguments)
    sharpen(tape, x)
    radius = tape.radius(x)
    bounds = SMOOTH[node.op_type]
    y = compute(arguments)[0]
    beyond = bounds.curvature / 2 * radius**2
    tape.remain(y, -beyond, beyond)
    moved = (bounds.slope * radius).clamp(max=bounds.width)
    return [finish(tape, node, y, moved, magnitude=(y.detach().abs() + moved).clamp(min=bounds.off), terms=8)]


def _slope(node: Node, y: Tensor, x: Tensor) -> Tensor:
    """Return the derivative that autograd has at every element."""
    if not y.requires_grad:
        raise refuse(node, "it passes no gradient here")
    (slope,) = torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
    return slope.detach()


def _kinks(node: Node, rest: Sequence[Any]) -> list[Tensor]:
    if node.op_type == "HardSigmoid":
        alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
        alpha = 1 / 6 if beta == 0.5 and abs(alpha - 1 / 6) < 1e-7 else alpha  # as the op itself has it
        return [torch.tensor(k, dtype=torch.float64) for k in (-beta / alpha, (1 - beta) / alpha)] if alpha else []
    if node.op_type == "Clip":
        ends = [*rest, *(torch.tensor(node.attributes[k]) for k in ("min", "max") if k in node.attributes)]
        return [end.detach().double().reshape(()) for end in ends if end is not None and end.numel()]
    return [torch.zeros((), dtype=torch.float64)]
