"""Integer formats: two's complement, sign-magnitude, offset binary, fixed point, ternary codes.

References:
    .. [Krishnamoorthi2018] R. Krishnamoorthi. Quantizing deep convolutional networks for efficient inference.
       arXiv 1806.08342, eq. 5-8: ``real = scale * (code - zero_point)``; symmetric quantization has zero
       point 0.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.errors import OptionError
from faultsim.formats.base import NumberFormat, Values, Words

Encoding = Literal["twos_complement", "sign_magnitude", "offset_binary"]
_ENCODINGS = ("twos_complement", "sign_magnitude", "offset_binary")


@dataclass(frozen=True, eq=False, init=False)
class IntFormat(NumberFormat):
    """Integer codes of 2 to 32 bits: ``value = scale * (code - zero_point)``, [Krishnamoorthi2018]_ eq. 5.

    The scale is rounded to `dtype` first, as a deployed graph stores it. For the int8 tensors of a deployed
    quantized graph the values *are* the codes: ``IntFormat(8, dtype="int8")``, scale 1. A 4-bit weight in
    an int8 tensor is ``IntFormat(4, dtype="int8")``: four stored bits, the sign is bit 3.

    Attributes:
        bits: Stored bits per element, 2 to 32.
        signed: Whether codes may be negative.
        encoding: How a signed code lies in its word. Two's complement; sign and magnitude (the word of
            "minus zero" reads as 0); offset binary (code minus the smallest code).
        scale: Step between two codes in value units, positive: a scalar, or an array broadcastable to the
            tensor.
        zero_point: Code of the value 0: an integer, or an array broadcastable to the tensor.
        dtype: NumPy dtype name of decoded values; ``None`` takes float32 up to 22 bits and float64 above, the
            widths at which every code survives the way through a float. An integer dtype needs scale 1.
        narrow: Whether the smallest two's complement code is left out when encoding. A flipped bit can still
            make its word: it decodes, but does not come back by encoding, so leave this off where the scale
            keeps values clear of it.

    Raises:
        OptionError: If a field is out of its range or two do not fit each other.

    Examples:
        >>> f = IntFormat(8, scale=0.5)
        >>> f.encode(np.array([-1.0, 63.5, 999.0])).tolist()
        [254, 127, 127]
        >>> IntFormat(4, dtype="int8").decode(np.array([0b1000, 0b0111], np.uint64)).tolist()
        [-8, 7]
    """

    bits: int = 8
    signed: bool = True
    encoding: Encoding = "twos_complement"
    scale: float | NDArray[np.float64] = 1.0
    zero_point: int | NDArray[np.int64] = 0
    dtype: str = "float32"
    narrow: bool = False

    def __init__(
        self,
        bits: int = 8,
        *,
        signed: bool = True,
        encoding: Encoding = "twos_complement",
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        dtype: str | None = None,
        narrow: bool = False,
    ) -> None:
        if not 2 <= bits <= 32:
            raise OptionError(f"IntFormat.bits must be between 2 and 32, got {bits}; one bit is BinaryFormat")
        if encoding not in _ENCODINGS:
            raise OptionError(f"unknown integer encoding {encoding!r}; use one of {', '.join(_ENCODINGS)}")
        if encoding != "twos_complement" and not signed:
            raise OptionError(f"encoding {encoding!r} is for signed codes; use twos_complement for unsigned ones")
        kind = _container(dtype, bits)
        steps = np.asarray(scale, dtype=np.float64)
        low, high = _ends(steps)
        if not (math.isfinite(low) and math.isfinite(high) and low > 0):
            raise OptionError(f"IntFormat.scale must be finite and positive, got {low:g}")
        if kind.kind in "iu":
            if not low == high == 1:
                raise OptionError(f"dtype {kind.name!r} holds bare codes and needs scale 1, got {high:g}")
        else:
            steps = steps.astype(kind).astype(np.float64)
            low, high = _ends(steps)
            if low < np.finfo(kind).tiny or high > np.finfo(kind).max / 2.0 ** (bits + 1):
                raise OptionError(f"IntFormat.scale leaves the range of {kind.name}; use a wider dtype")
        zeros = np.asarray(zero_point, dtype=np.int64)
        put = object.__setattr__
        put(self, "bits", int(bits))
        put(self, "signed", bool(signed))
        put(self, "encoding", encoding)
        put(self, "scale", float(steps) if steps.ndim == 0 else _frozen(steps))
        put(self, "zero_point", int(zeros) if zeros.ndim == 0 else _frozen(zeros))
        put(self, "dtype", kind.name)
        put(self, "narrow", bool(narrow))
        first, last = _ends(zeros, 0)
        if first < self.lowest or last > self.highest:
            beyond = first if first < self.lowest else last
            raise OptionError(f"zero_point must lie in [{self.lowest}, {self.highest}], got {beyond}")

    @property
    def name(self) -> str:
        """The format's name, such as ``int8`` or ``uint4``; the scale is not part of it."""
        suffix = "" if self.encoding == "twos_complement" else f"_{self.encoding}"
        return f"{'int' if self.signed else 'uint'}{self.bits}{suffix}"

    @property
    def per_channel(self) -> bool:
        """Whether scale or zero point vary over the tensor: words then decode only in the tensor's shape."""
        return np.ndim(self.scale) > 0 or np.ndim(self.zero_point) > 0

    @property
    def lowest(self) -> int:
        """The smallest code that encoding gives."""
        if not self.signed:
            return 0
        return int(self.narrow or self.encoding == "sign_magnitude") - (1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        """The largest code."""
        return (1 << (self.bits - int(self.signed))) - 1

    def at(self, indices: NDArray[np.int64], shape: tuple[int, ...]) -> "IntFormat":
        """Return the format of the elements at flat *indices* of a tensor of *shape*, as a 1-D tensor."""
        if not self.per_channel:
            return self
        place = np.unravel_index(indices, shape)
        return IntFormat(
            self.bits,
            signed=self.signed,
            encoding=self.encoding,
            scale=np.broadcast_to(self.scale, shape)[place],
            zero_point=np.broadcast_to(self.zero_point, shape)[place],
            dtype=self.dtype,
            narrow=self.narrow,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntFormat) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        arrays = [(np.shape(a), np.asarray(a).tobytes()) for a in (self.scale, self.zero_point)]
        return (self.bits, self.signed, self.encoding, self.dtype, self.narrow, *arrays)

    def quantize(self, values: Values) -> NDArray[np.int64]:
        """Return the integer codes of *values*: nearest, ties to even, saturating; NaN is the zero point."""
        array = np.asarray(values)
        if array.dtype.kind in "iu" and not self.per_channel and self.scale == 1.0:
            whole: NDArray[np.int64] = np.clip(array.astype(np.int64) + self.zero_point, self.lowest, self.highest)
            return whole
        if array.dtype.kind != "f":  # bfloat16 and its like are no floats to NumPy
            array = array.astype(np.float64)
        with np.errstate(over="ignore"):
            ratio = np.asarray(np.divide(array, self.scale, dtype=np.float64))
        np.rint(ratio, out=ratio)
        np.maximum(ratio, self.lowest - self.zero_point, out=ratio)
        np.minimum(ratio, self.highest - self.zero_point, out=ratio)
        lost = np.isnan(ratio)
        if lost.any():
            ratio[lost] = 0.0
        codes = ratio.astype(np.int64)
        return codes + self.zero_point if np.any(self.zero_point) else codes

    def dequantize(self, codes: NDArray[np.int64]) -> Values:
        """Return ``scale * (code - zero_point)`` in `dtype`, [Krishnamoorthi2018]_ eq. 5; same shape."""
        shifted = codes - self.zero_point
        kind = np.dtype(self.dtype)
        if kind.kind in "iu":
            return shifted.astype(kind)
        return (shifted * self.scale).astype(kind)

    def encode(self, values: Values) -> Words:
        """Return the stored words of *values*, rounded to the nearest code and saturating.

        Args:
            values: Numbers in value units; the tensor's own shape where `per_channel`, else any shape.

        Returns:
            Words of the same shape, in the low `bits` bits.
        """
        codes = self.quantize(values)
        mask = (1 << self.bits) - 1
        if self.encoding == "sign_magnitude":
            codes = np.where(codes < 0, -codes | (1 << (self.bits - 1)), codes)
        elif self.encoding == "offset_binary":
            codes = codes + (1 << (self.bits - 1))
        return (codes & mask).astype(np.uint64)

    def decode(self, words: Words) -> Values:
        """Return the values of *words* in `dtype`; bits above `bits` are ignored.

        Args:
            words: Stored words; the tensor's own shape where `per_channel`, else any shape.
        """
        return self.dequantize(self.codes(words))

    def codes(self, words: Words) -> NDArray[np.int64]:
        """Return the integer codes of stored *words* (any shape), sign-extended from bit ``bits - 1``."""
        raw = np.asarray(words, dtype=np.uint64).astype(np.int64) & ((1 << self.bits) - 1)
        half = 1 << (self.bits - 1)
        if not self.signed:
            return raw
        if self.encoding == "offset_binary":
            return raw - half
        if self.encoding == "sign_magnitude":
            return np.where(raw & half, -(raw & (half - 1)), raw)
        return (raw ^ half) - half


def ternary(scale: ArrayLike = 1.0) -> IntFormat:
    """Return the format of weights in {-scale, 0, +scale}: two bits, two's complement.

    The fourth word, ``0b10``, is never written; a flipped bit can make it, and it reads as ``-2 * scale``.

    Args:
        scale: Magnitude in value units, a scalar or broadcastable to the tensor.
    """
    return IntFormat(2, scale=scale, narrow=True)


def fixed_point(bits: int, fraction_bits: int, *, signed: bool = True) -> IntFormat:
    """Return the fixed-point format with *fraction_bits* of its *bits* behind the point.

    Args:
        bits: All stored bits, the sign included, 2 to 32.
        fraction_bits: Bits behind the point, -64 to 64: a step is ``2**-fraction_bits``.
        signed: Whether numbers may be negative (two's complement).

    Raises:
        OptionError: If a width is out of range.

    Examples:
        >>> fixed_point(8, 4).decode(np.array([0x18, 0xF8], np.uint64)).tolist()
        [1.5, -0.5]
    """
    if not -64 <= fraction_bits <= 64:
        raise OptionError(f"fraction_bits must be between -64 and 64, got {fraction_bits}")
    return IntFormat(bits, signed=signed, scale=2.0**-fraction_bits)


def _container(dtype: str | None, bits: int) -> np.dtype[Any]:
    """Return the dtype of decoded values, refusing floats that cannot tell neighbouring codes apart."""
    if dtype is None:
        return np.dtype(np.float32 if bits <= 22 else np.float64)
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype(object)
    if kind.kind not in "iuf":
        raise OptionError(f"IntFormat.dtype {dtype!r} is no integer or float dtype; use such as 'int8' or 'float32'")
    if kind.kind == "f" and bits > np.finfo(kind).nmant - 1:
        raise OptionError(f"dtype {kind.name!r} cannot hold every {bits}-bit code exactly; use 'float64'")
    if kind.kind in "iu" and 8 * kind.itemsize < bits:
        raise OptionError(f"dtype {kind.name!r} is too small for {bits}-bit codes")
    return kind


def _ends(array: NDArray[Any], of_none: float = 1.0) -> tuple[Any, Any]:
    """Return the smallest and the largest number, NaN where there is one; *of_none* where there are no numbers."""
    if array.ndim == 0:
        return array.item(), array.item()
    return (array.min().item(), array.max().item()) if array.size else (of_none, of_none)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    copy = array.copy()
    copy.flags.writeable = False
    return copy
