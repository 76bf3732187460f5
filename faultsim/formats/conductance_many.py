"""Analog storage on several pairs a weight: in parallel, in turn, or in bit slices. No noise laws live here.

References:
    .. [Boybat2018] I. Boybat et al. Neuromorphic computing with multi-memristive synapses. Nature
       Communications 9:2514, 2018: the weight is the combined conductance of several devices.
    .. [aihwkit] IBM aihwkit 1.1.0, ``NPairConductanceConverter``: pairs with a significance F each; a more
       significant pair is used only once the range of the less significant ones is exhausted.
    .. [CrossSim] Sandia CrossSim 3.2.0, ``BitSlicedCore``: the bits of a weight in slices of some bits a cell.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.errors import OptionError
from faultsim.formats.base import Values
from faultsim.formats.conductance import ConductanceMapping


@dataclass(frozen=True, eq=False, init=False)
class DualPair(ConductanceMapping):
    """A weight spread over several differential pairs, two of them by default.

    Without *significance* every pair carries the whole weight and their currents are averaged
    ([Boybat2018]_): independent noise falls with the square root of the number of pairs. With it the pairs
    are filled in turn, the least significant first, as [aihwkit]_ does.

    Attributes:
        g_min_uS: Smallest conductance, uS, at least 0.
        g_max_uS: Largest conductance, uS, above g_min.
        w_max: Magnitude that all pairs at g_max carry, value units, positive: a scalar, or an array
            broadcastable to the tensor.
        pairs: Differential pairs a weight, at least 1: half of its devices.
        significance: Factor of each pair's current, positive, in the order of filling; ``None``: in parallel.

    Raises:
        OptionError: If the range is empty, w_max is not positive or the pairs do not fit.

    Examples:
        >>> dual = DualPair(0.0, 10.0, w_max=1.0, pairs=2)
        >>> dual.to_cells(np.array([-0.5])).ravel().tolist()      # plus, minus, plus, minus
        [0.0, 5.0, 0.0, 5.0]
    """

    g_min_uS: float  # noqa: N815
    g_max_uS: float  # noqa: N815
    w_max: float | NDArray[np.float64]
    pairs: int
    significance: tuple[float, ...] | None

    def __init__(
        self,
        g_min_uS: float,
        g_max_uS: float,
        w_max: ArrayLike = 1.0,
        *,
        pairs: int = 2,
        significance: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__(g_min_uS, g_max_uS, w_max)
        if pairs < 1:
            raise OptionError(f"a weight needs at least 1 pair, got {pairs}; devices_per_weight is twice the pairs")
        if significance is not None and (len(significance) != pairs or not all(0 < f < np.inf for f in significance)):
            raise OptionError(f"significance needs {pairs} positive factors, one a pair, got {significance}")
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "significance", significance)

    @property
    def name(self) -> str:
        """``dual_pair``."""
        return "dual_pair"

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Each pair's share and its negative, plus and minus in turn."""
        shares = self._shares()
        return tuple(sign * share for share in shares for sign in (1.0, -1.0))

    @property
    def step(self) -> NDArray[np.float64]:
        """Value per uS of combined difference, ``w_max / (g_max - g_min)``, broadcastable to the tensor."""
        return np.asarray(self.w_max, dtype=np.float64) / self.span_uS

    def to_cells(self, values: Values) -> NDArray[np.float32]:
        """Return the target conductances in uS, ``(2 pairs, *shape)``, saturating at g_max."""
        scaled = self._scaled(values)
        cells = np.empty((2 * self.pairs, *scaled.shape), np.float32)
        below = 0.0
        for k, share in enumerate(self._shares()):
            for side, part in enumerate((scaled, -scaled)):
                if self.significance is not None:
                    part = (part - np.float32(below)) / np.float32(share)
                np.clip(part, np.float32(0), np.float32(self.span_uS), out=cells[2 * k + side])
            below += share * self.span_uS
        cells += np.float32(self.g_min_uS)
        return cells

    def _shares(self) -> tuple[float, ...]:
        factors = (1.0,) * self.pairs if self.significance is None else self.significance
        return tuple(factor / sum(factors) for factor in factors)

    def _key(self) -> tuple[Any, ...]:
        return (*super()._key(), self.pairs, self.significance)


@dataclass(frozen=True, eq=False, init=False)
class BitSliced(ConductanceMapping):
    """A weight's magnitude as a binary code in slices of a few bits, a differential pair each, [CrossSim]_.

    ``|w| = w_max / (2**B - 1) sum_j 2**(b j) digit_j``; a digit lies on one of ``2**b`` evenly spaced
    conductances of the device of the weight's sign, the other rests at g_min. Weights are rounded to the
    code: only ``from_cells(to_cells(w))`` can be stored.

    Attributes:
        g_min_uS: Conductance of the digit 0, uS, at least 0.
        g_max_uS: Conductance of the digit ``2**b - 1``, uS, above g_min.
        w_max: Magnitude of the largest code, value units, positive: a scalar, or an array broadcastable to
            the tensor. Larger weights saturate.
        magnitude_bits: Bits of the magnitude, B, 1 to 24; with the sign an int8 weight has 7.
        bits_per_cell: Bits of a slice, b, 1 to B.

    Raises:
        OptionError: If the range is empty, w_max is not positive or the bits do not fit.

    Examples:
        >>> sliced = BitSliced(0.0, 3.0, w_max=15.0, magnitude_bits=4, bits_per_cell=2)
        >>> sliced.to_cells(np.array([-9.0])).ravel().tolist()    # 9 = 2 * 4 + 1: low slice, then high
        [0.0, 1.0, 0.0, 2.0]
    """

    g_min_uS: float  # noqa: N815
    g_max_uS: float  # noqa: N815
    w_max: float | NDArray[np.float64]
    magnitude_bits: int
    bits_per_cell: int

    def __init__(
        self,
        g_min_uS: float,
        g_max_uS: float,
        w_max: ArrayLike = 1.0,
        *,
        magnitude_bits: int,
        bits_per_cell: int = 1,
    ) -> None:
        super().__init__(g_min_uS, g_max_uS, w_max)
        if not 1 <= bits_per_cell <= magnitude_bits <= 24:
            raise OptionError(
                "bit slices need 1 <= bits_per_cell <= magnitude_bits <= 24,"
                f" got {bits_per_cell} bits a cell and {magnitude_bits} of magnitude"
            )
        object.__setattr__(self, "magnitude_bits", magnitude_bits)
        object.__setattr__(self, "bits_per_cell", bits_per_cell)

    @property
    def name(self) -> str:
        """``bit_sliced``."""
        return "bit_sliced"

    @property
    def slices(self) -> int:
        """Pairs of a weight, ``ceil(B / b)``; the top one may hold fewer bits."""
        return -(-self.magnitude_bits // self.bits_per_cell)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Powers of two, least significant slice first, plus and minus in turn."""
        return tuple(sign * 2.0 ** (self.bits_per_cell * j) for j in range(self.slices) for sign in (1.0, -1.0))

    @property
    def step(self) -> NDArray[np.float64]:
        """Value per uS of the lowest slice's difference, broadcastable to the tensor."""
        levels = 2**self.bits_per_cell - 1
        share = levels / (2**self.magnitude_bits - 1) / self.span_uS
        return np.asarray(np.asarray(self.w_max) * share, np.float64)

    def to_cells(self, values: Values) -> NDArray[np.float32]:
        """Return the target conductances in uS, ``(2 slices, *shape)``, rounded to the code."""
        top = 2**self.magnitude_bits - 1
        share = np.asarray(values, np.float64) / self.w_max
        codes = np.rint(np.minimum(np.abs(share), 1.0) * top).astype(np.int64)
        cells = np.zeros((2 * self.slices, *codes.shape), np.float32)
        digit = 2**self.bits_per_cell - 1
        for j in range(self.slices):
            g = ((codes >> (self.bits_per_cell * j)) & digit) * (self.span_uS / digit)
            cells[2 * j] = np.where(share > 0, g, 0.0)
            cells[2 * j + 1] = np.where(share < 0, g, 0.0)
        cells += np.float32(self.g_min_uS)
        return cells

    def _key(self) -> tuple[Any, ...]:
        return (*super()._key(), self.magnitude_bits, self.bits_per_cell)
