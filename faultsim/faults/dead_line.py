"""The law of broken word lines and bit lines of crossbar tiles.

References:
    .. [Chen2015] C.-Y. Chen et al. RRAM defect modeling and failure analysis based on March test and a novel
       squeeze-search scheme. IEEE Trans. Computers 64:180-190, 2015: shorted bit lines beside stuck cells.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.cells import largest_together
from faultsim.budget.events import Event, rare_events
from faultsim.corruption import Stored
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogChain, AnalogLaw, Cells, Moments, conductances
from faultsim.faults.base import register
from faultsim.faults.crossbar import from_lines, to_lines
from faultsim.faults.positions import distinct
from faultsim.formats.conductance import ConductanceMapping


@register
@dataclass(frozen=True, kw_only=True)
class DeadLine(AnalogLaw):
    """Each physical line of each tile is broken by itself, with all its cells, for the life of the die.

    A weight tensor is a matrix of inputs (word lines; a convolution's channels and kernel in row-major
    order) by outputs (bit lines, the site's channel axis), cut into tiles of *rows* x *cols* weights. A word
    line of a tile drives all devices of its weights. A bit line collects one device of each weight: the plus
    and the minus of a pair, and each bit slice, have lines of their own. [Chen2015]_ saw shorted bit lines;
    the model of a line is generic and the rate the user's.

    Attributes:
        p: Probability that one line of one tile is broken, 0 to 1.
        rows: Word lines of a tile, at least 1.
        cols: Weights along a word line of a tile, at least 1.
        line: ``word`` (a row of cells) or ``bit`` (a column).
        effect: ``open``: its cells read as no conductance. ``short``: as g_max.

    Raises:
        OptionError: If the rate or the tile is out of range.
    """

    kind: ClassVar[str] = "dead_line"
    sparse: ClassVar[bool] = True
    p: float
    rows: int
    cols: int
    line: Literal["word", "bit"] = "bit"
    effect: Literal["open", "short"] = "open"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("p", self.p)
        if self.rows < 1 or self.cols < 1:
            raise OptionError(f"a tile needs at least 1 row and 1 column, got {self.rows} x {self.cols}")
        if self.line not in ("word", "bit"):
            raise OptionError(f"a dead line is a 'word' or a 'bit' line, got {self.line!r}")
        if self.effect not in ("open", "short"):
            raise OptionError(f"a dead line is 'open' or 'short', got {self.effect!r}")

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Draw the number of broken lines and their places."""
        lines = self._lines(cells.now.shape, mapping, cells.channel_axis)
        count = int(lines.max(initial=-1)) + 1
        broken = np.zeros(count, np.bool_)
        broken[distinct(rng, count, int(rng.binomial(count, self.p)))] = True
        dead, level = broken[lines], np.float32(self._level(mapping))
        now, programmed = (np.where(dead, level, g) for g in (cells.now, cells.programmed))
        return cells._replace(programmed=programmed, now=now)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Mix with the broken state; devices of one weight on one word line break together."""
        level, whole = self._level(mapping), 1 - self.p
        mean, programmed = (whole * g + self.p * level for g in (moments.mean, moments.programmed))
        lines = self._lines(moments.mean.shape, mapping, moments.channel_axis)
        jumps = self._jumps(moments.mean, lines, mapping) / _factors(mapping, moments.mean.ndim)
        return moments._replace(programmed=programmed, mean=mean, var=whole * (moments.var + self.p * jumps**2))

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound by compound-Poisson sums over the lines, `faultsim.budget.events`."""
        mapping = conductances(stored)
        target = mapping.to_cells(stored.values).astype(np.float64)
        lines = self._lines(target.shape, mapping, stored.site.channel_axis)
        jumps = self._jumps(target, lines, mapping) * mapping.step
        sizes, flat = np.abs(jumps).ravel(), lines.ravel()
        touched, sums = np.zeros(flat.max(initial=-1) + 1), np.zeros(flat.max(initial=-1) + 1)
        touched += np.bincount(flat, sizes > 0)
        sums += np.bincount(flat, sizes ** (1.0 if np.isinf(p) else p))
        mean, std = AnalogChain(laws=(self,), t_s=self.t_s).moments(stored)
        bound = rare_events(
            mechanism=self.kind,
            scope=stored.site.name,
            events=[Event(sums, touched, self.p)],
            elements=stored.values.size,
            expected_square=float(np.sum(mean**2 + std**2)),
            p=p,
            confidence=confidence,
        )
        if np.isinf(p) and bound.n:
            sides = (jumps.reshape(len(jumps), -1), -jumps.reshape(len(jumps), -1))
            places = -(-touched.size // len(jumps))
            bound = replace(bound, eps=max(largest_together(side, self.p, places, confidence) for side in sides))
        return bound

    def _level(self, mapping: ConductanceMapping) -> float:
        return 0.0 if self.effect == "open" else mapping.g_max_uS

    def _jumps(
        self, g_uS: NDArray[np.float64], lines: NDArray[np.int64], mapping: ConductanceMapping
    ) -> NDArray[np.float64]:
        """Return what each device's line does to the weight, uS; what one line does is on its first device."""
        jumps = (self._level(mapping) - g_uS) * _factors(mapping, g_uS.ndim)
        tied = lines == lines[0]
        tied[0] = False
        jumps[0] += np.where(tied, jumps, 0.0).sum(axis=0)
        return np.where(tied, 0.0, jumps)

    def _lines(self, cells: tuple[int, ...], mapping: ConductanceMapping, channel_axis: int) -> NDArray[np.int64]:
        """Return the number of each cell's line, of the shape *cells* ``(devices, *tensor)``."""
        grid = to_lines(np.zeros(cells, np.bool_), channel_axis)
        devices, inputs, outputs = np.ogrid[: grid.shape[0], : grid.shape[1], : grid.shape[2]]
        if self.line == "word":
            numbers = inputs * -(-grid.shape[2] // self.cols) + outputs // self.cols + 0 * devices
        else:
            tiles = -(-grid.shape[1] // self.rows)
            numbers = (devices * tiles + inputs // self.rows) * grid.shape[2] + outputs
        placed = from_lines(np.broadcast_to(numbers, grid.shape), cells[1:], channel_axis)
        return np.asarray(mapping.share(placed.astype(np.int64)), np.int64)


def _factors(mapping: ConductanceMapping, axes: int) -> NDArray[np.float64]:
    """Return the mapping's coefficients, broadcastable to cells of so many *axes*."""
    return np.reshape(np.asarray(mapping.coefficients), (-1, *(1,) * (axes - 1)))
