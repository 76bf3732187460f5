"""`ScreenRater`: rates of screened trials, corrected by what the audits found. Rows come from `screened`."""

import numpy as np

from faultsim.campaign.draw import Draws
from faultsim.campaign.estimates import Domain
from faultsim.campaign.rater import Values, exact_values
from faultsim.campaign.screened import ScreenedShares, accuracy_shares, answers, changed_shares
from faultsim.journal import Table
from faultsim.results.injection import FaultRate, FaultRates, PartRates, ScreenInfo
from faultsim.stats.betting import BettingSequence
from faultsim.stats.difference import screened_rate
from faultsim.stats.proportions import clopper_pearson

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


class ScreenRater:
    """Rates of trials drawn independently and screened.

    The share of changed predictions and the accuracy are Horvitz and Thompson's estimates over all trials. Whether a
    trial changes *any* prediction is known only of those in which a change was seen, and of those evaluated whole: the
    share of critical faults is that seen, plus that missed in the whole ones. Non-finite and masked shares rest on the
    whole trials alone.

    Args:
        draws: Where they were drawn.
        rows: Sorted by trial, at least one.
        level: Two-sided confidence.
    """

    def __init__(self, draws: Draws, rows: Table, level: float) -> None:
        self._population, self._rows, self._level = draws.population, rows, level
        self._is_whole: Mask = np.asarray(rows["whole"] > 0)
        self.whole = rows[self._is_whole]
        self._exact = exact_values(rows)
        self._seen: Mask = np.asarray(rows["screen_mismatch"] + rows["screen_audit_mismatch"] > 0)
        self._changed, self._accuracy = changed_shares(rows), accuracy_shares(rows)

    def must(self, name: str) -> FaultRate:
        """See `Rater`."""
        return self._of(name, np.ones(len(self._rows), bool))

    def rates(self, domain: Domain | None = None) -> FaultRates | None:
        """See `Rater`."""
        inside = self._inside(domain)
        if not inside.any():
            return None
        return FaultRates(
            critical=self._of("critical", inside),
            changed=self._of("changed", inside),
            nonfinite=self._of("nonfinite", inside),
            masked=self._of("input masked", inside),
        )

    def part(self, domain: Domain) -> PartRates:
        """See `Rater`."""
        return PartRates(
            name=domain.name,
            population=int(self._population.cells(domain.regions, domain.bit).sum()),
            trials=int(np.count_nonzero(self._inside(domain))),
            rates=self.rates(domain),
        )

    def info(self) -> ScreenInfo:
        """Return what the screen saved, and what its audits found."""
        rows = self._rows
        looked = rows["screen_audited"] + rows["screen_evaluated"]
        missed = self._is_whole & (rows["mismatch"] > 0) & ~self._seen
        return ScreenInfo(
            evaluated=float(np.where(self._is_whole, rows["n"], looked).sum() / rows["n"].sum()),
            audited=int(rows["screen_audited"].sum()),
            wrong=int(rows["screen_audit_mismatch"].sum()),
            uncorrected=min(float(np.mean(answers(rows))), 1.0),
            whole=len(self.whole),
            missed=int(np.count_nonzero(missed)),
        )

    def _inside(self, domain: Domain | None) -> Mask:
        inside = np.ones(len(self._rows), bool)
        if domain is not None:
            inside &= np.isin(self._rows["site"], domain.regions)
            if domain.bit is not None:
                inside &= self._rows["bit"] == domain.bit
        return inside

    def _of(self, name: str, inside: Mask) -> FaultRate:
        if name == "critical":
            return self._critical(inside)
        if name == "changed":
            return self._corrected(self._changed, inside, unchanged_is_zero=True)
        if name == "accuracy":
            return self._corrected(self._accuracy, inside, unchanged_is_zero=False)
        return self._of_whole(self._exact[name], inside)

    def _corrected(self, shares: ScreenedShares, inside: Mask, *, unchanged_is_zero: bool) -> FaultRate:
        parts = [one[inside] for one in shares]
        found = screened_rate(*parts, level=self._level, unchanged_is_zero=unchanged_is_zero)
        low, best, high = found.rate
        return FaultRate(
            value=best, low=low, high=high, n=found.trials, method="bets on bounded values, corrected by the audit"
        )

    def _critical(self, inside: Mask) -> FaultRate:
        """Add bounds of two disjoint shares, each with half the error: critical and seen, critical and missed."""
        n, seen = int(np.count_nonzero(inside)), int(np.count_nonzero(self._seen & inside))
        each = (1 + self._level) / 2
        low, best, high = clopper_pearson(seen, n, level=each)
        whole = self._is_whole & inside
        audited = int(np.count_nonzero(whole))
        if audited:
            missed = int(np.count_nonzero(whole & ~self._seen & (self._rows["mismatch"] > 0)))
            more = clopper_pearson(missed, audited, level=each)
            low, best, high = low + more.low, best + more.best, high + more.high
        else:
            high = 1.0
        method = f"Clopper and Pearson: seen in {n:,} trials, plus missed in {audited:,} evaluated whole"
        best, high = min(best, 1.0), min(high, 1.0)
        return FaultRate(value=best, low=min(low, best), high=high, n=n, method=method)

    def _of_whole(self, values: Values, inside: Mask) -> FaultRate:
        sample = values[self._is_whole & inside]
        if not sample.size:  # nothing is known
            n = max(int(np.count_nonzero(inside)), 1)
            return FaultRate(value=0.0, low=0.0, high=1.0, n=n, method="no trial evaluated whole", unseen=1.0)
        run = BettingSequence(level=self._level, planned=int(sample.size))
        run.update(sample)
        low, _, high = run.interval()
        mean = min(float(np.mean(sample)), 1.0)
        method = "bets on bounded values, trials evaluated whole"
        return FaultRate(value=mean, low=min(low, mean), high=max(high, mean), n=int(sample.size), method=method)
