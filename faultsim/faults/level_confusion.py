"""The law of multi-level cells that are read as another level.

References:
    .. [NVMExplorer] lpentecost/NVMExplorer, nvmFI ``fi_utils.py``: Gaussian levels in normalised conductance, read
       against the maximum-likelihood thresholds between neighbours.
    .. [Gray1953] F. Gray. Pulse code communication. US patent 2632058, 1953: neighbouring levels differ in one bit.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from faultsim.budget.base import Budget
from faultsim.budget.confusion import cell_errors
from faultsim.corruption import Stored, Xor
from faultsim.errors import OptionError
from faultsim.faults.base import Fault, register
from faultsim.faults.effects import words_of
from faultsim.faults.positions import distinct

Floats = NDArray[np.float64]


@register
@dataclass(frozen=True, kw_only=True)
class LevelConfusion(Fault):
    """Each cell of several bits is programmed to a Gaussian level and read as the likeliest one.

    A word of B bits lies in ``ceil(B / bits_per_cell)`` cells, least significant bits first. What a cell reads as
    follows from `confusion`: the levels' normal densities between the thresholds of `thresholds` ([NVMExplorer]_).
    A last cell with fewer bits to hold uses the lowest levels only, and reads anything above as the highest of
    those. Errors are drawn once a die, as a level stays where it was programmed.

    Attributes:
        levels: ``(mean, sigma)`` of each level, means rising, in normalised conductance; sigma above 0.
        bits_per_cell: Bits of a cell, 1 to 8: as many levels as it has bit patterns.
        cell_code: Which bit pattern a level stands for: its number (``binary``) or the reflected code in which
            neighbours differ in one bit (``gray``, [Gray1953]_).

    Raises:
        OptionError: If the levels do not fit the bits, do not rise, or a number is out of range.
    """

    kind: ClassVar[str] = "level_confusion"
    levels: tuple[tuple[float, float], ...]
    bits_per_cell: int
    cell_code: Literal["binary", "gray"] = "binary"

    def __post_init__(self) -> None:
        if not 1 <= self.bits_per_cell <= 8:
            raise OptionError(f"bits_per_cell must be between 1 and 8, got {self.bits_per_cell}")
        if self.cell_code not in ("binary", "gray"):
            raise OptionError(f"cell_code must be binary or gray, got {self.cell_code!r}")
        if len(self.levels) != 1 << self.bits_per_cell:
            raise OptionError(
                f"{self.bits_per_cell} bits per cell need {1 << self.bits_per_cell} levels, got {len(self.levels)};"
                " give one (mean, sigma) for each"
            )
        for (below, spread), (above, _) in zip(self.levels, (*self.levels[1:], (math.inf, 1.0)), strict=True):
            if not (math.isfinite(below) and 0 < spread < math.inf and below < above):
                raise OptionError(
                    f"levels need rising means and sigmas above 0, got mean {below:g} and sigma {spread:g}"
                )
        self.thresholds()

    def thresholds(self) -> tuple[float, ...]:
        """Return the conductances between neighbouring levels at which both are equally likely.

        The root between the two means of the quadratic ``(x - m1)²/(2 s1²) + ln s1 = (x - m2)²/(2 s2²) + ln s2``.

        Raises:
            OptionError: If two levels overlap so far that no point between their means is a border.
        """
        found = []
        for (m1, s1), (m2, s2) in zip(self.levels, self.levels[1:], strict=False):
            a = 1 / s1**2 - 1 / s2**2
            b = -2 * (m1 / s1**2 - m2 / s2**2)
            c = (m1 / s1) ** 2 - (m2 / s2) ** 2 + 2 * math.log(s1 / s2)
            roots = _roots(a, b, c)
            between = [x for x in roots if m1 < x < m2]
            if len(between) != 1:
                raise OptionError(
                    f"levels at {m1:g} and {m2:g} overlap so far that no threshold lies between them; use fewer levels"
                )
            found.append(between[0])
        return tuple(found)

    def confusion(self, bits: int | None = None) -> Floats:
        """Return the probability that a cell programmed to level i reads level j, shape (levels, levels).

        Args:
            bits: Bits that the cell holds, at most `bits_per_cell` (``None``): with fewer only the lowest
                ``2**bits`` levels are in use.
        """
        used = 1 << (self.bits_per_cell if bits is None else bits)
        means, sigmas = np.array(self.levels[:used]).T
        edges = (np.array([*self.thresholds()[: used - 1]])[None, :] - means[:, None]) / sigmas[:, None]
        ends = np.full((used, 1), np.inf)
        low, high = np.concatenate([-ends, edges], axis=1), np.concatenate([edges, ends], axis=1)
        # the difference of the two tails on the same side: a far level keeps its digits
        shares: Floats = np.where(
            low > 0, special.ndtr(-low) - special.ndtr(-high), special.ndtr(high) - special.ndtr(low)
        )
        wrong = shares.copy()
        np.fill_diagonal(wrong, 0.0)
        np.fill_diagonal(shares, 1 - wrong.sum(axis=1))
        return shares

    def cell_error(self) -> float:
        """Return the probability that a cell reads a wrong level, the mean over all levels."""
        shares = self.confusion()
        return float((shares.sum() - np.trace(shares)) / shares.shape[0])

    def cells(self, bits: int) -> list[Floats]:
        """Return of each cell of a word of *bits* bits the probabilities ``[stored, read]`` of its bit patterns."""
        widths = [min(self.bits_per_cell, bits - low) for low in range(0, bits, self.bits_per_cell)]
        return [self._patterns(width) for width in widths]

    def sample(self, stored: Stored, rng: np.random.Generator) -> Xor:
        """Draw what the cells of one tensor read as, on one die."""
        masks = np.zeros(stored.values.size, dtype=np.uint64)
        if not masks.size:
            return Xor(indices=np.empty(0, dtype=np.int64), masks=masks)
        words = words_of(stored, np.arange(masks.size, dtype=np.int64))
        low = 0
        for cell in self.cells(stored.format.bits):
            wrong = cell.copy()
            np.fill_diagonal(wrong, 0.0)
            errors = wrong.sum(axis=1)
            most = float(errors.max())
            # Few cells fail: candidates at the largest rate, thinned to the rate of what each one holds.
            hit = distinct(rng, masks.size, int(rng.binomial(masks.size, min(most, 1.0))))
            held = ((words[hit] >> np.uint64(low)) & np.uint64(cell.shape[0] - 1)).astype(np.int64)
            fails = rng.random(hit.size) * most < errors[held]
            at, place = rng.random(hit.size), np.cumsum(wrong, axis=1)
            hit, held, at = hit[fails], held[fails], at[fails]
            read = (at[:, None] * errors[held, None] >= place[held]).sum(axis=1)
            masks[hit] |= (np.minimum(read, cell.shape[0] - 1) ^ held).astype(np.uint64) << np.uint64(low)
            low += cell.shape[0].bit_length() - 1
        changed = np.flatnonzero(masks)
        return Xor(indices=changed, masks=masks[changed])

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the confusions of one tensor, with the true size of every change: `faultsim.budget.confusion`."""
        return cell_errors(
            mechanism=self.kind,
            scope=stored.site.name,
            fmt=stored.format,
            values=stored.values,
            cells=self.cells(stored.format.bits),
            p=p,
            confidence=confidence,
        )

    def _patterns(self, bits: int) -> Floats:
        shares = self.confusion(bits)
        level = np.arange(shares.shape[0])
        if self.cell_code == "gray":
            level = np.argsort(level ^ (level >> 1))  # the level that each pattern stands for
        return shares[np.ix_(level, level)]


def _roots(a: float, b: float, c: float) -> list[float]:
    """Return the real roots of ``a x² + b x + c``, without the cancellation of the schoolbook formula."""
    inside = b * b - 4 * a * c
    if inside < 0:
        return []
    q = -(b + math.copysign(math.sqrt(inside), b)) / 2
    return [part / whole for part, whole in ((q, a), (c, q)) if whole != 0]
