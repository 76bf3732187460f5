"""Two samples of chips: against scipy's Welch interval, all deals of few chips, and samples that do not differ."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from faultsim.rng import generator
from faultsim.stats.unpaired import unpaired_difference


def _compare(first, second, **options):
    return unpaired_difference(first, second, rng=generator(0, -1, "unpaired"), **options)


@pytest.mark.parametrize(("chips", "others", "level"), [(30, 30, 0.95), (8, 40, 0.99), (2, 3, 0.9)])
def test_the_interval_is_welchs(chips, others, level):
    rng = generator(0, chips, "welch")
    first, second = 0.9 - 0.01 * rng.random(chips), 0.9 - 0.05 * rng.random(others)
    theirs = scipy.stats.ttest_ind(second, first, equal_var=False).confidence_interval(level)
    got = _compare(first, second, level=level)
    assert got.difference[::2] == pytest.approx((max(theirs.low, -1), min(theirs.high, 1)))
    assert got.trials == (chips, others)


def test_the_p_value_is_the_share_of_all_deals_with_so_large_a_statistic():
    rng = generator(0, 1, "deals")
    first, second = rng.random(4), rng.random(5) + 0.3
    everything = np.concatenate([first, second])

    def welch(a, b):
        return (b.mean() - a.mean()) / math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))

    found = []
    for chosen in itertools.combinations(range(9), 4):
        left = [at for at in range(9) if at not in chosen]
        found.append(welch(everything[list(chosen)], everything[left]))
    there = welch(first, second)
    upper = np.mean(np.array(found) >= there * (1 - 1e-12))
    lower = np.mean(np.array(found) <= there * (1 + 1e-12))
    assert _compare(first, second, span=2.0).p_value == pytest.approx(min(1.0, 2 * min(upper, lower)))


def test_the_same_generator_gives_the_same_answer():
    rng = generator(0, 2, "again")
    first, second = rng.random(40), rng.random(40)
    assert _compare(first, second) == _compare(first, second)


def test_samples_of_one_law_are_rarely_told_apart():
    claims = 0
    for trial in range(200):
        rng = generator(3, trial, "null")
        first, second = rng.beta(20, 2, 25), rng.beta(20, 2, 15)
        claims += unpaired_difference(first, second, rng=rng, resamples=199).claimed
    assert claims <= scipy.stats.binom.ppf(0.999, 200, 0.05)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_interval_holds_the_estimate_and_turns_with_the_samples(first, second):
    one, other = (_compare(a, b, resamples=100) for a, b in ((first, second), (second, first)))
    assert one.difference.low <= one.difference.best <= one.difference.high
    assert one.difference.best == pytest.approx(-other.difference.best)
    assert one.difference.low == pytest.approx(-other.difference.high)
    assert 0 <= one.p_value <= 1


def test_one_chip_says_nothing_of_a_spread():
    got = _compare([0.9], [0.1, 0.2, 0.3])
    assert got.difference[::2] == (-1.0, 1.0)
    assert not got.claimed


def test_chips_that_are_all_alike_leave_a_width():
    got = _compare([0.9] * 5, [0.8] * 5)
    assert got.difference.low < -0.1 < got.difference.high
    assert not got.claimed


def test_chips_at_the_end_of_their_range_hide_rare_ones():
    """One mean is 1, the other 0.78: ten chips of it are all 1 in one campaign out of twelve."""
    difference = _compare([1.0] * 1000, [1.0] * 10).difference
    assert difference.low <= -0.22
    assert difference.high < 0.4
    wide = _compare([1.0, 1.0], [0.1, 0.1]).difference
    assert (wide.low, wide.high) == (-1.0, pytest.approx(min(1.0, wide.high)))


@pytest.mark.parametrize("share", [0.05, 0.22, 0.3])
@pytest.mark.parametrize("sizes", [(100, 10), (5, 40), (8, 8)])
def test_rare_chips_are_seldom_missed(share, sizes):
    rng = np.random.default_rng(7)
    all_right = unpaired_difference(np.ones(sizes[0]), np.ones(sizes[1]), rng=rng, resamples=100).difference
    drawn = rng.random((4000, sizes[1])) > share
    alike = drawn.all(1)  # else Welch's interval, which is for chips that spread
    missed = alike.sum() if not all_right.low <= -share <= all_right.high else 0
    assert missed <= 4000 * 0.05


@pytest.mark.parametrize(
    ("first", "second", "options", "match"),
    [
        ([], [0.1], {}, "0 trials are too few"),
        ([0.1], [math.nan], {}, "finite"),
        ([0.1], [0.2], {"resamples": 99}, "resamples = 99 is too few"),
        ([0.1], [0.2], {"span": 0.0}, "span = 0.0 is out of range"),
        ([0.1], [0.2], {"level": 1.0}, "level"),
    ],
)
def test_bad_input_is_refused(first, second, options, match):
    with pytest.raises(ValueError, match=match):
        _compare(first, second, **options)
