"""The resistive network of a crossbar: exact and fast effective conductances, and how a tensor fills tiles.

No law lives here. A tile has *m* word lines (rows, driven at column 0) and *n* bit lines (columns, sensed at a
virtual ground below row m - 1). Every cell has one wire segment on its word line, on the driver's side, and one on
its bit line, on the amplifier's side: the network of [badcrossbar]_ and of CrossSim 3.2.0's default array.

References:
    .. [badcrossbar] badcrossbar 1.1, https://github.com/joksas/badcrossbar: nodal analysis of passive crossbars.
    .. [Saad2003] Y. Saad. Iterative Methods for Sparse Linear Systems, 2nd ed., SIAM 2003, §5.1: projection.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Method = Literal["exact", "fast", "auto"]
Matrix = NDArray[np.float64]
Act = Callable[[NDArray[Any]], NDArray[Any]]

AUTO_CELLS = 32 * 32
"""``auto`` solves tiles of up to this many cells exactly."""

_CHUNK = 1 << 22
"""Numbers in the largest intermediate array of one batch of tiles (32 MiB)."""


class Wires(NamedTuple):
    """Resistances of a tile in ohm, each at least 0: a segment of each kind of line, and what ends the lines."""

    word_ohm: float
    bit_ohm: float
    driver_ohm: float = 0.0
    sense_ohm: float = 0.0


def effective_conductance(g_uS: NDArray[Any], wires: Wires, *, method: Method = "exact", modes: int = 2) -> Matrix:
    """Return the conductances that the tiles seem to have: ``i_out = g_eff.T @ v_in`` with the wires in place.

    The network is linear, so this is all of IR drop, sneak paths included, for every input at once.

    Args:
        g_uS: Conductances of the cells, uS, at least 0, shape ``(..., m, n)``: m word lines by n bit lines.
        wires: Resistances of the lines.
        method: ``exact`` costs some ``8 m n**3`` operations a tile, n the fewer lines; ``fast`` costs some ``2
            modes**3 m n**2``, is exact to first order in wire resistance times conductance and errs little
            beyond (benchmarks/ir_drop_error.py measures it); ``auto`` is exact for tiles of up to `AUTO_CELLS`
            cells.
        modes: Shapes of current along a line in the fast solution, at least 1.

    Returns:
        float64, uS, the same shape.
    """
    g = np.asarray(g_uS, dtype=np.float64)
    rows, cols = g.shape[-2:]
    if rows < cols:  # reciprocity: the same network seen from its outputs, with smaller matrices
        turned = Wires(wires.bit_ohm, wires.word_ohm, wires.sense_ohm, wires.driver_ohm)
        mirrored = np.swapaxes(g[..., ::-1, ::-1], -2, -1)
        return np.swapaxes(effective_conductance(mirrored, turned, method=method, modes=modes), -2, -1)[..., ::-1, ::-1]
    flat = g.reshape(-1, rows, cols)
    exact = method == "exact" or (method == "auto" and rows * cols <= AUTO_CELLS)
    largest = cols * (rows + cols) if exact else modes**2 * rows * cols
    batch = max(1, _CHUNK // max(largest, 1))
    mega = Wires(*(1e-6 * ohm for ohm in wires))  # megaohm is one over uS
    out = np.empty_like(flat)
    for first in range(0, len(flat), batch):
        part = flat[first : first + batch]
        out[first : first + batch] = _exact(part, mega) if exact else _projected(part, mega, modes)
    return out.reshape(g.shape)


def _exact(g: Matrix, wires: Wires) -> Matrix:
    """Solve Kirchhoff's laws of tiles ``(t, m, n)`` by eliminating word line after word line.

    With the bit lines at voltages b a word line driven by v carries device currents ``Y (v - b)``, ``Y = D (I +
    R D)^-1``, D its conductances and R the resistances that two cells share towards the driver. Seen from the bit
    nodes, the lines above are a current source J and an admittance A; a segment r of bit line makes them ``(I + r
    A)^-1 J`` and ``(I + r A)^-1 A``, the next word line adds its Y. No zero resistance is a special case.
    """
    tiles, rows, cols = g.shape
    shared = _shared(cols, wires.word_ohm, wires.driver_ohm)
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


def _projected(g: Matrix, wires: Wires, modes: int) -> Matrix:
    """Solve the same network with few unknowns a line, by Galerkin projection, [Saad2003]_.

    The voltage along a line is taken as what its own cells would cause if they drew ``g_j P_k(j)``, P_k the
    Legendre polynomials k < *modes*, in unknown amounts. Already modes = 1 holds the first-order solution of a
    driven word line and of a sensed bit line exactly, cell by cell; as the projection of a symmetric system errs by
    the product of both fields' errors, the effective conductance is right to first order in r g, and its
    second-order error is small: what the shapes miss of the drop that other lines cause.
    """
    tiles, rows, cols = g.shape
    word = _line_modes(g, _shared(cols, wires.word_ohm, wires.driver_ohm), modes)  # (t, m, k, n)
    flipped = np.swapaxes(g[:, ::-1], 1, 2)  # bit lines, seen from the amplifier
    bit = _line_modes(flipped, _shared(rows, wires.bit_ohm, wires.sense_ohm), modes)[..., ::-1]  # (t, n, k, m)
    drawn = g[:, :, None, :] * word
    taken = np.swapaxes(g, 1, 2)[:, :, None, :] * bit
    drive = drawn.sum(axis=3)
    cross = drawn[:, :, :, :, None] * bit.transpose(0, 3, 1, 2)[:, :, None]  # (t, m, k, n, l)
    couple = cross.reshape(tiles, rows * modes, cols * modes)
    system = np.eye(cols * modes) - np.swapaxes(couple, 1, 2) @ couple
    per_row = couple.reshape(tiles, rows, modes, cols * modes)
    from_words = np.swapaxes((per_row * drive[..., None]).sum(axis=2), 1, 2)  # (t, n k, m)
    amounts = np.linalg.solve(system, taken.reshape(tiles, cols * modes, rows) - from_words)
    reach = -(drawn.transpose(0, 3, 1, 2).reshape(tiles, cols, rows * modes) @ couple)
    at = np.arange(cols)
    reach.reshape(tiles, cols, cols, modes)[:, at, at] += taken.sum(axis=3)
    lost: Matrix = (drawn * drive[..., None]).sum(axis=2) + np.swapaxes(reach @ amounts, 1, 2)
    return g - lost


def _line_modes(g: Matrix, shared: Matrix, modes: int) -> Matrix:
    """Return voltage shapes of lines ``(t, lines, modes, cells)``, orthonormal in the power of line and cells."""
    drawn = g[:, :, None, :] * _legendre(g.shape[2], modes)
    shapes: Matrix = drawn @ shared
    power = (drawn + g[:, :, None, :] * shapes) @ np.swapaxes(shapes, 2, 3)
    at = np.arange(modes)
    top = power[..., at, at].max(axis=2, keepdims=True)
    # A line with fewer conducting cells than shapes has dependent ones: lift them, they then carry nothing.
    power[..., at, at] += np.where(top > 0, 1e-12 * top, 1.0)
    return np.linalg.solve(np.linalg.cholesky(power), shapes)


@lru_cache(maxsize=32)
def _legendre(cells: int, modes: int) -> Matrix:
    place = np.linspace(-1, 1, cells) if cells > 1 else np.zeros(1)
    table: Matrix = np.polynomial.legendre.legvander(place, modes - 1).T.astype(np.float64)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=32)
def _shared(cells: int, segment: float, end: float) -> Matrix:
    """Return the resistance that each two cells of a line share towards its driven end."""
    place = np.arange(1, cells + 1, dtype=np.float64)
    table: Matrix = segment * np.minimum.outer(place, place) + end
    table.flags.writeable = False
    return table


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
