"""Rates over faults with their intervals: overall, by part of the population, by outcome, by stratum. Values only."""

from typing import Annotated

from pydantic import Field, model_validator

from faultsim.results.base import Count, Fraction, Section, check_order


class FaultRate(Section):
    """A mean over faults, with its interval."""

    value: Fraction
    """The estimate, over all faults that could be drawn."""
    low: Fraction
    """Lower end of the interval."""
    high: Fraction
    """Upper end of the interval."""
    n: Annotated[int, Field(ge=1)]
    """Trials that it rests on."""
    method: str
    """What kind of interval it is."""
    unseen: Fraction = 0.0
    """Share of the faults that lie where no trial was drawn: the interval allows any value there."""

    @model_validator(mode="after")
    def _ordered(self) -> "FaultRate":
        check_order(self, "low", "value", "high")
        return self


class FaultRates(Section):
    """What single trials do, over some part of the population."""

    critical: FaultRate
    """Share of the faults that change at least one prediction."""
    changed: FaultRate
    """Mean share of predictions that a fault changes."""
    nonfinite: FaultRate
    """Mean share of predictions whose output a fault makes NaN or infinite."""
    masked: FaultRate
    """Mean share of inputs whose output stays equal, bit by bit."""


class PartRates(Section):
    """A part of the population: a site, a kind of layer, or a bit position."""

    name: str
    """The site, the kind, or ``format bit``."""
    population: Count
    """Faults in it."""
    trials: Count
    """Trials drawn in it."""
    rates: FaultRates | None
    """Null: no trial was drawn in it."""


class OutcomeMean(Section):
    """One class of outcomes."""

    total: Count
    """Inputs of this class, counted over all trials; of a screened campaign over those evaluated whole."""
    share: FaultRate
    """Mean share over faults."""


class InjectionOutcomes(Section):
    """What the faults did to each input; every input of every trial is in exactly one class."""

    masked: OutcomeMean
    """The scored output equals the fault-free one, bit by bit."""
    tolerable: OutcomeMean
    """The output differs, every prediction is the same."""
    critical: OutcomeMean
    """A prediction changed and every number is finite: silent data corruption."""
    nonfinite: OutcomeMean
    """The output differs and holds a NaN or an infinity, which a check of the output sees."""
    trials_masked: Count
    """Trials in which every input is masked: their faults did nothing here."""
    trials_critical: Count
    """Trials in which at least one prediction changed."""


class StratumRow(Section):
    """One stratum: what was drawn and found."""

    name: str
    """Site, bit position, or both."""
    population: Annotated[int, Field(ge=1)]
    """Faults in it."""
    trials: Count
    """Trials drawn in it, pilot included."""
    pilot: Count = 0
    """Of those, trials of the pilot."""
    critical: Count
    """Trials that changed at least one prediction."""
