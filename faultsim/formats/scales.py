"""Scales read off a tensor: its largest magnitude per tensor, channel or tile. No format lives here."""

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.formats.base import Values


def absmax(values: Values, *, axis: int | None = None, tile: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """Return the largest magnitude of *values* per tensor, per channel or per crossbar tile, as a scale.

    Where a group is all zero its scale is 1: it maps to zero codes or idle devices whatever the scale.

    Args:
        values: The tensor; a weight's axis 0 is its output channel.
        axis: The channel axis, or ``None`` for one scale.
        tile: ``(rows, columns)`` of a crossbar array; output channels lie along the columns, all that they
            sum over along the rows. One scale per tile. Not together with *axis*.

    Returns:
        A positive array that broadcasts to the tensor: shape ``()``, ones but for the channel axis, or full.

    Raises:
        OptionError: If both *axis* and *tile* are given, or one does not fit the tensor.
    """
    if axis is not None and tile is not None:
        raise OptionError("a scale is per channel (axis) or per tile, not both; give one of them")
    top = peaks(values, axis) if tile is None else _tile_peaks(values, *tile)
    return np.where(top > 0, top, 1.0)


def peaks(values: Values, axis: int | None) -> NDArray[np.float64]:
    """Return the largest magnitude of *values* per tensor (shape ``()``) or per channel (broadcastable).

    Raises:
        OptionError: If the tensor has no such *axis*.
    """
    magnitude = np.abs(np.asarray(values, dtype=np.float64))
    if axis is None:
        return np.asarray(magnitude.max(initial=0.0))
    if not -magnitude.ndim <= axis < magnitude.ndim:
        raise OptionError(f"channel axis {axis} is out of range for a tensor of {magnitude.ndim} dimensions")
    others = tuple(i for i in range(magnitude.ndim) if i != axis % magnitude.ndim)
    return np.asarray(magnitude.max(axis=others, keepdims=True, initial=0.0))


def _tile_peaks(values: Values, rows: int, columns: int) -> NDArray[np.float64]:
    if rows < 1 or columns < 1:
        raise OptionError(f"a tile needs at least one row and one column, got {rows} x {columns}")
    magnitude = np.abs(np.asarray(values, dtype=np.float64))
    if not magnitude.size:
        return np.ones(magnitude.shape)
    matrix = magnitude.reshape(magnitude.shape[0] if magnitude.ndim else 1, -1)
    down = np.arange(0, matrix.shape[0], columns)
    across = np.arange(0, matrix.shape[1], rows)
    tops = np.maximum.reduceat(np.maximum.reduceat(matrix, down, axis=0), across, axis=1)
    full = np.repeat(np.repeat(tops, columns, axis=0)[: matrix.shape[0]], rows, axis=1)[:, : matrix.shape[1]]
    return full.reshape(magnitude.shape)
