"""How far outputs can move: adjoints from autograd, joined with the tape's uses and remainders. No op lives here."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from faultsim.certify.budget import dual_norm
from faultsim.certify.tape import Tape, Use

_CHUNK = 1 << 21  # numbers of Jacobians held at a time, a few times over
_LONE = 100  # how much less may be spent on a tensor that one node alone moves: its rows say nearly the same
SURE = 1 + 1e-9  # outward: sums of a few million float64 terms of one sign are off by less


class Range(NamedTuple):
    """How far each of some directions of an output can move: ``low <= d <= high``, shape ``(I, B)``."""

    low: Tensor
    high: Tensor


class Direction(NamedTuple):
    """One direction of an output per sample, its corruptions' effects summed over the samples.

    Attributes:
        gradient: By parameter, flat: the exact derivative.
        spread: By parameter, flat: how far that derivative can move over the set, at least 0.
        remainder: The most that all remainders together add, by sample, shape ``(B,)``.
    """

    gradient: dict[str, Tensor]
    spread: dict[str, Tensor]
    remainder: Tensor


def cost(tape: Tape, directions: int) -> int:
    """Return about how many numbers the Jacobians of so many directions of one sample take, adjoints included."""
    parameters = sum(use.factor[:1].numel() if use.pair else tape.budget.elements(use.leaf) for use in tape.uses)
    places = {id(at): at[:1].numel() for at in [*(use.at for use in tape.uses), *(r.at for r in tape.remainders)]}
    return directions * (parameters + sum(places.values()))


def _held(tape: Tape) -> int:
    """Return about how many numbers `_part` makes of one direction of one sample: what *n* chooses from counts."""
    total = 0
    for names, ball in tape.budget.blocks:
        n, even = tape.budget.limit(names, ball.n), tape.budget.even(names)
        for name in names:
            uses = [use for use in tape.uses if use.leaf == name]
            if len(uses) == 1 and uses[0].pair and even:
                (use,) = uses
                if n is not None:
                    total += min(n, use.at.shape[-1]) * min(n, use.factor.shape[-1])
            elif uses:
                total += len(uses) * tape.budget.elements(name)
    return total


def ranges(tape: Tape, output: Tensor, seeds: Tensor) -> Range:
    """Bound how far directions of a value can move over the set, sample by sample.

    Args:
        tape: What is known of the batch.
        output: The value, shape ``(B, …)``.
        seeds: The directions, shape ``(I, B, …)``; or ``(I, 1, …)``, the same for every sample.

    Returns:
        The bounds, shape ``(I, B)``.
    """
    rows = max(1, _CHUNK // max(1, tape.batch * max(cost(tape, 1), _held(tape))))
    lows, highs = [], []
    for begin in range(0, len(seeds), rows):
        part = seeds[begin : begin + rows].expand(-1, *output.shape)
        adjoints = _adjoints(tape, output, part)
        high = _reach(tape, adjoints, torch.zeros(len(part), tape.batch, dtype=torch.float64))
        low = -high
        for at, least, most in tape.remainders:
            adjoint = adjoints.get(id(at))
            if adjoint is not None:
                up, down = adjoint.clamp(min=0), (-adjoint).clamp(min=0)
                high = high + _inner(up, most) - _inner(down, least)
                low = low + _inner(up, least) - _inner(down, most)
        lows.append(low * SURE)
        highs.append(high * SURE)
    return Range(torch.cat(lows), torch.cat(highs))


def direction(tape: Tape, output: Tensor, seed: Tensor) -> Direction:
    """Return gradient, its spread and the remainders of one direction per sample, summed over the batch.

    Args:
        tape: What is known of the batch.
        output: The value, shape ``(B, …)``.
        seed: Shaped as *output*; a sample whose seed is zero adds nothing.
    """
    adjoints = _adjoints(tape, output, seed[None])
    gradient: dict[str, Tensor] = {}
    spread: dict[str, Tensor] = {}
    for use in tape.uses:
        adjoint = adjoints.get(id(use.at))
        if adjoint is None:
            continue
        _add(gradient, use.leaf, use.contract(adjoint, use.factor, True)[0])
        if use.radius is not None:
            _add(spread, use.leaf, use.contract(adjoint.abs(), use.radius, True)[0])
    remainder = torch.zeros(tape.batch, dtype=torch.float64)
    for at, least, most in tape.remainders:
        adjoint = adjoints.get(id(at))
        if adjoint is not None:
            more = _inner(adjoint.clamp(min=0), most) - _inner((-adjoint).clamp(min=0), least)
            remainder = remainder + more[0]
    return Direction(gradient, spread, remainder)


def sharpen(tape: Tape, value: Tensor) -> None:
    """Make the recorded radius of a value as small as a Jacobian of its own allows, where that is not too dear."""
    if not tape.moves(value):
        return
    radius = tape.radius(value)
    if tape.known is not None:
        radius = torch.minimum(radius, tape.known.sharpened[len(tape.sharpened)])
    inner = math.prod(value.shape[1:])
    alone = len({id(use.at) for use in tape.uses}) == 1
    if tape.uses and inner and cost(tape, inner) <= tape.effort // (_LONE if alone else 1):
        found = [ranges(tape, value, seeds) for seeds in _one_hot(value, inner)]
        most = torch.cat([torch.maximum(r.high, -r.low) for r in found])
        radius = torch.minimum(radius, most.t().reshape(value.shape))
    tape.sharpened.append(radius)
    tape.set_radius(value, radius)


def _one_hot(value: Tensor, inner: int, most: int = 1 << 22) -> Iterator[Tensor]:
    rows = max(1, most // inner)
    for begin in range(0, inner, rows):
        count = min(rows, inner - begin)
        seeds = torch.zeros(count, inner, dtype=torch.float64)
        seeds[torch.arange(count), begin + torch.arange(count)] = 1
        yield seeds.reshape(count, 1, *value.shape[1:])


def _adjoints(tape: Tape, output: Tensor, seeds: Tensor) -> dict[int, Tensor]:
    """Return λ of every node output that the tape mentions and the output depends on, shape ``(I, B, …)``."""
    places = {id(at): at for at in [*(use.at for use in tape.uses), *(r.at for r in tape.remainders)]}
    wanted = list(places.values())
    if not wanted or not output.requires_grad:
        return {}
    with torch.enable_grad():
        if len(seeds) == 1:
            single = torch.autograd.grad(output, wanted, seeds[0], retain_graph=True, allow_unused=True)
            found = [None if g is None else g[None] for g in single]
        else:
            found = list(
                torch.autograd.grad(output, wanted, seeds, retain_graph=True, allow_unused=True, is_grads_batched=True)
            )
    return {id(at): g.detach() for at, g in zip(wanted, found, strict=True) if g is not None}


def _reach(tape: Tape, adjoints: dict[int, Tensor], none: Tensor) -> Tensor:
    """Bound the corruption times the derivative and its spread, over the set; shape ``(I, B)``."""
    total = none
    reached: dict[str, list[Use]] = {}
    for use in tape.uses:
        if id(use.at) in adjoints:
            reached.setdefault(use.leaf, []).append(use)
    for names, ball in tape.budget.blocks:
        here = [name for name in names if name in reached]
        if not here:
            continue
        if tape.budget.even(here):
            n = tape.budget.limit(names, ball.n)
            parts = [_part(tape, name, reached[name], adjoints, ball.p, n) for name in here]
            total = total + ball.eps * dual_norm(torch.cat(parts, -1), p=ball.p, n=n, dim=-1).squeeze(-1)
        else:
            total = total + tape.budget.support({name: _size(reached[name], adjoints) for name in here})
    return total


def _part(tape: Tape, name: str, uses: list[Use], adjoints: dict[int, Tensor], p: float, n: int | None) -> Tensor:
    """Return numbers with the same dual norm as all effects of one tensor, shape ``(I, B, some)``."""
    scale = tape.budget.scale(name)
    if len(uses) > 1 or not uses[0].pair:
        size = scale * _size(uses, adjoints)
        return dual_norm(size, p=p, n=None, dim=-1) if n is None else size
    (use,) = uses
    left = adjoints[id(use.at)].abs()
    right = use.factor.abs() if use.radius is None else use.factor.abs() + use.radius
    if n is None:
        return scale * dual_norm(left, p=p, n=None, dim=-1) * dual_norm(right, p=p, n=None, dim=-1)
    # the n largest products are among those of the n largest factors
    left, right = (v.topk(min(n, v.shape[-1]), dim=-1, sorted=False).values for v in (left, right))
    return scale * (left.unsqueeze(-1) * right.unsqueeze(-2)).flatten(-2)


def _size(uses: list[Use], adjoints: dict[int, Tensor]) -> Tensor:
    """Return the largest magnitude of what a unit of each element can do, shape ``(I, B, k)``."""
    first = spread = None
    for use in uses:
        adjoint = adjoints[id(use.at)]
        effect = use.contract(adjoint, use.factor, False)
        first = effect if first is None else first + effect
        if use.radius is not None:
            more = use.contract(adjoint.abs(), use.radius, False)
            spread = more if spread is None else spread + more
    if first is None:
        raise ValueError("a tensor without uses has no effect")
    return first.abs() if spread is None else first.abs() + spread


def _add(held: dict[str, Tensor], name: str, more: Tensor) -> None:
    held[name] = held[name] + more if name in held else more


def _inner(adjoint: Tensor, bound: Tensor) -> Tensor:
    """Return the sum over everything but directions and samples, shape ``(I, B)``."""
    product = adjoint * bound
    return product.flatten(2).sum(2) if product.ndim > 2 else product
