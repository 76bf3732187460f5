"""Rules of products with parameters: Gemm, MatMul, Conv. Normalisation lives in `norm.py`, sums in `arithmetic.py`."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.certify.rules.base import Compute, finish, no_param, plain, refuse, rule, summing
from faultsim.certify.tape import Contract, Tape
from faultsim.model.nodes import Node
from faultsim.model.ops._window import pad_spatial, window


@rule("Gemm")
def gemm(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """Samples times a matrix, plus a constant or a parameter."""
    x, w, c = [*arguments, None][:3]
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    if node.attributes.get("transA", 0) or tape.moves(w) or tape.moves(c):
        raise refuse(node, "bounds are known for samples times a stored matrix plus a stored vector")
    no_param(tape, node, [x])
    y = compute([x, w, c])[0]
    tape.use(
        w, y, alpha * x.detach(), _moved(tape, x, abs(alpha)), _outer(bool(node.attributes.get("transB", 0))), pair=True
    )
    radius, magnitude = _product(
        tape, x, w, compute, [None], lambda name, met, _: abs(alpha) * tape.budget.row(name, met, -1)
    )
    if c is not None:
        tape.use(c, y, torch.full((), beta, dtype=torch.float64), None, summing(node, c, y))
        moved = abs(beta) * tape.param_radius(c)
        radius, magnitude = radius + moved, magnitude + abs(beta) * c.detach().abs() + moved
    return [finish(tape, node, y, radius, magnitude=magnitude, terms=x.shape[-1] + 1)]


@rule("MatMul")
def matmul(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """Samples times a stored matrix, a constant times samples, or samples times samples."""
    x, w = arguments
    no_param(tape, node, [x])
    y = compute([x, w])[0]
    if tape.param(w) is not None:
        if w.ndim != 2 or x.ndim < 2:
            raise refuse(node, f"bounds are known for stored matrices, not for a parameter of shape {tuple(w.shape)}")
        tape.use(w, y, x.detach(), _moved(tape, x, 1.0), _outer(False), pair=x.ndim == 2)
        radius, magnitude = _product(tape, x, w, compute, [], lambda name, met, _: tape.budget.row(name, met, -1))
        return [finish(tape, node, y, radius, magnitude=magnitude, terms=x.shape[-1])]
    keeps = (not tape.moves(x) or (x.ndim >= w.ndim and (w.ndim == 2 or tape.moves(w) or w.shape[0] == 1))) and (
        not tape.moves(w) or (w.ndim >= 3 and x.ndim <= w.ndim)
    )
    if not keeps:
        raise refuse(node, f"samples of shapes {tuple(x.shape)} and {tuple(w.shape)} do not keep the first axis")
    left, right = tape.radius(x), tape.radius(w)
    radius = plain(compute, [left, w.detach().abs()]) + plain(compute, [x.detach().abs(), right])
    if tape.moves(x) and tape.moves(w):
        both = plain(compute, [left, right])
        tape.remain(y, -both, both)
        radius = radius + both
    magnitude = plain(compute, [x.detach().abs() + left, w.detach().abs() + right])
    return [finish(tape, node, y, radius, magnitude=magnitude, terms=x.shape[-1])]


@rule("Conv")
def conv(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """Cross-correlation of samples with stored filters."""
    x, w, b = [*arguments, None][:3]
    if tape.moves(w) or tape.moves(b):
        raise refuse(node, "its filters depend on the input; bounds are known for stored ones")
    no_param(tape, node, [x])
    y = compute([x, w, b])[0]
    if tape.param(w) is not None:
        if x.ndim > 4:
            raise refuse(node, f"bounds are known for 1 and 2 spatial axes, here are {x.ndim - 2}")
        tape.use(w, y, x.detach(), _moved(tape, x, 1.0), _correlating(node, x, w))
    radius, magnitude = _product(
        tape,
        x,
        w,
        compute,
        [None],
        lambda name, met, like: _spread_rows(tape.budget.row(name, _patches(node, met, w), 2), w, like),
    )
    if b is not None:
        tape.use(b, y, torch.ones((), dtype=torch.float64), None, summing(node, _channels(b, y), y))
        moved = _channels(tape.param_radius(b), y)
        radius, magnitude = radius + moved, magnitude + _channels(b.detach().abs(), y) + moved
    return [finish(tape, node, y, radius, magnitude=magnitude, terms=math.prod(w.shape[1:]) + 1)]


def _moved(tape: Tape, x: Tensor, times: float) -> Tensor | None:
    return times * tape.radius(x) if tape.moves(x) else None


def _product(
    tape: Tape, x: Tensor, w: Tensor, compute: Compute, rest: list[Any], row: Callable[[str, Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return how far a product without its bias can move, and the most that its terms' magnitudes can add up to.

    *row* bounds what the parameter of a name adds, given what it meets, in the shape of its third argument.
    """
    size, moved, by = x.detach().abs(), tape.radius(x), tape.param_radius(w)
    magnitude = plain(compute, [size + moved, w.detach().abs() + by, *rest]).abs()
    radius = torch.zeros_like(magnitude)
    if tape.moves(x):
        radius = plain(compute, [moved, w.detach().abs(), *rest]).abs()
    param = tape.param(w)
    if param is not None:
        one_by_one = plain(compute, [size + moved, by, *rest]).abs()
        together = row(param.leaf, size + moved, one_by_one) if param.once else one_by_one
        radius = radius + torch.minimum(one_by_one, together)
    return radius, magnitude


def _outer(transposed: bool) -> Contract:
    """Return the contraction of a matrix that multiplies the last axis: ``(k, o)``, or ``(o, k)`` if *transposed*."""
    pair = "ok" if transposed else "ko"

    def contract(adjoint: Tensor, factor: Tensor, summed: bool) -> Tensor:
        adjoint = adjoint.reshape(*adjoint.shape[:2], -1, adjoint.shape[-1])
        factor = factor.reshape(factor.shape[0], -1, factor.shape[-1])
        found = torch.einsum(f"ibto,btk->{'i' if summed else 'ib'}{pair}", adjoint, factor)
        return found.flatten(-2)

    return contract


def _correlating(node: Node, x: Tensor, w: Tensor) -> Contract:
    def contract(adjoint: Tensor, factor: Tensor, summed: bool) -> Tensor:
        columns = _patches(node, factor, w)
        rows = adjoint.reshape(*adjoint.shape[:2], columns.shape[1], -1, columns.shape[-1])
        found = torch.einsum(f"ibgol,bgkl->{'i' if summed else 'ib'}gok", rows, columns)
        return found.flatten(-3)

    return contract


def _patches(node: Node, x: Tensor, w: Tensor) -> Tensor:
    """Return what every filter meets at every place, shape ``(B, groups, C / groups · kernel, places)``."""
    given = node.attributes
    at = window(
        x.shape[2:],
        w.shape[2:],
        given.get("strides"),
        given.get("dilations"),
        given.get("pads"),
        given.get("auto_pad", "NOTSET"),
    )
    x = pad_spatial(x, at.begin, at.end)
    kernel, spread, steps = at.kernel, at.dilations, at.strides
    if x.ndim == 3:
        x, kernel, spread, steps = x.unsqueeze(-1), [*kernel, 1], [*spread, 1], [*steps, 1]
    columns = functional.unfold(x, tuple(kernel), dilation=tuple(spread), stride=tuple(steps))
    groups = int(given.get("group", 1))
    return columns.reshape(len(x), groups, -1, columns.shape[-1])


def _spread_rows(row: Tensor, w: Tensor, like: Tensor) -> Tensor:
    """Give every filter of a group that group's bound, shape ``(B, groups, 1, places)``, shaped as the output."""
    groups = row.shape[1]
    return row.expand(-1, -1, w.shape[0] // groups, -1).reshape(like.shape)


def _channels(b: Tensor, y: Tensor) -> Tensor:
    return b.reshape(-1, *[1] * (y.ndim - 2))
