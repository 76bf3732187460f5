"""Confidence sequences for the mean of values in [0, 1]: bets (the default) and empirical Bernstein, of one paper.

Both adapt to the variance, which is not known before. Trials that count 0 or 1 are served better by
`faultsim.stats.sequences.BernoulliSequence`; strata by `faultsim.stats.stratified_sequence`.
"""

import math

import numpy as np

from faultsim.stats.sequences import Evidence, Sequence, Vector


class _Plan:
    """What is staked at each trial, from the trials before it alone, [WaudbySmith2023]_ eqs. 14, 15 and 26.

    The running sums are carried over, so that any split into updates gives the same bits.
    """

    def __init__(self, level: float, planned: int | None) -> None:
        self.budget = 2 * math.log(2 / (1 - level))
        self.planned = planned
        self.seen = 0
        self.total = 0.5  # one made-up value of mean 1/2 ...
        self.squares = 0.25  # ... and variance 1/4 stands before the first trial
        self.mean = 0.5

    def advance(self, added: Vector) -> tuple[Vector, Vector]:
        """Return the stake at each added trial and the mean before it, and carry on."""
        count = np.arange(self.seen + 1, self.seen + added.size + 1, dtype=np.float64)
        totals = np.cumsum(np.concatenate([[self.total], added]))
        means = totals[1:] / (count + 1)
        squares = np.cumsum(np.concatenate([[self.squares], (added - means) ** 2]))
        variance_before = squares[:-1] / count
        spread_over = count * np.log1p(count) if self.planned is None else np.full(count.size, float(self.planned))
        before = np.concatenate([[self.mean], means[:-1]])
        self.seen += added.size
        self.total, self.squares, self.mean = float(totals[-1]), float(squares[-1]), float(np.append(before, means)[-1])
        return np.sqrt(self.budget / (variance_before * spread_over)), before


class BettingSequence(Evidence):
    """For values in [0, 1]: the hedged capital of [WaudbySmith2023]_ thm. 3, with or without replacement.

    A gambler who bets against a mean grows rich only if it is wrong; a mean is kept until one of two gamblers, one
    betting on more and one on less, has multiplied the stake by ``2/alpha``. Stakes follow the trials seen before
    (eq. 26), cut to the share `cap` of what can be lost. Means without replacement are those of [WaudbySmith2020]_:
    after each draw the mean of the units left is known for each candidate.

    Args:
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        population: Units there are, if no unit is drawn twice; None: with replacement, or independent chips.
        planned: Trials at which the interval shall be narrowest; None: narrow at all times. Valid at every time
            in either case; it must not depend on the values.
        cap: Largest share of the capital that one trial can take, strictly between 0 and 1.

    Raises:
        ValueError: If an argument or, later, a value is out of range, or more units come than there are.

    Examples:
        >>> run = BettingSequence(level=0.95)
        >>> run.update([0.02, 0.03, 0.01, 0.02] * 50)
        >>> [round(end, 3) for end in run.interval()]
        [0.011, 0.02, 0.044]

    References:
        .. [WaudbySmith2023] I. Waudby-Smith, A. Ramdas. Estimating means of bounded random variables by betting.
           JRSS-B 86(1):1-27, 2024 (online 2023).
        .. [WaudbySmith2020] I. Waudby-Smith, A. Ramdas. Confidence sequences for sampling without replacement.
           NeurIPS 2020.
    """

    name = "betting confidence sequence"

    def __init__(
        self,
        *,
        level: float = 0.95,
        population: int | None = None,
        planned: int | None = None,
        cap: float = 0.75,
    ) -> None:
        super().__init__(level=level)
        if population is not None and population < 1:
            raise ValueError(f"population = {population} is out of range: give at least 1, or None")
        if planned is not None and planned < 1:
            raise ValueError(f"planned = {planned} is out of range: give at least 1 trial, or None")
        if not 0.0 < cap < 1.0:
            raise ValueError(f"cap = {cap!r} is out of range: give a share strictly between 0 and 1")
        self.population = population
        self.cap = cap
        self._plan = _Plan(level, planned)
        self._stakes: Vector = np.empty(0)

    def _append(self, added: Vector) -> None:
        if self.population is not None and self.trials + added.size > self.population:
            raise ValueError(
                f"{self.trials + added.size} trials are too many: the population holds only {self.population} units"
            )
        self._stakes = np.concatenate([self._stakes, self._plan.advance(added)[0]])

    def _ends(self, until: int) -> tuple[float, float]:
        low, high = super()._ends(until)
        if self.population is None:
            return low, high
        total = math.fsum(self._values[:until])
        unseen = self.population - until
        return max(low, total / self.population), min(high, (total + unseen) / self.population)

    def _expected(self, mean: float, until: int) -> Vector:
        """Return what each trial is expected to give if the mean of all is *mean*; outside [0, 1]: it cannot be."""
        if self.population is None:
            return np.full(until, mean)
        drawn = np.arange(until)
        before = np.concatenate([[0.0], np.cumsum(self._values[: until - 1])])
        return np.asarray((self.population * mean - before) / (self.population - drawn))

    def _against_less(self, mean: float, until: int) -> float:
        expected = self._expected(mean, until)
        return self._richest(self._values[:until], expected, until)

    def _against_more(self, mean: float, until: int) -> float:
        return self._richest(1 - self._values[:until], 1 - self._expected(mean, until), until)

    def _richest(self, values: Vector, expected: Vector, until: int) -> float:
        """Return the largest log capital of the gambler who bets on more than *expected*."""
        impossible = np.flatnonzero(expected < -1e-12)  # more was drawn than all units together would hold
        if impossible.size:
            return math.inf
        expected = np.maximum(expected, 0.0)
        with np.errstate(divide="ignore"):
            stakes = np.minimum(self._stakes[:until], self.cap / expected)
        return float(np.cumsum(np.log1p(stakes * (values - expected))).max())


class BernsteinSequence(Sequence):
    """For values in [0, 1]: predictable plug-in empirical Bernstein, [WaudbySmith2023]_ thm. 2. Closed form.

    Wider than `BettingSequence`; its cost at each look does not depend on a search.

    Args:
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        planned: As for `BettingSequence`.
        cap: Largest stake, strictly between 0 and 1.

    Examples:
        >>> run = BernsteinSequence(level=0.95)
        >>> run.update([0.02, 0.03, 0.01, 0.02] * 50)
        >>> [round(end, 3) for end in run.interval()]
        [0.0, 0.02, 0.058]
    """

    name = "empirical-Bernstein confidence sequence"

    def __init__(self, *, level: float = 0.95, planned: int | None = None, cap: float = 0.5) -> None:
        super().__init__(level=level)
        if not 0.0 < cap < 1.0:
            raise ValueError(f"cap = {cap!r} is out of range: give a stake strictly between 0 and 1")
        self.cap = cap
        self._plan = _Plan(level, planned)
        self._sums = np.zeros((3, 1))  # of stakes, of stake times value, of the penalties; first column: before all

    def _append(self, added: Vector) -> None:
        stakes, before = self._plan.advance(added)
        stakes = np.minimum(stakes, self.cap)
        penalties = (added - before) ** 2 * (-np.log1p(-stakes) - stakes)
        steps = np.stack([stakes, stakes * added, penalties])
        grown = np.cumsum(np.concatenate([self._sums[:, -1:], steps], axis=1), axis=1)
        self._sums = np.concatenate([self._sums, grown[:, 1:]], axis=1)

    def _ends(self, until: int) -> tuple[float, float]:
        stakes, weighted, penalties = self._sums[:, 1 : until + 1]
        centre = weighted / stakes
        half = (math.log(2 / (1 - self.level)) + penalties) / stakes
        return max(0.0, float((centre - half).max())), min(1.0, float((centre + half).min()))
