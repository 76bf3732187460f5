"""Rows to figures: scores and losses with a bad end, outcomes with intervals that never claim too much, SDC FIT."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from scipy.stats import t as student

from faultsim.engine.summary import own_score, row, share_interval, summarise
from faultsim.metrics import Classification, Counts, LanguageModel, Outcomes, Tally
from faultsim.metrics.exact import ExactSum
from faultsim.results import OutcomeCounts, TrialRow
from faultsim.stats import clopper_pearson


def chip(trial=0, *, loss=1.0, score=None, critical=0, masked=10, nonfinite=0):
    outcomes = OutcomeCounts(masked=masked, tolerable=20 - masked - critical, critical=critical, nonfinite=0)
    return TrialRow(
        trial=trial, correct=5, mismatch=critical, nonfinite=nonfinite, n=20, loss=loss, score=score, outcomes=outcomes
    )


def chips(values, name="score"):
    return [chip(trial, **{name: value}) for trial, value in enumerate(values)]


@pytest.mark.parametrize(("higher", "at"), [(True, 4), (False, 95)])
def test_the_bad_end_of_a_score_is_the_percentile_of_the_bad_side(higher, at):
    scores = [float((37 * k) % 100) for k in range(100)]
    found = summarise(chips(scores), level=0.95, higher_is_better=higher).score
    ordered = sorted(scores)
    assert found.bad == ordered[at if higher else 94]
    assert (found.min, found.max) == (0.0, 99.0)
    half = student.ppf(0.975, 99) * (sum((x - 49.5) ** 2 for x in scores) / 99) ** 0.5 / 10
    assert (found.low, found.mean, found.high) == pytest.approx((49.5 - half, 49.5, 49.5 + half))
    assert found.bad_low <= found.bad <= found.bad_high


@pytest.mark.parametrize("higher", [True, False])
def test_a_chip_whose_score_is_not_finite_is_the_worst_one(higher):
    found = summarise(chips([None] * 10 + [1.0] * 90), level=0.95, higher_is_better=higher).score
    assert (found.mean, found.bad, found.nonfinite) == (None, None, 10)
    assert (found.min, found.max) == ((None, 1.0) if higher else (1.0, None))
    few = summarise(chips([None] + [1.0] * 99), level=0.95, higher_is_better=higher).score
    assert few.bad == 1.0
    assert (few.bad_low if higher else few.bad_high) is None


def test_losses_have_a_95th_percentile_even_where_the_worst_chip_is_not_finite():
    losses = [k / 100 for k in range(100)]
    found = summarise(chips(losses, "loss"), level=0.95).loss
    assert found.p95 == 0.94
    assert found.p95_low < 0.94 < found.p95_high
    broken = [chip(0, loss=None, nonfinite=3), *(chip(k, loss=losses[k]) for k in range(1, 100))]
    found = summarise(broken, level=0.95).loss
    assert (found.mean, found.max, found.p95) == (None, None, 0.95)
    assert found.note == "1 chips have outputs that are not finite"


def test_without_a_loss_the_note_says_so():
    found = summarise(chips([None, None], "loss"), level=0.95).loss
    assert (found.mean, found.max, found.p95, found.note) == (None, None, None, "the task has no loss")


def test_outcomes_are_counted_over_all_chips():
    rows = [chip(0, masked=20), chip(1, masked=20), chip(2, critical=4, masked=10), chip(3, critical=1, masked=0)]
    found = summarise(rows, level=0.9).outcomes
    assert [getattr(found, n).total for n in ("masked", "tolerable", "critical", "nonfinite")] == [50, 25, 5, 0]
    assert (found.chips_masked, found.chips_critical) == (2, 2)
    shares = [0, 0, 0.2, 0.05]
    spread = math.sqrt(sum((x - 0.0625) ** 2 for x in shares) / 3)
    half = student.ppf(0.95, 3) * spread / 2
    assert found.critical.share == pytest.approx(0.0625)
    assert found.critical.high == pytest.approx(0.0625 + half)
    assert found.critical.low == pytest.approx(max(0.0625 - half, 0))
    assert summarise([row(0, Tally(Counts(4, 2)))], level=0.9).outcomes is None


@given(st.integers(2, 300), st.floats(0.5, 0.99))
def test_an_outcome_that_was_never_seen_keeps_the_exact_bound_of_any_chip_that_shows_it(trials, level):
    mean, low, high = share_interval([0.0] * trials, level)
    assert (mean, low) == (0.0, 0.0)
    assert high == pytest.approx(beta.ppf(0.5 + level / 2, 1, trials))
    mean, low, high = share_interval([1.0] * trials, level)
    assert (mean, high) == (1.0, 1.0)
    assert low == pytest.approx(beta.ppf(0.5 - level / 2, trials, 1))


def test_sdc_fit_is_the_devices_own_rate_times_the_critical_share():
    rows = [chip(0, critical=4), chip(1), chip(2, critical=2), chip(3)]
    found = summarise(rows, level=0.95, device_fit=600.0)
    assert found.sdc_fit.value == pytest.approx(600 * 6 / 80)
    share = found.outcomes.critical
    assert (found.sdc_fit.low, found.sdc_fit.high) == pytest.approx((600 * share.low, 600 * share.high))
    assert (found.sdc_fit.device_fit, found.sdc_fit.events) == (600.0, 4)
    assert summarise(rows, level=0.95).sdc_fit is None
    never = summarise([chip(k) for k in range(100)], level=0.95, device_fit=600.0).sdc_fit
    assert never.value == 0
    assert never.high == pytest.approx(600 * beta.ppf(0.975, 1, 100))


def test_a_row_has_the_score_of_tasks_that_are_known_by_another_figure():
    tally = Tally(Counts(4, 2), ExactSum.of([1.0, 2.0, 3.0, 4.0]), outcomes=Outcomes(1, 2, 1, 0))
    assert row(7, tally, Classification()).score is None
    found = row(7, tally, LanguageModel(), detected=3)
    assert (found.score, found.loss, found.detected) == (2.5, 2.5, 3)
    assert found.outcomes == OutcomeCounts(masked=1, tolerable=2, critical=1, nonfinite=0)
    assert own_score(LanguageModel(), Tally(Counts(4, 2, 0, 1))) is None


def test_one_harmless_event_that_was_seen_proves_no_more_than_none() -> None:
    none = share_interval([0.0] * 100, 0.95, rare=True)
    one = share_interval([0.0] * 99 + [1 / 600], 0.95, rare=True)
    assert one[2] >= none[2] == pytest.approx(clopper_pearson(0, 100, level=0.95).high)
    assert one[1] == 0
    assert share_interval([0.0] * 99 + [1 / 600], 0.95)[2] < 1e-4  # many faults a chip: the spread is all there is


def test_the_interval_over_rare_events_holds_where_one_in_fifty_ruins_a_chip() -> None:
    rng = np.random.default_rng(0)
    truth, covered, plain = 0.02 + 0.2 / 600, 0, 0
    for _ in range(300):
        kind = rng.random(100)
        shares = np.where(kind < 0.02, 1.0, np.where(kind < 0.22, 1 / 600, 0.0)).tolist()
        low, high = share_interval(shares, 0.95, rare=True)[1:]
        covered += low <= truth <= high
        plain += share_interval(shares, 0.95)[2] >= truth
    assert covered >= 0.93 * 300
    assert plain < 0.93 * 300


@pytest.mark.parametrize("trials", [1, 2, 500])
@pytest.mark.parametrize("value", [0.0, 1.25])
def test_chips_that_are_all_alike_bound_neither_a_loss_nor_a_score(value, trials):
    same = summarise(chips([value] * trials), level=0.95, higher_is_better=True).score
    assert (same.mean, same.low, same.high) == (value, None, None)
    loss = summarise(chips([value] * trials, "loss"), level=0.95).loss
    assert (loss.mean, loss.low, loss.high) == (value, None, None)
    apart = summarise(chips([value] * trials + [value + 1], "loss"), level=0.95).loss
    assert apart.low < apart.mean < apart.high
