"""Intervals against scipy and against their own promise: how often they hold the truth."""

import doctest
import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import faultsim.stats.means
import faultsim.stats.proportions
import faultsim.stats.quantiles
from faultsim.rng import generator
from faultsim.stats import (
    Estimate,
    bootstrap_mean,
    clopper_pearson,
    quantile_estimate,
    t_interval,
    trials_for_quantile,
    wilson,
    yield_estimate,
)

LEVELS = st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999])


@pytest.mark.parametrize("module", [faultsim.stats.means, faultsim.stats.proportions, faultsim.stats.quantiles])
def test_examples_in_the_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@given(trials=st.integers(1, 5000), share=st.floats(0, 1), level=LEVELS)
def test_proportion_intervals_equal_scipys(trials, share, level):
    passed = round(share * trials)
    test = scipy.stats.binomtest(passed, trials)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = test.proportion_ci(level, method)
        got = ours(passed, trials, level=level)
        assert got == pytest.approx((theirs.low, passed / trials, theirs.high), abs=1e-11)
        assert 0 <= got.low <= got.best <= got.high <= 1


def _coverage(interval, trials, share):
    """Return the exact probability that the interval holds *share*, by summing over all outcomes."""
    law = scipy.stats.binom(trials, share)
    return sum(law.pmf(k) for k in range(trials + 1) if interval(k, trials).low <= share <= interval(k, trials).high)


def test_clopper_pearson_never_covers_less_than_the_level_and_wilson_does_so_on_average():
    shares = np.linspace(0.005, 0.995, 67)
    for trials in (5, 30, 100):
        exact = [_coverage(clopper_pearson, trials, share) for share in shares]
        score = [_coverage(wilson, trials, share) for share in shares]
        assert min(exact) >= 0.95 - 1e-9
        assert np.mean(score) == pytest.approx(0.95, abs=0.01)


def test_a_perfect_yield_keeps_its_width():
    assert yield_estimate(30, 30).high == 1.0
    assert yield_estimate(30, 30).low == pytest.approx(0.8865, abs=1e-4)
    assert yield_estimate(0, 30).low == 0.0


@pytest.mark.parametrize(
    ("passed", "trials", "level", "message"),
    [
        (0, 0, 0.95, "trials = 0 is out of range: a proportion needs at least 1 trial"),
        (4, 3, 0.95, "passed = 4 is out of range: it must lie between 0 and trials = 3"),
        (-1, 3, 0.95, "passed = -1 is out of range"),
        (1, 3, 1.0, "confidence level 1.0 is out of range: give a number strictly between 0 and 1"),
        (1, 3, math.nan, "confidence level nan is out of range"),
    ],
)
@pytest.mark.parametrize("interval", [wilson, clopper_pearson, yield_estimate])
def test_bad_counts_and_levels_are_refused(interval, passed, trials, level, message):
    with pytest.raises(ValueError, match=message):
        interval(passed, trials, level=level)


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50), level=LEVELS)
def test_t_interval_equals_scipys(values, level):
    got = t_interval(values, level=level)
    assert got.best == pytest.approx(np.mean(values), abs=1e-9)
    if np.std(values) > 1e-6:
        theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(level)
        assert got.low == pytest.approx(theirs.low, rel=1e-7, abs=1e-7)
        assert got.high == pytest.approx(theirs.high, rel=1e-7, abs=1e-7)


def test_t_interval_is_cut_to_the_bounds_and_one_chip_says_nothing():
    assert t_interval([0.9, 1.0], bounds=(0, 1)).high == 1.0
    assert t_interval([0.4]) == Estimate(-math.inf, 0.4, math.inf)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bootstrap_equals_scipys_within_the_resampling_error(method):
    values = generator(1, 0, "skewed").lognormal(size=60)
    got = bootstrap_mean(values, rng=generator(0, -1, "b"), resamples=20000, method=method)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method=method, rng=np.random.default_rng(3)
    ).confidence_interval
    assert got.low == pytest.approx(theirs.low, rel=0.02)
    assert got.high == pytest.approx(theirs.high, rel=0.02)
    assert got == bootstrap_mean(values, rng=generator(0, -1, "b"), resamples=20000, method=method)


def test_bootstrap_and_t_cover_the_mean_about_as_often_as_they_say():
    rng = generator(2, 0, "coverage")
    held = {"t": 0, "bca": 0}
    for _ in range(400):
        values = rng.gamma(4.0, size=40)
        t, bca = t_interval(values), bootstrap_mean(values, rng=rng, resamples=400)
        held["t"] += t.low <= 4.0 <= t.high
        held["bca"] += bca.low <= 4.0 <= bca.high
    assert 0.91 <= held["t"] / 400 <= 0.98
    assert 0.90 <= held["bca"] / 400 <= 0.98


def test_bootstrap_of_equal_values_has_no_width():
    assert bootstrap_mean([0.5] * 4, rng=generator(0, 0, "x")) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0], {}, "1 trials are too few: this interval needs at least 2"),
        ([1.0, math.nan], {}, "value nan of trial 1 is not finite: count such trials apart"),
        ([1.0, 2.0], {"method": "bc"}, "bootstrap method 'bc' is unknown: give 'bca' or 'percentile'"),
        ([1.0, 2.0], {"resamples": 5}, "resamples = 5 is too few: give at least 100"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_do(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, rng=generator(0, 0, "x"), **options)


@given(
    values=st.lists(st.floats(-9, 9), min_size=1, max_size=200, unique=True),
    quantile=st.sampled_from([0.01, 0.05, 0.25, 0.5, 0.9]),
    level=LEVELS,
)
def test_quantile_bounds_equal_scipys_and_hold_the_estimate(values, quantile, level):
    got = quantile_estimate(values, quantile, level=level)
    theirs = scipy.stats.quantile_test(values, p=quantile).confidence_interval(level)
    assert got.coverage >= level - 1e-12
    assert got.low <= got.best <= got.high
    if abs(got.coverage - level) < 1e-9:
        return  # a tie at the level itself, which scipy reads as too few
    assert got.low_open == (not math.isfinite(theirs.low))
    assert got.high_open == (not math.isfinite(theirs.high))
    assert got.low == (min(values) if got.low_open else theirs.low)
    assert got.high == (max(values) if got.high_open else theirs.high)
    assert got.two_sided == (len(values) >= trials_for_quantile(quantile, level=level))


def test_quantile_coverage_is_exact_for_a_continuous_law():
    rng = generator(3, 0, "quantile")
    draws = rng.random((4000, 80))
    got = [quantile_estimate(row, 0.1, level=0.9) for row in draws]
    held = np.mean([one.low <= 0.1 <= one.high for one in got])
    assert held == pytest.approx(got[0].coverage, abs=3.5 * math.sqrt(0.1 * 0.9 / 4000))


def test_trials_for_a_quantile_is_the_first_number_that_bounds_it():
    for quantile, level in itertools.product((0.05, 0.5, 0.97), (0.9, 0.99)):
        needed = trials_for_quantile(quantile, level=level)
        assert quantile_estimate(range(needed), quantile, level=level).two_sided
        assert not quantile_estimate(range(needed - 1), quantile, level=level).two_sided


@pytest.mark.parametrize("quantile", [0.0, 1.0, math.nan])
def test_quantiles_out_of_range_are_refused(quantile):
    with pytest.raises(ValueError, match=r"quantile .* is out of range: give a number strictly"):
        quantile_estimate([1.0], quantile)
    with pytest.raises(ValueError, match=r"quantile .* is out of range"):
        trials_for_quantile(quantile)


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="0 trials are too few: this interval needs at least 1"):
        quantile_estimate([], 0.5)
    with pytest.raises(ValueError, match="0 trials are too few"):
        t_interval([])
