"""Stratified estimates against one-stratum intervals, simulation, and a plain search for the guaranteed end."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from faultsim.rng import generator
from faultsim.stats import wilson
from faultsim.stats.finite import wilson_finite
from faultsim.stats.stratified import Stratum, stratified_estimate

CASES = {  # populations, samples, true rates
    "rare, proportional": ([5000] * 8, [40] * 8, [0, 0, 0, 0, 0, 0, 0.005, 0.1]),
    "common, proportional": ([1000] * 10, [20] * 10, np.linspace(0.05, 0.95, 10)),
    "one trial a stratum": ([100] * 150, [1] * 150, np.linspace(0, 0.4, 150)),
    "a rate hidden in a large stratum": ([9000, 1000], [40, 960], [0.02, 0.3]),
    "a precise sign bit, a rare rest": ([22000, 1000], [400, 900], [0.0075, 0.4]),
    "after Neyman": ([20000, 1000, 1000], [100, 200, 200], [0.001, 0.5, 0.3]),
    "tiny strata, half of them seen": ([10, 20, 30, 40], [5, 10, 15, 20], [0.3, 0.2, 0.1, 0.5]),
    "two strata seen whole": ([10, 20, 5000], [10, 20, 50], [0.3, 0.2, 0.04]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_true_mean_is_held_as_often_as_promised(name):
    populations, samples, rates = (np.array(column) for column in CASES[name])
    units = np.round(populations * rates).astype(int)
    truth = units.sum() / populations.sum()
    rng = generator(0, 0, "stratified", name)
    runs = 120
    held = {"score": 0, "exact": 0}
    estimates = []
    for _ in range(runs):
        hits = rng.hypergeometric(units, populations - units, samples)
        strata = [Stratum(*map(int, row)) for row in zip(populations, samples, hits, strict=True)]
        for method in held:
            got = stratified_estimate(strata, method=method)
            held[method] += got.low - 1e-12 <= truth <= got.high + 1e-12
        estimates.append(got.best)
    assert held["exact"] / runs >= 0.95  # in truth far above
    assert held["score"] / runs >= 0.95 - 3.5 * math.sqrt(0.95 * 0.05 / runs)  # Wilson's own dips go as deep
    assert np.mean(estimates) == pytest.approx(truth, abs=4 * np.std(estimates) / math.sqrt(runs))


def test_the_guaranteed_interval_covers_at_every_pair_of_rates_by_summing_over_all_outcomes():
    populations, samples = (300, 100), (6, 9)
    ends = {
        hits: stratified_estimate(
            [Stratum(n, m, x) for n, m, x in zip(populations, samples, hits, strict=True)],
            level=0.8,
            method="exact",
            replacement=True,
        )
        for hits in itertools.product(range(7), range(10))
    }
    rates = np.linspace(0, 1, 21)
    first, second = (scipy.stats.binom.pmf(np.arange(m + 1)[:, None], m, rates) for m in samples)
    for (i, p), (j, q) in itertools.product(enumerate(rates), repeat=2):
        truth = 0.75 * p + 0.25 * q
        held = sum(
            first[x, i] * second[y, j] for (x, y), got in ends.items() if got.low - 1e-12 <= truth <= got.high + 1e-12
        )
        assert held >= 0.8 - 1e-9


def test_bounded_values_that_are_no_counts_are_covered_too():
    rng = generator(1, 0, "values")
    units = [rng.beta(0.2, 3, 400), rng.beta(2, 2, 100)]
    truth = np.concatenate(units).mean()
    held = {"score": 0, "exact": 0}
    for _ in range(150):
        strata = [Stratum.of_values(u.size, rng.choice(u, 25, replace=False)) for u in units]
        for method in held:
            got = stratified_estimate(strata, method=method)
            held[method] += got.low <= truth <= got.high
    assert min(held.values()) / 150 >= 0.95


@given(trials=st.integers(1, 400), share=st.floats(0, 1), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_one_stratum_gives_wilsons_interval(trials, share, level):
    hits = round(trials * share)
    for population in (trials + 7, 10**9):
        finite = stratified_estimate([Stratum(population, trials, hits)], level=level)
        assert finite == pytest.approx(wilson_finite(hits, trials, population, level=level), abs=1e-7)
        infinite = stratified_estimate([Stratum(population, trials, hits)], level=level, replacement=True)
        assert infinite == pytest.approx(wilson(hits, trials, level=level), abs=1e-7)


NARROW = {  # strata, units of each, samples of each, rate: but for the last narrower than a step of the first look
    "nearly all units seen": (64, 1000, 970, 0.1),
    "few strata, few unseen": (8, 4000, 3980, 0.1),
    "fewer still": (4, 20000, 19980, 0.1),
    "wide enough for a step": (160, 100, 90, 0.1),
}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_intervals_have_the_width_of_the_normal_law_and_hold_the_mean(name):
    count, population, sampled, rate = NARROW[name]
    rng = generator(0, 0, "narrow", name)
    runs, held = 60, 0
    for _ in range(runs):
        units = rng.binomial(population, rate, size=count)
        hits = rng.hypergeometric(units, population - units, sampled)
        got = stratified_estimate([Stratum(population, sampled, int(x)) for x in hits])
        variance = got.best * (1 - got.best) / sampled / count * (population - sampled) / (population - 1)
        error = scipy.stats.norm.ppf(0.975) * math.sqrt(variance)
        assert (got.best - got.low, got.high - got.best) == pytest.approx((error, error), rel=0.03)
        held += got.low <= units.sum() / population / count <= got.high
    assert held / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs)


def test_equal_strata_with_equal_hits_give_wilsons_interval_of_all_of_them():
    got = stratified_estimate([Stratum(1000, 970, 97)] * 64)
    z2 = scipy.stats.norm.ppf(0.975) ** 2 * 30 / 999 / (64 * 970)  # equal rates: Wilson's quadratic, solved
    middle, half = 0.1 + z2 / 2, math.sqrt(z2 * 0.09 + z2**2 / 4)
    assert got == pytest.approx(((middle - half) / (1 + z2), 0.1, (middle + half) / (1 + z2)), abs=1e-12)


@pytest.mark.parametrize("method", ["score", "exact"])
def test_no_hit_anywhere_leaves_at_least_what_one_look_at_the_worst_stratum_leaves(method):
    strata = [Stratum(10**6, 50, 0), Stratum(10**6, 5000, 0)]
    got = stratified_estimate(strata, method=method)
    assert got.low == got.best == 0.0
    assert got.high > 0.5 * (1 - 0.05 ** (1 / 50))  # all in the first: P(no hit) = 5 %
    assert got.high < 0.5 * 0.2


@pytest.mark.parametrize("method", ["score", "exact"])
@given(data=st.data())
def test_ends_are_ordered_possible_and_mirror(method, data):
    rows = data.draw(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
    strata = [Stratum(n, m := max(1, round(n * f)), round(m * h)) for n, f, h in rows]
    got = stratified_estimate(strata, method=method)
    units = sum(one.population for one in strata)
    least = sum(one.hits for one in strata) / units
    most = sum(one.hits + one.population - one.sampled for one in strata) / units
    assert least - 1e-9 <= got.low <= got.best <= got.high <= most + 1e-9
    mirror = stratified_estimate([Stratum(s.population, s.sampled, s.sampled - s.hits) for s in strata], method=method)
    assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((got.low, got.high), abs=1e-6)


@pytest.mark.parametrize("method", ["score", "exact"])
def test_a_census_has_no_width_and_a_seen_stratum_adds_none(method):
    census = [Stratum(40, 40, 3), Stratum(7, 7, 7)]
    assert stratified_estimate(census, method=method) == pytest.approx((10 / 47,) * 3)
    half = stratified_estimate([Stratum(500, 500, 3), Stratum(500, 50, 5)], method=method)
    alone = stratified_estimate([Stratum(500, 50, 5)], method=method)
    slack = 1.0 if method == "score" else 1.2  # the guaranteed one spends error on the rates of each of two strata
    assert half.high - half.low <= slack * (alone.high - alone.low) / 2 + 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Stratum(0, 1, 0), "population = 0 is out of range: a stratum has at least 1 unit"),
        (lambda: Stratum(5, 0, 0), "sampled = 0 is out of range: a stratum without a sampled unit bounds nothing"),
        (lambda: Stratum(5, 2, 3), "hits = 3 is out of range: it must lie between 0 and sampled = 2"),
        (lambda: Stratum(5, 2, math.nan), "hits = nan is out of range"),
        (lambda: Stratum.of_values(5, [0.1, 1.1]), r"a value of the stratum leaves \[0, 1\]: scale the values"),
        (lambda: stratified_estimate([]), "0 strata are too few: give at least 1"),
        (
            lambda: stratified_estimate([Stratum(5, 6, 0)]),
            "stratum 0 holds 5 units and 6 samples: no unit counts twice",
        ),
        (lambda: stratified_estimate([Stratum(5, 5, 0)], method="wald"), "method 'wald' is unknown: give 'score' or"),
        (lambda: stratified_estimate([Stratum(5, 5, 0)], level=0), "confidence level 0 is out of range"),
    ],
)
def test_what_is_out_of_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_many_strata_take_bounded_memory():
    strata = [Stratum(1000 + h, 2, float(h % 7 == 0)) for h in range(20_000)]
    tracemalloc.start()
    found = stratified_estimate(strata)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 150 << 20
    alone = stratified_estimate(strata[:2000])
    assert found.low < found.best < found.high
    assert found.high - found.low < alone.high - alone.low
