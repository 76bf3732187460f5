"""A screened trial: exact where everything is evaluated, unbiased where not, the same for any batches."""

from dataclasses import replace

import numpy as np
import pytest
from screen_nets import flips, images, numbers_of

from faultsim.engine.screen import screened as module
from faultsim.engine.screen.screened import ScreenedSweep, ScreenOptions
from faultsim.engine.screen.slopes import Slopes, slopes
from faultsim.engine.screen.tally import mismatch_rate
from faultsim.engine.screen.verdicts import Verdicts
from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.routes import Router
from faultsim.engine.sweep.slices import Sparse
from faultsim.errors import ModelError, OptionError
from faultsim.metrics import Regression

EVERYTHING = ScreenOptions(audit=10_000, suspects=10_000)
LOUD = tuple(range(20, 32))


@pytest.fixture
def blind(monkeypatch):
    """A screen that leaves every image to the audit: it takes every fault for harmless."""

    def nothing(*given, **options):
        at, sure, finite = slopes(*given, **options)
        known = {name: np.ones_like(one) for name, one in finite.items()}
        return Slopes({name: np.zeros_like(array) for name, array in at.items()}, np.ones_like(sure), known)

    monkeypatch.setattr(module, "slopes", nothing)
    return ScreenOptions(reach=1e30, fall=1.0, audit=2)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_evaluating_every_image_gives_the_counts_of_a_plain_evaluation(kind, digits, scorer):
    model = digits(kind)
    one = scorer(model, threads=1)
    one.set_golden()
    patches = flips(model, 40)
    clean = one.score().counts.correct
    for patch, tally in zip(patches, ScreenedSweep(one, options=EVERYTHING).score(patches), strict=True):
        plain = one.score(numbers_of(model, patch)).counts
        assert tally.is_exact
        assert tally.n == plain.n == tally.unchanged + tally.screened + tally.suspects
        assert tally.mismatch + tally.audit_mismatch == plain.mismatch
        assert tally.mismatch_rate == pytest.approx(plain.mismatch / plain.n, abs=1e-12)
        assert tally.accuracy == pytest.approx(plain.correct / plain.n, abs=1e-12)
        assert (tally.clean_correct, tally.nonfinite) == (clean, plain.nonfinite)


def test_some_trials_are_counted_whole_beside_their_screened_counts(digits, scorer):
    model = digits("int8")
    one = scorer(model, threads=1)
    one.set_golden()
    patches = flips(model, 30)
    screened, whole = ScreenedSweep(one).score_some_whole(patches, [3, 0, 17], trials=range(100, 130))
    assert screened == ScreenedSweep(one).score(patches, trials=range(100, 130))
    assert any(not tally.is_exact for tally in screened)
    for k, tally in zip([3, 0, 17], whole, strict=True):
        assert tally.counts == one.score(numbers_of(model, patches[k])).counts


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_few_images_are_evaluated_and_the_estimate_is_near(kind, digits, scorer):
    model = digits(kind)
    one = scorer(model, threads=1)
    one.set_golden()
    patches = flips(model, 60, seed=1)
    tallies = ScreenedSweep(one).score(patches)
    truth = [one.score(numbers_of(model, patch)).counts for patch in patches]
    evaluated = sum(t.audited + t.evaluated for t in tallies if t.screened)
    assert evaluated < 0.15 * sum(t.n for t in tallies if t.screened)
    assert np.mean([t.mismatch_rate for t in tallies]) == pytest.approx(
        np.mean([t.mismatch / t.n for t in truth]), abs=0.01
    )
    rate = mismatch_rate(tallies)
    assert rate.rate.low <= np.mean([t.mismatch / t.n for t in truth]) <= rate.rate.high


def test_the_corrected_estimate_is_unbiased_whatever_the_screen(tiny, blind):
    one = tiny()
    patches = flips(one.runner.model, 30, bits=(24, 25, 31))
    truth = np.array([one.score(numbers_of(one.runner.model, p)).counts.mismatch for p in patches]) / 48
    right = np.array([one.score(numbers_of(one.runner.model, p)).counts.correct for p in patches]) / 48
    sweep = ScreenedSweep(one, options=blind)
    seen, accuracy = [], []
    for seed in range(60):
        sweep.options = replace(blind, seed=seed)
        tallies = sweep.score(patches)
        seen.append([t.mismatch_rate for t in tallies])
        accuracy.append([t.accuracy for t in tallies])
    lost = [t.audit_mismatch for t in tallies]
    assert sum(lost) > 0
    assert truth.mean() > 0.005
    for found, real in ((np.array(seen), truth), (np.array(accuracy), right)):
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        assert np.all(np.abs(found.mean(axis=0) - real) <= 4.5 * error + 1e-12)
        means = found.mean(axis=1)
        assert abs(means.mean() - real.mean()) <= 3.5 * means.std(ddof=1) / np.sqrt(len(means))


def test_a_fault_that_reaches_no_activation_is_unchanged_and_needs_no_audit(tiny):
    data = images()
    one = tiny(data=data | {"x": np.abs(data["x"]) * 0})  # zeros in: no weight of the first layer matters
    tally, other = ScreenedSweep(one).score(
        [
            {"first.weight": Sparse(np.array([7]), np.array([3.0], np.float32))},
            {"first.bias": Sparse(np.array([1]), np.array([3.0], np.float32))},
        ]
    )
    assert (tally.unchanged, tally.screened, tally.audited, tally.evaluated) == (48, 0, 0, 0)
    assert tally.is_exact
    assert tally.mismatch_rate == 0
    assert other.unchanged == 0


def test_trials_without_an_exact_way_are_screened_and_evaluated_by_whole_passes(digits, scorer, monkeypatch):
    monkeypatch.setattr(Router, "_by_entry", lambda *given: None)
    model = digits("float")
    one = scorer(model, threads=1)
    one.set_golden()
    patches = flips(model, 24, seed=2)
    plain = [one.score(numbers_of(model, patch)).counts for patch in patches]
    for tally, counts in zip(ScreenedSweep(one, options=EVERYTHING).score(patches), plain, strict=True):
        assert tally.mismatch + tally.audit_mismatch == counts.mismatch
        assert tally.accuracy == pytest.approx(counts.correct / counts.n, abs=1e-12)
        assert tally.nonfinite == counts.nonfinite
        assert tally.unchanged == 0
    found = ScreenedSweep(one).score(patches)
    assert found == ScreenedSweep(replace(one, batch_size=7)).score(patches)
    screened = [t for t in found if t.screened]
    assert len(screened) > 10
    assert sum(t.audited + t.evaluated for t in screened) < 0.15 * sum(t.n for t in screened)
    truth = np.mean([counts.mismatch / counts.n for counts in plain])
    rate = mismatch_rate(found).rate
    assert rate.low <= truth <= rate.high


def test_a_way_that_fails_is_left_for_an_exact_evaluation(tiny, monkeypatch):
    one = tiny()
    model = one.runner.model
    patches = flips(model, 16, bits=(30,))
    truth = [one.score(numbers_of(model, patch)).counts.mismatch for patch in patches]
    sweep = ScreenedSweep(one)
    sweep.score(patches)  # all ways are proven

    def broken(*given, **options):
        raise ModelError("no memory left")

    monkeypatch.setattr(Entry, "slice", broken)
    for tally, count in zip(sweep.score(patches), truth, strict=True):
        assert tally.mismatch == count or tally.screened
    monkeypatch.setattr(ScreenedSweep, "_slopes", broken)
    tallies = sweep.score(patches)
    assert [t.mismatch for t in tallies] == truth
    assert all(t.is_exact for t in tallies)


@pytest.mark.parametrize("apart", [False, True])
def test_a_trial_that_fails_leaves_the_others_as_they_are(apart, tiny, monkeypatch):
    one = tiny()
    patches = flips(one.runner.model, 16, bits=(30,))
    if apart:
        monkeypatch.setattr(Router, "_by_entry", lambda *given: None)
    before = ScreenedSweep(one).score(patches)
    bad = next(t for t, tally in enumerate(before) if tally.evaluated)
    count = Verdicts.count

    def broken(verdicts, parts, output):
        if any(part.trial.patch is patches[bad] for part in parts):
            raise ModelError("no memory left")
        count(verdicts, parts, output)

    monkeypatch.setattr(Verdicts, "count", broken)
    found = ScreenedSweep(one).score(patches)
    assert found[bad].is_exact
    assert found[bad].mismatch == one.score(numbers_of(one.runner.model, patches[bad])).counts.mismatch
    assert found[:bad] + found[bad + 1 :] == before[:bad] + before[bad + 1 :]


def test_negative_zero_is_a_change(tiny):
    from faultsim.engine.screen.strata import Screen

    clean = {"a": np.zeros((3, 2, 1), np.float32)}
    found = {"a": np.array([[[0.0]], [[-0.0]], [[np.nan]]], np.float32)}
    flat = Slopes({"a": np.ones((1, 3, 2, 1), np.float32)}, np.ones(3, bool), {"a": np.ones(3, bool)})
    strata = Screen(clean, ["a"], flat, fall=0.5, reach=1.0).part(found, 1, {"a": [1]})
    assert strata.screened.tolist() == [False, True, False]
    assert strata.suspects.tolist() == [False, False, True]


@pytest.mark.parametrize("batch_size", [1, 7, 250])
def test_counts_do_not_depend_on_batches_or_on_the_other_trials(batch_size, tiny):
    reference = ScreenedSweep(tiny()).score(flips(tiny().runner.model, 30, bits=LOUD))
    one = tiny(batch_size=batch_size)
    patches = flips(one.runner.model, 30, bits=LOUD)
    order = np.random.default_rng(0).permutation(30)
    found = {}
    for part in (order[:11], order[11:]):
        tallies = ScreenedSweep(one).score([patches[t] for t in part], trials=[int(t) for t in part])
        found |= dict(zip(part.tolist(), tallies, strict=True))
    assert [found[t] for t in range(30)] == reference
    assert any(t.screened for t in reference)
    assert any(t.suspects for t in reference)


def test_small_memory_changes_no_count(tiny):
    one = tiny()
    patches = flips(one.runner.model, 20, bits=LOUD)
    narrow = ScreenedSweep(one, memory_bytes=80_000)
    assert narrow._sweep.scorer.batch_size < 48
    assert narrow.score(patches) == ScreenedSweep(one).score(patches)


def test_other_seeds_audit_other_images(tiny, blind):
    one = tiny()
    patches = flips(one.runner.model, 20, bits=(30,))
    sweep = ScreenedSweep(one, options=blind)
    first = sweep.score(patches)
    assert sweep.score(patches) == first
    sweep.options = replace(blind, seed=1)
    assert sweep.score(patches) != first


def test_faults_in_two_tensors_or_in_the_last_layer_are_evaluated_exactly(tiny):
    one = tiny()
    model = one.runner.model
    two = {
        "first.weight": Sparse(np.array([0]), np.array([4e4], np.float32)),
        "second.weight": Sparse(np.array([1]), np.array([-4e4], np.float32)),
    }
    last = {"last.weight": Sparse(np.array([2]), np.array([-9e3], np.float32))}
    for patch, tally in zip((two, last), ScreenedSweep(one).score([two, last]), strict=True):
        assert (tally.evaluated, tally.screened) == (48, 0)
        assert tally.mismatch == one.score(numbers_of(model, patch)).counts.mismatch > 0


def test_a_task_without_classes_is_evaluated_exactly(tiny):
    one = tiny()
    other = replace(one, task=Regression(), labels=np.zeros((48, 4), np.float32))
    other.set_golden()
    patches = flips(one.runner.model, 6, bits=(30,))
    for patch, tally in zip(patches, ScreenedSweep(other).score(patches), strict=True):
        assert tally.evaluated == tally.n
        assert tally.mismatch == other.score(numbers_of(one.runner.model, patch)).counts.mismatch


def test_suspects_beyond_the_limit_are_sampled_without_bias(tiny):
    one = tiny()
    model = one.runner.model
    patches = [p for p in flips(model, 60, bits=(30,)) if "first.weight" in p or "first.bias" in p][:12]
    truth = np.array([one.score(numbers_of(model, p)).counts.mismatch for p in patches]) / 48
    sweep = ScreenedSweep(one)
    seen = []
    for seed in range(60):
        sweep.options = ScreenOptions(seed=seed, suspects=5)
        tallies = sweep.score(patches)
        assert all(t.evaluated <= 5 for t in tallies)
        seen.append([t.mismatch_rate for t in tallies])
    assert any(t.suspects > 5 for t in tallies)
    error = np.std(seen, axis=0, ddof=1) / np.sqrt(60)
    assert np.all(np.abs(np.mean(seen, axis=0) - truth) <= 4.5 * error + 1e-12)


def test_options_and_trial_numbers_out_of_range_are_refused(tiny):
    for wrong, said in (
        ({"audit": 0}, "audit = 0 is out of range: give at least 1"),
        ({"suspects": 0}, "suspects = 0"),
        ({"rivals": 0}, "rivals = 0"),
        ({"fall": 0.0}, r"fall = 0.0 is out of range: give a share above 0"),
        ({"reach": 0.0}, r"reach = 0.0 is out of range"),
    ):
        with pytest.raises(OptionError, match=said):
            ScreenOptions(**wrong)
    one = tiny()
    with pytest.raises(ValueError, match="2 trial numbers do not go with 1 patches"):
        ScreenedSweep(one).score(flips(one.runner.model, 1), trials=[1, 2])
