"""How a training ends: by its budget, without progress, or where its loss is not finite."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faultsim.harden import state
from faultsim.harden import train as module
from faultsim.harden.losses import Plain
from faultsim.harden.options import Training
from tests.harden.train_job import job


def test_a_training_without_progress_ends_early():
    found = job(loss=Plain(), steps=60, patience=2, validate_every=3, flat=True)
    assert found.steps == 6
    assert found.stopped == "2 validations brought nothing better"
    assert found.best.step == 0


@pytest.mark.parametrize(("seconds", "left"), [(1.0, 982.0), (10.0, 900.0), (40.0, 757.0), (200.0, 500.0)])
def test_the_way_back_has_its_part_of_the_time_budget(monkeypatch, seconds, left):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    run = object.__new__(module._Run)
    run.trainable = SimpleNamespace(numbers=lambda leaves: leaves)
    run.initial, run.budget = {"w": torch.ones(2)}, 1000.0
    run.judging, run.late = 3.0, False
    run.options = Training(time_budget_s=1000.0)

    def spares(numbers):
        assert not torch.equal(numbers["w"], run.initial["w"])  # those of the deployed weights may cost less
        now[0] += seconds
        return True

    run._set_aside(spares)
    # two ways of six passes and a validation each, a tenth at most unless one takes more, and half at most then
    assert run.budget == left
    assert [run._late(1000 - seconds - late) for late in (3.0, 2.9)] == [False, True]
    run._set_aside(None)
    assert run.budget == left


def _clock(monkeypatch, *, step, judging):
    """Let steps and validations alone advance the clock, by so many seconds; return what a validation is to call."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    evaluate = module.evaluate

    def advance(*args):
        now[0] += step
        return evaluate(*args)

    def judge():
        now[0] += judging

    monkeypatch.setattr(module, "evaluate", advance)
    return judge


def test_the_last_validation_has_its_part_of_the_time_budget(monkeypatch):
    judge = _clock(monkeypatch, step=3.0, judging=30.0)
    monkeypatch.setattr(module, "MOST_BETWEEN", 1.0)
    found = job(loss=Plain(), steps=10**6, validate_every=10**6, time_budget_s=600.0, judging=judge)
    assert found.stopped == "the time budget of 600 s was spent"
    assert [point.step for point in found.curve] == [0, 180]
    assert found.seconds == 600.0
    assert found.curve[-1].lr == pytest.approx(0.0, abs=2e-6)  # it came down to nothing by then


@pytest.mark.parametrize(("judging", "between"), [(30.0, 20), (90.0, 30)])
def test_a_slow_machine_validates_by_the_clock_and_trains_at_least_as_long(monkeypatch, judging, between):
    judge = _clock(monkeypatch, step=3.0, judging=judging)
    found = job(loss=Plain(), steps=10**6, validate_every=10**6, time_budget_s=600.0, judging=judge)
    assert set(np.diff([point.step for point in found.curve])[:-1]) == {between}
    assert 600.0 - judging <= found.seconds <= 600.0


@pytest.mark.parametrize(("spared", "step", "late"), [(True, 4, False), (False, 0, True)])
def test_slow_validations_leave_time_for_the_whole_way(monkeypatch, spared, step, late):
    calls = []
    slow = _clock(monkeypatch, step=0.05, judging=0.45)

    def judge():
        calls.append(None)
        if len(calls) > 1:  # the original was judged before
            slow()

    looks = []
    found = job(
        loss=Plain(),
        steps=10**6,
        validate_every=4,
        time_budget_s=1.0,
        judging=judge,
        known=0.45,
        spares=lambda numbers: looks.append(None) or (spared and len(looks) > 2),
    )
    assert len(looks) == 3  # two for the clock, one for the whole way
    assert (found.found, found.best.step, found.part, found.late) == (4, step, 1.0, late)


def test_a_time_budget_ends_it():
    began = time.monotonic()
    found = job(steps=10**6, time_budget_s=0.5)
    assert time.monotonic() - began < 30
    assert found.stopped == "the time budget of 0.5 s was spent"
    assert 0 < found.steps < 10**6


def test_a_training_that_diverges_keeps_the_best_before_it():
    found = job(loss=Plain(), optimizer="sgd", lr=1e30, clip_norm=0.0, warmup=0.0, flat=True)
    assert "was not finite" in found.stopped
    assert all(np.isfinite(array).all() for array in found.numbers.values())
    assert found.best.step == 0


def _with_losses(monkeypatch, bad, value=float("nan")):
    """Let the loss of some steps be no number."""
    evaluate, step = module.evaluate, [0]

    def evaluated(*args):
        found, grads = evaluate(*args)
        step[0] += 1
        return (value if step[0] in bad else found), grads

    monkeypatch.setattr(module, "evaluate", evaluated)


def test_a_step_whose_loss_is_not_finite_is_skipped_and_counted(monkeypatch, tmp_path):
    place = tmp_path / "c.safetensors"
    _with_losses(monkeypatch, {1, 2, 9, 20})
    found = job(loss=Plain(), checkpoint=place)
    assert (found.steps, found.skipped, found.stopped) == (24, 4, None)
    assert all(np.isfinite(point.train_loss) for point in found.curve[1:])
    assert state.load(place)[1]["skipped"] == 4
    assert job(loss=Plain(), checkpoint=place, resume=True).skipped == 4


def test_a_training_goes_on_from_a_checkpoint_before_its_first_step(monkeypatch, tmp_path):
    place = tmp_path / "c.safetensors"

    def stop(point, planned):
        if point.step == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        _with_losses(patched, set(range(1, 7)))
        with pytest.raises(KeyboardInterrupt):
            job(loss=Plain(), checkpoint=place, told=stop)
    assert state.load(place)[1]["step"] == state.load(place)[1]["skipped"] > 0
    assert job(loss=Plain(), checkpoint=place, resume=True).steps == 24


def test_a_training_ends_after_ten_steps_in_a_row_that_are_not_finite(monkeypatch):
    with monkeypatch.context() as patched:
        _with_losses(patched, {*range(3, 12), *range(13, 22)})  # nine, and nine more
        found = job(loss=Plain())
    assert (found.steps, found.skipped, found.stopped) == (24, 18, None)
    _with_losses(monkeypatch, set(range(5, 100)))
    found = job(loss=Plain(), steps=60, validate_every=3)
    assert found.stopped == "the loss was not finite in the 10 steps to 14; lower the learning rate"
    assert (found.steps, found.skipped) == (14, 10)
