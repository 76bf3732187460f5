"""Cheap predictions for all units, corrected by a random audit: the difference estimator and its intervals.

Two designs, not to be mixed. `screened_rate`: trials are drawn at random from a law (chips), every trial is screened
and audited, the interval is over trials. `difference_estimate`: a fixed, finite population of units (every bit of a
network) is predicted and a simple random sample of it is audited; the interval is over that population.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.stats.betting import BettingSequence
from faultsim.stats.estimate import Estimate, check_level, finite_sample
from faultsim.stats.stratified import Stratum, stratified_estimate


class ScreenedRate(NamedTuple):
    """A rate from screened trials.

    Attributes:
        rate: The corrected estimate and its interval over trials.
        uncorrected: Mean of the screen's answers alone: biased, to be shown beside and not instead.
        trials: Trials.
        corrected: Trials in which the audit found a difference.
    """

    rate: Estimate
    uncorrected: float
    trials: int
    corrected: int


@dataclass(frozen=True, kw_only=True)
class AuditStratum:
    """Units of a finite population with a prediction in [0, 1] each, some of which were drawn at random and evaluated.

    Attributes:
        population: Units, at least 1.
        predicted: Mean of the predictions of *all* units, in [0, 1].
        audited: Different units evaluated, a simple random sample of the stratum that does not look at predictions.
        gained: Sum over audited units of ``max(truth - prediction, 0)``.
        lost: Sum over audited units of ``max(prediction - truth, 0)``.
    """

    population: int
    predicted: float
    audited: int
    gained: float
    lost: float

    def __post_init__(self) -> None:
        if not 0 <= self.predicted <= 1:
            raise ValueError(f"predicted = {self.predicted} is out of range: the mean of predictions lies in [0, 1]")
        if self.gained + self.lost > self.audited:
            raise ValueError(
                f"gained + lost = {self.gained + self.lost} is out of range: {self.audited} audited units differ by "
                "at most 1 each"
            )
        for part in (self.gained, self.lost):
            Stratum(self.population, self.audited, part)  # refuses what cannot be


def screened_values(
    predicted: ArrayLike, screened: ArrayLike, differences: ArrayLike, *, unchanged_is_zero: bool = True
) -> NDArray[np.float64]:
    """Return one unbiased value a trial, `screened_rate` says of what: for a confidence sequence or an interval.

    Raises:
        ValueError: As `screened_rate`.

    Examples:
        >>> screened_values([0.25, 0.0], [0.5, 1.0], [0.0, 0.5]).tolist()
        [0.25, 0.5]
    """
    answers, shares = finite_sample(predicted, at_least=1), finite_sample(screened, at_least=1)
    found = np.asarray(differences, dtype=np.float64).ravel()
    if not answers.size == shares.size == found.size:
        raise ValueError(
            f"{answers.size} answers, {shares.size} shares and {found.size} differences: give one of each a trial"
        )
    found = np.where(shares == 0, 0.0, found)
    unaudited = np.flatnonzero(~np.isfinite(found))
    if unaudited.size:
        raise ValueError(
            f"trial {unaudited[0]} left images to the screen and none was audited: audit at least one in every trial"
        )
    least = 0.0 if unchanged_is_zero else -1.0
    for name, values, low in (("answer", answers, 0.0), ("screened share", shares, 0.0), ("difference", found, least)):
        bad = np.flatnonzero((values < low) | (values > 1))
        if bad.size:
            raise ValueError(
                f"{name} {values[bad[0]]:g} of trial {bad[0]} is out of range: it must lie in [{low:g}, 1]"
            )
    if unchanged_is_zero and np.any(over := answers + shares > 1 + 1e-9):
        at = int(np.flatnonzero(over)[0])
        raise ValueError(
            f"trial {at} has answer {answers[at]:g} with a share {shares[at]:g} left to the screen: an image left to "
            "the screen counts 0, or say unchanged_is_zero=False"
        )
    values = answers + shares * found
    return np.clip(values, 0.0, 1.0) if unchanged_is_zero else values  # rounding alone can leave [0, 1]


def screened_rate(
    predicted: ArrayLike,
    screened: ArrayLike,
    differences: ArrayLike,
    *,
    level: float = 0.95,
    unchanged_is_zero: bool = True,
) -> ScreenedRate:
    """Estimate the mean over chips of a share of images, where a screen answered for most images.

    The contract, for trial i with M images:

    1. Trials are drawn independently from the law of the chips. A screen parts the images of each trial into those
       that are evaluated (inclusion probability 1) and M_i that it answers itself.
    2. Of these M_i, m_i >= 1 are drawn at random without replacement and evaluated too: each has inclusion
       probability ``m_i / M_i``. The draw must not depend on the outcome; m_i may depend on anything the screen knows.
    3. `differences[i]` is the mean over the m_i audited images of truth minus the screen's answer.

    Then ``predicted + M_i/M · difference`` is Horvitz and Thompson's estimate of the trial's true share,
    [HorvitzThompson1952]_, unbiased whatever the screen does. These values are independent over trials and
    bounded, so the bounded-mean interval over trials (betting, `BettingSequence`) holds at every number of trials,
    with the audit's own chance inside it, and keeps a width of about ``log(2/alpha)/trials`` where no audit found
    anything. Audited images of one chip are *not* independent: ten more images on the same chips narrow the
    interval less than ten times the chips.

    Args:
        predicted: Share of all M images that count, by evaluation or else by the screen, in [0, 1], shape (trials,),
            in trial order.
        screened: ``M_i / M``, in [0, 1], shape (trials,).
        differences: Mean difference of the audited images; not read where `screened` is 0. Shape (trials,).
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        unchanged_is_zero: Whether the screen's answer is always 0 (does not differ, is not critical): differences
            lie in [0, 1]. Else they lie in [-1, 1] (accuracy against labels) and the interval is wider.

    Raises:
        ValueError: If the arrays do not fit, leave their range, or a trial was not audited.

    Examples:
        >>> got = screened_rate([0.02] * 400, [0.98] * 400, [0.0] * 400)
        >>> [round(end, 4) for end in got.rate], got.corrected
        ([0.0168, 0.02, 0.0321], 0)

    References:
        .. [HorvitzThompson1952] D. G. Horvitz, D. J. Thompson. A generalization of sampling without replacement from
           a finite universe. JASA 47(260):663-685, 1952.
    """
    values = screened_values(predicted, screened, differences, unchanged_is_zero=unchanged_is_zero)
    start, span = (0.0, 1.0) if unchanged_is_zero else (-1.0, 3.0)
    run = BettingSequence(level=level, planned=int(values.size))
    run.update((values - start) / span)
    low, _, high = run.interval()
    best = min(1.0, max(0.0, math.fsum(values) / values.size))
    found = np.where(np.asarray(screened, dtype=np.float64) > 0, np.asarray(differences, dtype=np.float64), 0.0)
    return ScreenedRate(
        rate=Estimate(min(best, max(0.0, start + span * low)), best, max(best, min(1.0, start + span * high))),
        uncorrected=math.fsum(finite_sample(predicted, at_least=1)) / values.size,
        trials=int(values.size),
        corrected=int(np.count_nonzero(found)),
    )


def difference_estimate(strata: Sequence[AuditStratum], *, level: float = 0.95, method: str = "exact") -> Estimate:
    """Estimate the mean of a finite population from predictions of all units and an audit of some, [Cochran1977]_.

    The estimate is the mean prediction plus the mean audited difference, stratum by stratum: unbiased whatever the
    predictions are worth. What truth adds and what it takes away are bounded apart, by `stratified_estimate`, each
    with half the error, so an audit without any difference still leaves a width, and truth takes away at
    most what was predicted: where all predictions are 0, the whole error goes to what it adds.

    Units may be faults, bits, or (fault, image) pairs; they are drawn one by one. Audited *whole trials* of a
    fixed list of trials are units too, with the share of images as their value.

    Args:
        strata: All strata of the population, at least one.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        method: ``"exact"`` (at least the level, any values in [0, 1]) or ``"score"`` (about the level, 0/1 outcomes).

    Raises:
        ValueError: If there is no stratum or an option is out of range.

    Examples:
        >>> bits = AuditStratum(population=8_000_000, predicted=0.031, audited=2000, gained=0, lost=0)
        >>> [round(end, 4) for end in difference_estimate([bits])]
        [0.0288, 0.031, 0.0332]

    References:
        .. [Cochran1977] W. G. Cochran. Sampling Techniques, 3rd ed. Wiley, 1977.
    """
    check_level(level)
    if not strata:
        raise ValueError("0 strata are too few: give at least 1")
    total = sum(one.population for one in strata)
    predicted = math.fsum(one.predicted * one.population for one in strata) / total
    nothing_to_lose = predicted == 0
    each = level if nothing_to_lose else (1 + level) / 2
    gained = stratified_estimate(
        [Stratum(one.population, one.audited, one.gained) for one in strata], level=each, method=method
    )
    lost = Estimate(0.0, 0.0, 0.0)
    if not nothing_to_lose:
        lost = stratified_estimate(
            [Stratum(one.population, one.audited, one.lost) for one in strata], level=each, method=method
        )
    best = predicted + gained.best - lost.best
    low = predicted + gained.low - min(predicted, lost.high)
    high = predicted + min(1 - predicted, gained.high) - lost.low
    best = min(1.0, max(0.0, best))
    return Estimate(min(best, max(0.0, low)), best, max(best, min(1.0, high)))
