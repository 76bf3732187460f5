"""What a bit position is in its format, in words. No bit is flipped here."""

from faultsim.formats import FloatFormat, NumberFormat

_EXPONENT_BITS = {
    "float64": 11, "float32": 8, "float16": 5, "bfloat16": 8, "float8_e4m3fn": 4, "float8_e5m2": 5,
    "float8_e4m3fnuz": 4, "float8_e5m2fnuz": 5, "float8_e8m0fnu": 8, "float4_e2m1fn": 2,
}  # fmt: skip


def field_of(kept: NumberFormat, bit: int) -> str:
    """Return ``sign``, ``exponent`` or ``mantissa`` for a float, ``sign`` or ``value`` for codes.

    The top bit of a two's complement code carries the sign; that of an unsigned code is one of its value.

    Examples:
        >>> field_of(FloatFormat("float32"), 30)
        'exponent'
    """
    top = kept.bits - 1
    if isinstance(kept, FloatFormat):
        exponent = _EXPONENT_BITS.get(kept.kind, 0)
        if kept.kind == "float8_e8m0fnu":  # powers of two: nothing else is stored
            return "exponent"
        return "sign" if bit == top else "exponent" if bit >= top - exponent else "mantissa"
    return "sign" if bit == top and getattr(kept, "signed", False) else "value"
