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
    """

    def __init__(self, probe: Probe) -> None:
        self._constraint, self._layout = probe.constraint, probe.layout
        self._each = probe.constraint.each()
        sizes = dict(zip(self._layout.names, map(math.prod, self._layout.shapes), strict=True))
        self.limit = sum(
            constraint.limit(sum(sizes[name] for name in names)) for names, constraint in probe.constraint.blocks
        )

    def alone(self, slope: Floats) -> Floats:
        """Return how far each element would move up its slope with its budget for itself: shape ``(k,)``."""
        if not slope.any():
            return slope
        try:
            return self._layout.flatten(self._each.argmax(self._layout.split(slope)))
        except NoMaximiserError:
            return np.zeros_like(slope)

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
