"""The largest error that drawn chips have, for chains of laws without a closed form of it. No law lives here."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.simulated import quantile_of
from faultsim.corruption import Add, Stored
from faultsim.faults.recall import Recall, digest
from faultsim.formats.conductance import ConductanceMapping

_LARGEST = Recall(16 << 20)
"""Largest errors of chips: every confidence reads the same."""
_ELEMENTS = 1 << 24
"""Errors that are drawn for a tensor; of a larger one that would be too few chips."""
_CHIPS, _LEAST = 4096, 256


class Draw(Protocol):
    """Draws the delta of one tensor on one chip."""

    def __call__(self, stored: Stored, rng: np.random.Generator) -> Add:
        """Return it, value units."""
        ...


def drawn_largest(
    draw: Draw, stored: Stored, mapping: ConductanceMapping, *, key: str, confidence: float
) -> tuple[float, str] | None:
    """Return the radius of the largest error by drawn chips, always the same ones, and how it came about.

    It is the quantile of 256 to 4,096 chips (`quantile_of`); ``benchmarks/budget_norms.py`` holds it against others.

    Args:
        draw: Draws a chip.
        stored: The tensor.
        mapping: Its format.
        key: What the drawing depends on besides the tensor.
        confidence: Quantile over chips, strictly between 0 and 1.

    Returns:
        The radius, value units, and a sentence; None of a tensor of more than 65,536 weights.

    Raises:
        OptionError: If confidence is out of range.
    """
    chips = min(_ELEMENTS // max(stored.values.size, 1), _CHIPS)
    if chips < _LEAST:
        return None
    cells, step = np.asarray(mapping.to_cells(stored.values)), np.asarray(mapping.step)
    of = digest(cells, step, type(mapping).__name__, stored.site.channel_axis, key)
    largest = _LARGEST.get(of, lambda: _largest(draw, stored, chips))
    return quantile_of(largest, confidence), f"from {chips} simulated chips"


def _largest(draw: Draw, stored: Stored, chips: int) -> NDArray[np.float64]:
    """Return the largest error of each chip."""
    rng = np.random.default_rng(0)
    return np.array([float(np.abs(np.asarray(draw(stored, rng).delta)).max(initial=0.0)) for _ in range(chips)])
