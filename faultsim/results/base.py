"""What all sections of a result share: frozen, strict, never a NaN. No section of the contract lives here."""

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class _MayBeNull:
    """Marks a figure that can fail to be finite, and then is null beside a note that says why."""


def _null(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _exponent(value: object) -> object:
    return "inf" if value == math.inf else value


Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Exponent = Annotated[Annotated[float, Field(ge=1)] | Literal["inf"], BeforeValidator(_exponent)]
NullIfNotFinite = Annotated[float | None, BeforeValidator(_null)]
Figure = Annotated[float | None, _MayBeNull()]
FractionFigure = Annotated[Fraction | None, _MayBeNull()]


def plain(value: object) -> object:
    """Return NumPy scalars as the Python numbers they stand for and lists as tuples; the rest as it is."""
    if isinstance(value, list):
        return tuple(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()  # type: ignore[attr-defined]  # a NumPy scalar; NumPy itself is not imported here
    return value


class Section(BaseModel):
    """A part of the result: unknown fields, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        return {key: plain(value) for key, value in data.items()} if isinstance(data, dict) else data


class Explained(Section):
    """A section whose figures may be null, and that then says why: JSON has no NaN.

    A non-finite figure becomes null and writes its own note; a figure given as ``None`` needs a `note`.
    """

    note: str | None = None
    """Why a figure of this section is null; null where none is."""

    @model_validator(mode="before")
    @classmethod
    def _explain(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = {key: plain(value) for key, value in data.items()}
        said: list[str] = [data["note"]] if isinstance(data.get("note"), str) and data["note"] else []
        silent: list[str] = []
        for name, field in cls.model_fields.items():
            if not any(isinstance(mark, _MayBeNull) for mark in field.metadata) or name not in data:
                continue
            value = data[name]
            if isinstance(value, float) and not math.isfinite(value):
                data[name] = None
                said.append(f"{name} is not finite ({value})")
            elif value is None:
                silent.append(name)
        if silent and not said:
            raise ValueError(f"{', '.join(silent)} is null without a reason; say why in 'note'")
        return {**data, "note": "; ".join(said)} if said else data


def check_order(section: Section, *names: str, slack: float = 1e-9) -> None:
    """Refuse a section whose named figures do not rise; nulls are passed over.

    Raises:
        ValueError: If a figure exceeds a later one by more than *slack*.
    """
    known = [(name, value) for name in names if (value := getattr(section, name)) is not None]
    for (first, below), (second, above) in pairwise(known):
        if below > above + slack:
            raise ValueError(
                f"{first} = {below} lies above {second} = {above}; the two are swapped or not of one sample"
            )
