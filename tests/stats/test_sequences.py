"""Confidence sequences against their promise over all times at once, against plain products, and against splits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.rng import generator
from faultsim.stats import clopper_pearson
from faultsim.stats.betting import BernsteinSequence, BettingSequence
from faultsim.stats.sequences import BernoulliSequence

KINDS = [BernoulliSequence, BettingSequence, BernsteinSequence]


def _draws(law, runs, steps, key):
    rng = generator(0, 0, "sequences", key)
    if law == "rare":
        return (rng.random((runs, steps)) < 0.01).astype(float), 0.01
    if law == "coin":
        return (rng.random((runs, steps)) < 0.5).astype(float), 0.5
    if law == "beta":
        return rng.beta(1, 9, (runs, steps)), 0.1
    return np.where(rng.random((runs, steps)) < 0.02, 0.9, 0.1), 0.116  # a rare bad chip


def _missed(kind, draws, truth, **options):
    """Return the share of runs whose interval at the end, the intersection over all times, misses the truth."""
    missed = 0
    for row in draws:
        run = kind(level=0.9, **options)
        run.update(row)
        got = run.interval()
        missed += not got.low <= truth <= got.high
    return missed / len(draws)


@pytest.mark.parametrize(
    ("kind", "law"),
    [(BernoulliSequence, "rare"), (BernoulliSequence, "coin")]
    + [(kind, law) for kind in (BettingSequence, BernsteinSequence) for law in ("rare", "coin", "beta", "bad chip")],
)
def test_the_truth_is_held_at_all_times_at_once_as_often_as_promised(kind, law):
    draws, truth = _draws(law, 500, 1000, kind.name + law)
    # 500 runs: 3 standard errors of a share of 0.1
    assert _missed(kind, draws, truth) <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 500)


def test_an_interval_for_a_fixed_number_of_trials_fails_the_same_test():
    draws, truth = _draws("coin", 200, 1000, "peeking")
    hits = np.cumsum(draws, axis=1).astype(int)
    ends = {}
    missed = 0
    for row in hits:
        for n in range(10, 1001, 10):
            count = int(row[n - 1])
            if (count, n) not in ends:
                ends[count, n] = clopper_pearson(count, n, level=0.9)
            if not ends[count, n].low <= truth <= ends[count, n].high:
                missed += 1
                break
    assert missed / 200 > 0.2


def test_without_replacement_the_truth_is_held_and_a_census_has_no_width():
    rng = generator(1, 0, "without")
    units = np.concatenate([np.zeros(150), rng.random(50)])
    missed = 0
    for _ in range(300):
        run = BettingSequence(level=0.9, population=200)
        run.update(rng.permutation(units))
        low, _, high = run.interval(150)
        missed += not low <= units.mean() <= high
        end = run.interval()
        assert end.high - end.low < 1e-9
    assert missed / 300 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 300)


def test_knowing_the_population_narrows_the_interval():
    rng = generator(2, 0, "narrow")
    units = rng.permutation(np.r_[np.zeros(270), np.ones(30)])
    known, unknown = BettingSequence(population=300), BettingSequence()
    for run in (known, unknown):
        run.update(units[:200])
    assert known.interval().high - known.interval().low < 0.8 * (unknown.interval().high - unknown.interval().low)


def test_the_betting_interval_is_where_a_plain_product_of_bets_stays_poor():
    values = generator(3, 0, "plain").beta(2, 5, 60)
    run = BettingSequence(level=0.95, cap=0.5)
    run.update(values)
    low, _, high = run.interval()

    def richest(mean):
        up = down = best = 1.0
        seen, squares, total = 0, 0.25, 0.5
        for t, x in enumerate(values, start=1):
            stake = math.sqrt(2 * math.log(2 / 0.05) / (squares / t * t * math.log(t + 1)))
            up *= 1 + min(stake, 0.5 / mean) * (x - mean)
            down *= 1 - min(stake, 0.5 / (1 - mean)) * (x - mean)
            best = max(best, up / 2, down / 2)
            seen, total = seen + 1, total + x
            squares += (x - total / (t + 1)) ** 2
        return best

    for mean in np.linspace(0.01, 0.99, 197):
        assert (richest(mean) < 20) == (low < mean < high)


def test_the_bernstein_interval_is_the_papers_formula_written_out():
    values = generator(4, 0, "formula").random(40)
    run = BernsteinSequence(level=0.9)
    run.update(values)
    top = bottom = penalty = 0.0
    low, high, total, squares = 0.0, 1.0, 0.5, 0.25
    for t, x in enumerate(values, start=1):
        stake = min(0.5, math.sqrt(2 * math.log(20) / (squares / t * t * math.log(1 + t))))
        penalty += 4 * (x - total / t) ** 2 * (-math.log(1 - stake) - stake) / 4
        top, bottom = top + stake * x, bottom + stake
        half = (math.log(20) + penalty) / bottom
        low, high = max(low, top / bottom - half), min(high, top / bottom + half)
        total += x
        squares += (x - total / (t + 1)) ** 2
    assert run.interval()[::2] == pytest.approx((low, high))


@pytest.mark.parametrize("kind", KINDS)
@given(bits=st.lists(st.integers(0, 1), min_size=1, max_size=60), data=st.data())
def test_any_split_gives_the_same_bits_and_intervals_only_shrink(kind, bits, data):
    whole, parts = kind(level=0.95), kind(level=0.95)
    whole.update(bits)
    cut = data.draw(st.integers(0, len(bits)))
    parts.update(bits[:cut])
    parts.update(bits[cut:])
    assert parts.trials == whole.trials == len(bits)
    before = whole.interval(0)
    assert before == (0.0, 0.5, 1.0)
    for at in range(len(bits) + 1):
        now = whole.interval(at)
        assert now == parts.interval(at)
        assert 0 <= now.low <= now.best <= now.high <= 1
        assert before.low <= now.low
        assert now.high <= before.high
        before = now


@pytest.mark.parametrize("kind", KINDS)
def test_no_hit_at_all_still_leaves_a_width_and_it_falls_as_one_over_n(kind):
    run = kind(level=0.95)
    run.update(np.zeros(4000))
    early, late = run.interval(400), run.interval(4000)
    assert late.low == 0.0
    assert 3.0 / 4000 < late.high < 40 / 4000  # 3/n: not even a fixed n allows less
    assert late.high < early.high / 3


@pytest.mark.parametrize("kind", KINDS)
def test_values_out_of_range_are_refused_and_leave_the_sequence_as_it_was(kind):
    run = kind()
    run.update([1.0, 0.0])
    with pytest.raises(
        ValueError, match=r"value 1.5 of trial 3 is out of range: a confidence sequence needs values in"
    ):
        run.update([1.0, 1.5])
    with pytest.raises(ValueError, match=r"value nan of trial 0 is not finite"):
        run.update([math.nan])
    assert run.trials == 2
    with pytest.raises(ValueError, match="at = 3 is out of range: the sequence holds 2 trials"):
        run.interval(3)


def test_options_out_of_range_are_refused():
    with pytest.raises(
        ValueError, match=r"value 0.5 of trial 0 is neither 0 nor 1: give fractions to a BettingSequence"
    ):
        BernoulliSequence().update([0.5])
    with pytest.raises(ValueError, match="population = 0 is out of range: give at least 1, or None"):
        BettingSequence(population=0)
    with pytest.raises(ValueError, match="planned = 0 is out of range: give at least 1 trial, or None"):
        BettingSequence(planned=0)
    with pytest.raises(ValueError, match=r"cap = 1.0 is out of range: give a share strictly between 0 and 1"):
        BettingSequence(cap=1.0)
    with pytest.raises(ValueError, match=r"cap = 0.0 is out of range: give a stake strictly between 0 and 1"):
        BernsteinSequence(cap=0.0)
    with pytest.raises(ValueError, match="confidence level 2 is out of range"):
        BettingSequence(level=2)
    with pytest.raises(ValueError, match="3 trials are too many: the population holds only 2 units"):
        BettingSequence(population=2).update([0.1, 0.1, 0.1])
