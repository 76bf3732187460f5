"""`InjectionResult`: what ``faultsim campaign`` writes as ``result.json``, rates over drawn bit flips. Values only.

``python -m faultsim.results.injection > docs/campaign.schema.json`` writes its JSON Schema.
"""

import json
import sys
from typing import Annotated, Literal

from pydantic import Field, model_validator

from faultsim.results.base import Count, Fraction, NullIfNotFinite, Section, Sha256
from faultsim.results.contract import Agreement, DataInfo, DeviceInfo, ModelInfo, Provenance, Score
from faultsim.results.fault_rates import FaultRate, FaultRates, InjectionOutcomes, OutcomeMean, PartRates, StratumRow
from faultsim.results.shown import Shown

__all__ = [
    "FaultRate",
    "FaultRates",
    "FlippedBit",
    "InjectionOutcomes",
    "InjectionProvenance",
    "InjectionResult",
    "OutcomeMean",
    "PairedDifferenceEntry",
    "PairedInfo",
    "PartRates",
    "ScreenInfo",
    "StopInfo",
    "StratumRow",
    "WorstTrial",
    "schema_text",
]

INJECTION_SCHEMA_VERSION: Literal[1] = 1


class FlippedBit(Section):
    """One flipped bit."""

    site: str
    """The tensor."""
    element: Count
    """Flat index."""
    index: tuple[int, ...]
    """The same along the tensor's axes."""
    bit: Count
    """Bit of the stored word, 0 the least significant."""
    field: str
    """What the bit is in its format: sign, exponent, mantissa, or value."""
    before: NullIfNotFinite
    """The number as stored."""
    after: NullIfNotFinite
    """The number that the trial computed with; null where it is not finite."""


class WorstTrial(Section):
    """One of the most harmful trials; seed and trial give it again."""

    trial: Count
    """Its number: with the seed, the sites and the strata the key of its faults."""
    faults: tuple[FlippedBit, ...]
    """What was flipped; of many flips the first few."""
    flips: Annotated[int, Field(ge=1)]
    """Flipped bits in all."""
    n: Annotated[int, Field(ge=1)]
    """Predictions."""
    correct: Count
    """Right ones."""
    mismatch: Count
    """Predictions that differ from the fault-free ones."""
    nonfinite: Count
    """Predictions whose output is not finite."""
    loss: NullIfNotFinite
    """Mean loss over finite outputs; null where there is none."""


class StopInfo(Section):
    """The stop rule and what became of it."""

    rule: str
    """As it was understood."""
    met: bool
    """Whether the rule was met."""
    words: str
    """How the campaign ended, in one sentence."""
    looks: Count
    """Looks at the rule, after fixed numbers of trials."""
    low: Fraction
    """Lower end of the interval of the rule's quantity; it holds at any time, at the rule's level."""
    value: Fraction
    """Its estimate."""
    high: Fraction
    """Upper end."""


class PairedDifferenceEntry(Section):
    """One quantity of this campaign less that of the other, over the same faults."""

    quantity: str
    """What is compared."""
    value: float
    """Mean difference, this minus the other."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end of its interval."""
    p_value: Fraction
    """Of the sign-flip test."""
    claimed: bool
    """Whether a difference may be claimed: interval and test agree."""
    words: str
    """The same in one sentence."""


class PairedInfo(Section):
    """The comparison with another campaign on the same faults."""

    other_model: str
    """SHA-256 of the other model."""
    trials: Annotated[int, Field(ge=1)]
    """Faults that both have scored."""
    differences: tuple[PairedDifferenceEntry, ...]
    """By quantity."""


class ScreenInfo(Section):
    """What a screen saved, and what its audits found."""

    evaluated: Fraction
    """Share of all predictions that were evaluated, the trials evaluated whole included."""
    audited: Count
    """Predictions that the screen had left out, drawn at random and evaluated."""
    wrong: Count
    """Of those, predictions that the fault does change."""
    uncorrected: Fraction
    """Mean share of changed predictions by the screen's answers alone: biased, `rates.changed` is the corrected one."""
    whole: Count
    """Trials evaluated on every input too."""
    missed: Count
    """Of those, trials that change a prediction although no evaluated one showed it."""


class InjectionProvenance(Provenance):
    """What it took; nothing of it changes a figure."""

    engine: str
    """How trials were evaluated."""
    executor: str
    """Where."""
    computed: Count
    """Trials that this run computed; the others were in the journal."""
    ways: dict[str, int] = Field(default_factory=dict)
    """Of those, trials by the way that they took through the graph."""
    journal: str | None = None
    """The journal; null: none was kept."""
    mended: tuple[str, ...] = ()
    """What was repaired in the journal when it was opened, such as a last row cut short."""


class InjectionResult(Shown):
    """A campaign of drawn bit flips on one model."""

    schema_version: Literal[1] = INJECTION_SCHEMA_VERSION
    """Version of this contract; every change of a field's meaning raises it, an added field is optional."""
    kind: Literal["bit_flip_campaign"] = "bit_flip_campaign"
    """Tells this file from the result of an assessment."""
    model: ModelInfo
    storage: DeviceInfo | None
    """The device whose memory holds the bits; null: the deployed number format."""
    data: DataInfo
    campaign: Sha256
    """Identity: hash of exactly what is sampled."""
    seed: int
    level: Fraction
    """Confidence of every interval but the stop rule's."""
    roles: tuple[str, ...]
    """Roles of the tensors whose bits flip."""
    flips: Annotated[int, Field(ge=1)]
    """Flipped bits a trial, exactly."""
    population: Annotated[int, Field(ge=1)]
    """Stored bits that could flip."""
    stratify: str
    """How the population was split."""
    allocation: str
    """How trials were split over strata."""
    replacement: bool
    """Whether two trials could be the same; else no fault was drawn twice and the intervals know it."""
    planned: Annotated[int, Field(ge=1)]
    """Trials asked for, those of all shards together, or most trials of a stop rule."""
    plan: str
    """Where that number comes from, in words."""
    trials: Annotated[int, Field(ge=1)]
    """Trials that the figures rest on."""
    shard: str | None = None
    """Which part of the trials this is; null: all."""
    clean: Score
    clean_stored: Score | None = None
    """The stored model without faults, where storage rounds it."""
    accuracy: FaultRate | None
    """Mean accuracy under a fault; null where the task counts no correct answers."""
    rates: FaultRates
    outcomes: InjectionOutcomes
    sites: tuple[PartRates, ...]
    """By site, in the order of the layers; empty with several flips a trial, which have no one place."""
    kinds: tuple[PartRates, ...]
    """By kind of layer."""
    bits: tuple[PartRates, ...]
    """By format and bit position."""
    strata: tuple[StratumRow, ...]
    """Empty without strata."""
    worst: tuple[WorstTrial, ...]
    """The most harmful trials drawn, the worst first; not the worst that exist."""
    stop: StopInfo | None = None
    """The stop rule; null: none was given."""
    stopped: str | None = None
    """Why trials are missing; null where none is."""
    screen: ScreenInfo | None = None
    """How trials were screened; null: every trial was scored on every input."""
    paired: PairedInfo | None = None
    """The comparison with another campaign; null: none was asked for."""
    agreement: Agreement | None = None
    notes: tuple[str, ...] = ()
    provenance: InjectionProvenance

    @model_validator(mode="after")
    def _follows(self) -> "InjectionResult":
        if self.trials > self.planned:
            raise ValueError(f"trials = {self.trials} exceed planned = {self.planned}")
        if self.strata and sum(one.trials for one in self.strata) != self.trials:
            raise ValueError("the trials of the strata do not add up to trials")
        return self


def schema_text() -> str:
    """Return the text of ``docs/campaign.schema.json``: the JSON Schema (draft 2020-12) of a campaign's result."""
    schema = InjectionResult.model_json_schema(by_alias=True, mode="serialization")
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "faultsim campaign result"}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
