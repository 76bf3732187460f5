"""A screened trial is the same whatever is scored with it: other trials, groups that fit in memory, failing calls."""

import numpy as np
import pytest
import tiny_nets
from onnx import TensorProto, helper
from screen_nets import flips, numbers_of, stored_of

from faultsim.engine.screen import screened as module
from faultsim.engine.screen.bitmap import flipped
from faultsim.engine.screen.screened import WAITING_SHARE, ScreenedSweep, ScreenOptions
from faultsim.engine.screen.slopes import slopes
from faultsim.engine.screen.strata import Screen
from faultsim.engine.screen.trial import Trial
from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.routes import Router
from faultsim.engine.sweep.slices import Sparse
from faultsim.errors import ModelError

LOUD = tuple(range(20, 32))


def with_a_root():
    """Three layers; the square root of a sum, of an infinite slope at 0, stands behind the first."""
    rng = np.random.default_rng(11)
    nodes = [
        helper.make_node("Conv", ["x", "first.weight"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("ReduceSum", ["b", "axes"], ["c"], "sum", keepdims=1),
        helper.make_node("Sqrt", ["c"], ["d"], "root"),
        helper.make_node("Conv", ["d", "second.weight"], ["e"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["e"], ["f"], "relu2"),
        helper.make_node("Conv", ["f", "third.weight"], ["g"], "third", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["g"], ["h"], "relu3"),
        helper.make_node("GlobalAveragePool", ["h"], ["i"], "mean"),
        helper.make_node("Flatten", ["i"], ["j"], "flat"),
        helper.make_node("Gemm", ["j", "last.weight"], ["y"], "last", transB=1),
    ]
    weights = {
        "first.weight": rng.normal(size=(3, 2, 3, 3)).astype(np.float32) / 4,
        "axes": np.array([1], np.int64),
        "second.weight": rng.normal(size=(6, 1, 3, 3)).astype(np.float32) / 3,
        "third.weight": rng.normal(size=(6, 6, 3, 3)).astype(np.float32) / 7,
        "last.weight": rng.normal(size=(4, 6)).astype(np.float32),
    }
    return tiny_nets.model(
        nodes,
        weights,
        inputs={"x": (TensorProto.FLOAT, ("N", 2, 6, 6))},
        outputs={"y": (TensorProto.FLOAT, ("N", 4))},
    )


def flips_of(model, name, count, bit):
    stored = stored_of(model)[name]
    picks = np.random.default_rng(1).choice(stored.site.elements, count, replace=False)
    return [{name: Sparse(picks[i : i + 1], flipped(stored, picks[i : i + 1], bit))} for i in range(count)]


def test_an_infinite_slope_at_one_boundary_makes_no_trial_of_another_suspect(tiny):
    one = tiny(with_a_root())
    model = one.runner.model
    late, early = flips_of(model, "third.weight", 20, 22), flips_of(model, "first.weight", 2, 22)
    alone = ScreenedSweep(one).score(late)
    assert sum(tally.screened for tally in alone) > 10 * sum(tally.suspects for tally in alone)
    assert ScreenedSweep(one).score(late + early)[:20] == alone
    assert ScreenedSweep(one).score(early) == ScreenedSweep(one).score(late + early)[20:]


def test_where_a_slope_is_not_finite_is_known_by_boundary(tiny):
    one = tiny(with_a_root())
    model = one.runner.model
    feeds = one.data.inputs(0, 48)
    found = slopes(model.program, feeds, ["b", "h"], one.output, count=2, device=model.device)
    assert found.sure.all()
    assert found.finite["h"].all()
    assert not found.finite["b"].any()
    for name, screened in (("h", 48), ("b", 0)):
        clean = {name: np.ones((48, *found.at[name][0].shape[1:]), np.float32)}
        faulty = {name: clean[name] * np.float32(1 + 1e-7)}
        strata = Screen(clean, [name], found, fall=0.5, reach=1.0).part(faulty, 1, None)
        assert (strata.screened.sum(), strata.suspects.sum()) == (screened, 48 - screened)


@pytest.fixture
def groups(monkeypatch):
    """The groups that pass over the data together, by what waits in each."""
    seen = []
    plain = ScreenedSweep._pass_over

    def counted(sweep, trials, needs):
        seen.append([one.waiting_bytes for one in trials])
        plain(sweep, trials, needs)

    monkeypatch.setattr(ScreenedSweep, "_pass_over", counted)
    return seen


@pytest.mark.parametrize("apart", [False, True])
def test_trials_in_groups_that_fit_have_the_same_counts(apart, tiny, groups, monkeypatch):
    if apart:
        monkeypatch.setattr(Router, "_by_entry", lambda *given: None)
    one = tiny()
    patches = flips(one.runner.model, 40, bits=LOUD)
    wide = ScreenedSweep(one)
    reference = wide.score(patches)
    assert len(groups) == 1
    whole = sum(groups[0])
    for room in (whole // 3, max(groups[0]), 1):
        groups.clear()
        narrow = ScreenedSweep(one)
        narrow._waiting_bytes = room
        assert narrow.score(patches) == reference
        assert len(groups) >= 3
        assert all(sum(own) <= room or len(own) == 1 for own in groups)
        assert sum(sum(own) for own in groups) == whole
    assert any(tally.screened for tally in reference)
    assert any(tally.suspects for tally in reference)


def test_what_waits_takes_no_more_than_its_worst_case_and_its_share_of_the_memory(tiny, monkeypatch):
    one = tiny()
    patches = flips(one.runner.model, 60, bits=LOUD)
    held = []
    let_go = Trial.let_go

    def weighed(trial):
        held.append((sum(row.nbytes for kept in trial.samples for row in kept.rows.values()), trial.waiting_bytes))
        let_go(trial)
        assert not any(kept.rows for kept in trial.samples)

    monkeypatch.setattr(Trial, "let_go", weighed)
    ScreenedSweep(one, options=ScreenOptions(fall=1e-9)).score(patches)  # every changed image is a suspect
    assert len(held) > 40
    assert all(0 <= rows <= most for rows, most in held)
    order = 8 * 48
    assert any(0 < rows == most - order for rows, most in held)
    small = 400_000
    assert ScreenedSweep(one, memory_bytes=small)._waiting_bytes == small // WAITING_SHARE


def test_a_call_of_channels_that_fails_leaves_the_trials_that_share_it_as_they_are(tiny, monkeypatch):
    one = tiny()
    patches = flips(one.runner.model, 24, bits=(24, 25, 30))
    before = ScreenedSweep(one).score(patches)
    bad = next(t for t, tally in enumerate(before) if tally.screened and "first.weight" in patches[t])
    (channel,) = ScreenedSweep(one)._sweep._route(patches[bad]).channels
    plain = Entry.slice

    def broken(entry, clean, channels):
        if any(c.number == channel.number and np.array_equal(c.faults.values, channel.faults.values) for c in channels):
            raise ModelError("no memory left")
        return plain(entry, clean, channels)

    sweep = ScreenedSweep(one)
    assert sweep.score(patches) == before  # all ways are proven
    monkeypatch.setattr(Entry, "slice", broken)
    found = sweep.score(patches)
    assert found[bad].is_exact
    assert found[bad].mismatch == one.score(numbers_of(one.runner.model, patches[bad])).counts.mismatch
    assert found[:bad] + found[bad + 1 :] == before[:bad] + before[bad + 1 :]


def test_an_entry_whose_clean_piece_fails_leaves_the_others_as_they_are(tiny, monkeypatch):
    one = tiny()
    patches = flips(one.runner.model, 24, bits=(24, 25, 30))
    before = ScreenedSweep(one).score(patches)
    plain = module.slopes
    first = {"first.weight", "first.bias"}
    sweep = ScreenedSweep(one)
    (early,) = {
        trial.entry.boundary for t, p in enumerate(patches) if p.keys() & first and (trial := sweep._trial(p, t))
    }

    def broken(program, feeds, names, *given, **options):
        if set(early) & set(names):
            raise ModelError("no memory left")
        return plain(program, feeds, names, *given, **options)

    monkeypatch.setattr(module, "slopes", broken)
    found = sweep.score(patches)
    for patch, tally, other in zip(patches, found, before, strict=True):
        assert tally.is_exact if patch.keys() & first else tally == other
    assert any(tally.is_exact and not other.is_exact for tally, other in zip(found, before, strict=True))
    assert any(tally.screened for tally in found)


@pytest.mark.parametrize("room", [None, 1])
def test_trials_whose_clean_activations_cannot_be_shown_together_are_screened_apart(room, tiny, monkeypatch):
    one = tiny()
    patches = flips(one.runner.model, 24, bits=(24, 25, 30))
    before = ScreenedSweep(one).score(patches)
    sweep = ScreenedSweep(one)
    sweep._waiting_bytes = room or sweep._waiting_bytes
    single = {trial.route.needs for t, patch in enumerate(patches) if (trial := sweep._trial(patch, t))}
    assert len(single) > 1
    plain = Router.clean_run

    def one_by_one(router, needs):
        if needs not in single:
            raise ModelError("the clean graph gives other numbers when its activations are shown")
        return plain(router, needs)

    monkeypatch.setattr(Router, "clean_run", one_by_one)
    assert sweep.score(patches) == before
