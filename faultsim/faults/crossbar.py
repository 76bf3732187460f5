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
Single = NDArray[np.float32]
Cells = NDArray[np.floating]
Act = Callable[[NDArray[Any]], NDArray[Any]]

AUTO_CELLS = 16 * 16
"""``auto`` solves tiles of up to this many cells exactly."""

LIGHT = 0.1
"""Share of a tile's conductance, both as Frobenius norms, up to which one shape of current a line will do."""

_OBLONG = 4
"""Lines this many times shorter than the others take one shape less in the fast solution."""

_BLOCK = 32
"""Cells of a line whose shared resistances are multiplied out at once."""

_DEPENDENT = 1e-5
"""Least power of a shape's own part, as a share of its whole: float32 rounding is below."""

_CHUNK = 1 << 22
"""Numbers in the largest intermediate array of one batch of tiles (32 MiB)."""


class Wires(NamedTuple):
    """Resistances of a tile in ohm, each at least 0: a segment of each kind of line, and what ends the lines."""

    word_ohm: float
    bit_ohm: float
    driver_ohm: float = 0.0
    sense_ohm: float = 0.0


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
        out[first : first + batch] = (
            _exact(part.astype(np.float64, copy=False), mega) if exact else _fast(part, mega, modes)
        )
    return out.reshape(g.shape)


def _fast(g: Cells, wires: Wires, modes: int | None) -> Cells:
    """Solve tiles ``(t, m, n)`` with as few shapes of current as `effective_conductance` promises."""
    found = _projected(g, wires, modes or 1)
    if modes is None:
        lost = np.linalg.norm(g - found, axis=(1, 2))
        heavy = lost > LIGHT * np.linalg.norm(g, axis=(1, 2))
        if np.any(heavy):
            found[heavy] = _projected(g[heavy], wires, 2)
    return found


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


def _projected(g: Cells, wires: Wires, modes: int) -> Cells:
    """Solve the same network with few unknowns a line, by Galerkin projection, [Saad2003]_.

    The voltage along a line is taken as what its own cells would cause if they drew ``g_j P_k(j)``, P_k the
    Legendre polynomials k < *modes*, in unknown amounts. Already modes = 1 holds the first-order solution of a
    driven word line and of a sensed bit line exactly, cell by cell; as the projection of a symmetric system errs by
    the product of both fields' errors, the effective conductance is right to first order in r g, and its
    second-order error is small: what the shapes miss of the drop that other lines cause. Lines `_OBLONG` times
    shorter than the others drop far less and take one shape less. What the wires take away is found in float32,
    as conductances are stored.
    """
    tiles, rows, cols = g.shape
    cells = g.astype(np.float32, copy=False)
    short = max(modes - 1, 1) if rows >= _OBLONG * cols else modes
    word = _line_modes(cells, wires.word_ohm, wires.driver_ohm, short, axis=2)
    flipped = np.ascontiguousarray(cells[:, ::-1])  # bit lines, seen from the amplifier
    bit = [one[:, ::-1] for one in _line_modes(flipped, wires.bit_ohm, wires.sense_ohm, modes, axis=1)]
    # What word shape k and bit shape l exchange at each cell; in the last place, what shape k draws there.
    couple = np.empty((tiles, short, rows, modes + 1, cols), np.float32)
    taken = np.empty((tiles, rows, modes, cols), np.float32)  # by each bit line's shapes, less what word lines withhold
    lost: Single = np.zeros_like(cells)
    for k, shape in enumerate(bit):
        np.multiply(cells, shape, out=taken[:, :, k])
    direct = taken.sum(axis=1)
    for k, along in enumerate(word):
        drawn = couple[:, k, :, modes]
        np.multiply(cells, along, out=drawn)
        drive = drawn.sum(axis=2, keepdims=True)
        lost += drawn * drive
        for i, shape in enumerate(bit):
            np.multiply(drawn, shape, out=couple[:, k, :, i])
            taken[:, :, i] -= couple[:, k, :, i] * drive
    flat = couple.reshape(tiles, short * rows, (modes + 1) * cols)
    unknowns = modes * cols
    through = np.swapaxes(flat[:, :, :unknowns], 1, 2) @ flat
    system = np.eye(unknowns, dtype=np.float32) - through[:, :, :unknowns]
    reach = -through[:, :, unknowns:]
    at = np.arange(cols)
    reach.reshape(tiles, modes, cols, cols)[:, :, at, at] += direct
    lost += taken.reshape(tiles, rows, unknowns) @ np.linalg.solve(system, reach)
    return np.asarray(g - lost)


def _line_modes(g: Single, segment: float, end: float, modes: int, *, axis: int) -> list[Single]:
    """Return voltage shapes ``(t, m, n)`` of the lines along *axis*, orthonormal in the power of line and cells."""
    table = _legendre(g.shape[axis], modes).astype(np.float32)
    shapes: list[Single] = []
    drawn: list[Single] = []  # by the line and its cells at each shape
    for k in range(modes):
        current = g * (table[k] if axis == 2 else table[k, :, None])
        shape = _down_lines(current, segment, end) if axis == 1 else _along_lines(current, segment, end)
        whole = g * shape
        whole += current
        power = own = (whole * shape).sum(axis=axis, keepdims=True)
        for earlier, of_earlier in zip(shapes, drawn, strict=True):
            common = (whole * earlier).sum(axis=axis, keepdims=True)
            shape -= common * earlier
            whole -= common * of_earlier
            power = power - common**2
        # A line with fewer conducting cells than shapes has dependent ones: lift them, they then carry nothing.
        power = np.maximum(power, _DEPENDENT * own)
        unit = np.divide(1, np.sqrt(power), out=np.zeros_like(power), where=power > 0)
        shapes.append(shape * unit)
        drawn.append(whole * unit)
    return shapes


def _along_lines(current: Single, segment: float, end: float) -> Single:
    """Return the voltages that currents ``(t, m, n)`` cause along lines of n cells, from the driven end."""
    return current @ _shared(current.shape[2], segment, end).astype(np.float32)


def _down_lines(current: Single, segment: float, end: float) -> Single:
    """Return the same for lines of m cells, block by block: the work grows with m, not with its square.

    In a block, cell i (from 1) sees what its own block shares with it, i segments of all that is drawn beyond the
    block, and the voltage at the block's start.
    """
    tiles, rows, cols = current.shape
    count = -(-rows // _BLOCK)
    blocks = np.zeros((tiles, count * _BLOCK, cols), np.float32)
    blocks[:, :rows] = current
    blocks = blocks.reshape(tiles, count, _BLOCK, cols)
    own = _shared(_BLOCK, segment, 0.0).astype(np.float32) @ blocks
    drawn = blocks.sum(axis=2)
    beyond = np.cumsum(drawn[:, ::-1], axis=1)[:, ::-1] - drawn
    own += np.arange(1, _BLOCK + 1, dtype=np.float32)[:, None] * (segment * beyond)[:, :, None]
    rise = np.cumsum(own[:, :-1, -1], axis=1)
    own[:, 1:] += rise[:, :, None]
    if end:
        own += end * drawn.sum(axis=1)[:, None, None]
    return own.reshape(tiles, -1, cols)[:, :rows]


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
