"""How far two results may lie apart, by the type of their numbers, and whether they do. Nothing runs here."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RELATIVE: dict[str, float] = {"float64": 1e-7, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Allowed |Δ| of a whole graph as a fraction of the output's largest magnitude, by the narrowest type in it."""

ROUNDING: dict[str, float] = {
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float8_e4m3fn": 2.0**-3,
    "float8_e4m3fnuz": 2.0**-3,
    "float8_e5m2": 2.0**-2,
    "float8_e5m2fnuz": 2.0**-2,
    "float8_e8m0fnu": 1.0,
    "float4_e2m1fn": 2.0**-1,
}
"""One rounding of the narrow floats: their largest step between neighbours, as a fraction of the number."""

LEAST: dict[str, float] = {
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
    "float8_e4m3fn": 2.0**-9,
    "float8_e5m2": 2.0**-16,
}
"""The least positive number of the type, which is the step between its numbers near 0."""

_OTHER = 1e-3
_HUGE = 1e9
"""From this magnitude on a number is a mask (-1e9, the least float) and says nothing of the size of the others."""


class Difference(NamedTuple):
    """Where two results lie furthest apart.

    Attributes:
        worst: |Δ| there.
        allowed: What was allowed there.
        beyond: Share of the elements that differ by more than allowed.
    """

    worst: float
    allowed: float
    beyond: float


def is_text(array: Any) -> bool:
    """Return whether there are no numbers to compare: text, or no array at all."""
    return isinstance(array, dict) or array is None or np.asarray(array).dtype.kind in "OUS"


def difference(
    ours: Any, theirs: Any, *, relative: float | None = None, rounding: float = 0.0, step: float = 0.0
) -> Difference:
    """Compare two arrays element by element.

    NaN agrees with NaN alone, an infinity with itself; another shape differs by infinity.

    Args:
        ours: The array that is judged.
        theirs: The reference.
        relative: Allowed |Δ| as a fraction of the reference's largest magnitude, masks left out; by default that of
            its type in `RELATIVE`. Floats only.
        rounding: Further allowance as a fraction of each number.
        step: Allowance in any case, such as one code of a quantized output.
    """
    mine, other = np.asarray(ours), np.asarray(theirs)
    if mine.shape != other.shape:
        return Difference(float("inf"), 0.0, 1.0)
    if not mine.size:
        return Difference(0.0, step, 0.0)
    floats = other.dtype.kind not in "iub" and other.dtype.name not in ("int4", "uint4", "int2", "uint2")
    wide = np.complex128 if "c" in (mine.dtype.kind, other.dtype.kind) else np.float64
    a, b = mine.reshape(-1).astype(wide), other.reshape(-1).astype(wide)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a - b)
        gap[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
        gap[np.isnan(gap)] = np.inf
        magnitude = np.abs(b)
    magnitude[~np.isfinite(magnitude)] = 0.0
    limit = rounding * magnitude
    if floats:
        part = RELATIVE.get(other.dtype.name, _OTHER) if relative is None else relative
        limit = limit + part * np.maximum(magnitude, _size(magnitude))
    limit = np.maximum(limit, step)
    place = int(np.argmax(gap - limit))
    return Difference(float(gap[place]), float(limit[place]), float(np.mean(gap > limit)))


def _size(magnitude: Array) -> float:
    usual = magnitude[magnitude < _HUGE]
    largest = float(usual.max()) if usual.size else 0.0
    return max(largest if largest > 0 else float(magnitude.max()), 1e-6)
