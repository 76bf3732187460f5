"""What the searches on few elements share: each element's own gain, and a support as a direction."""

import math

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints import Floats, NoMaximiserError, Tensors
from faultsim.search.probe import Probe


class Elements:
    """The set seen element by element, over the flat array of all tensors.

    Attributes:
        limit: The most elements that can move.
        limits: The same for each budget.
        budget: Of every element the place of its budget, ascending, shape ``(k,)``.
    """

    def __init__(self, probe: Probe) -> None:
        self._constraint, self._layout = probe.constraint, probe.layout
        self._each = probe.constraint.each()
        sizes = dict(zip(self._layout.names, map(math.prod, self._layout.shapes), strict=True))
        blocks = probe.constraint.blocks
        self.limits = tuple(constraint.limit(sum(sizes[name] for name in names)) for names, constraint in blocks)
        self.limit = sum(self.limits)
        place = {name: number for number, (names, _) in enumerate(blocks) for name in names}
        self.budget = np.concatenate([np.full(sizes[name], place[name]) for name in self._layout.names])

    def alone(self, slope: Floats) -> Floats:
        """Return how far each element would move up its slope with its budget for itself: shape ``(k,)``."""
        if not slope.any():
            return slope
        try:
            return self._layout.flatten(self._each.argmax(self._layout.split(slope)))
        except NoMaximiserError:
            return np.zeros_like(slope)

    def room(self, moved: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return how many more elements each budget lets move beside those of *moved*."""
        return np.asarray(self.limits, dtype=np.intp) - np.bincount(self.budget[moved], minlength=len(self.limits))

    def open(self, gain: Floats, moved: NDArray[np.bool_]) -> Floats:
        """Return *gain* where an element can still join: 0 for those of *moved*, and where its budget is full."""
        return np.where(moved | (self.room(moved) < 1)[self.budget], 0.0, gain)

    def joining(self, gain: Floats, moved: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
        """Return at most *count* elements of the largest gain above 0 that can all join those of *moved*."""
        ends = np.searchsorted(self.budget, np.arange(len(self.limits) + 1))
        found: list[NDArray[np.intp]] = [
            begin + largest(gain[begin:end], min(int(room), count))
            for begin, end, room in zip(ends[:-1], ends[1:], self.room(moved), strict=True)
        ]
        best: NDArray[np.intp] = np.concatenate(found)
        best = best[gain[best] > 0]
        order: NDArray[np.intp] = np.lexsort((best, -gain[best]))[:count]
        return best[order]

    def fitting(self, ranked: NDArray[np.intp], moved: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
        """Return the first *count* of the ranked elements that their budgets let move together, beside *moved*."""
        mine = self.budget[ranked]
        order = np.argsort(mine, kind="stable")
        first = np.searchsorted(mine[order], np.arange(len(self.limits)))
        within = np.empty(ranked.size, dtype=np.intp)  # how many of its own budget stand before it
        within[order] = np.arange(ranked.size) - first[mine[order]]
        fits: NDArray[np.intp] = np.flatnonzero(within < self.room(moved)[mine])[:count]
        return ranked[fits]

    def propose(self, direction: Floats) -> Tensors:
        """Return the maximiser of the set for a flat direction, zero off the support."""
        return self._constraint.argmax(self._layout.split(direction))

    def direction_of(self, delta: Tensors) -> Floats:
        """Return a flat direction whose maximiser is *delta* again, up to the norm: argmax undone."""
        moved = self._layout.flatten(delta)
        reach = np.abs(self.alone(moved))  # eps times the scale
        units = np.divide(np.abs(moved), reach, out=np.zeros_like(moved), where=reach > 0)
        power: Tensors = {}
        parts = self._layout.split(units)
        for names, constraint in self._constraint.blocks:
            exponent = 1.0 if math.isinf(constraint.p) else constraint.p - 1
            power |= {name: parts[name] ** exponent for name in names}
        magnitude = np.divide(self._layout.flatten(power), reach, out=np.zeros_like(moved), where=reach > 0)
        return np.where(moved == 0, 0.0, np.copysign(magnitude, moved))


def largest(gain: Floats, count: int) -> NDArray[np.intp]:
    """Return the flat indices of the *count* largest elements of *gain*, the largest first."""
    count = min(count, gain.size)
    if count <= 0:
        return np.empty(0, dtype=np.intp)
    top = np.argpartition(-gain, count - 1)[:count]
    return top[np.lexsort((top, -gain[top]))]
