"""`Rater`: rates over parts of the population from a campaign's rows. The intervals come from `estimates`.

A screened campaign has a rater of its own, `screen_rater.ScreenRater`: most of its rows are estimates.
"""

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faultsim.campaign.design import Ended
from faultsim.campaign.draw import Draws
from faultsim.campaign.estimates import Cell, Domain, cells, rate
from faultsim.campaign.population import Ints
from faultsim.journal import Table
from faultsim.results.injection import FaultRate, FaultRates, PartRates

Values = NDArray[np.float64]
INPUTS = ("masked", "tolerable", "critical", "broken")
"""Columns that count samples by outcome."""


class Rater(Protocol):
    """Rates over a campaign's trials."""

    whole: Table
    """The trials that were scored on every sample: all of them, unless they were screened."""

    def must(self, name: str) -> FaultRate:
        """Return the rate of ``critical``, ``changed``, ``nonfinite``, ``accuracy`` or ``input …`` over all faults."""

    def rates(self, domain: Domain | None = None) -> FaultRates | None:
        """Return the rates of a part of the population; None where no trial was drawn in it."""

    def part(self, domain: Domain) -> PartRates:
        """Return the same with its sizes."""


class ExactRater:
    """Rates of trials that were scored on every sample.

    Args:
        draws: Where they were drawn.
        rows: Sorted by trial, at least one.
        ended: What was asked for.
        level: Two-sided confidence.
    """

    def __init__(self, draws: Draws, rows: Table, ended: Ended, level: float) -> None:
        self.whole = rows
        self._draws, self._pilot, self._level = draws, ended.pilot, level
        self._values = exact_values(rows)

    def must(self, name: str) -> FaultRate:
        """See `Rater`."""
        found = self._of(self._everywhere, name)
        assert found is not None  # there is at least one row
        return found

    def rates(self, domain: Domain | None = None) -> FaultRates | None:
        """See `Rater`."""
        return self._rates(self._cells(domain))

    def _rates(self, parts: list[Cell]) -> FaultRates | None:
        critical, changed = self._of(parts, "critical"), self._of(parts, "changed")
        nonfinite, masked = self._of(parts, "nonfinite"), self._of(parts, "input masked")
        if critical is None or changed is None or nonfinite is None or masked is None:
            return None
        return FaultRates(critical=critical, changed=changed, nonfinite=nonfinite, masked=masked)

    def part(self, domain: Domain) -> PartRates:
        """See `Rater`."""
        parts = self._cells(domain)
        return PartRates(
            name=domain.name,
            population=sum(one.population for one in parts),
            trials=sum(int(one.rows.size) for one in parts),
            rates=self._rates(parts),
        )

    @cached_property
    def _everywhere(self) -> list[Cell]:
        return self._cells(None)

    def _cells(self, domain: Domain | None) -> list[Cell]:
        return cells(self._draws.population, self.whole, self._pilot, domain)

    def _of(self, parts: list[Cell], name: str) -> FaultRate | None:
        return rate(
            parts,
            self._values[name],
            level=self._level,
            replacement=self._draws.replacement,
            binary=name == "critical",
        )


def exact_values(rows: Table) -> dict[str, Values]:
    """Return what each row counts, as a share in [0, 1]."""
    units, samples = np.maximum(rows["n"], 1), np.maximum(samples_of(rows), 1)
    return {
        "critical": (rows["mismatch"] > 0).astype(np.float64),
        "changed": rows["mismatch"] / units,
        "nonfinite": rows["nonfinite"] / units,
        "accuracy": rows["correct"] / units,
        **{f"input {name}": rows[name] / samples for name in INPUTS},
    }


def samples_of(rows: Table) -> Ints:
    """Return the samples of each row: every one has one outcome."""
    return np.asarray(sum(rows[name] for name in INPUTS), dtype=np.int64)
