"""`BitMapResult`: what ``faultsim bitmap`` writes as ``bitmap.json``. Values only."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faultsim.results.base import Count, Fraction, Section, check_order
from faultsim.results.contract import SCHEMA_VERSION, DataInfo, ModelInfo, Provenance
from faultsim.results.shown import Shown


class BitMapSite(Section):
    """The bits of one stored tensor."""

    name: str
    kind: str
    role: str
    format: str
    """Number format in which the bits lie."""
    elements: Annotated[int, Field(ge=1)]
    mapped: Annotated[int, Field(ge=1)]
    """Numbers that the map covers, all or drawn at random."""
    bits: tuple[Fraction, ...]
    """For each bit position, the lowest first: predicted share of (number, image) pairs whose prediction its flip
    changes."""
    piloted: tuple[Fraction, ...]
    """Share of the numbers whose flip at that position is so large that the mean of a few evaluated ones stands for
    it."""

    @model_validator(mode="after")
    def _fits(self) -> "BitMapSite":
        if len(self.bits) != len(self.piloted):
            raise ValueError(f"{len(self.bits)} bits and {len(self.piloted)} pilot shares; there is one each a bit")
        if self.mapped > self.elements:
            raise ValueError(f"mapped = {self.mapped} lies above elements = {self.elements}")
        return self


class BitGroupResult(Section):
    """One bit position of all tensors of one width, or several that hardly matter, after the audit."""

    width: Annotated[int, Field(ge=1, le=64)]
    """Bits of a word."""
    bits: tuple[Count, ...]
    """Positions, 0 the lowest."""
    flips: Annotated[int, Field(ge=1)]
    """Mapped flips at these positions."""
    predicted: Fraction
    """Mean of the map."""
    audited: Annotated[int, Field(ge=1)]
    """Random flips evaluated exactly."""
    low: Fraction
    best: Fraction
    """The map's mean corrected by the audit."""
    high: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> "BitGroupResult":
        check_order(self, "low", "best", "high")
        return self


class BitMapAudit(Section):
    """How far the map can be trusted."""

    flips: Annotated[int, Field(ge=1)]
    """Random flips evaluated exactly."""
    predicted: Fraction
    """Mean of the map over all stored bits."""
    low: Fraction
    best: Fraction
    """That mean corrected by the audit."""
    high: Fraction
    rank_correlation: Annotated[float, Field(ge=-1, le=1)] | None
    """Spearman's, between map and truth over the audited flips; null where either is constant."""
    groups: tuple[BitGroupResult, ...]

    @model_validator(mode="after")
    def _ordered(self) -> "BitMapAudit":
        check_order(self, "low", "best", "high")
        return self


class WorstBitResult(Section):
    """One stored bit that was evaluated, as it is among the highest of the map."""

    site: str
    element: Count
    """Flat number of the element in its tensor, in C order."""
    bit: Count
    """Position in the word, 0 the lowest."""
    predicted: Fraction
    evaluated: Fraction
    """Share of the images whose prediction its flip changes."""


class ProtectedBits(Section):
    """Bit positions of one tensor, of all its words."""

    site: str
    bits: tuple[Count, ...]


class ProtectionStep(Section):
    """What to protect first to take a part of the damage away, where a flip hits every stored bit alike."""

    target: Fraction
    """Part of the predicted damage that was asked for."""
    protected: tuple[ProtectedBits, ...]
    stored: Fraction
    """Part of all stored bits that are protected."""
    removed: Fraction
    """Part of the predicted damage that they take away."""
    low: Fraction
    best: Fraction
    """Share of predictions that a flip of any bit still changes, corrected by the audit."""
    high: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> "ProtectionStep":
        check_order(self, "low", "best", "high")
        return self


class BitMapResult(Shown):
    """Criticality of every stored bit: the share of predictions that its flip changes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model: ModelInfo
    data: DataInfo
    images: Annotated[int, Field(ge=1)]
    """Images that the map was made with; intervals are over flips on these images."""
    seed: int
    level: Fraction
    """Confidence of every interval."""
    rivals: Annotated[int, Field(ge=1)]
    """Nearest classes that each image was compared with."""
    sites: Annotated[tuple[BitMapSite, ...], Field(min_length=1)]
    """In the order of the graph."""
    audit: BitMapAudit
    worst: tuple[WorstBitResult, ...] = ()
    """The highest first."""
    protect: tuple[ProtectionStep, ...] = ()
    """The least protection first; each step holds all bits of the one before."""
    notes: tuple[str, ...] = ()
    provenance: Provenance
