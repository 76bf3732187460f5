"""A confidence sequence for a mean over strata that are drawn in random order. Fixed allocations: see `stratified`."""

import numpy as np
from numpy.typing import ArrayLike

from faultsim.stats.betting import BettingSequence
from faultsim.stats.estimate import Estimate, finite_sample


class StratifiedSequence:
    """The weighted mean over strata, valid at every trial, when each trial draws its stratum at random.

    Design: for every trial the stratum h is drawn first, independently, with probability ``q_h``, then a unit of that
    stratum at random (with replacement). ``W_h/q_h · value`` then has the weighted mean as its expectation and lies in
    ``[0, max(W/q)]``, so it is one `BettingSequence` after scaling, not one a stratum joined by a union bound. With
    ``q = W`` (proportional, the default) it is plain random sampling. Other probabilities pay off only if
    ``max(W/q)`` stays small; they may *not* be used with strata drawn in turn or in blocks.

    Args:
        weights: Share of the population in each stratum, above 0, summing to 1.
        probabilities: With which each stratum is drawn, above 0, summing to 1; None: the weights.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        planned: As for `BettingSequence`.

    Raises:
        ValueError: If weights or probabilities are no distributions over the same strata.

    Examples:
        >>> run = StratifiedSequence([0.9, 0.1], [0.5, 0.5])
        >>> run.update([0, 1] * 300, [0.0, 0.2] * 300)
        >>> [round(end, 3) for end in run.interval()]
        [0.014, 0.02, 0.035]
    """

    name = "betting confidence sequence over randomly drawn strata"

    def __init__(
        self,
        weights: ArrayLike,
        probabilities: ArrayLike | None = None,
        *,
        level: float = 0.95,
        planned: int | None = None,
    ) -> None:
        shares = finite_sample(weights, at_least=1)
        chances = shares if probabilities is None else finite_sample(probabilities, at_least=1)
        if shares.size != chances.size:
            raise ValueError(f"{shares.size} weights and {chances.size} probabilities: give one of each a stratum")
        for name, law in (("weights", shares), ("probabilities", chances)):
            if np.any(law <= 0) or abs(law.sum() - 1) > 1e-9:
                raise ValueError(f"the {name} sum to {law.sum():g}, least {law.min():g}: each is above 0, their sum 1")
        self._factors = shares / chances
        self._largest = float(self._factors.max())
        self._run = BettingSequence(level=level, planned=planned)

    @property
    def level(self) -> float:
        """Two-sided confidence."""
        return self._run.level

    @property
    def trials(self) -> int:
        """How many values were given."""
        return self._run.trials

    def update(self, strata: ArrayLike, values: ArrayLike) -> None:
        """Append the next trials, in trial order.

        Args:
            strata: Index of the stratum drawn, from 0, shape (trials,).
            values: Its value in [0, 1], shape (trials,).

        Raises:
            ValueError: If an index or a value is out of range, or their numbers differ.
        """
        drawn, added = np.asarray(strata).ravel(), finite_sample(values, at_least=0)
        if drawn.size != added.size:
            raise ValueError(f"{drawn.size} strata and {added.size} values: give one of each a trial")
        if drawn.size == 0:
            return
        if not np.issubdtype(drawn.dtype, np.integer) or drawn.min() < 0 or drawn.max() >= self._factors.size:
            raise ValueError(f"a stratum is out of range: give whole numbers from 0 to {self._factors.size - 1}")
        if added.min() < 0 or added.max() > 1:
            raise ValueError("a value is out of range: a confidence sequence needs values in [0, 1], scale them")
        self._run.update(np.minimum(1.0, self._factors[drawn] * added / self._largest))

    def interval(self, at: int | None = None) -> Estimate:
        """Return the interval after the first *at* trials (None: after all), cut to [0, 1]; see `Sequence.interval`."""
        scaled = self._run.interval(at)
        low, best, high = (min(1.0, end * self._largest) for end in scaled)
        return Estimate(low, best, high)
