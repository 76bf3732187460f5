"""The sections of a result that a campaign or a search fills: chips, worst cases, sites, layer kinds."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faultsim.results.base import (
    Count,
    Explained,
    Figure,
    Fraction,
    FractionFigure,
    NullIfNotFinite,
    Section,
    check_order,
)
from faultsim.results.outcomes import Halted, OutcomeCounts, Outcomes, SdcFit


class Accuracies(Explained):
    """Accuracy over chips: fractions in [0, 1]."""

    mean: FractionFigure
    """Mean over chips; null where the task has no accuracy."""
    low: Fraction | None
    """Lower end of the mean's interval; null: too few chips to bound it."""
    high: Fraction | None
    """Upper end of the mean's interval; null: too few chips to bound it."""
    p05: FractionFigure
    """The 5th percentile: 95 % of the chips do at least as well."""
    p05_low: Fraction | None
    """Lower end of the percentile's interval; null: too few chips to bound it."""
    p05_high: Fraction | None
    """Upper end of the percentile's interval; null: too few chips to bound it."""
    min: FractionFigure
    """The worst chip drawn."""
    max: FractionFigure
    """The best chip drawn."""

    @model_validator(mode="after")
    def _ordered(self) -> "Accuracies":
        check_order(self, "low", "mean", "high")
        check_order(self, "p05_low", "p05", "p05_high")
        check_order(self, "min", "mean", "max")
        check_order(self, "min", "p05", "max")
        return self


class Losses(Explained):
    """Loss over chips, in the loss's unit."""

    mean: Figure
    """Mean over chips; null where a chip's loss is not finite."""
    max: Figure
    """Of the worst chip drawn; null where a chip's loss is not finite."""
    low: float | None = None
    """Lower end of the mean's interval; null: not bounded."""
    high: float | None = None
    """Upper end of the mean's interval; null: not bounded."""
    p95: NullIfNotFinite = None
    """The 95th percentile: 95 % of the chips do at least as well; null where it is not finite or not computed."""
    p95_low: float | None = None
    """Lower end of the percentile's interval; null: not bounded."""
    p95_high: float | None = None
    """Upper end of the percentile's interval; null: too few chips to bound it, or not finite."""

    @model_validator(mode="after")
    def _ordered(self) -> "Losses":
        check_order(self, "low", "mean", "high")
        check_order(self, "p95_low", "p95", "p95_high")
        check_order(self, "p95", "max")
        check_order(self, "mean", "max", slack=1e-6 * abs(self.max or 1.0))
        return self


class Scores(Section):
    """The task's own score over chips, in the unit that `data.metric` names; `data.higher_is_better` tells the way."""

    mean: NullIfNotFinite
    """Mean over chips; null where a chip's score is not finite."""
    low: float | None = None
    """Lower end of the mean's interval; null: not bounded."""
    high: float | None = None
    """Upper end of the mean's interval; null: not bounded."""
    bad: NullIfNotFinite
    """What 95 % of the chips do at least as well as: the 5th percentile where higher is better, else the 95th; null
    where it is not finite."""
    bad_low: float | None = None
    """Lower end of that percentile's interval; null: not bounded."""
    bad_high: float | None = None
    """Upper end of that percentile's interval; null: not bounded."""
    min: NullIfNotFinite
    """The lowest score drawn; null where lower is worse and a chip's score is not finite."""
    max: NullIfNotFinite
    """The highest score drawn; null where higher is worse and a chip's score is not finite."""
    nonfinite: Count = 0
    """Chips whose score is not finite; they count as the worst ones."""

    @model_validator(mode="after")
    def _ordered(self) -> "Scores":
        check_order(self, "low", "mean", "high")
        check_order(self, "bad_low", "bad", "bad_high")
        check_order(self, "min", "mean", "max", slack=1e-9 * max(abs(self.min or 0.0), 1.0))
        check_order(self, "min", "bad", "max")
        return self


class Rate(Section):
    """A fraction averaged over chips, with the interval of that mean."""

    mean: Fraction
    """Mean over chips."""
    low: Fraction | None
    """Lower end of the mean's interval; null: too few chips to bound it."""
    high: Fraction | None
    """Upper end of the mean's interval; null: too few chips to bound it."""

    @model_validator(mode="after")
    def _ordered(self) -> "Rate":
        check_order(self, "low", "mean", "high")
        return self


class TrialRow(Section):
    """One chip: integer counts over the data set, so that rows merge exactly."""

    trial: Count
    """Number of the chip; with the seed it gives its faults again."""
    correct: Count
    """Inputs answered as labelled."""
    mismatch: Count
    """Inputs answered otherwise than by the fault-free model."""
    nonfinite: Count
    """Inputs with a NaN or an infinity among the outputs; they are not correct."""
    n: Annotated[int, Field(ge=1)]
    """Inputs."""
    loss: NullIfNotFinite
    """Mean loss of the chip; null where it is not finite, or the task has none."""
    score: NullIfNotFinite = None
    """The task's own score, named by `data.metric`; null where it is not finite, or is the share of correct inputs."""
    outcomes: OutcomeCounts | None = None
    """What the faults did to each input; null where that was not recorded."""
    detected: Count = 0
    """Memory words with an uncorrectable error that a code detected; in files without `crashed`, crashes as well."""
    corrected: Count = 0
    """Memory words that a code repaired."""
    crashed: Count = 0
    """1 where the chip stopped for all to see, such as a hung accelerator; else 0."""

    @model_validator(mode="after")
    def _counts(self) -> "TrialRow":
        for name in ("correct", "mismatch", "nonfinite"):
            if getattr(self, name) > self.n:
                raise ValueError(f"{name} = {getattr(self, name)} exceeds n = {self.n}")
        return self


class RandomResult(Section):
    """A sample of chips, each scored on the whole data set."""

    trials: Annotated[int, Field(ge=1)]
    """Chips."""
    accuracy: Accuracies
    loss: Losses
    mismatch_rate: Rate
    """Fraction of inputs answered otherwise than by the fault-free model."""
    score: Scores | None = None
    """The task's own score; null where that is the accuracy."""
    outcomes: Outcomes | None = None
    """What the faults did to each input of each chip; null where that was not recorded."""
    sdc_fit: SdcFit | None = None
    """Rate of silent data corruption of the device in the field; null where the device's own rate is not known."""
    nonfinite_trials: Count
    """Chips with a NaN or an infinity in any output."""
    halted: Halted | None = None
    """Chips that a detected memory error halts or reloads; null in draws from a set, and in older files."""
    event_probability: Fraction | None = None
    """For rare faults: probability that a chip meets an event; all figures are given one. Else null."""
    constraint: str | None = None
    """For corruptions drawn from a set: the set in words. Else null."""
    stopped: str | None = None
    """Why sampling ended before the asked number of chips; null where it did not."""
    per_trial: tuple[TrialRow, ...] = ()
    """One row a chip; empty where they are kept elsewhere."""

    @model_validator(mode="after")
    def _consistent(self) -> "RandomResult":
        if self.nonfinite_trials > self.trials:
            raise ValueError(f"nonfinite_trials = {self.nonfinite_trials} exceeds trials = {self.trials}")
        rows = len(self.per_trial)
        if rows and (rows != self.trials or len({row.trial for row in self.per_trial}) != rows):
            raise ValueError(f"per_trial holds {rows} rows, trials = {self.trials}: a chip is missing or twice")
        if rows and self.outcomes is not None:
            self.outcomes.check([row.outcomes for row in self.per_trial])
        if rows and self.halted is not None:
            self.halted.check([row.detected for row in self.per_trial])
        return self


class WorstCase(Explained):
    """The worst corruption found: the true worst case is at least as bad."""

    accuracy: FractionFigure
    """Accuracy under it; null where the task has none."""
    loss: Figure
    """Loss under it; null where it is not finite."""
    score: NullIfNotFinite = None
    """The task's own score under it; null where it is not finite, or is the accuracy. The search raised the loss."""
    method: str
    """The search that found it."""
    gradients: Count
    """Gradients of the whole data set that the search cost."""
    forwards: Count
    """Forward passes of the whole data set that the search cost."""
    indicator: Figure
    """First-order estimate of the loss change, gradient times corruption: what one gradient step promised."""
    constraint: str | None = None
    """The set in words."""
    found: Literal["found, not proven"] = "found, not proven"
    """A search gives a lower bound of the damage."""
    forecast_log10_trials: float | None = None
    """Decimal logarithm of the chips that random testing needs for an even chance of seeing half of the
    first-order worst case; null where not computed."""


class SiteRandom(Section):
    """Chips with faults in this part alone."""

    trials: Annotated[int, Field(ge=1)]
    """Chips."""
    accuracy: Fraction | None
    """Mean over chips; null where the task has none, or no sample has a label."""
    loss: NullIfNotFinite
    """Mean over chips; null where it is not finite."""
    score: NullIfNotFinite = None
    """Mean of the task's own score over chips; null where it is not finite, or is the accuracy."""
    low: Fraction | None = None
    """Lower end of the mean accuracy's interval; null: too few chips to bound it."""
    high: Fraction | None = None
    """Upper end of the mean accuracy's interval; null: too few chips to bound it."""


class SiteWorst(Section):
    """The worst corruption found in this part alone, within its own budget."""

    accuracy: Fraction | None
    """Null where the task has none."""
    loss: NullIfNotFinite
    """Null where it is not finite."""


class SiteResult(Section):
    """One tensor."""

    name: str
    """In the ONNX graph."""
    kind: str
    """Kind of its layer."""
    role: str | None = None
    """What it is to the layer: weight, bias, norm, ..."""
    format: str
    """Number format as deployed."""
    stored_format: str | None = None
    """Number format on the device; null: as deployed."""
    stored_step: tuple[float, float] | None = None
    """Least and greatest step between two codes on the device (equal for a scale per tensor), in the units of the
    deployed numbers; null: not stored as codes."""
    elements: Count
    """Numbers in it."""
    depth: Count
    """Position of its layer, 0 at the input."""
    worst_case: SiteWorst | None = None
    random: SiteRandom | None = None


class KindResult(Section):
    """All tensors of one layer kind together."""

    kind: str
    """Kind of layer."""
    sites: Count
    """Tensors."""
    elements: Count
    """Numbers in them."""
    worst_case: SiteWorst | None = None
    random: SiteRandom | None = None
