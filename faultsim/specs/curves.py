"""Curves over a conductance that mechanisms take as parameters: lines, polynomials, tables, powers. No laws here."""

from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.quantity import NonNegative, Positive, Spec


class LogLine(Spec):
    """``clip(a_ln * ln(g/g_max) + b, min, max)``."""

    a_ln: float
    b: float
    min: NonNegative
    max: NonNegative

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise PydanticCustomError("order", "min must not exceed max")
        return self


class Polynomial(Spec):
    """``sum c_i (g/g_max)^i``."""

    coefficients: Annotated[tuple[float, ...], Field(min_length=1)]


class Table(Spec):
    """Points ``[g/g_max, value]``, rising, linear in between and constant outside."""

    points: Annotated[tuple[tuple[NonNegative, float], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        at = [point[0] for point in self.points]
        if at != sorted(set(at)):
            raise PydanticCustomError("order", "points must have rising g/g_max")
        return self


def _simple(curve: object) -> str:
    """Return which curve is meant, by the key that no other has: its errors alone are then reported."""
    keys = curve if isinstance(curve, dict) else getattr(type(curve), "model_fields", {})
    if "coefficients" in keys:
        return "Polynomial"
    return "Table" if "points" in keys else "LogLine"


def _shape(curve: object) -> str:
    keys = curve if isinstance(curve, dict) else getattr(type(curve), "model_fields", {})
    return "Branches" if {"split", "below", "above"} & set(keys) else _simple(curve)


Simple = Annotated[
    Annotated[LogLine, Tag("LogLine")] | Annotated[Polynomial, Tag("Polynomial")] | Annotated[Table, Tag("Table")],
    Discriminator(_simple),
]


class Branches(Spec):
    """One curve for ``g/g_max`` below `split`, another from there on."""

    split: Positive
    below: Simple
    above: Simple


Curve = Annotated[
    Annotated[LogLine, Tag("LogLine")]
    | Annotated[Polynomial, Tag("Polynomial")]
    | Annotated[Table, Tag("Table")]
    | Annotated[Branches, Tag("Branches")],
    Discriminator(_shape),
]


class PowerLaw(Spec):
    """``min(c * (g/g_max)^exponent, max)``."""

    c: NonNegative
    exponent: float
    max: NonNegative
