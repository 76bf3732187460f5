"""The sections of a result about what faults did: to each input, in the field, and to chips that halt."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from faultsim.results.base import Count, Fraction, Section, check_order

CLASSES = ("masked", "tolerable", "critical", "nonfinite")


class OutcomeCounts(Section):
    """One chip: inputs by what became of them; every input is in exactly one class."""

    masked: Count
    """The scored output equals the fault-free chip's, bit by bit."""
    tolerable: Count
    """The output differs, every prediction is the same."""
    critical: Count
    """A prediction changed and every number is finite: silent data corruption. For tasks whose predictions are values
    (`data.predictions`) any change of a value is one."""
    nonfinite: Count
    """The output differs and holds a NaN or an infinity, which a check of the output sees."""

    @property
    def samples(self) -> int:
        """Inputs in all classes."""
        return self.masked + self.tolerable + self.critical + self.nonfinite


class OutcomeShare(Section):
    """One class over all chips."""

    total: Count
    """Inputs of this class, counted over all chips."""
    share: Fraction
    """Of all inputs of all chips: the mean over chips."""
    low: Fraction | None
    """Lower end of the share's interval over chips; null: too few chips to bound it."""
    high: Fraction | None
    """Upper end of the share's interval over chips; null: too few chips to bound it."""

    @model_validator(mode="after")
    def _ordered(self) -> "OutcomeShare":
        check_order(self, "low", "share", "high")
        return self


class Outcomes(Section):
    """What the faults did, over all inputs of all chips; the four totals add up to them."""

    masked: OutcomeShare
    tolerable: OutcomeShare
    critical: OutcomeShare
    nonfinite: OutcomeShare
    chips_masked: Count
    """Chips on which every input is masked: their faults did nothing here."""
    chips_critical: Count
    """Chips on which at least one input is critical."""

    def check(self, rows: Sequence[OutcomeCounts | None]) -> None:
        """Refuse totals that do not follow from the chips.

        Raises:
            ValueError: If a total is not the sum of the rows, or a row has no outcomes.
        """
        known = [row for row in rows if row is not None]
        for name in CLASSES:
            total, summed = getattr(self, name).total, sum(getattr(row, name) for row in known)
            if total != summed or len(known) != len(rows):
                raise ValueError(
                    f"outcomes.{name}.total = {total} does not follow from per_trial, which gives {summed} "
                    f"on {len(known)} of {len(rows)} chips"
                )
        if len({row.samples for row in known}) > 1:
            raise ValueError("outcomes of the chips in per_trial are not of the same number of inputs")


class SdcFit(Section):
    """Silent data corruptions in the field: device FIT times the probability that an event is critical.

    One FIT is one failure in 10^9 hours. Each chip drawn was given a fault event, and its inputs after it.
    """

    value: Annotated[float, Field(ge=0)]
    """FIT."""
    low: Annotated[float, Field(ge=0)] | None
    """Lower end of the interval over chips, FIT; null: too few chips to bound it."""
    high: Annotated[float, Field(ge=0)] | None
    """Upper end of the interval over chips, FIT; null: too few chips to bound it."""
    device_fit: Annotated[float, Field(ge=0)]
    """Fault events of the device, FIT, without regard to what they do."""
    events: Annotated[int, Field(ge=1)]
    """Events drawn, one a chip: the n of the interval."""

    @model_validator(mode="after")
    def _ordered(self) -> "SdcFit":
        check_order(self, "low", "value", "high")
        return self


class Halted(Section):
    """Chips that a detected, uncorrectable memory error halts or reloads: their answers are those after it."""

    on_due: Literal["halt", "reload", "zero_word", "pass_through"] | None
    """What follows such an error, as the device profile has it; null where no code detects any."""
    chips: Count
    """Chips with at least one, under ``halt`` or ``reload``; 0 under anything else, which hands wrong data on."""
    share: Fraction
    """Of the chips drawn."""
    low: Fraction | None
    """Lower end of the share's interval (Clopper-Pearson)."""
    high: Fraction | None
    """Upper end of the share's interval (Clopper-Pearson)."""

    @property
    def stops(self) -> bool:
        """Whether a detected error halts or reloads the chip."""
        return self.on_due in ("halt", "reload")

    @model_validator(mode="after")
    def _ordered(self) -> "Halted":
        check_order(self, "low", "share", "high")
        if self.chips and not self.stops:
            raise ValueError(f"chips = {self.chips} halt, but on_due is {self.on_due!r}")
        return self

    def check(self, detected: Sequence[int]) -> None:
        """Refuse a number of chips that does not follow from their words with *detected* errors, one entry a chip.

        Raises:
            ValueError: If it does not.
        """
        expected = sum(words > 0 for words in detected) if self.stops else 0
        if self.chips != expected:
            raise ValueError(f"halted.chips = {self.chips} does not follow from per_trial, which gives {expected}")
