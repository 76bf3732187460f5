"""`Exhaustive`: every corner of a tiny set, scored one by one. What a corner is in larger sets is not its business."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from faultsim.constraints import Block, Floats, Layout, NoMaximiserError, TensorSet
from faultsim.errors import OptionError
from faultsim.search import Probe

MOST = 200_000
"""Corners up to which a set is tiny."""


@dataclass(frozen=True)
class Exhaustive:
    """Score every corner of the set.

    A corner of a budget spends it on one element (p = 1, or n = 1), or moves exactly n elements by their whole range
    (p = inf), in both signs each. For other sets, whose edge is curved, there are no corners. A loss that is convex in
    the corruption has its maximum at a corner; that of a network need not, so this is found, not proven, too.
    """

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "exhaustive"

    def check(self, constraint: TensorSet, sizes: Mapping[str, int]) -> None:
        """Refuse a set that is not tiny.

        Raises:
            OptionError: If it has no corners, or too many.
        """
        total = 1
        for block in constraint.blocks:
            elements = sum(sizes[name] for name in block.names)
            n = block.constraint.limit(elements)
            if _single(block) or n == 1:
                total *= 2 * elements
            elif math.isinf(block.constraint.p):
                total *= math.comb(elements, n) * 2**n
            else:
                raise OptionError(
                    f"--method exhaustive scores the corners of a set, and one of p = {block.constraint.p:g} with "
                    f"{n} moving numbers has none; use --p 1, --n 1 or --p inf, or another --method"
                )
            if total > MOST:
                raise OptionError(
                    f"--method exhaustive would score more than {MOST:,} corners; give a smaller --n, choose fewer "
                    "tensors with --sites, or use another --method"
                )

    def search(self, probe: Probe, restarts: int) -> None:
        """Score them all, in a fixed order."""
        blocks = probe.constraint.blocks
        layouts = [Layout.of(probe.zero(), block.names) for block in blocks]
        for corner in _corners(list(zip(blocks, layouts, strict=True))):
            whole = probe.zero()
            for layout, (chosen, signs) in zip(layouts, corner, strict=True):
                direction: Floats = np.zeros(layout.elements)
                direction[list(chosen)] = signs
                whole |= layout.split(direction)
            try:
                delta = probe.constraint.argmax(whole)
            except NoMaximiserError:  # these elements cannot move
                continue
            probe.score(delta)


Corner = tuple[tuple[int, ...], tuple[float, ...]]  # elements that move, and which way


def _corners(parts: Sequence[tuple[Block, Layout]]) -> Iterator[tuple[Corner, ...]]:
    """Yield one corner of every budget, all combinations of them; nothing as large as a tensor is kept."""
    if not parts:
        yield ()
        return
    block, layout = parts[0]
    n = 1 if _single(block) else block.constraint.limit(layout.elements)
    for chosen in combinations(range(layout.elements), n):
        for signs in product((1.0, -1.0), repeat=n):
            for rest in _corners(parts[1:]):
                yield ((chosen, signs), *rest)


def _single(block: Block) -> bool:
    return block.constraint.p == 1
