"""Floating-point formats: a word is the number's IEEE (or OCP) bit pattern. Integer formats are not here.

References:
    .. [IEEE754] IEEE 754-2019: binary16, binary32, binary64, rounding to nearest even.
    .. [OCP8] OCP 8-bit Floating Point Specification (OFP8) 1.0, 2023: E4M3 (finite, no infinity) and E5M2.
    .. [OCPMX] OCP Microscaling Formats (MX) 1.0, 2023: E2M1 of 4 bits, and E8M0, the powers of two that scale blocks.
    .. [Noune2022] B. Noune et al. 8-bit numerical formats for deep neural networks. arXiv 2206.02915: FNUZ, whose
       word of "minus zero" is the NaN.
"""

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.formats.base import NumberFormat, Values, Words

_STORAGE: dict[str, np.dtype[np.generic]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "float8_e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
    "float4_e2m1fn": np.dtype(ml_dtypes.float4_e2m1fn),
}
_LARGEST = {  # (2 - 2**-mantissa_bits) * 2**emax; E4M3FN gives its topmost mantissa to NaN, [OCP8]_
    "float64": float(np.finfo(np.float64).max),
    "float32": float(np.finfo(np.float32).max),
    "float16": 65504.0,
    "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
    "float8_e4m3fnuz": 240.0,
    "float8_e5m2fnuz": 57344.0,
    "float8_e8m0fnu": 2.0**127,
    "float4_e2m1fn": 6.0,
}
_FINITE = frozenset({"float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"})
"""Formats without infinities."""
FLOAT_NAMES: tuple[str, ...] = tuple(_STORAGE)
_WORD: dict[int, np.dtype[np.unsignedinteger]] = {
    8: np.dtype(np.uint8),
    16: np.dtype(np.uint16),
    32: np.dtype(np.uint32),
    64: np.dtype(np.uint64),
}


@dataclass(frozen=True)
class FloatFormat(NumberFormat):
    """A floating-point format whose words are the IEEE bit patterns.

    A finite value beyond the range saturates at the largest finite number; infinities stay infinite where the
    format has them (E4M3FN, the FNUZ formats, E2M1 and E8M0 have none and take their largest number). A number that
    E8M0 cannot hold, 0 or below, takes its smallest; E2M1 has no NaN, which becomes 0. A flipped exponent bit may
    decode to an infinity or a NaN: that is what the chip would read.

    Attributes:
        kind: One of `FLOAT_NAMES`.

    Raises:
        OptionError: If *kind* is no known format.

    Examples:
        >>> f = FloatFormat("float32")
        >>> hex(int(f.encode(np.array([-1.5], np.float32))[0]))
        '0xbfc00000'
        >>> FloatFormat("float8_e4m3fn").decode(np.array([0x7E], np.uint64)).tolist()
        [448.0]
    """

    kind: str = "float32"

    def __post_init__(self) -> None:
        if self.kind not in _STORAGE:
            raise OptionError(f"unknown float format {self.kind!r}; use one of {', '.join(FLOAT_NAMES)}")

    @property
    def name(self) -> str:
        """The format's name, such as ``float32``."""
        return self.kind

    @property
    def bits(self) -> int:
        """Stored bits per element: 4, 8, 16, 32 or 64."""
        return 4 if self.kind == "float4_e2m1fn" else 8 * _STORAGE[self.kind].itemsize

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """NumPy dtype of decoded values: the format's own; float32 for bfloat16 and float8."""
        return _STORAGE[self.kind] if self.kind in ("float64", "float32", "float16") else np.dtype(np.float32)

    @property
    def largest(self) -> float:
        """The largest finite number of the format, [IEEE754]_ and [OCP8]_."""
        return _LARGEST[self.kind]

    def encode(self, values: Values) -> Words:
        """Return the bit patterns of *values* (any shape), rounded to nearest even, saturating.

        Args:
            values: Numbers in the tensor's own units.

        Returns:
            Words of the same shape, in the low `bits` bits.
        """
        storage = _STORAGE[self.kind]
        array = np.asarray(values)
        if array.dtype != storage:
            array = self._cast(array, storage)
        return np.ascontiguousarray(array).view(_WORD[max(self.bits, 8)]).reshape(array.shape).astype(np.uint64)

    def decode(self, words: Words) -> Values:
        """Return the values of *words* (any shape) in `dtype`; bits above `bits` are ignored."""
        narrow = (np.asarray(words).astype(np.uint64) & np.uint64((1 << self.bits) - 1)).astype(
            _WORD[max(self.bits, 8)]
        )
        values: Values = narrow.view(_STORAGE[self.kind]).reshape(narrow.shape)
        if self.dtype != _STORAGE[self.kind]:
            values = values.astype(np.float32)
        return values

    def towards(self, values: Values, targets: Values) -> Values:
        """Return the next number of the format on the way from *values* to *targets*; a number that is there stays.

        Args:
            values: Finite numbers of the format.
            targets: Finite numbers, of the same shape.

        Returns:
            Numbers of the same shape, in `dtype`.
        """
        words = self.encode(values)
        here, there = np.asarray(values, dtype=np.float64), np.asarray(targets, dtype=np.float64)
        sign = np.uint64(0 if self.kind == "float8_e8m0fnu" else 1 << (self.bits - 1))
        size = words & ~sign
        nearer_zero = np.where((there < here) == (here > 0), size - np.uint64(1), size + np.uint64(1))
        moved = np.where(size == 0, np.uint64(1), nearer_zero)  # words are sign and magnitude
        signs = np.where(size == 0, np.where(there < 0, sign, np.uint64(0)), words & sign)
        moved = np.where(moved == 0, moved, moved | signs) if sign else nearer_zero
        return self.decode(np.where(here == there, words, moved))

    def _cast(self, array: Values, storage: np.dtype[np.generic]) -> Values:
        """Round into *storage*; a finite number must not become an infinity or a NaN."""
        wide = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
        top = self.largest
        low = 2.0**-127 if self.kind == "float8_e8m0fnu" else -top
        with np.errstate(over="ignore", invalid="ignore"):
            clipped: NDArray[np.generic] = np.clip(wide, low, top)
            if self.kind not in _FINITE:
                clipped = np.where(np.isinf(wide), wide, clipped)
            if clipped.dtype == np.float64 and storage.itemsize < 4 and storage != np.float16:
                clipped = _to_odd(clipped)
            return clipped.astype(storage)


def _to_odd(wide: NDArray[Any]) -> NDArray[np.float32]:
    """Round float64 to float32 towards the neighbour whose last bit is 1, so that a second rounding is the only one.

    ml_dtypes goes through float32: rounding to nearest twice would miss the nearest narrow number at a tie.
    """
    near = wide.astype(np.float32)
    exact = (near.astype(np.float64) == wide) | ~np.isfinite(near)
    words = near.view(np.int32)
    past = np.abs(near.astype(np.float64)) > np.abs(wide)
    down = np.where(past, words - 1, words)  # towards zero, whatever the sign: words are sign and magnitude
    return np.where(exact, words, down | 1).astype(np.int32).view(np.float32)
