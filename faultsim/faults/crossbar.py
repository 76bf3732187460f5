"""The resistive network of a crossbar: its effective conductances, and how a tensor fills tiles.

No law lives here. A tile has *m* word lines (rows, driven at column 0) and *n* bit lines (columns, sensed at a
virtual ground below row m - 1). Every cell has one wire segment on its word line, on the driver's side, and one on
its bit line, on the amplifier's side: the network of [badcrossbar]_ and of CrossSim 3.2.0's default array.

References:
    .. [badcrossbar] badcrossbar 1.1, https://github.com/joksas/badcrossbar: nodal analysis of passive crossbars.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.faults.crossbar_fast import LIGHT as LIGHT
from faultsim.faults.crossbar_fast import Wires as Wires
from faultsim.faults.crossbar_fast import lost_to_wires, shared_ohm

Method = Literal["exact", "fast", "auto"]
Matrix = NDArray[np.float64]
Cells = NDArray[np.floating]
Act = Callable[[NDArray[Any]], NDArray[Any]]

AUTO_CELLS = 16 * 16
"""``auto`` solves tiles of up to this many cells exactly."""

_CHUNK = 1 << 22
"""Numbers in the largest intermediate array of one batch of tiles (32 MiB)."""


def effective_conductance(
    g_uS: NDArray[Any], wires: Wires, *, method: Method = "exact", modes: int | None = None
) -> Cells:
    """Return the conductances that the tiles seem to have: ``i_out = g_eff.T @ v_in`` with the wires in place.

    The network is linear, so this is all of IR drop, sneak paths included, for every input at once.

    Args:
        g_uS: Conductances of the cells, uS, at least 0, shape ``(..., m, n)``: m word lines by n bit lines.
        wires: Resistances of the lines.
        method: ``exact`` costs some ``8 m n**3`` operations a tile, n the fewer lines; ``fast`` costs some ``2
            modes**3 m n**2`` in float32, is exact to first order in wire resistance times conductance and errs little
            beyond (benchmarks/ir_drop_error.py measures it); ``auto`` is exact for tiles of up to `AUTO_CELLS`
            cells.
        modes: Shapes of current along a line in the fast solution, at least 1; along much shorter lines, one less.
            None: one for tiles that lose up to `LIGHT` of their conductance to the wires, two for others.

    Returns:
        uS, the same shape; float64, but float32 where the fast solution is given float32.
    """
    rows, cols = g_uS.shape[-2:]
    exact = method == "exact" or (method == "auto" and rows * cols <= AUTO_CELLS)
    single = g_uS.dtype == np.float32 and not exact
    g: Cells = g_uS if single else np.asarray(g_uS, dtype=np.float64)
    if rows < cols:  # reciprocity: the same network seen from its outputs, with smaller matrices
        turned = Wires(wires.bit_ohm, wires.word_ohm, wires.sense_ohm, wires.driver_ohm)
        mirrored = np.swapaxes(g[..., ::-1, ::-1], -2, -1)
        return np.swapaxes(effective_conductance(mirrored, turned, method=method, modes=modes), -2, -1)[..., ::-1, ::-1]
    flat = g.reshape(-1, rows, cols)
    most = 2 if modes is None else modes
    largest = cols * (rows + cols) if exact else most * (most + 1) * rows * cols
    batch = max(1, _CHUNK // max(largest, 1))
    mega = Wires(*(1e-6 * ohm for ohm in wires))  # megaohm is one over uS
    out = np.empty_like(flat)
    for first in range(0, len(flat), batch):
        part = flat[first : first + batch]
        if exact:
            out[first : first + batch] = _exact(part.astype(np.float64, copy=False), mega)
        else:
            cells = np.ascontiguousarray(np.swapaxes(part, 1, 2), np.float32)
            np.subtract(part, np.swapaxes(lost_to_wires(cells, mega, modes), 1, 2), out=out[first : first + batch])
    return out.reshape(g.shape)


def _exact(g: Matrix, wires: Wires) -> Matrix:
    """Solve Kirchhoff's laws of tiles ``(t, m, n)`` by eliminating word line after word line.

    With the bit lines at voltages b a word line driven by v carries device currents ``Y (v - b)``, ``Y = D (I +
    R D)^-1``, D its conductances and R the resistances that two cells share towards the driver. Seen from the bit
    nodes, the lines above are a current source J and an admittance A; a segment r of bit line makes them ``(I + r
    A)^-1 J`` and ``(I + r A)^-1 A``, the next word line adds its Y. No zero resistance is a special case.
    """
    tiles, rows, cols = g.shape
    shared = shared_ohm(cols, wires.word_ohm, wires.driver_ohm)
    one = np.eye(cols)
    admittance: Matrix = np.zeros((tiles, cols, cols))
    source = np.zeros((tiles, cols, rows))
    for i in range(rows):
        if i:
            seen = np.dstack([admittance, source[:, :, :i]])
            seen[...] = np.linalg.solve(one + wires.bit_ohm * admittance, seen)
            admittance, source[:, :, :i] = seen[:, :, :cols], seen[:, :, cols:]
        line = g[:, i, :, None] * np.linalg.inv(one + shared * g[:, i, None, :])
        admittance = admittance + line
        source[:, :, i] = line.sum(axis=2)
    last = one + (wires.bit_ohm + wires.sense_ohm) * admittance
    return np.swapaxes(np.linalg.solve(last, source), 1, 2)


def to_lines(values: NDArray[Any], channel_axis: int) -> NDArray[Any]:
    """Return ``(devices, *shape)`` as ``(devices, word lines, bit lines)``: inputs x kernel by output channels."""
    devices, *shape = values.shape
    if len(shape) < 2:
        return values.reshape(devices, 1, int(np.prod(shape)))
    turned = np.moveaxis(values, 1 + channel_axis % len(shape), -1)
    return turned.reshape(devices, int(np.prod(turned.shape[1:-1])), turned.shape[-1])


def from_lines(lines: NDArray[Any], shape: tuple[int, ...], channel_axis: int) -> NDArray[Any]:
    """Undo `to_lines`: return ``(devices, *shape)``."""
    if len(shape) < 2:
        return lines.reshape(len(lines), *shape)
    axis = channel_axis % len(shape)
    others = shape[:axis] + shape[axis + 1 :]
    return np.moveaxis(lines.reshape(len(lines), *others, shape[axis]), -1, 1 + axis)


def over_tiles(lines: NDArray[Any], tile_rows: int, tile_cols: int, act: Act) -> NDArray[Any]:
    """Return *lines* ``(devices, rows, cols)`` with *act* applied to its tiles, many at a time.

    Tiles start at row and column 0; the last ones of a tensor are as small as what is left.

    Args:
        lines: Any numbers.
        tile_rows: Rows of a tile, at least 1.
        tile_cols: Columns of a tile, at least 1.
        act: Takes and returns tiles of one size, ``(tiles, devices, m, n)``.
    """
    out = np.empty_like(lines)
    for top, bottom, high in _cuts(lines.shape[1], tile_rows):
        for left, right, wide in _cuts(lines.shape[2], tile_cols):
            part = lines[:, top:bottom, left:right]
            grid = part.reshape(len(lines), (bottom - top) // high, high, (right - left) // wide, wide)
            tiles = grid.transpose(1, 3, 0, 2, 4)
            done = act(tiles.reshape(-1, len(lines), high, wide)).reshape(tiles.shape)
            out[:, top:bottom, left:right] = done.transpose(2, 0, 3, 1, 4).reshape(part.shape)
    return out


def _cuts(length: int, tile: int) -> Iterator[tuple[int, int, int]]:
    """Yield the range of whole tiles and the rest, each with its tile's length."""
    whole = length - length % tile
    if whole:
        yield 0, whole, tile
    if whole < length:
        yield whole, length, length - whole
