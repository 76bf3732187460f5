"""Confidence sequences: intervals for a mean that hold at every number of trials at once, so that peeking is allowed.

Values come in trial order and every trial is given: leaving out trials, or sorting them, voids the guarantee.
The frame lives here, with the laws that need few lines; bets on bounded values are in `betting`, quantiles in
`quantile_sequence`, the rule that stops a campaign in `stopping`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, xlog1py, xlogy

from faultsim.stats.estimate import Estimate, check_level, finite_sample

Vector = NDArray[np.float64]
_FRACTION_BITS = 60  # halvings of a bracket inside [0, 1]


class Sequence(ABC):
    """A confidence sequence for the mean of values in [0, 1], one value a trial, given in trial order.

    With probability at least `level` *every* interval of one sequence holds the mean, whenever and however often it is
    looked at: a campaign may stop at any trial, for any reason. The intervals are intersected over all trials so
    far, so they only shrink; the same values give the same bits however they are split over calls of `update`.

    Attributes:
        name: The method, as it is named in results.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
    """

    name: ClassVar[str]

    def __init__(self, *, level: float = 0.95) -> None:
        check_level(level)
        self.level = level
        self._values: Vector = np.empty(0)

    @property
    def trials(self) -> int:
        """How many values were given."""
        return int(self._values.size)

    def update(self, values: ArrayLike) -> None:
        """Append the values of the next trials, in trial order.

        Args:
            values: One value a trial, in [0, 1], shape (trials,).

        Raises:
            ValueError: If a value is not finite or leaves [0, 1]; nothing is then appended.
        """
        added = finite_sample(values, at_least=0)
        bad = np.flatnonzero((added < 0) | (added > 1))
        if bad.size:
            raise ValueError(
                f"value {added[bad[0]]} of trial {self.trials + int(bad[0])} is out of range: "
                "a confidence sequence needs values in [0, 1], scale them"
            )
        self._append(added)
        self._values = np.concatenate([self._values, added])

    def interval(self, at: int | None = None) -> Estimate:
        """Return the interval after the first *at* trials (None: after all).

        Args:
            at: Number of trials, ``0 <= at <= trials``; with 0 the interval is [0, 1].

        Returns:
            ``Estimate(low, best, high)``, `best` being the mean of these trials, moved into the interval.

        Raises:
            ValueError: If `at` is out of range.
        """
        until = self.trials if at is None else at
        if not 0 <= until <= self.trials:
            raise ValueError(f"at = {until} is out of range: the sequence holds {self.trials} trials")
        if until == 0:
            return Estimate(0.0, 0.5, 1.0)
        low, high = self._ends(until)
        best = math.fsum(self._values[:until]) / until
        if low > high:  # the sequence missed the mean, which it may with probability 1 - level: show one point
            low = high = min(max(best, high), low)
        return Estimate(low, min(max(best, low), high), high)

    def _append(self, added: Vector) -> None:  # noqa: B027  most sequences carry nothing on
        """Carry on what later values depend on, before *added* joins the values."""

    @abstractmethod
    def _ends(self, until: int) -> tuple[float, float]:
        """Return both ends of the intersection over the first *until* >= 1 trials, inside [0, 1]."""


class Evidence(Sequence):
    """A sequence defined by evidence against each mean; the ends are where the evidence reaches ``log(2/alpha)``."""

    def _ends(self, until: int) -> tuple[float, float]:
        threshold = math.log(2 / (1 - self.level))
        return (
            _boundary(lambda mean: self._against_less(mean, until) < threshold, keeps_high=True),
            _boundary(lambda mean: self._against_more(mean, until) < threshold, keeps_high=False),
        )

    @abstractmethod
    def _against_less(self, mean: float, until: int) -> float:
        """Return the largest log evidence so far that the truth is above *mean*; falls as *mean* grows."""

    @abstractmethod
    def _against_more(self, mean: float, until: int) -> float:
        """Return the largest log evidence so far that the truth is below *mean*; grows with *mean*."""


class BernoulliSequence(Evidence):
    """For trials that did it or not (0 or 1): the beta-binomial mixture of [Robbins1970]_, uniform prior.

    The likelihood ratio of the uniform mixture against a proportion is a martingale, so Ville's inequality bounds it
    over all trials. About ``sqrt(log n)`` wider than `clopper_pearson` at a fixed n: the price of peeking.

    Examples:
        >>> run = BernoulliSequence(level=0.99)
        >>> run.update([0] * 500)
        >>> [round(end, 4) for end in run.interval()]
        [0.0, 0.0, 0.0228]

    References:
        .. [Robbins1970] H. Robbins. Statistical methods related to the law of the iterated logarithm. Ann. Math. Stat.
           41(5):1397-1409, 1970.
    """

    name = "beta-binomial confidence sequence"

    def __init__(self, *, level: float = 0.95) -> None:
        super().__init__(level=level)
        self._hits: Vector = np.empty(0)  # up to each trial
        self._mixture: Vector = np.empty(0)  # log of the mixed likelihood up to each trial

    def _append(self, added: Vector) -> None:
        odd = np.flatnonzero((added != 0) & (added != 1))
        if odd.size:
            raise ValueError(
                f"value {added[odd[0]]} of trial {self.trials + int(odd[0])} is neither 0 nor 1: "
                "give fractions to a BettingSequence"
            )
        before = self._hits[-1] if self._hits.size else 0.0
        hits = before + np.cumsum(added)
        misses = np.arange(self.trials + 1, self.trials + added.size + 1) - hits
        self._hits = np.concatenate([self._hits, hits])
        self._mixture = np.concatenate([self._mixture, betaln(1 + hits, 1 + misses)])

    def _evidence(self, mean: float, until: int, *, above: bool) -> float:
        seen, hits = np.arange(1, until + 1), self._hits[:until]
        ratio = self._mixture[:until] - xlogy(hits, mean) - xlog1py(seen - hits, -mean)
        side = hits > mean * seen if above else hits < mean * seen
        return float(np.max(ratio, where=side, initial=-math.inf))

    def _against_less(self, mean: float, until: int) -> float:
        return self._evidence(mean, until, above=True)

    def _against_more(self, mean: float, until: int) -> float:
        return self._evidence(mean, until, above=False)


def _boundary(keeps: Callable[[float], bool], *, keeps_high: bool) -> float:
    """Return the outer end of the part of [0, 1] that *keeps* holds on; it is one piece that holds 1 (else 0)."""
    inside, outside = (1.0, 0.0) if keeps_high else (0.0, 1.0)
    if keeps(outside):
        return outside
    for _ in range(_FRACTION_BITS):
        middle = (inside + outside) / 2
        if keeps(middle):
            inside = middle
        else:
            outside = middle
    return outside
