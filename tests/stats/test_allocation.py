"""Allocations against the law that defines them, brute force, and what two phases do to the estimate."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.rng import generator
from faultsim.stats.allocation import neyman, pilot_std, proportional

POPULATIONS = st.lists(st.integers(1, 10**7), min_size=1, max_size=12)


@given(populations=POPULATIONS, share=st.floats(0, 1), least=st.integers(0, 5), data=st.data())
def test_an_allocation_sums_to_the_trials_between_the_least_and_the_population(populations, share, least, data):
    floor = sum(min(least, n) for n in populations)
    trials = floor + round(share * (sum(populations) - floor))
    stds = data.draw(st.lists(st.floats(0, 0.5), min_size=len(populations), max_size=len(populations)))
    for got in (proportional(populations, trials, least=least), neyman(populations, stds, trials, least=least)):
        assert sum(got) == trials
        assert all(min(least, n) <= count <= n for count, n in zip(got, populations, strict=True))


@given(populations=POPULATIONS, trials=st.integers(0, 1000))
def test_without_a_least_the_quota_is_rounded_by_less_than_one(populations, trials):
    trials = min(trials, sum(populations))
    got = proportional(populations, trials, least=0)
    quotas = [trials * n / sum(populations) for n in populations]
    assert all(abs(count - quota) < 1 + 1e-6 for count, quota in zip(got, quotas, strict=True))


def test_neymans_allocation_has_the_least_variance_of_all():
    populations, stds = (30, 50, 8), np.array([0.1, 0.4, 0.5])
    weights = np.array(populations) / sum(populations)

    def variance(counts):
        return float(np.sum((weights * stds) ** 2 / np.array(counts)))

    best = min(
        variance(counts) for counts in itertools.product(*(range(1, n + 1) for n in populations)) if sum(counts) == 40
    )
    assert variance(neyman(populations, stds, 40)) <= best * 1.01  # whole numbers by remainders, not by search


def test_a_stratum_that_is_full_hands_its_trials_on_and_no_spread_at_all_is_proportional():
    assert neyman([10, 1000, 1000], [0.5, 0.001, 0.001], 50) == [10, 20, 20]
    assert neyman([10, 1000, 90], [0, 0, 0], 110) == proportional([10, 1000, 90], 110)
    assert neyman([1000, 1000], [0.5, 0.0], 100, least=3) == [97, 3]


def test_pilot_spread_is_never_zero_and_is_the_usual_one_in_the_middle():
    assert pilot_std(0, 10) > 0
    assert pilot_std(10, 10) == pytest.approx(pilot_std(0, 10))
    assert pilot_std(5000, 10000) == pytest.approx(0.5)
    assert pilot_std(0, 0) == 0.5


def test_the_second_phase_alone_is_unbiased_and_the_pool_nearly_so():
    rng = generator(0, 0, "two phases")
    rates, weights = np.array([0.05, 0.3]), np.array([0.9, 0.1])
    runs, pilot, rest = 20000, 20, 200
    seen = rng.binomial(pilot, rates, (runs, 2))
    further = {}
    for pair in {tuple(map(int, row)) for row in seen}:
        further[pair] = neyman([9000, 1000], [pilot_std(k, pilot) for k in pair], rest)
    counts = np.array([further[tuple(map(int, row))] for row in seen])
    hits = rng.binomial(counts, rates)
    truth = float(weights @ rates)
    second = (hits / counts) @ weights
    pooled = ((hits + seen) / (counts + pilot)) @ weights
    assert second.mean() == pytest.approx(truth, abs=4 * second.std() / math.sqrt(runs))
    assert abs(pooled.mean() - truth) < 0.1 * pooled.std()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: proportional([], 0), "0 strata are too few: give at least 1"),
        (lambda: proportional([5, 0], 3), "population = 0 is out of range: a stratum has at least 1 unit"),
        (lambda: proportional([5, 5], 11), "trials = 11 is out of range: 2 strata with at least 1 each take 2 to 10"),
        (
            lambda: proportional([5, 5], 3, least=2),
            "trials = 3 is out of range: 2 strata with at least 2 each take 4 to",
        ),
        (lambda: proportional([5], 3, least=-1), "least = -1 is out of range: give at least 0"),
        (lambda: neyman([5, 5], [0.1], 3), "1 standard deviations do not fit 2 strata: give one a stratum"),
        (lambda: neyman([5, 5], [0.1, -0.1], 3), "standard deviation -0.1 is out of range: give at least 0"),
        (lambda: pilot_std(3, 2), "hits = 3 is out of range: it must lie between 0 and sampled = 2"),
    ],
)
def test_what_cannot_be_split_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
