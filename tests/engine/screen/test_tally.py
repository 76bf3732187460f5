"""The corrected figures of one trial against all audits that could have been drawn."""

from itertools import combinations, product

import numpy as np
import pytest

from faultsim.engine.screen.tally import ScreenedTally, mismatch_rate
from faultsim.metrics import Counts, Tally


def tally(**given):
    zeros = dict.fromkeys(("unchanged", "screened", "audited", "suspects", "evaluated"), 0)
    counted = dict.fromkeys(("audit_mismatch", "mismatch", "audit_correct", "correct", "nonfinite"), 0)
    return ScreenedTally(**({"n": 10, "clean_correct": 7} | zeros | counted | given))


@pytest.mark.parametrize("room", [2, 4])
def test_the_mean_over_all_possible_audits_is_the_truth(room):
    screened = [1, 0, 0, 0, 1]  # truth on the images left to the screen
    suspects = [1, 1, 0, 1]
    change = [-1, 0, 0, 1, 0], [-1, 0, 0, -1]
    found, right = [], []
    for audited, evaluated in product(combinations(range(5), 2), combinations(range(4), room)):
        one = tally(
            unchanged=1,
            screened=5,
            audited=2,
            suspects=4,
            evaluated=room,
            audit_mismatch=sum(screened[i] for i in audited),
            mismatch=sum(suspects[i] for i in evaluated),
            audit_correct=sum(change[0][i] for i in audited),
            correct=sum(change[1][i] for i in evaluated),
        )
        assert 0 <= one.mismatch_rate <= 1
        assert not one.is_exact
        found.append(one.mismatch_rate)
        right.append(one.accuracy)
    assert np.mean(found) == pytest.approx(5 / 10)
    assert np.mean(right) == pytest.approx((7 - 2) / 10)


def test_a_trial_without_a_screened_image_is_exact():
    one = tally(unchanged=4, suspects=6, evaluated=6, mismatch=3, correct=-2)
    assert one.is_exact
    assert (one.predicted, one.left, one.difference, one.mismatch_rate) == (0.3, 0.0, 0.0, 0.3)
    assert one.accuracy == pytest.approx(0.5)


def test_the_answer_of_the_screen_alone_scales_up_a_sample_of_suspects_and_knows_no_audit():
    sampled = tally(unchanged=1, screened=5, audited=2, suspects=4, evaluated=2, audit_mismatch=2, mismatch=1)
    assert (sampled.predicted, sampled.answer) == (0, 0.2)
    every = tally(unchanged=1, screened=5, audited=2, suspects=4, evaluated=4, audit_mismatch=2, mismatch=3)
    assert every.predicted == every.answer == 0.3
    rate = mismatch_rate([sampled, every, tally(unchanged=10)])
    assert rate.uncorrected == pytest.approx((0.2 + 0.3) / 3)
    assert rate.rate.best == pytest.approx((0.2 + 0.5 + 0.3 + 0.5) / 3)


def test_a_whole_evaluation_becomes_a_tally():
    one = ScreenedTally.exact(Tally(Counts(10, 6, 2, 1)), clean_correct=7)
    assert (one.mismatch_rate, one.accuracy, one.nonfinite, one.is_exact) == (0.2, pytest.approx(0.6), 1, True)


def test_a_trial_that_was_not_audited_is_refused():
    bare = tally(screened=3, unchanged=7)
    with pytest.raises(ValueError, match="trial 1 left 3 images to the screen and none was audited: audit at least 1"):
        mismatch_rate([tally(unchanged=10), bare])
