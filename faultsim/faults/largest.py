"""The largest error that drawn chips have, for chains of laws without a closed form of it. No law lives here."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget
from faultsim.budget.simulated import quantile_of
from faultsim.corruption import Add, Stored
from faultsim.faults.recall import Recall, digest
from faultsim.formats.conductance import ConductanceMapping

_LARGEST = Recall(16 << 20)
"""Largest errors of blocks of weights: every confidence reads the same."""
_ELEMENTS = 1 << 23
"""Errors that are drawn for a tensor, at least eight chips' and at most `_CHIPS` chips'."""
_CHIPS, _LEAST = 4096, 8
_MAXIMA = 512
"""Largest errors, at least; where the chips are fewer, each one's weights are cut into blocks."""


class Draw(Protocol):
    """Draws the delta of one tensor on one chip."""

    def __call__(self, stored: Stored, rng: np.random.Generator) -> Add:
        """Return it, value units."""
        ...


def drawn_largest(
    draw: Draw, stored: Stored, *, key: str, closed: Callable[[float], Budget], confidence: float
) -> Budget:
    """Bound the largest error of a tensor by drawn chips, always the same ones.

    Of up to 16,384 weights it is the quantile of 512 to 4,096 chips (`quantile_of`). Of more, fewer chips are drawn,
    and the errors of each are dealt to b blocks at random. A block stays within a radius with probability q where the
    whole does with ``q**b``; so the radius is the closed form at q, times the drawn quantile q of blocks over the
    closed form at ``q**b``. That is right to 2 to 3 %, and from eight chips of a tensor of millions of weights to 5 %.

    Args:
        draw: Draws a chip.
        stored: The tensor.
        key: What the drawing depends on besides the tensor.
        closed: The closed form of p = inf by confidence, nearly right.
        confidence: Quantile over chips, strictly between 0 and 1.
    """
    size = stored.values.size
    chips = min(max(_ELEMENTS // max(size, 1), _LEAST), _CHIPS)
    blocks = min(math.ceil(_MAXIMA / chips), size)
    found = closed(confidence)
    if found.eps == 0 or blocks == 0:
        return found
    step = stored.format.step if isinstance(stored.format, ConductanceMapping) else 0.0
    of = digest(np.asarray(stored.values), np.asarray(step), repr(stored.format), stored.site.channel_axis, key)
    maxima = _LARGEST.get(of, lambda: _maxima(draw, stored, chips, blocks))
    block = closed(confidence**blocks).eps
    drawn = quantile_of(maxima, confidence)
    eps = drawn if blocks == 1 or block == 0 else found.eps * drawn / block
    return replace(found, eps=eps, note=f"from {chips} simulated chips")


def _maxima(draw: Draw, stored: Stored, chips: int, blocks: int) -> NDArray[np.float64]:
    """Return the largest error of each block of each chip, in one row."""
    rng = np.random.default_rng(0)
    starts = np.linspace(0, stored.values.size, blocks + 1).astype(np.int64)[:-1]
    dealt = rng.permutation(stored.values.size)
    rows = []
    for _ in range(chips):
        error = np.abs(np.asarray(draw(stored, rng).delta)).ravel()
        rows.append(np.maximum.reduceat(error[dealt], starts))
    return np.concatenate(rows).astype(np.float64)
