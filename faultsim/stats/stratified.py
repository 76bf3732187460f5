"""A rate over strata sampled at different rates, with an interval that stays honest where a stratum shows no hit.

The type of a stratum and the two estimates live here; the search behind the guaranteed one is in `stratified_exact`,
how many trials each stratum gets in `allocation`, sequential strata in `stratified_sequence`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtri

from faultsim.stats.estimate import Estimate, check_level, finite_sample
from faultsim.stats.stratified_exact import upper_end

_TILTS = 801  # points of the first look for an end
_FARTHEST = 45.0  # a move of the log odds beyond which a rate is 0 or 1 in float64
_HALVINGS = 60
_BLOCK = 1 << 21  # rates held at once


@dataclass(frozen=True)
class Stratum:
    """What was sampled at random in one stratum, such as one bit position of one tensor.

    Attributes:
        population: Units in the stratum, at least 1; its weight is its share of all units.
        sampled: Units sampled, ``1 <= sampled <= population`` unless drawn with replacement.
        hits: Sampled units that did it, or the *sum* of their values in [0, 1] (share of images mispredicted):
            ``0 <= hits <= sampled``.
    """

    population: int
    sampled: int
    hits: float

    def __post_init__(self) -> None:
        if self.population < 1:
            raise ValueError(f"population = {self.population} is out of range: a stratum has at least 1 unit")
        if self.sampled < 1:
            raise ValueError(
                f"sampled = {self.sampled} is out of range: a stratum without a sampled unit bounds nothing, "
                "sample each at least once or join it to another"
            )
        if not 0 <= self.hits <= self.sampled:
            raise ValueError(f"hits = {self.hits} is out of range: it must lie between 0 and sampled = {self.sampled}")

    @classmethod
    def of_values(cls, population: int, values: ArrayLike) -> "Stratum":
        """Return a stratum from one value in [0, 1] for each sampled unit.

        Raises:
            ValueError: If there is no value, or one leaves [0, 1].
        """
        sample = finite_sample(values, at_least=1)
        if np.any((sample < 0) | (sample > 1)):
            raise ValueError("a value of the stratum leaves [0, 1]: scale the values")
        return cls(population, int(sample.size), math.fsum(sample))


def stratified_estimate(
    strata: Sequence[Stratum], *, level: float = 0.95, replacement: bool = False, method: str = "score"
) -> Estimate:
    """Estimate the mean over all units of all strata, ``sum(W_h·p_h)``, weights being shares of the population.

    The weights make the estimate unbiased for every allocation that does not depend on the values. ±z·sigma, which is
    not used, has no width at 0 hits.

    ``score`` is Wilson's argument for strata: a mean is kept if it is within z standard errors *of the rates that it
    would need*, not of the rates seen. Those start from the rates seen with z²/2 hits and z²/2 misses made up in
    each stratum ([AgrestiCoull1998]_), and are tilted to the mean that is tested: on the log-odds scale each moves
    by its weight per trial, so a mean needs most from the strata that were looked at least. One stratum: exactly
    `wilson` or `wilson_finite`. Close to the level on average, like Wilson's, not guaranteed: checked by
    simulation, no published method.

    ``exact`` covers at least the level for every set of rates and every sample size: Chernoff's bound on the tail of
    the estimate, largest over all rates that are compatible with each stratum alone (a tenth of the error pays for
    that, [BergerBoos1994]_). About a third wider; valid too for values in [0, 1], whose law is unknown, and for
    sampling without replacement ([Hoeffding1963]_ sec. 6), from which it gains in fully sampled strata only.

    For values in [0, 1] both assume the largest variance that the mean allows, p(1-p); where values vary little,
    a `StratifiedSequence` is narrower.

    Args:
        strata: At least one; every stratum of the population, each sampled.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        replacement: Whether units were drawn with replacement (then no finite-population correction).
        method: ``"score"`` or ``"exact"``.

    Returns:
        ``Estimate(low, best, high)``, in [0, 1]; a census of all strata has no width.

    Raises:
        ValueError: If there is no stratum, one holds more samples than units, or an option is out of range.

    Examples:
        >>> sign, mantissa = Stratum(1000, 50, 20), Stratum(22000, 400, 0)
        >>> [round(end, 4) for end in stratified_estimate([sign, mantissa])]
        [0.0117, 0.0174, 0.0276]
        >>> [round(end, 4) for end in stratified_estimate([sign, mantissa], method="exact")]
        [0.0083, 0.0174, 0.0343]

    References:
        .. [AgrestiCoull1998] A. Agresti, B. A. Coull. Approximate is better than "exact" for interval estimation of
           binomial proportions. Am. Stat. 52(2):119-126, 1998.
        .. [BergerBoos1994] R. L. Berger, D. D. Boos. P values maximized over a confidence set for the nuisance
           parameter. JASA 89(427):1012-1016, 1994.
        .. [Hoeffding1963] W. Hoeffding. Probability inequalities for sums of bounded random variables. JASA
           58(301):13-30, 1963.
    """
    check_level(level)
    if not strata:
        raise ValueError("0 strata are too few: give at least 1")
    if method not in ("score", "exact"):
        raise ValueError(f"method {method!r} is unknown: give 'score' or 'exact'")
    units, sampled, hits = (np.array(column, dtype=np.float64) for column in _columns(strata))
    if not replacement and np.any(over := sampled > units):
        h = int(np.flatnonzero(over)[0])
        raise ValueError(
            f"stratum {h} holds {strata[h].population} units and {strata[h].sampled} samples: "
            "no unit counts twice, or say that they were drawn with replacement"
        )
    weights = units / units.sum()
    best = min(1.0, math.fsum(weights * hits / sampled))
    unseen = np.zeros_like(units) if replacement else units - sampled
    least, most = 0.0, 1.0
    if not replacement:
        least, most = math.fsum(hits) / units.sum(), math.fsum(hits + unseen) / units.sum()
        if not unseen.any():
            return Estimate(best, best, best)
    if method == "exact":
        tail = (1 - level) / 2
        low = 1 - upper_end(units, sampled, sampled - hits, tail=tail, replacement=replacement)
        high = upper_end(units, sampled, hits, tail=tail, replacement=replacement)
    else:
        correction = np.ones_like(units) if replacement else unseen / np.maximum(units - 1, 1)
        low, high = _score_ends(weights, sampled, hits, correction, best, float(ndtri(0.5 + level / 2)) ** 2)
    return Estimate(min(best, max(low, least)), best, max(best, min(high, most)))


def _columns(strata: Sequence[Stratum]) -> tuple[list[int], list[int], list[float]]:
    return [one.population for one in strata], [one.sampled for one in strata], [one.hits for one in strata]


def _score_ends(
    weights: NDArray[np.float64],
    sampled: NDArray[np.float64],
    hits: NDArray[np.float64],
    correction: NDArray[np.float64],
    best: float,
    z2: float,
) -> tuple[float, float]:
    """Return both ends: the farthest means whose own standard error reaches back to *best*."""
    odds = logit((hits + z2 / 2) / (sampled + z2))
    seen = correction == 0  # fully sampled strata are known and are not tilted
    pace = weights * correction / sampled
    pace /= pace.max()

    def mean_and_excess(tilt: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        step = max(1, _BLOCK // pace.size)
        parts = [part_of(tilt[start : start + step]) for start in range(0, tilt.size, step)]
        mean, excess = (np.concatenate(column) for column in zip(*parts, strict=True))
        return mean, excess

    def part_of(tilt: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rates = np.where(seen, hits / sampled, expit(odds + tilt[:, None] * pace))
        mean = rates @ weights
        variance = (rates * (1 - rates)) @ (weights**2 * correction / sampled)
        return mean, (mean - best) ** 2 - z2 * variance

    reach = math.asinh(_FARTHEST / pace[~seen].min())
    tilts = np.sinh(np.linspace(-reach, reach, _TILTS))
    means, excess = mean_and_excess(tilts)
    kept = np.flatnonzero(excess <= 0)
    # Many strata, or few unseen units: what is kept may be narrower than a step. Nothing is nearer than the mean seen.
    above = int(np.searchsorted(means, best))
    if not kept.size or kept[0] >= above > 0 or kept[-1] < above < _TILTS:
        near, far = tilts[max(above - 1, 0)], tilts[min(above, _TILTS - 1)]
        tilts = np.insert(tilts, above, _passed(near, far, lambda tilt: bool(mean_and_excess(tilt)[0][0] < best)))
        kept = np.union1d(kept + (kept >= above), [above])

    def end(inside: int, outside: int, limit: float) -> float:
        if not 0 <= outside < tilts.size:
            return limit
        last = _passed(tilts[inside], tilts[outside], lambda tilt: bool(mean_and_excess(tilt)[1][0] <= 0))
        return float(mean_and_excess(np.array([last]))[0][0])

    low = end(int(kept[0]), int(kept[0]) - 1, 0.0)
    high = end(int(kept[-1]), int(kept[-1]) + 1, 1.0)
    return low, high


def _passed(near: float, far: float, holds: Callable[[NDArray[np.float64]], bool]) -> float:
    """Return where *holds*, true at *near* and not at *far*, ends: the first number beyond it."""
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        if holds(np.array([middle])):
            near = middle
        else:
            far = middle
    return float(far)
