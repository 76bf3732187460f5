"""The sections of a result about what faults did to each input: masked, tolerable, critical, non-finite."""

from collections.abc import Sequence
from typing import Annotated

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
