"""From rows to rates with intervals, overall and for parts of the population. Nothing is scored here.

A *cell* is what is common to a stratum, a phase (pilot or not) and the part that is estimated; inside it trials are a
simple random sample without replacement. Pilot trials are known units: a cell that is wholly sampled.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.campaign.population import Ints, Population
from faultsim.journal import Table
from faultsim.results.injection import FaultRate
from faultsim.stats.betting import BettingSequence
from faultsim.stats.estimate import Estimate
from faultsim.stats.finite import hypergeometric
from faultsim.stats.proportions import clopper_pearson
from faultsim.stats.stratified import Stratum, stratified_estimate

Values = NDArray[np.float64]


class Cell(NamedTuple):
    """Faults of which some were sampled at random.

    Attributes:
        population: Faults in the cell.
        rows: Positions of its trials in the table.
    """

    population: int
    rows: Ints


class Domain(NamedTuple):
    """A part of the population.

    Attributes:
        name: For the report.
        regions: Indices of the sites in it.
        bit: The only bit position; None: all.
    """

    name: str
    regions: tuple[int, ...]
    bit: int | None = None


def cells(population: Population, rows: Table, pilot: Ints, domain: Domain | None = None) -> list[Cell]:
    """Return the cells of a part of the population, of all of it where *domain* is None.

    Args:
        population: What was drawn from.
        rows: Trials, sorted by number.
        pilot: Trials of the pilot in each stratum.
        domain: The part.
    """
    if domain is None:
        sizes, chosen = np.array([part.population for part in population.strata]), np.arange(len(rows))
    else:
        sizes = population.cells(domain.regions, domain.bit)
        inside = np.isin(rows["site"], domain.regions)
        if domain.bit is not None:
            inside &= rows["bit"] == domain.bit
        chosen = np.flatnonzero(inside)
    chosen = chosen[np.argsort(rows["stratum"][chosen], kind="stable")]
    stratum = rows["stratum"][chosen]
    first = rows["trial"][chosen] - population.starts[stratum] < pilot[stratum]
    present = np.flatnonzero(sizes)
    edges = np.searchsorted(stratum, present, side="left"), np.searchsorted(stratum, present, side="right")
    found: list[Cell] = []
    for size, start, stop in zip(sizes[present].tolist(), *(edge.tolist() for edge in edges), strict=True):
        here, pilots = chosen[start:stop], first[start:stop]
        known, later = here[pilots], here[~pilots]
        if known.size:
            found.append(Cell(known.size, known))
        if size > known.size:
            found.append(Cell(size - known.size, later))
    return found


def rate(parts: Sequence[Cell], values: Values, *, level: float, replacement: bool, binary: bool) -> FaultRate | None:
    """Return the mean of *values* over the faults of some cells; None without a trial.

    One cell: the exact interval of a finite population (0 or 1), or bets (shares). Several: Wilson's argument for
    strata (0 or 1), or Chernoff's bound over all laws (shares). Cells without a trial may hold any value: the interval
    is widened by their share of the faults, and the estimate is that of the others.

    Args:
        parts: The cells.
        values: Value of each row of the table, in [0, 1].
        level: Two-sided confidence.
        replacement: Whether trials are independent draws.
        binary: Whether values are 0 or 1.
    """
    seen = [one for one in parts if one.rows.size]
    if not seen:
        return None
    total = sum(one.population for one in parts)
    looked = sum(one.population for one in seen)
    n = sum(int(one.rows.size) for one in seen)
    found, method = _over(seen, values, level=level, replacement=replacement, binary=binary)
    unseen = 1 - looked / total
    low = found.low * (1 - unseen)
    high = min(1.0, found.high * (1 - unseen) + unseen)
    best = min(max(found.best, low), high)
    return FaultRate(value=best, low=low, high=high, n=n, method=method, unseen=unseen)


def _over(
    seen: Sequence[Cell], values: Values, *, level: float, replacement: bool, binary: bool
) -> tuple[Estimate, str]:
    """Return the mean over cells each of which has a trial: the known ones are added, the others estimated."""
    known = [] if replacement else [one for one in seen if one.rows.size == one.population]
    open_ = [one for one in seen if replacement or one.rows.size < one.population]
    total = sum(one.population for one in seen)
    sure = math.fsum(_sum(values[one.rows]) for one in known)
    if not open_:
        mean = min(1.0, sure / total)
        return Estimate(mean, mean, mean), "census"
    if len(open_) == 1:
        found, method = _single(open_[0], values, level=level, replacement=replacement, binary=binary)
    else:
        strata = [Stratum(one.population, int(one.rows.size), _sum(values[one.rows])) for one in open_]
        found = stratified_estimate(strata, level=level, method="score" if binary else "exact")
        method = "Wilson's score over strata" if binary else "Chernoff's bound over strata"
    if not known:
        return found, method
    rest = sum(one.population for one in open_)
    low, best, high = (min(1.0, (sure + rest * end) / total) for end in found)
    return Estimate(low, best, high), f"{method}, and {sum(one.population for one in known):,} known faults"


def _single(cell: Cell, values: Values, *, level: float, replacement: bool, binary: bool) -> tuple[Estimate, str]:
    sample = values[cell.rows]
    n = int(sample.size)
    if binary:
        hits = int(np.count_nonzero(sample))
        if replacement:
            return clopper_pearson(hits, n, level=level), "Clopper and Pearson"
        return hypergeometric(hits, n, cell.population, level=level), "exact, hypergeometric"
    run = BettingSequence(level=level, population=None if replacement else cell.population, planned=n)
    run.update(sample)
    low, _, high = run.interval()
    mean = _sum(sample) / n  # bets can exclude the mean of their own trials: the unbiased estimate is kept, inside
    return Estimate(min(low, mean), mean, max(high, mean)), "bets on bounded values"


def _sum(values: Values) -> float:
    return min(math.fsum(values), float(values.size))
