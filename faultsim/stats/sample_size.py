"""How many faults to inject: the field's sample-size formula and its inverse. To plan with; no interval lives here."""

import math

from scipy.special import ndtri

from faultsim.stats.estimate import check_level

LEAST_MARGIN = 1e-6
"""Smallest half-width that can be planned for: 10^12 faults."""


def sample_size(
    margin: float,
    *,
    population: int | None = None,
    level: float = 0.99,
    p: float = 0.5,
    cut_off: float | None = None,
) -> int:
    """Return how many faults to inject for a half-width of *margin*, [Leveugle2009]_.

    It *plans* a campaign and never *reports* one: the formula is Wald's argument, ``margin = t·sqrt(p(1-p)/n)``
    with a finite-population correction, which is wrong for the rare events that a campaign is after. Report with
    `wilson`, `hypergeometric` or `stratified_estimate`. ``p = 0.5`` is the most cautious choice: no other
    proportion needs more faults for the same absolute margin, but a margin of 0.01 says nothing about a rate of
    0.001, for which a margin below the rate must be asked. With no population: the limit
    ``t²·p(1-p)/margin²``. Never more than the population, at least 1.

    Args:
        margin: Half-width of the planned interval, a fraction, from 1e-6 to below 1.
        population: Number of different faults, at least 1; None: infinitely many.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        p: Expected proportion, strictly between 0 and 1.
        cut_off: The normal quantile t; None: from `level`. Published tables often round it (2.58 at 99 %).

    Returns:
        A whole number of faults, rounded up.

    Raises:
        ValueError: If an argument is out of its range.

    Examples:
        >>> sample_size(0.01)
        16588
        >>> sample_size(0.01, population=268_346 * 32, cut_off=2.58)  # every bit of ResNet-20, as published
        16609

    References:
        .. [Leveugle2009] R. Leveugle, A. Calvez, P. Maistri, P. Vanhauwaert. Statistical fault injection:
           quantified error and confidence. DATE 2009.
    """
    if not LEAST_MARGIN <= margin < 1.0:
        raise ValueError(f"margin = {margin!r} is out of range: give a fraction from {LEAST_MARGIN:g} to below 1")
    infinite = _spread(level, p, cut_off) / margin**2
    if population is None:
        return max(1, math.ceil(infinite - 1e-9))
    _check_population(population)
    return min(population, max(1, math.ceil(population / (1 + (population - 1) / infinite) - 1e-9)))


def margin_of(
    trials: int,
    *,
    population: int | None = None,
    level: float = 0.99,
    p: float = 0.5,
    cut_off: float | None = None,
) -> float:
    """Return the half-width that *trials* faults are planned to give: `sample_size` solved for the margin.

    Zero for a census. As there: a figure to plan with, not the width of a result.

    Args:
        trials: Faults to inject, at least 1 and at most the population.
        population: Number of different faults, at least 1; None: infinitely many.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        p: Expected proportion, strictly between 0 and 1.
        cut_off: The normal quantile t; None: from `level`.

    Raises:
        ValueError: If an argument is out of its range.

    Examples:
        >>> round(margin_of(16588), 4), margin_of(320, population=320)
        (0.01, 0.0)
    """
    if trials < 1:
        raise ValueError(f"trials = {trials} is out of range: give at least 1")
    variance = _spread(level, p, cut_off) / trials
    if population is None:
        return math.sqrt(variance)
    _check_population(population)
    if trials > population:
        raise ValueError(f"trials = {trials} is out of range: the population holds only {population}")
    return math.sqrt(variance * (population - trials) / max(1, population - 1))


def _spread(level: float, p: float, cut_off: float | None) -> float:
    """Return t²·p(1-p)."""
    check_level(level)
    if not 0.0 < p < 1.0:
        raise ValueError(f"p = {p!r} is out of range: give a proportion strictly between 0 and 1")
    if cut_off is not None and not 0.0 < cut_off < math.inf:
        raise ValueError(f"cut_off = {cut_off!r} is out of range: give a finite number above 0")
    t = float(ndtri(0.5 + level / 2)) if cut_off is None else cut_off
    return t * t * p * (1 - p)


def _check_population(population: int) -> None:
    if population < 1:
        raise ValueError(f"population = {population} is out of range: give at least 1, or None for infinitely many")
