"""Two models on the same chips: against all sign patterns, scipy's t, and chips that share their faults."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from faultsim.rng import generator
from faultsim.stats import Estimate
from faultsim.stats.paired import PairedDifference, paired_difference, statement


def _compare(first, second, **options):
    return paired_difference(first, second, rng=generator(0, -1, "paired"), **options)


@pytest.mark.parametrize("chips", [2, 5, 9, 12])
def test_the_p_value_is_the_share_of_all_sign_patterns_with_so_large_a_mean(chips):
    rng = generator(0, 0, "signs", str(chips))
    first, second = rng.random(chips), rng.random(chips)
    apart = second - first
    means = np.array([np.mean(np.array(s) * apart) for s in itertools.product((-1, 1), repeat=chips)])
    share = np.mean(np.abs(means) >= abs(apart.mean()) * (1 - 1e-12))
    got = _compare(first, second)
    assert got.exact
    assert got.p_value == pytest.approx(share)


def test_the_interval_is_students_on_the_differences():
    rng = generator(1, 0, "students")
    first, second = 0.9 - 0.01 * rng.random(30), 0.9 - 0.01 * rng.random(30)
    theirs = scipy.stats.ttest_rel(second, first).confidence_interval(0.99)
    got = _compare(first, second, level=0.99)
    assert got.difference[::2] == pytest.approx((theirs.low, theirs.high))
    assert not got.exact
    assert got == _compare(first, second, level=0.99)
    assert isinstance(got.p_value, float)


def test_a_difference_that_is_not_there_is_claimed_no_more_often_than_promised_though_images_share_chips():
    rng = generator(2, 0, "null")
    claimed = mcnemar = 0
    for _ in range(400):
        chances = rng.beta(1, 4, (2, 10))  # each model has chips of its own strength, equal in law
        wrong = rng.random((2, 10, 200)) < chances[:, :, None]
        got = _compare(1 - wrong[0].mean(axis=1), 1 - wrong[1].mean(axis=1))
        claimed += got.claimed
        b, c = int((wrong[0] & ~wrong[1]).sum()), int((~wrong[0] & wrong[1]).sum())
        mcnemar += scipy.stats.binomtest(b, b + c).pvalue <= 0.05
    assert claimed / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert mcnemar / 400 > 0.5  # what counting images as trials would claim


def test_pairing_sees_what_two_separate_intervals_hide():
    rng = generator(3, 0, "pairing")
    chips = rng.beta(2, 2, 25)
    got = _compare(chips, np.minimum(1, chips + 0.01 + 0.002 * rng.random(25)))
    assert got.claimed
    assert statement(got).startswith(
        "the second model's accuracy is higher on the same 25 chips: second minus first +0.0"
    )
    assert got.p_value == 2 / 10_000  # no random pattern of signs came near


def test_equal_differences_keep_a_width_and_few_chips_claim_nothing():
    same = _compare([0.5] * 6, [0.5] * 6)
    assert same.difference.low < -0.1 < 0.1 < same.difference.high
    assert same.p_value == 1.0
    shifted = _compare([0.5] * 6, [0.51] * 6)
    assert shifted.difference.low < 0 < shifted.difference.best < shifted.difference.high
    assert not shifted.claimed
    one = _compare([0.5], [0.9])
    assert (one.p_value, one.claimed) == (1.0, False)
    assert statement(same).startswith("no difference in accuracy is shown on the same 6 chips")


def test_a_census_leaves_nothing_to_chance():
    first = [0.5, 0.5, 0.5, 0.5]
    assert not _compare(first, [0.5, 0.6, 0.5, 0.7]).claimed
    found = _compare(first, [0.5, 0.6, 0.5, 0.7], population=4)
    assert found.difference == pytest.approx((0.075, 0.075, 0.075))
    assert (found.p_value, found.claimed, found.exact) == (0.0, True, True)
    assert statement(found) == (
        "the second model's accuracy is higher on the same 4 chips, which are all there are: second minus first +0.075"
    )
    same = _compare(first, first, population=4)
    assert (same.difference, same.p_value, same.claimed) == (Estimate(0.0, 0.0, 0.0), 1.0, False)


def test_a_claim_needs_both_the_interval_and_the_test():
    apart = Estimate(0.01, 0.02, 0.03)
    assert PairedDifference(apart, 0.05, 9, 0.95, True).claimed
    assert not PairedDifference(apart, 0.06, 9, 0.95, True).claimed
    assert not PairedDifference(Estimate(-0.01, 0.02, 0.03), 0.01, 9, 0.95, True).claimed
    lower = statement(PairedDifference(Estimate(-0.03, -0.02, -0.01), 0.004, 9, 0.95, True), quantity="loss")
    assert lower == (
        "the second model's loss is lower on the same 9 chips: second minus first -0.02, "
        "95 % interval -0.03 to -0.01, p = 0.004 (sign-flip test)"
    )


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ([1.0], [1.0, 0.5], {}, "1 chips of the first model and 2 of the second: compare the same chips"),
        ([], [], {}, "0 trials are too few"),
        ([math.nan], [1.0], {}, "value nan of trial 0 is not finite"),
        ([0.0, 0.0], [3.0, 1.0], {}, "a difference of 3 exceeds span = 1: give the range of the values"),
        ([0.0], [1.0], {"span": 0.0}, "span = 0.0 is out of range: give a finite number above 0"),
        ([0.0], [1.0], {"resamples": 9}, "resamples = 9 is too few: give at least 100"),
        ([0.0], [1.0], {"level": 1.0}, "confidence level 1.0 is out of range"),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, options, message):
    with pytest.raises(ValueError, match=message):
        _compare(first, second, **options)
