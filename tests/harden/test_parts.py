"""Samples in any order, splits that share none, the search over strengths, recipes, verdicts."""

import numpy as np
import pytest
from example_result import example
from hypothesis import given
from hypothesis import strategies as st

from faultsim.device import load_device
from faultsim.errors import OptionError
from faultsim.harden import samples
from faultsim.harden.compare import paired, paired_loss, tail_rose, verdict
from faultsim.harden.curve import Point, chosen, steady
from faultsim.harden.options import Training
from faultsim.harden.recipes import LOSSES, RECIPES, named_loss, recipe
from faultsim.harden.samples import Samples, split
from faultsim.harden.strength import Tried, search_strength, weakest
from faultsim.model import load_model
from faultsim.results.hardening import Compared, PairedGain
from tests.harden.conftest import Arrays, smooth_mlp


@pytest.mark.parametrize("most", [1 << 31, 0])
def test_samples_come_in_the_order_asked_for_from_memory_and_from_the_disk(smooth, monkeypatch, most):
    monkeypatch.setattr(samples, "MOST_BYTES", most)
    x, y = np.arange(60.0).reshape(12, 5), np.arange(12)
    part = Samples(Arrays("x", x, y), np.array([7, 1, 2, 3, 11]), smooth.inputs, part="some")
    rows = np.array([4, 0, 0, 2])
    inputs, labels = part.take(rows)
    assert np.array_equal(inputs["x"], x[[11, 7, 7, 2]])
    assert np.array_equal(labels, [11, 7, 7, 2])
    assert np.array_equal(part.inputs(1, 4)["x"], x[[1, 2, 3]])
    assert np.array_equal(part.labels(1, 9), [1, 2, 3, 11])
    assert part.source == "arrays (some)"


@given(count=st.integers(20, 90), seed=st.integers(0, 5), multiple=st.sampled_from([1, 4]))
def test_the_parts_share_no_sample_and_lose_none(count, seed, multiple):
    model = load_model(smooth_mlp())
    data = Arrays("x", np.zeros((count, 5)), np.zeros(count, np.int64))
    parts = split(data, model.inputs, seed=seed, validation=0.25, test=0.25, multiple=multiple)
    picks = np.concatenate([part.picks for part in parts])
    assert len(np.unique(picks)) == len(picks) > count - 3 * multiple - 1
    assert all(len(part) and len(part) % multiple == 0 for part in parts)
    again = split(data, model.inputs, seed=seed, validation=0.25, test=0.25, multiple=multiple)
    assert all(np.array_equal(a.picks, b.picks) for a, b in zip(parts, again, strict=True))


def test_splits_that_leave_nothing_are_refused(smooth):
    data = Arrays("x", np.zeros((4, 5)), np.zeros(4, np.int64))
    with pytest.raises(OptionError, match="give parts that are below 1 together"):
        split(data, smooth.inputs, seed=0, validation=0.5, test=0.5)
    with pytest.raises(OptionError, match="holds 4 samples, too few to split"):
        split(data, smooth.inputs, seed=0, validation=0.1, test=0.1)
    ten = Arrays("x", np.zeros((10, 5)), np.zeros(10, np.int64))
    with pytest.raises(OptionError, match="10 samples, of which none is left to train on in whole batches of 4"):
        split(ten, smooth.inputs, seed=0, validation=0.4, test=0.4, multiple=4)


@given(peak=st.integers(-6, 6), start=st.integers(-6, 6))
def test_the_search_finds_the_top_of_a_unimodal_score(peak, start):
    seen = []

    def score(strength):
        seen.append(strength)
        return -abs(np.log2(strength) - peak)

    tried = search_strength(2.0**start, score, most=40)
    assert max(tried, key=lambda one: one.score).strength == 2.0**peak
    assert len(set(seen)) == len(seen) == len(tried) <= abs(peak - start) + 3


def test_the_search_keeps_to_its_budget():
    tried = search_strength(1.0, lambda strength: strength, most=3)
    assert [one.strength for one in tried] == [1.0, 2.0, 4.0]
    with pytest.raises(OptionError, match="strength 0"):
        search_strength(0.0, lambda strength: 0.0, most=3)


def test_auto_follows_the_memory():
    assert recipe("auto", load_device("reram")).loss.kind == "noise+l_star"
    assert recipe("auto", load_device("sram")).loss.kind == "clip+randbet+l_star"
    assert recipe("auto", load_device("sram")).also.kind == "clip+randbet+l_star+negative_bias"
    assert recipe("auto", load_device("reram")).also is None
    assert recipe("plain", load_device("sram")).loss.kind == "plain"
    for name in RECIPES:
        assert recipe(name, load_device("sram")).why
    with pytest.raises(OptionError, match="'bits' is for memories that hold words, and reram_1t1r holds conductances"):
        recipe("bits", load_device("reram"))
    with pytest.raises(OptionError, match="no recipe is called 'bit'; did you mean 'bits'"):
        recipe("bit", load_device("sram"))


def test_losses_go_by_the_names_of_the_field():
    device = load_device("reram")
    for name in LOSSES:
        assert named_loss((name,), device).loss.kind == name
    assert named_loss(("clip", "sam"), device).loss.kind == "clip+sam"
    clip, flips, sam = named_loss(("clip", "randbet", "sam"), device, alpha=0.25).loss.losses
    assert (flips.alpha, sam.alpha, named_loss(("l_star",), device, alpha=0.25).loss.alpha) == (0.25, 1, 0.25)
    assert clip == named_loss(("clip",), device).loss
    with pytest.raises(OptionError, match="no loss is called 'l_stra'; did you mean 'l_star'"):
        named_loss(("l_stra",), device)
    with pytest.raises(OptionError, match="--alpha is of l_star, noise and randbet, and --loss names clip, sam alone"):
        named_loss(("clip", "sam"), device, alpha=0.25)
    with pytest.raises(OptionError, match="a loss is named twice"):
        named_loss(("sam", "sam"), device)


def _rows(clean, tail, worst=None):
    rows = [("clean accuracy", *clean), ("random accuracy, 5th percentile", *tail)]
    rows += [("worst case in the device's set", *worst)] if worst else []
    return tuple(Compared(name=name, before=a, after=b, higher_is_better=True, fraction=True) for name, a, b in rows)


@pytest.mark.parametrize(
    ("rows", "helped", "said"),
    [
        (_rows((0.9, 0.9), (0.5, 0.6)), True, "5th percentile 50.0% → 60.0%"),
        (_rows((0.9, 0.898), (0.5, 0.5), (0.1, 0.4)), True, "worst case in the device's set 10.0% → 40.0%"),
        (_rows((0.9, 0.89), (0.5, 0.9)), False, "clean accuracy went from 90.0% to 89.0%, more than the tolerance"),
        (_rows((0.9, 0.91), (0.5, 0.5)), False, "nothing improved"),
        (_rows((0.9, 0.91), (0.5, 0.7), (0.4, 0.2)), False, "worst case in the device's set 40.0% → 20.0% got worse"),
    ],
)
def test_it_helped_only_if_clean_held_and_the_tail_or_the_worst_case_rose(rows, helped, said):
    found = verdict(rows, tolerance=0.003)
    assert found.helped is helped
    assert said in found.sentence


def test_a_tail_that_is_lost_for_both_is_told_and_does_not_decide():
    rows = _rows((0.9, 0.9), (0.2, 0.1), (0.5, 0.6))
    found = verdict(rows, tolerance=0.003)
    assert found.helped
    assert "5th percentile 20.0% → 10.0% is lost for both" in found.sentence
    assert not verdict(_rows((0.9, 0.9), (0.3, 0.1), (0.5, 0.6)), tolerance=0.003).helped
    assert not verdict(_rows((0.9, 0.9), (0.1, 0.2)), tolerance=0.003).helped


@pytest.mark.parametrize(("low", "helped"), [(0.01, True), (-0.01, False), (None, False)])
def test_a_higher_mean_counts_only_where_the_paired_chips_say_so(low, helped):
    mean = Compared(name="random accuracy, mean", before=0.4, after=0.5, higher_is_better=True, fraction=True)
    gain = PairedGain(trials=20, mean=0.1, low=low, high=0.2 if low is not None else None, better=15)
    assert verdict((*_rows((0.9, 0.9), (0.1, 0.1)), mean), tolerance=0.003, gain=gain).helped is helped


@pytest.mark.parametrize(("high", "helped"), [(-0.0005, False), (0.0005, True), (None, True)])
def test_a_hardening_whose_mean_certainly_fell_did_not_help(high, helped):
    mean = Compared(name="random accuracy, mean", before=0.8, after=0.799, higher_is_better=True, fraction=True)
    gain = PairedGain(trials=20, mean=-0.001, low=-0.002 if high is not None else None, high=high, better=5)
    found = verdict((*_rows((0.9, 0.9), (0.5, 0.6)), mean), tolerance=0.003, gain=gain)
    assert found.helped is helped
    assert ("random accuracy, mean 80.0% → 79.9% fell, which is not chance" in found.sentence) is not helped
    assert not verdict((*_rows((0.9, 0.9), (0.5, 0.6)), mean), tolerance=0.0005, gain=gain).helped


def test_one_sample_more_is_no_gain_and_a_tail_has_to_be_shown_by_the_chips():
    one_more = _rows((0.9, 0.9), (0.5, 0.505), (0.4, 0.405))
    found = verdict(one_more, tolerance=0.003, least=1 / 200)
    assert not found.helped
    assert "nothing improved by more than chance (random accuracy, 5th percentile 50.0% → 50.5%" in found.sentence
    assert verdict(_rows((0.9, 0.9), (0.5, 0.5), (0.4, 0.41)), tolerance=0.003, least=1 / 200).helped
    tail = _rows((0.9, 0.9), (0.5, 0.6))
    assert verdict(tail, tolerance=0.003, least=1 / 200).helped
    assert not verdict(tail, tolerance=0.003, least=1 / 200, tail_shown=False).helped


def test_one_sample_less_is_no_loss_and_a_tail_has_to_be_shown_to_have_fallen():
    worst = _rows((0.9, 0.9), (0.5, 0.6), (0.405, 0.4))
    assert verdict(worst, tolerance=0.003, least=1 / 200).helped
    assert not verdict(worst, tolerance=0.003, least=1 / 250).helped
    assert not verdict(worst, tolerance=0.003).helped
    tail = _rows((0.9, 0.9), (0.5, 0.4), (0.4, 0.5))
    assert not verdict(tail, tolerance=0.003, least=1 / 200).helped
    found = verdict(tail, tolerance=0.003, least=1 / 200, tail_fell=False)
    assert found.helped
    assert "random accuracy, 5th percentile 50.0% → 40.0% is within chance." in found.sentence
    mean = Compared(name="random accuracy, mean", before=0.8, after=0.796, higher_is_better=True, fraction=True)
    assert not verdict((*_rows((0.9, 0.9), (0.5, 0.6)), mean), tolerance=0.003, least=1 / 200).helped


def _chips(accuracies, losses=None):
    """An assessment of chips with these accuracies out of 1,000."""
    whole = example(trials=40)
    losses = [-float(one) for one in accuracies] if losses is None else losses
    row = whole.random.per_trial[0]
    rows = tuple(
        row.model_copy(update={"trial": i, "n": 1000, "correct": round(1000 * a), "loss": ell})
        for i, (a, ell) in enumerate(zip(accuracies, losses, strict=True))
    )
    return whole.model_copy(update={"random": whole.random.model_copy(update={"per_trial": rows})})


@pytest.mark.parametrize("loss", [False, True])
@pytest.mark.parametrize(
    ("chips", "bad_then", "bad_now", "rose"),
    [
        (100, 10, 0, True),
        (60, 6, 0, True),
        (100, 10, 10, False),
        (100, 5, 5, False),
        (20, 2, 0, False),
        (100, 0, 10, False),
    ],
)
def test_a_tail_rises_where_the_sign_test_over_the_bad_chips_says_so(chips, bad_then, bad_now, rose, loss):
    spread = np.linspace(0.8, 0.9, chips)
    before, after = spread.copy(), spread[::-1].copy()
    before[:bad_then] = 0.3
    after[chips - bad_now :] = 0.3
    assert tail_rose(_chips(before), _chips(after), loss=loss) is rose


def test_the_mean_loss_counts_chip_by_chip():
    def row(name, before, after):
        return Compared(name=name, before=before, after=after, higher_is_better=False, fraction=False)

    rng = np.random.default_rng(0)
    before = 3.0 + rng.normal(size=30)
    gain = paired_loss(_chips(before * 0, before), _chips(before * 0, before - 0.01 * rng.random(30)))
    assert 0 < gain.low < gain.mean < 0.01
    rows = (
        row("clean loss", 1.0, 1.0),
        row("random loss, mean", 3.0, 2.995),
        row("random loss, 95th percentile", 4, 4),
    )
    assert verdict(rows, tolerance=0.003, gain=gain).helped
    assert not verdict(rows, tolerance=0.003).helped
    assert paired_loss(_chips(before * 0, before), _chips(before * 0, [None, *before[1:]])) is None


def test_losses_are_compared_where_nothing_is_counted():
    def row(name, before, after):
        return Compared(name=name, before=before, after=after, higher_is_better=False, fraction=False)

    good = (row("clean loss", 1.0, 1.001), row("random loss, 95th percentile", 3.0, 2.0))
    assert verdict(good, tolerance=0.003).helped
    bad = (row("clean loss", 1.0, 1.1), row("random loss, 95th percentile", 3.0, 2.0))
    assert not verdict(bad, tolerance=0.003).helped
    for worst, helped in (
        (100.2, True),
        (100.4, False),
    ):  # the tolerance is a part of each figure, not of the clean one
        assert verdict((*good, row("worst-case loss", 100.0, worst)), tolerance=0.003).helped is helped


def test_of_strengths_that_the_validation_cannot_tell_apart_the_weakest_is_taken():
    tried = [Tried(1.0, 0.95), Tried(2.0, 0.955), Tried(0.5, 0.90)]
    assert weakest(tried, 0.0).strength == 2.0
    assert weakest(tried, 0.01).strength == 1.0
    assert weakest(tried, 0.1).strength == 0.5


@pytest.mark.parametrize(
    ("scores", "slack", "step"),
    [
        ([0.5, 0.9, 0.895, 0.7], 0.0, 1),
        ([0.5, 0.9, 0.895, 0.7], 0.01, 2),
        ([0.5, 0.6, 0.6, 0.9, 0.61, 0.76, 0.76], 0.01, 6),  # a lone peak is luck
        ([0.5, 0.9, 0.9, 0.9], 0.0, 1),  # the first of equal ones
        ([0.9, 0.895, 0.9], 0.01, 0),  # nothing beats the original
        ([0.895, 0.9, 0.89], 0.01, 1),
    ],
)
def test_of_points_that_the_validation_cannot_tell_apart_the_last_is_taken(scores, slack, step):
    curve = [Point(i, 0.0, 0.0, 0.0, 0.0, score, 0.0, 0.0) for i, score in enumerate(scores)]
    assert chosen(curve, slack).step == step


def test_a_trained_points_score_is_averaged_with_the_one_before_it():
    curve = [Point(i, 0.0, 0.0, 0.0, 0.0, score, 0.0, 0.0) for i, score in enumerate([0.2, 0.6, 0.8, 0.4])]
    assert steady(curve) == pytest.approx([0.2, 0.6, 0.7, 0.6])


def test_a_training_has_enough_steps_and_a_rate_that_follows_the_weights():
    assert Training().planned(15) == 1000
    assert Training().planned(781) == 20 * 781
    assert Training(epochs=2).planned(15) == 30
    assert Training(steps=7, epochs=2).planned(15) == 7
    assert Training().between(15) == 40
    assert Training(epochs=2).between(15) == 15
    assert Training().largest_rate(0.1) == pytest.approx(0.002)
    assert Training(lr=0.5).largest_rate(0.1) == 0.5


def test_chips_that_all_lose_a_sample_do_not_tell_of_those_that_gain_everything() -> None:
    """Student's t has no width there, and rare chips that were not drawn may carry the mean."""
    found = paired(_chips([0.9] * 60), _chips([0.896] * 60))
    assert found is not None
    assert found.mean == pytest.approx(-0.004)
    assert found.low < -0.004 < 0 < found.high
    dense = paired(_chips([0.80 + 0.002 * k for k in range(30)]), _chips([0.85 + 0.0015 * k for k in range(30)]))
    assert dense is not None
    assert dense.low > 0.03  # where all differ, and by much the same, few chips tell
