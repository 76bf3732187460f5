"""Intervals for finite populations against every sample that can be drawn from small ones."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from faultsim.stats import clopper_pearson, wilson
from faultsim.stats.finite import hypergeometric, wilson_finite

LEVELS = (0.8, 0.95, 0.99)


def _coverages(interval, trials, population, level):
    """Return, for each number of units that do it, the exact probability that the interval holds the truth."""
    hits = np.arange(trials + 1)
    ends = np.array([interval(int(k), trials, population, level=level) for k in hits])
    units = np.arange(population + 1)[:, None]
    holds = (ends[:, 0] - 1e-12 <= units / population) & (units / population <= ends[:, 2] + 1e-12)
    return (scipy.stats.hypergeom.pmf(hits, population, units, trials) * holds).sum(axis=1)


@pytest.mark.parametrize("population", [1, 2, 7, 20, 30])
def test_the_exact_interval_covers_at_least_the_level_for_every_small_population(population):
    for trials, level in itertools.product(range(1, population + 1), LEVELS):
        assert _coverages(hypergeometric, trials, population, level).min() >= level - 1e-9


def test_the_exact_ends_are_the_last_units_that_a_plain_search_keeps():
    for population, trials in ((15, 6), (30, 11)):
        for hits in range(trials + 1):
            got = hypergeometric(hits, trials, population, level=0.9)
            kept = [
                k
                for k in range(hits, population - trials + hits + 1)
                if scipy.stats.hypergeom(population, k, trials).sf(hits - 1) > 0.05
                and scipy.stats.hypergeom(population, k, trials).cdf(hits) > 0.05
            ]
            assert (got.low * population, got.high * population) == pytest.approx((min(kept), max(kept)))


def test_wilsons_interval_covers_the_level_on_average_over_finite_populations():
    held = np.concatenate([_coverages(wilson_finite, trials, 60, 0.95)[2:59] for trials in (10, 20, 40, 55)])
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)
    assert held.min() > 0.8


@given(population=st.integers(1, 10**6), data=st.data())
def test_a_census_has_no_width(population, data):
    hits = data.draw(st.integers(0, population))
    for interval in (hypergeometric, wilson_finite):
        got = interval(hits, population, population)
        assert got.low == got.best == got.high == hits / population


@given(trials=st.integers(1, 300), share=st.floats(0, 1), level=st.sampled_from(LEVELS))
def test_a_huge_population_gives_the_intervals_of_an_infinite_one(trials, share, level):
    hits = round(trials * share)
    for population in (1 << 33, 1 << 50, 1 << 60):
        assert hypergeometric(hits, trials, population, level=level) == pytest.approx(
            clopper_pearson(hits, trials, level=level), abs=1e-6
        )
    assert wilson_finite(hits, trials, 1 << 50, level=level) == pytest.approx(
        wilson(hits, trials, level=level), abs=1e-9
    )


def test_the_share_of_the_sample_lies_inside_where_it_is_no_whole_number_of_units():
    got = hypergeometric(1, 80, 81)  # two units of 81 would show as one with a chance of 2/81, below a fortieth
    assert (got.low, got.best, got.high) == (1 / 81, 1 / 80, 2 / 81)


def test_counts_of_numpy_do_not_wrap_around_in_a_large_population():
    counts = (5000, 10_000, 1 << 52)
    for interval in (hypergeometric, wilson_finite):
        assert interval(*(np.int64(one) for one in counts)) == interval(*counts)


@given(population=st.integers(2, 3000), data=st.data())
def test_the_ends_are_ordered_possible_and_inside_what_ignores_the_population(population, data):
    trials = data.draw(st.integers(1, population))
    hits = data.draw(st.integers(0, trials))
    for interval in (hypergeometric, wilson_finite):
        got = interval(hits, trials, population)
        assert hits / population <= got.low <= got.best <= got.high <= (population - trials + hits) / population
        mirrored = interval(trials - hits, trials, population)
        assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((got.low, got.high), abs=1e-9)


@pytest.mark.parametrize(("population", "level"), [(1400, 0.95), (40, 0.95), (200, 0.99), (20, 0.9)])
def test_a_chance_of_exactly_half_the_error_counts_at_both_ends(population, level):
    # one unit sampled, no hit: with M hits among N the chance of that is (N - M) / N, and half the error at high
    high = hypergeometric(0, 1, population, level=level).high
    assert high == 1 - (1 - level) / 2
    assert hypergeometric(1, 1, population, level=level).low == pytest.approx(1 - high)


@pytest.mark.parametrize("interval", [hypergeometric, wilson_finite])
def test_impossible_counts_are_refused(interval):
    with pytest.raises(ValueError, match="trials = 8 is out of range: the population holds only 7, and no unit counts"):
        interval(1, 8, 7)
    with pytest.raises(ValueError, match="passed = 4 is out of range"):
        interval(4, 3, 7)
    with pytest.raises(ValueError, match="confidence level 0 is out of range"):
        interval(1, 3, 7, level=0)
