"""Formats by name, and formats fitted to a tensor. The formats themselves live beside."""

import difflib
import re

import numpy as np

from faultsim.errors import OptionError
from faultsim.formats.base import NumberFormat, Values
from faultsim.formats.binary import BinaryFormat
from faultsim.formats.floats import FLOAT_NAMES, FloatFormat
from faultsim.formats.integers import IntFormat, fixed_point, ternary
from faultsim.formats.scales import peaks

_ALIASES = {
    "fp64": "float64",
    "f64": "float64",
    "double": "float64",
    "fp32": "float32",
    "f32": "float32",
    "float": "float32",
    "single": "float32",
    "fp16": "float16",
    "f16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "fp8": "float8_e4m3fn",
    "fp8_e4m3": "float8_e4m3fn",
    "float8_e4m3": "float8_e4m3fn",
    "fp8_e4m3fn": "float8_e4m3fn",
    "fp8_e5m2": "float8_e5m2",
}
_INT = re.compile(r"(u?)int(\d{1,4})(?:_(twos_complement|sign_magnitude|offset_binary))?")
_FIXED = re.compile(r"(u?)fixed(\d{1,4})\.(-?\d{1,4})")
_EXAMPLES = ("int2", "int4", "int8", "int16", "int32", "uint2", "uint4", "uint8", "uint16", "uint32")


def parse_format(name: str) -> NumberFormat:
    """Return the number format called *name*, with scale 1.

    Args:
        name: A float (``float32``, ``fp32``, ``bf16``, ``float8_e4m3fn``, ``float8_e5m2``, …), an integer
            of 2 to 32 bits (``int8``, ``uint4``, ``int8_sign_magnitude``, ``int8_offset_binary``),
            ``binary``, ``ternary`` or fixed point (``fixed16.8``: 16 bits, 8 of them behind the point;
            ``ufixed8.8``). Case does not matter.

    Returns:
        The format; `quantize_symmetric` fits one to a tensor.

    Raises:
        OptionError: If there is no such format; the message names the nearest one.

    Examples:
        >>> parse_format("bf16").name, parse_format("uint4").bits
        ('bfloat16', 4)
    """
    key = name.strip().lower()
    key = _ALIASES.get(key, key)
    if key in FLOAT_NAMES:
        return FloatFormat(key)
    if key in ("binary", "int1"):
        return BinaryFormat()
    if key == "ternary":
        return ternary()
    if match := _INT.fullmatch(key):
        signed = not match[1]
        encoding = match[3] or "twos_complement"
        if encoding == "sign_magnitude":
            return IntFormat(int(match[2]), signed=signed, encoding="sign_magnitude")
        if encoding == "offset_binary":
            return IntFormat(int(match[2]), signed=signed, encoding="offset_binary")
        return IntFormat(int(match[2]), signed=signed)
    if match := _FIXED.fullmatch(key):
        return fixed_point(int(match[2]), int(match[3]), signed=not match[1])
    known = [*FLOAT_NAMES, *_ALIASES, *_EXAMPLES, "binary", "ternary", "fixed16.8"]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "use such as 'int8', 'uint4', 'float32' or 'bfloat16'"
    raise OptionError(f"unknown number format {name!r}; {hint}")


def quantize_symmetric(values: Values, bits: int, axis: int | None = None) -> IntFormat:
    """Return the symmetric integer format that just holds *values*.

    ``scale = max|values| / (2**(bits-1) - 1)``, zero point 0 and the smallest code is never written
    (Krishnamoorthi 2018, arXiv 1806.08342, §2.3, "restricted range"). An all-zero tensor or channel takes
    scale 1. The stored tensor is ``f.decode(f.encode(values))``.

    Args:
        values: The tensor, any shape, finite.
        bits: Stored bits per element, 2 to 22 (so that float32 tells all codes apart).
        axis: Channel axis for one scale a channel (0 for ONNX weights of Conv), ``None`` for one scale.

    Returns:
        The format, values in float32; `IntFormat.per_channel` where *axis* is given.

    Raises:
        OptionError: If values are not finite, or *bits* or *axis* is out of range.

    Examples:
        >>> quantize_symmetric(np.array([0.5, -1.27]), 8).scale
        0.009999999776482582
    """
    if not 2 <= bits <= 22:
        raise OptionError(f"quantize_symmetric takes 2 to 22 bits, got {bits}")
    if not np.all(np.isfinite(values)):
        raise OptionError("cannot quantize a tensor that holds an infinity or a NaN; remove it first")
    top = peaks(values, axis)
    scale = np.where(top > 0, top / (2 ** (bits - 1) - 1), 1.0)
    return IntFormat(bits, scale=np.maximum(scale, float(np.finfo(np.float32).tiny)))
