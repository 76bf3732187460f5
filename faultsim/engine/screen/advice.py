"""What to do with a bit map: the worst single bits, and which bits to protect first. No map is made here."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.screen.bitmap import Flip, SiteMap, shares
from faultsim.engine.screen.map_audit import MapAudit, mean_of
from faultsim.engine.sweep.sweep import Sweep
from faultsim.stats.estimate import Estimate

TARGETS = (0.5, 0.9, 0.99)
"""Parts of the predicted damage that the steps take away."""
LISTED = 10
"""Bits that `worst_bits` lists."""
TRIED = 4
"""Flips that it evaluates, times as many."""


class WorstBit(NamedTuple):
    """A single bit.

    Attributes:
        flip: Where it is.
        predicted: Its share in the map.
        evaluated: Its true share on the images of the map.
    """

    flip: Flip
    predicted: float
    evaluated: float


class Step(NamedTuple):
    """Bits to protect.

    Attributes:
        target: Part of the predicted damage that was asked for.
        bits: What is protected, each the number of a site and a bit position of all its words.
        stored: Their part of all stored bits.
        removed: Part of the predicted damage that they take away, at least `target`.
        left: Mean share over *all* flips when these change nothing, corrected by the audit, with its interval.
    """

    target: float
    bits: tuple[tuple[int, int], ...]
    stored: float
    removed: float
    left: Estimate


def worst_bits(sites: Sequence[SiteMap], sweep: Sweep, count: int = LISTED) -> list[WorstBit]:
    """Return the bits with the largest shares: the highest of the map are evaluated exactly, and ranked by that.

    Args:
        sites: The map.
        sweep: Evaluates flips on the images of the map.
        count: Most bits that are returned.
    """
    most = TRIED * count
    found: list[tuple[float, int, int, int]] = []
    for number, one in enumerate(sites):
        flat = one.shares.reshape(-1)
        order = np.argsort(-flat, kind="stable")[:most] if flat.size <= most else _highest(flat, most)
        for at in order.tolist():
            bit, position = divmod(at, one.indices.size)
            found.append((-float(flat[at]), -bit, number, position))
    flips = [Flip(number, position, -bit) for share, bit, number, position in sorted(found)[:most] if share < 0]
    if not flips:
        return []
    truth = shares(sweep, sites, flips).tolist()
    ranked = sorted(range(len(flips)), key=lambda i: -truth[i])[:count]
    return [
        WorstBit(flips[i], float(sites[flips[i].site].shares[flips[i].bit, flips[i].position]), truth[i])
        for i in ranked
    ]


def _highest(flat: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the positions of the *count* largest numbers, the first ones of those that tie."""
    edge = np.partition(flat, flat.size - count)[flat.size - count]
    above = np.flatnonzero(flat > edge)
    return np.concatenate([above, np.flatnonzero(flat == edge)[: count - above.size]])


def advise(
    sites: Sequence[SiteMap], found: MapAudit, *, level: float, targets: Sequence[float] = TARGETS
) -> list[Step]:
    """Return which bit positions of which tensors to protect first, for a few targets.

    A protected bit counts as one whose flips change nothing. A flip hits every stored bit alike; then the damage is
    a sum over bits, and taking the (tensor, position) pairs of the largest mean first takes away the most damage for
    every number of protected bits. The choice looks at the map alone, so the audit may judge it.

    Args:
        sites: The map.
        found: Its audit.
        level: Confidence of the intervals.
        targets: Parts of the damage to take away, in (0, 1].

    Returns:
        One step for each target, those that need the same bits once; none where the map has no damage.
    """
    pairs = [(i, bit) for i, one in enumerate(sites) for bit in range(len(one.shares))]
    means = {(i, bit): float(mean) for i, one in enumerate(sites) for bit, mean in enumerate(one.bits)}
    numbers = [one.stored.site.elements for one in sites]
    damage = {pair: means[pair] * numbers[pair[0]] for pair in pairs}
    total = math.fsum(damage.values())
    if total <= 0:
        return []
    stored = sum(numbers[i] for i, _ in pairs)
    order = sorted(pairs, key=lambda pair: (-means[pair], -pair[1], pair[0]))
    taken = np.cumsum([damage[pair] for pair in order]) / total
    steps: list[Step] = []
    for target in targets:
        count = min(int(np.searchsorted(taken, target - 1e-9)) + 1, len(order))
        chosen = tuple(order[:count])
        if steps and steps[-1].bits == chosen:
            steps.pop()
        steps.append(
            Step(
                target=target,
                bits=chosen,
                stored=sum(numbers[i] for i, _ in chosen) / stored,
                removed=min(float(taken[count - 1]), 1.0),
                left=mean_of(sites, found.audited, level=level, without=frozenset(chosen)),
            )
        )
    return steps
