"""The fast solution of a crossbar's wires: few shapes of current a line, by projection. No tiles are cut here.

Arrays are laid out bit line by bit line, ``(tiles, n, m)``: every step then runs along the m >= n word lines.

References:
    .. [Saad2003] Y. Saad. Iterative Methods for Sparse Linear Systems, 2nd ed., SIAM 2003, §5.1: projection.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.faults.scratch import Scratch

Matrix = NDArray[np.float64]
Single = NDArray[np.float32]

LIGHT = 0.1
"""Share of a tile's conductance, both as Frobenius norms, up to which one shape of current a line will do."""

_OBLONG = 4
"""Lines this many times shorter than the others take one shape less in the fast solution."""

_BLOCK = 32
"""Cells of a line whose shared resistances are multiplied out at once."""

_DEPENDENT = 1e-5
"""Least power of a shape's own part, as a share of its whole: float32 rounding is below."""

_WORK = Scratch()


class Wires(NamedTuple):
    """Resistances of a tile in ohm, each at least 0: a segment of each kind of line, and what ends the lines."""

    word_ohm: float
    bit_ohm: float
    driver_ohm: float = 0.0
    sense_ohm: float = 0.0


def lost_to_wires(g: Single, wires: Wires, modes: int | None) -> Single:
    """Return what the wires take away from tiles ``(t, n, m)`` of n bit lines by m >= n word lines, uS.

    Args:
        g: Conductances of the cells, uS, at least 0.
        wires: Resistances of the lines in megaohm, which is one over uS.
        modes: Shapes of current along a line, at least 1. None: one for tiles that lose up to `LIGHT` of their
            conductance to the wires, two for others.
    """
    lost = _projected(g, wires, modes or 1)
    if modes is None:
        heavy = _square(lost) > LIGHT**2 * _square(g)
        if np.any(heavy):
            lost[heavy] = _projected(g[heavy], wires, 2)
    return lost


def _square(tiles: Single) -> Single:
    flat = tiles.reshape(len(tiles), 1, -1)
    return np.asarray((flat @ flat.swapaxes(1, 2))[:, 0, 0])


def _projected(cells: Single, wires: Wires, modes: int) -> Single:
    """Solve the network of a crossbar with few unknowns a line, by Galerkin projection, [Saad2003]_.

    The voltage along a line is taken as what its own cells would cause if they drew ``g_j P_k(j)``, P_k the
    Legendre polynomials k < *modes*, in unknown amounts. Already modes = 1 holds the first-order solution of a
    driven word line and of a sensed bit line exactly, cell by cell; as the projection of a symmetric system errs by
    the product of both fields' errors, the effective conductance is right to first order in r g, and its
    second-order error is small: what the shapes miss of the drop that other lines cause. Lines `_OBLONG` times
    shorter than the others drop far less and take one shape less. What the wires take away is found in float32,
    as conductances are stored.
    """
    tiles, cols, rows = cells.shape
    short = max(modes - 1, 1) if rows >= _OBLONG * cols else modes
    word = _line_modes(cells, wires.word_ohm, wires.driver_ohm, short, along=1)
    bit = _line_modes(cells, wires.bit_ohm, wires.sense_ohm, modes, along=2)
    # What word shape k and bit shape l exchange at each cell; in the last place, what shape k draws there.
    couple = _WORK.take("couple", (tiles, modes + 1, cols, short, rows))
    taken = _WORK.take("taken", (tiles, modes, cols, rows))  # by each bit line's shapes, less what word lines withhold
    part = _WORK.take("part", cells.shape)
    lost: Single = np.zeros_like(cells)
    for k, shape in enumerate(bit):
        np.multiply(cells, shape, out=taken[:, k])
    direct = taken.sum(axis=3)
    for k, along in enumerate(word):
        drawn = couple[:, modes, :, k]
        np.multiply(cells, along, out=drawn)
        drive = drawn.sum(axis=1, keepdims=True)
        lost += np.multiply(drawn, drive, out=part)
        for i, shape in enumerate(bit):
            couple[:, i, :, k] = np.multiply(drawn, shape, out=part)
            part *= drive
            taken[:, i] -= part
    unknowns = modes * cols
    flat = couple.reshape(tiles, unknowns + cols, short * rows)
    through = flat[:, :unknowns] @ flat.swapaxes(1, 2)
    system = np.eye(unknowns, dtype=np.float32) - through[:, :, :unknowns]
    reach = -through[:, :, unknowns:]
    at = np.arange(cols)
    reach.reshape(tiles, modes, cols, cols)[:, :, at, at] += direct
    weights = np.linalg.solve(system, reach).swapaxes(1, 2)
    lost += np.matmul(weights, taken.reshape(tiles, unknowns, rows), out=part)
    return lost


def _line_modes(g: Single, segment: float, end: float, modes: int, *, along: int) -> list[Single]:
    """Return voltage shapes ``(t, n, m)`` of the lines whose cells follow each other on axis *along*.

    They are orthonormal in the power of line and cells. Word lines (axis 1) are driven before their first cell, bit
    lines (axis 2) are sensed behind their last one.
    """
    table = _legendre(g.shape[along], modes).astype(np.float32)
    shapes: list[Single] = []
    drawn: list[Single] = []  # by the line and its cells at each shape
    for k in range(modes):
        current, name = g, f"{along} {k}"
        if k:
            current = _WORK.take("current", g.shape)
            np.multiply(g, table[k] if along == 2 else table[k, :, None], out=current)
        shape: Single = _WORK.take(f"shape {name}", g.shape)
        if along == 1:
            np.matmul(_shared(g.shape[1], segment, end), current, out=shape)
        else:
            _down_lines(current, segment, end, shape)
        whole = np.multiply(g, shape, out=_WORK.take(f"whole {name}", g.shape))
        whole += current
        power = own = _summed(whole, shape, along)
        for earlier, of_earlier in zip(shapes, drawn, strict=True):
            common = _summed(whole, earlier, along)
            part = _WORK.take("part", g.shape)
            shape -= np.multiply(common, earlier, out=part)
            whole -= np.multiply(common, of_earlier, out=part)
            power = power - common**2
        # A line with fewer conducting cells than shapes has dependent ones: lift them, they then carry nothing.
        power = np.maximum(power, _DEPENDENT * own)
        unit = np.divide(1, np.sqrt(power), out=np.zeros_like(power), where=power > 0)
        shape *= unit
        shapes.append(shape)
        if k + 1 < modes:
            whole *= unit
            drawn.append(whole)
    return shapes


def _summed(one: Single, other: Single, axis: int) -> Single:
    """Return the sums of products along *axis*, kept with length 1."""
    if axis == 2:
        return np.asarray(np.vecdot(one, other)[:, :, None])
    return np.asarray(np.multiply(one, other, out=_WORK.take("part", one.shape)).sum(axis=1, keepdims=True))


def _down_lines(current: Single, segment: float, end: float, out: Single) -> None:
    """Put into *out* the voltages that currents cause along bit lines, block by block: work grows with m, not m².

    In a block, the cell i places before its end (from 1) sees what its own block shares with it, i segments of all
    that is drawn before the block, and the voltage at the block's end.
    """
    tiles, cols, rows = current.shape
    count = -(-rows // _BLOCK)
    blocks = current.reshape(tiles, cols, -1, _BLOCK) if rows == count * _BLOCK else _filled(current, count)
    own = _WORK.take("own", blocks.shape)
    np.matmul(blocks, _shared(_BLOCK, segment, 0.0)[::-1, ::-1], out=own)
    drawn = blocks.sum(axis=3)
    before = np.cumsum(drawn, axis=2) - drawn
    along = _WORK.take("along", blocks.shape)
    own += np.multiply((segment * before)[..., None], np.arange(_BLOCK, 0, -1, dtype=np.float32), out=along)
    rise = np.cumsum(own[:, :, :0:-1, 0], axis=2)[:, :, ::-1]
    own[:, :, :-1] += rise[..., None]
    whole = own.reshape(tiles, cols, -1)[:, :, -rows:]
    if end:
        np.add(whole, end * drawn.sum(axis=2)[:, :, None], out=out)
    else:
        out[...] = whole


def _filled(current: Single, count: int) -> Single:
    """Return the lines as whole blocks: the cells that come on top are the farthest away and draw nothing."""
    tiles, cols, rows = current.shape
    whole = _WORK.take("filled", (tiles, cols, count * _BLOCK))
    whole[:, :, :-rows] = 0.0
    whole[:, :, -rows:] = current
    return whole.reshape(tiles, cols, count, _BLOCK)


@lru_cache(maxsize=32)
def _legendre(cells: int, modes: int) -> Matrix:
    place = np.linspace(-1, 1, cells) if cells > 1 else np.zeros(1)
    table: Matrix = np.polynomial.legendre.legvander(place, modes - 1).T.astype(np.float64)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=32)
def _shared(cells: int, segment: float, end: float) -> Single:
    """Return the resistance that each two cells of a line share towards its driven end."""
    table: Single = np.asarray(shared_ohm(cells, segment, end), np.float32)
    table.flags.writeable = False
    return table


def shared_ohm(cells: int, segment: float, end: float) -> Matrix:
    """Return the resistance that each two cells of a line share towards its driven end, ``(cells, cells)``."""
    place = np.arange(1, cells + 1, dtype=np.float64)
    return np.asarray(segment * np.minimum.outer(place, place) + end)
