"""Audited screens against simulated campaigns whose truth is known: no bias, and the promised coverage."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from faultsim.rng import generator
from faultsim.stats.betting import BettingSequence
from faultsim.stats.difference import AuditStratum, difference_estimate, screened_rate, screened_values


def _campaign(rng, *, trials, images, misses, audited):
    """Return answers, shares, differences: chips flip images, a screen evaluates some of these and misses the rest."""
    hit = rng.random(trials) < 0.3  # chips that do anything, with clusters of changed images
    chances = np.where(hit, rng.beta(1, 3, trials), 0.0)[:, None]
    truth = rng.random((trials, images)) < chances
    clustered = np.where(rng.random(trials) < 0.2, 3 * misses, misses / 2)[:, None]  # misses cluster on chips too
    evaluated = (truth & (rng.random((trials, images)) > clustered)) | (rng.random((trials, images)) < 0.05)
    found = np.zeros(trials)
    for i in range(trials):
        left = np.flatnonzero(~evaluated[i])
        if left.size:
            found[i] = truth[i, rng.choice(left, min(audited, left.size), replace=False)].mean()
    return (truth & evaluated).mean(axis=1), (~evaluated).mean(axis=1), found


@pytest.mark.parametrize("misses", [0.0, 0.3])
def test_the_corrected_rate_is_unbiased_and_holds_the_truth(misses):
    rng = generator(0, 0, "screened", str(misses))
    truth = 0.3 * 0.25  # chance of an active chip times the mean of beta(1, 3)
    bests, raw, held = [], [], 0
    for _ in range(300):
        got = screened_rate(*_campaign(rng, trials=60, images=40, misses=misses, audited=3), level=0.9)
        bests.append(got.rate.best)
        raw.append(got.uncorrected)
        held += got.rate.low <= truth <= got.rate.high
        assert 0 <= got.rate.low <= got.rate.best <= got.rate.high <= 1
    error = np.std(bests) / math.sqrt(300)
    assert np.mean(bests) == pytest.approx(truth, abs=4 * error)
    assert held / 300 >= 0.9 - 3 * math.sqrt(0.1 * 0.9 / 300)
    if misses:
        assert np.mean(raw) < truth - 4 * error  # the screen alone is wrong: the test can tell


def test_the_estimate_of_one_trial_averages_to_its_truth_over_every_audit():
    truth, evaluated = np.array([1, 0, 1, 1, 0, 0, 1]), np.array([1, 1, 0, 0, 0, 0, 0], dtype=bool)
    left = np.flatnonzero(~evaluated)
    for audited in (1, 2, 5):
        got = [
            screened_values([(truth & evaluated).mean()], [left.size / 7], [truth[list(pick)].mean()])[0]
            for pick in itertools.combinations(left, audited)
        ]
        assert np.mean(got) == pytest.approx(truth.mean())


def test_predictions_that_err_both_ways_are_corrected_too():
    rng = generator(1, 0, "both ways")
    bests, held = [], 0
    for _ in range(200):
        truth = rng.random((80, 20)) < 0.7
        guess = np.where(rng.random((80, 20)) < 0.1, ~truth, truth)
        pick = rng.integers(20, size=80)
        rows = np.arange(80)
        found = truth[rows, pick].astype(float) - guess[rows, pick]
        got = screened_rate(guess.mean(axis=1), np.ones(80), found, level=0.9, unchanged_is_zero=False)
        bests.append(got.rate.best)
        held += got.rate.low <= 0.7 <= got.rate.high
    assert np.mean(bests) == pytest.approx(0.7, abs=4 * np.std(bests) / math.sqrt(200))
    assert held / 200 >= 0.9 - 3 * math.sqrt(0.1 * 0.9 / 200)


def test_an_audit_without_a_difference_keeps_the_width_that_the_number_of_chips_allows():
    got = screened_rate(np.zeros(500), np.ones(500), np.zeros(500))
    assert got.corrected == 0
    assert got.rate.high > 1 - 0.05 ** (1 / 500)  # no chip seen: at least the rule of three
    assert got.rate.high < 4 * (1 - 0.05 ** (1 / 500))


def test_screened_values_feed_a_sequence():
    run = BettingSequence()
    run.update(screened_values([0.1, 0.2], [0.5, 0.0], [0.2, math.nan]))
    assert run.trials == 2
    assert run.interval().best == pytest.approx((0.2 + 0.2) / 2)


def test_the_difference_estimate_covers_for_every_number_of_wrong_predictions_summed_over_all_audits():
    population, audited = 40, 12
    for gains, losses in ((0, 0), (1, 0), (0, 3), (5, 2), (10, 10)):
        predicted = 15 / 40
        truth = predicted + (gains - losses) / population
        law = scipy.stats.multivariate_hypergeom([gains, losses, population - gains - losses], audited)
        held = mean = 0.0
        for g, b in itertools.product(range(min(gains, audited) + 1), range(min(losses, audited) + 1)):
            if g + b > audited:
                continue
            chance = law.pmf([g, b, audited - g - b])
            stratum = AuditStratum(population=population, predicted=predicted, audited=audited, gained=g, lost=b)
            got = difference_estimate([stratum], level=0.8)
            held += chance * (got.low - 1e-12 <= truth <= got.high + 1e-12)
            mean += chance * (predicted + (g - b) / audited)
        assert held >= 0.8 - 1e-9
        assert mean == pytest.approx(truth)


@pytest.mark.parametrize("method", ["exact", "score"])
def test_strata_of_predictions_are_covered(method):
    rng = generator(2, 0, "audit strata", method)
    truth = [rng.random(3000) < 0.01, rng.random(500) < 0.5]
    guess = [np.zeros(3000), np.where(rng.random(500) < 0.1, ~truth[1], truth[1]).astype(float)]
    mean = np.concatenate(truth).mean()
    held = 0
    for _ in range(150):
        strata = []
        for t, g in zip(truth, guess, strict=True):
            apart = (t - g)[rng.choice(t.size, 150, replace=False)]
            strata.append(
                AuditStratum(
                    population=t.size,
                    predicted=g.mean(),
                    audited=150,
                    gained=np.maximum(apart, 0).sum(),
                    lost=np.maximum(-apart, 0).sum(),
                )
            )
        got = difference_estimate(strata, method=method)
        held += got.low <= mean <= got.high
    assert held / 150 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 150)


def test_an_audit_of_everything_has_no_width_and_one_without_a_difference_has():
    everything = AuditStratum(population=50, predicted=0.3, audited=50, gained=2, lost=4)
    assert difference_estimate([everything]) == pytest.approx((0.26, 0.26, 0.26))
    silent = difference_estimate([AuditStratum(population=10**6, predicted=0.3, audited=200, gained=0, lost=0)])
    assert silent.low < 0.3 - 0.01
    assert silent.high > 0.3 + 0.01
    zero = difference_estimate([AuditStratum(population=10**6, predicted=0.0, audited=200, gained=0, lost=0)])
    assert zero.low == 0.0
    assert zero.high == pytest.approx(1 - 0.025 ** (1 / 200), rel=1e-3)  # all error on what truth can add


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: screened_rate([0.1], [0.5, 0.5], [0]), "1 answers, 2 shares and 1 differences: give one of each"),
        (lambda: screened_rate([0.1], [0.5], [math.nan]), "trial 0 left images to the screen and none was audited"),
        (lambda: screened_rate([1.1], [0.0], [0]), r"answer 1.1 of trial 0 is out of range: it must lie in \[0, 1\]"),
        (lambda: screened_rate([0.1], [1.5], [0]), r"screened share 1.5 of trial 0 is out of range"),
        (
            lambda: screened_rate([0.1], [0.5], [-0.5]),
            r"difference -0.5 of trial 0 is out of range: it must lie in \[0",
        ),
        (lambda: screened_rate([0.6], [0.5], [0]), "trial 0 has answer 0.6 with a share 0.5 left to the screen"),
        (lambda: difference_estimate([]), "0 strata are too few: give at least 1"),
        (
            lambda: AuditStratum(population=9, predicted=1.1, audited=3, gained=0, lost=0),
            "predicted = 1.1 is out of range: the mean of predictions lies in",
        ),
        (
            lambda: AuditStratum(population=9, predicted=0.1, audited=3, gained=2, lost=2),
            "gained . lost = 4 is out of range: 3 audited units differ by at most 1 each",
        ),
        (
            lambda: AuditStratum(population=9, predicted=0.1, audited=3, gained=-1, lost=0),
            "hits = -1 is out of range",
        ),
    ],
)
def test_what_is_out_of_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
