"""Budgets of regions of a memory or an array that fail as a whole. Where regions lie is the laws' business."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim.budget.base import Budget, check_confidence, check_norm
from faultsim.budget.compound import compound_quantile
from faultsim.budget.largest import largest_jump
from faultsim.budget.mixture import mixture_quantile

Floats = NDArray[np.float64]

STRUCTURED = "a structured fault: the ball forgets which elements fail together"
_GROUPS = 512


class Regions(NamedTuple):
    """What a failure of each region does to one tensor, three arrays of shape (regions,).

    Attributes:
        touched: Elements that change.
        moved: ``sum |change|**p`` for p = 1, 2, ``max |change|`` for p = inf; value units.
        weight: Expected failures of each (a rate), or relative to each other where their number is fixed.
    """

    touched: Floats
    moved: Floats
    weight: Floats


def region_failures(
    *,
    mechanism: str,
    scope: str,
    regions: Regions,
    elements: int,
    p: float,
    confidence: float,
    number: int | None = None,
    independent: bool = False,
    given_event: bool = False,
    overlap: float = 1.0,
    note: str = STRUCTURED,
) -> Budget:
    """Bound regions that fail whole: the quantiles of how many elements change, and by how much.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        regions: What each region's failure does to this tensor.
        elements: Elements of the tensor, a cap on n.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.
        number: Regions that fail, exactly, drawn without replacement in proportion to equal weights; ``None``
            takes the weights as rates.
        independent: Whether a weight is the probability that the region fails, once; else failures are Poisson.
        given_event: Whether to condition on at least one failure.
        overlap: Bound on ``(sum a_u)**2 / sum a_u**2`` of the changes a_u that regions make to one element, such as
            the number of regions that share one; 1 where none do. Radii are then the smaller of their sum (the
            triangle inequality) and ``sqrt(overlap)`` times that of the squares. ``math.inf`` takes the sum.
        note: For the budget.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    touched, moved, weight = (np.asarray(part, dtype=np.float64) for part in regions)
    fails = _Failures(weight, number, independent, given_event, confidence)
    n = min(elements, _whole(fails.total(touched)))
    eps = 0.0
    if n and not np.all(np.isfinite(moved[(weight > 0) | (number is not None)])):
        eps = math.inf
    elif n and p == math.inf:
        eps = fails.largest(moved) if overlap == 1 else fails.total(moved)
    elif n:
        eps = fails.total(moved) if p == 1 else fails.total(np.sqrt(moved)) if overlap != 1 else math.inf
        if p == 2 and math.isfinite(overlap):
            eps = min(eps, math.sqrt(overlap * fails.total(moved)))
    return Budget(
        mechanism=mechanism,
        scope=scope,
        p=p,
        eps=eps,
        n=n,
        confidence=confidence,
        conditional=given_event,
        note=note if n else "",
    )


class _Failures(NamedTuple):
    """Which regions fail: the law of the quantiles of a sum and of a maximum over them."""

    weight: Floats
    number: int | None
    independent: bool
    given_event: bool
    confidence: float

    def total(self, sizes: Floats) -> float:
        """Return the quantile of the sum of *sizes* over the regions that fail.

        Never below that of the largest of them, which is exact where small sizes are lost in the grid of large ones.
        """
        return max(self._sum(sizes), self.largest(sizes)) if sizes.size else 0.0

    def _sum(self, sizes: Floats) -> float:
        if self.number is not None:
            heights, counts = np.unique(sizes, return_counts=True)
            most = float(np.sort(sizes)[max(sizes.size - self.number, 0) :].sum())
            return min(most, mixture_quantile(heights, counts / sizes.size, [self.number], self.confidence))
        if self.independent:
            pairs, counts = np.unique(np.stack([sizes, self.weight]), axis=1, return_counts=True)
            if pairs.shape[1] <= _GROUPS:
                return mixture_quantile(pairs[0][:, None], pairs[1][:, None], counts, self.confidence)
        found = compound_quantile(sizes, self.weight, self.confidence, given_event=self.given_event)
        return min(found, float(sizes.sum())) if self.independent else found

    def largest(self, sizes: Floats) -> float:
        """Return the quantile of the largest of *sizes* over the regions that fail, 0 where none does."""
        if self.number is None:
            with np.errstate(divide="ignore"):
                each = -np.log1p(-self.weight) if self.independent else self.weight
            return largest_jump(sizes, each, confidence=self.confidence, given_event=self.given_event)
        heights = np.concatenate([[0.0], np.sort(sizes)])
        larger = sizes.size - np.searchsorted(heights[1:], heights, side="right")
        inside = stats.hypergeom.pmf(0, sizes.size, larger, min(self.number, sizes.size))
        kept = np.flatnonzero(inside >= self.confidence - 1e-12)
        return float(heights[kept[0]]) if kept.size else float(heights[-1])


def _whole(count: float) -> int:
    """Return a count read off a grid of at best 1/65536: the number that it means, or a little above a large one."""
    near, slack = round(count), max(0.01, 2 * count / 2**16)
    return near if slack < 0.25 and abs(count - near) <= slack else math.ceil(count + slack)
