"""`ProbeResult`: what ``faultsim probe`` writes as JSON. Values only."""

from typing import Annotated, Literal

from pydantic import Field

from faultsim.results.base import Count, Fraction, NullIfNotFinite, Section
from faultsim.results.contract import SCHEMA_VERSION, DataInfo, DeviceInfo, ModelInfo, Provenance, Score
from faultsim.results.shown import Shown

Positive = Annotated[Count, Field(ge=1)]


class ProbeCell(Section):
    """One part under one corruption."""

    mode: Literal["gradient", "random", "weights", "units"]
    strength: Annotated[float, Field(gt=0)]
    """Radius as `ProbeResult.normalisation` says, or the share that is removed."""
    draws: Positive
    accuracy: Fraction | None
    low: Fraction | None
    """Of the interval over draws; null for the gradient, which is not drawn."""
    high: Fraction | None
    loss: NullIfNotFinite


class ProbePart(Section):
    """Some tensors, corrupted together and alone."""

    group: Literal["kind", "position", "layer"]
    name: str
    sites: Positive
    elements: Count
    depth: Annotated[float, Field(ge=0)]
    """Mean of its tensors' position along the graph."""
    cells: tuple[ProbeCell, ...]


class ProbeResult(Shown):
    """How fragile each part of a model is, and to what."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model: ModelInfo
    device: DeviceInfo | None
    data: DataInfo
    samples: Positive
    """Samples that it was scored on."""
    seed: int
    level: Annotated[float, Field(gt=0, lt=1)]
    draws: Positive
    normalisation: str
    """What the strengths are relative to."""
    clean: Score
    """On those samples."""
    parts: tuple[ProbePart, ...]
    stopped: str | None = None
    notes: tuple[str, ...] = ()
    provenance: Provenance
