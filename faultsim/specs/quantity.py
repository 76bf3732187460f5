"""A number with its unit and where it comes from. No device and no physics lives here.

Statuses, from the strongest: ``verified`` (read at the source), ``secondary`` (a third party quotes it),
``derived`` (by the formula given; `rests_on` is the weakest input), ``recalled`` (from memory: check before
it is shown as fact), ``illustrative`` (no source found). No number may claim more than its source was read
for.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from faultsim.library import closest

Status = Literal["verified", "secondary", "derived", "recalled", "illustrative"]
InputStatus = Literal["verified", "secondary", "recalled", "illustrative"]
Read = Literal["primary", "secondary", "memory"]

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]

V = TypeVar("V")
U = TypeVar("U", bound=str)
_CEILING = {"primary": "verified", "secondary": "secondary", "memory": "recalled"}
_STRENGTH = {
    "verified": ("primary",),
    "secondary": ("primary", "secondary"),
    "recalled": ("primary", "secondary", "memory"),
}


class Spec(BaseModel):
    """What all our types for YAML share: strict, frozen, no unknown keys, finite numbers."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Source(Spec):
    """Where numbers come from, and how that was read: at the source, quoted by a third party, from memory."""

    cite: Text
    url: Text | None = None
    where: Text | None = Field(default=None, description="The place in the source, and what of it was read.")
    read: Read


class Provenance(Spec):
    """How far something can be trusted.

    Status and source are checked against the document's ``sources:`` while a file is loaded; a value that is
    built in Python without a document is checked for presence only.
    """

    status: Status
    source: Text | None = Field(default=None, description="A key of sources: in the same file.")
    formula: Text | None = Field(default=None, description="For derived values: how, from what.")
    note: Text | None = None
    rests_on: InputStatus | None = Field(
        default=None,
        validate_default=True,
        description="For derived values: the status of the weakest input.",
    )

    @field_validator("rests_on", mode="after")  # the last field: what was validated before it is in info.data
    @classmethod
    def _is_backed(cls, rests_on: InputStatus | None, info: ValidationInfo) -> InputStatus | None:
        said = info.data
        if not {"status", "source", "formula"} <= said.keys():
            return rests_on
        status, source = said["status"], said["source"]
        if status in _STRENGTH and source is None:
            raise _wrong("status", f"{status!r} needs a source; name a key of sources:, or call it 'illustrative'")
        if status == "derived" and (said["formula"] is None or rests_on is None):
            raise _wrong("status", "'derived' needs formula: and rests_on: (the status of its weakest input)")
        if status != "derived" and rests_on is not None:
            raise _wrong("rests_on", f"goes with status 'derived', not with {status!r}; remove it")
        sources = _sources(info)
        if source is not None and sources is not None:
            _check_source(status, source, sources)
        return rests_on

    @property
    def trust(self) -> str:
        """The status as reports show it, such as ``verified`` or ``derived from recalled``."""
        return f"derived from {self.rests_on}" if self.status == "derived" else self.status


class Quantity(Provenance, Generic[V, U]):
    """A number (or list, or table) with a unit and a provenance."""

    value: V
    unit: U
    range: tuple[float, float] | None = Field(
        default=None, description="Lowest and highest value met, in the same unit."
    )


def quantities(part: object, prefix: str = "") -> Iterator[tuple[str, "Quantity[Any, Any]"]]:
    """Yield every quantity inside *part* with its dotted path, in the order of the fields."""
    if isinstance(part, Quantity):
        yield prefix.rstrip("."), part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from quantities(getattr(part, name), f"{prefix}{name}.")
    elif isinstance(part, dict):
        for name, one in part.items():
            yield from quantities(one, f"{prefix}{name}.")
    elif isinstance(part, tuple | list):
        for position, one in enumerate(part):
            yield from quantities(one, f"{prefix.rstrip('.')}[{position}].")


def _wrong(at: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("provenance", "{said}", {"said": message, "at": at})


def _check_source(status: str, source: str, sources: dict[str, str | None]) -> None:
    if source not in sources:
        near = closest(source, sources)
        raise _wrong(
            "source",
            f"{source!r} is not in sources:" + (f", did you mean {near!r}?" if near else "; add it there"),
        )
    read = sources[source]
    if status in _STRENGTH and read in _CEILING and read not in _STRENGTH[status]:
        raise _wrong(
            "status",
            f"{status!r} claims more than source {source!r} (read: {read}); at most {_CEILING[read]!r}",
        )


def _sources(info: ValidationInfo) -> dict[str, str | None] | None:
    """Return how each source of the document was read, or ``None`` where there is no document."""
    document = (info.context or {}).get("document")
    if not isinstance(document, dict):
        return None
    sources = document.get("sources")
    if not isinstance(sources, dict):
        return {}
    read = {name: (source.get("read") if isinstance(source, dict) else None) for name, source in sources.items()}
    return {name: word if isinstance(word, str) else None for name, word in read.items()}  # what else is wrong is told
