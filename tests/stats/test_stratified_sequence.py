"""Sequences over randomly drawn strata, and of quantiles, against their promise over all times."""

import itertools
import math

import numpy as np
import pytest

from faultsim.rng import generator
from faultsim.stats import trials_for_quantile
from faultsim.stats.betting import BettingSequence
from faultsim.stats.quantile_sequence import QuantileSequence
from faultsim.stats.stratified_sequence import StratifiedSequence


@pytest.mark.parametrize("probabilities", [None, [0.5, 0.3, 0.2]])
def test_the_weighted_mean_is_held_at_all_times_at_once(probabilities):
    weights, rates = np.array([0.8, 0.15, 0.05]), np.array([0.01, 0.2, 0.6])
    rng = generator(0, 0, "strata", str(probabilities))
    missed = 0
    for _ in range(300):
        run = StratifiedSequence(weights, probabilities, level=0.9)
        strata = rng.choice(3, size=600, p=probabilities or weights)
        run.update(strata, rng.random(600) < rates[strata])
        got = run.interval()
        missed += not got.low <= weights @ rates <= got.high
    assert missed / 300 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 300)


def test_drawn_by_weight_it_is_the_plain_sequence():
    rng = generator(1, 0, "plain")
    values, strata = rng.random(100), rng.choice(2, size=100, p=[0.7, 0.3])
    run, plain = StratifiedSequence([0.7, 0.3]), BettingSequence()
    run.update(strata[:40], values[:40])
    run.update(strata[40:], values[40:])
    plain.update(values)
    assert run.interval() == plain.interval()
    assert run.interval(50) == plain.interval(50)
    assert (run.trials, run.level) == (100, 0.95)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StratifiedSequence([0.5, 0.5], [1.0]), "2 weights and 1 probabilities: give one of each a stratum"),
        (lambda: StratifiedSequence([0.5, 0.6]), "the weights sum to 1.1, least 0.5: each is above 0, their sum 1"),
        (lambda: StratifiedSequence([0.5, 0.5], [1.0, 0.0]), "the probabilities sum to 1, least 0: each is above 0"),
        (lambda: StratifiedSequence([1.0]).update([0], [0.1, 0.2]), "1 strata and 2 values: give one of each a trial"),
        (
            lambda: StratifiedSequence([1.0]).update([1], [0.1]),
            "a stratum is out of range: give whole numbers from 0 to 0",
        ),
        (lambda: StratifiedSequence([1.0]).update([0.0], [0.1]), "a stratum is out of range"),
        (lambda: StratifiedSequence([1.0]).update([0], [1.1]), "a value is out of range: a confidence sequence needs"),
        (lambda: QuantileSequence(1.0), "quantile 1.0 is out of range: give a number strictly between 0 and 1"),
        (lambda: QuantileSequence(0.5, level=0), "confidence level 0 is out of range"),
        (lambda: QuantileSequence(0.5).update([math.inf]), "value inf of trial 0 is not finite"),
        (lambda: QuantileSequence(0.5).interval(), "0 trials are too few: a quantile needs at least 1"),
    ],
)
def test_what_is_out_of_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("law", ["continuous", "ties"])
def test_the_quantile_is_held_at_all_times_at_once(quantile, law):
    rng = generator(2, 0, "quantile", law, str(quantile))
    missed = 0
    for _ in range(200):
        values, truth = rng.random(400), quantile
        if law == "ties":  # a lattice, as accuracies are
            values, truth = np.ceil(values * 10) / 10, math.ceil(quantile * 10 - 1e-9) / 10
        run = QuantileSequence(quantile, level=0.9)
        run.update(values)
        got = run.interval()
        missed += (not got.low_open and got.low > truth + 1e-12) or (not got.high_open and got.high < truth - 1e-12)
    assert missed / 200 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 200)


def test_bounds_of_a_quantile_mirror_only_tighten_and_come_later_than_at_a_fixed_look():
    values = generator(3, 0, "mirror").random(300)
    low, high = QuantileSequence(0.1), QuantileSequence(0.9)
    first_two_sided = None
    bounds = []
    for n, value in enumerate(values, start=1):
        low.update([value])
        high.update([-value])
        got, mirrored = low.interval(), high.interval()
        assert (got.low_open, got.high_open) == (mirrored.high_open, mirrored.low_open)
        if got.two_sided:
            first_two_sided = first_two_sided or n
            bounds.append((low._low, low._high))
            assert (low._low, low._high) == (-high._high, -high._low)
    assert trials_for_quantile(0.1) < first_two_sided < 2.5 * trials_for_quantile(0.1)
    assert all(a[0] <= b[0] and b[1] <= a[1] for a, b in itertools.pairwise(bounds))
