"""`SweepResult`: what ``faultsim sweep`` writes as ``sweep.json``, chips over one condition. Values only."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faultsim.results.base import Count, Fraction, Section
from faultsim.results.campaign import RandomResult
from faultsim.results.contract import SCHEMA_VERSION, DataInfo, DeviceInfo, ModelInfo, Provenance, Score
from faultsim.results.shown import Shown


class SweepPoint(Section):
    """The chips at one value of the condition; the same chips at every value, as far as the laws allow."""

    value: float
    """In `SweepResult.unit`."""
    label: str
    """The value with its unit, as text."""
    random: RandomResult


class SweepResult(Shown):
    """Chips over one condition: time, voltage, flux, exposure or temperature."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model: ModelInfo
    device: DeviceInfo
    data: DataInfo
    over: str
    """The condition: ``at``, ``vdd``, ``flux``, ``exposure``, ``temperature``."""
    unit: str
    """Of every `SweepPoint.value`."""
    seed: int
    level: Fraction
    """Confidence of every interval."""
    trials: Annotated[Count, Field(ge=1)]
    """Chips asked for at each value."""
    clean: Score
    clean_stored: Score | None = None
    points: tuple[SweepPoint, ...]
    """In the order asked for; fewer than asked for after an interruption."""
    stopped: str | None = None
    """Why values are missing; null where none is."""
    notes: tuple[str, ...] = ()
    provenance: Provenance

    @model_validator(mode="after")
    def _values_differ(self) -> "SweepResult":
        values = [point.value for point in self.points]
        if len(set(values)) != len(values):
            raise ValueError("points: a value of the condition stands twice")
        return self
