"""The loop: it lowers the loss, repeats itself, and goes on after a kill."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from faultsim.engine.scored import scored_output
from faultsim.errors import DataError, OptionError
from faultsim.harden import state
from faultsim.harden.ball import Ball
from faultsim.harden.curve import Judged, Point
from faultsim.harden.export import export
from faultsim.harden.losses import CorruptionResistant, Plain
from faultsim.harden.options import Training
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.harden.train import train
from faultsim.harden.trainable import Trainable
from faultsim.metrics import Classification
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, ROOT, Arrays, brevitas_mlp, mean_loss
from tests.harden.train_job import job


def _same(one, two):
    assert one.numbers.keys() == two.numbers.keys()
    assert all(np.array_equal(one.numbers[name], two.numbers[name]) for name in one.numbers)
    points = ([replace(point, seconds=0.0) for point in run.curve] for run in (one, two))
    np.testing.assert_equal(*[[list(vars(point).values()) for point in curve] for curve in points])


@pytest.mark.parametrize("name", ["digits_float", "digits_int8"])
def test_training_lowers_the_loss_it_trains_and_repeats_itself(name):
    one = job(name, loss=Plain(), steps=40, ema=0.5)
    assert one.curve[0].step == 0
    assert one.curve[-1].train_loss < one.curve[1].train_loss
    _same(one, job(name, loss=Plain(), steps=40, ema=0.5))
    other = job(name, loss=Plain(), steps=40, ema=0.5, seed=1)
    assert any(not np.array_equal(one.numbers[k], other.numbers[k]) for k in one.numbers)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_in_two_parts_is_the_training_in_one(tmp_path, optimizer):
    whole = job(optimizer=optimizer)
    place = tmp_path / "half.npz"

    class StopError(Exception):
        pass

    def stop(point: Point, planned: int) -> None:
        if point.step == 18:
            raise StopError

    with pytest.raises(StopError):
        job(optimizer=optimizer, checkpoint=place, told=stop)
    _, meta = state.load(place)
    assert 0 < meta["step"] < 18
    _same(whole, job(optimizer=optimizer, checkpoint=place, resume=True))


@pytest.mark.slow
def test_after_kill_9_the_result_is_the_same(tmp_path):
    script = (
        "import sys, torch, time; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "import tests.harden.train_job as t\n"
        "from faultsim.harden import train as module\n"
        "slow = module._Run._advance\n"
        "def advance(run):\n"
        "    time.sleep(0.05)\n"
        "    return slow(run)\n"
        "module._Run._advance = advance\n"
        "t.job('digits_int8', checkpoint=Path(sys.argv[1]))\n"
    )
    place = tmp_path / state.NAME
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", script, str(place)], env=env, cwd=ROOT) as process:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if place.exists() and state.load(place)[1]["step"] >= 9:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    assert 9 <= state.load(place)[1]["step"] < 24
    resumed = job("digits_int8", checkpoint=place, resume=True)
    _same(job("digits_int8"), resumed)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    place = tmp_path / "c.safetensors"
    job(checkpoint=place, steps=6)
    for changed in ({"seed": 1}, {"lr": 1e-4}, {"loss": Plain()}, {"towards": "clean"}):
        with pytest.raises(OptionError, match="this checkpoint is of another model, loss, data or seed"):
            job(checkpoint=place, resume=True, **{"steps": 6, **changed})


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x02" + bytes(7) + b"{}", b"\x93NUMPY"])
def test_a_damaged_checkpoint_is_refused_in_one_sentence(tmp_path, content):
    place = tmp_path / "c.safetensors"
    place.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as a checkpoint .* delete it"):
        job(checkpoint=place, resume=True)


def test_a_pickle_in_a_checkpoint_is_not_opened(tmp_path):
    place = tmp_path / "c.safetensors"
    with place.open("wb") as file:
        np.savez(file, meta=np.array([{"no": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        job(checkpoint=place, resume=True)


def test_a_checkpoint_is_a_safetensors_file(tmp_path):
    place = tmp_path / state.NAME
    job(checkpoint=place, steps=6)
    arrays, meta = state.load(place)
    found = safetensors.numpy.load_file(place)
    assert found.keys() == arrays.keys()
    assert {name.partition("/")[0] for name in found} == {"leaf", "mean", "best", "optimizer"}
    assert all(
        np.array_equal(array, arrays[name]) and array.dtype == arrays[name].dtype for name, array in found.items()
    )
    assert meta["step"] == 6


def test_a_checkpoint_that_lacks_something_is_refused(tmp_path):
    place = tmp_path / "c.safetensors"
    job(checkpoint=place, steps=6)
    arrays, meta = state.load(place)
    state.save(place, {name: array for name, array in arrays.items() if not name.startswith("mean/")}, meta)
    with pytest.raises(DataError, match="this checkpoint is not whole"):
        job(checkpoint=place, resume=True, steps=6)


@pytest.mark.parametrize("route", ["qcdq", "qonnx"])
def test_brevitas_exports_train_as_they_are_deployed(route, tmp_path):
    model = brevitas_mlp(route)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 6)).astype(np.float32)
    y = (x @ rng.normal(size=(6, 3))).argmax(1)
    trainable = Trainable(model)
    name = model.inputs[0].name
    data = Samples(Arrays(name, x, y), np.arange(len(x)), model.inputs)
    target = Target(model, Classification(), scored_output(model), data, towards="labels", batch_size=64)
    names = tuple(p.site.name for p in trainable.parameters.values() if p.site.role == "weight")
    plan = Training(steps=120, batch_size=64, lr=1e-2, validate_every=20, ema=0.0)
    losses = []

    def judge(numbers):
        losses.append(mean_loss(model, x, y, {n: numbers[n] for n in trainable.parameters}))
        return Judged(losses[-1], 0.0, -losses[-1])

    loss = CorruptionResistant(ball=Ball(eps=0.02, relative=True))
    found = train(trainable, data, target, loss, judge, plan, names=names)
    assert min(losses) < 0.7 * losses[0]
    done = export(trainable, found.numbers, tmp_path / "h.onnx", {name: x[:32]})
    assert set(names) & set(done.changed)
    assert done.agreement.max_abs_difference is not None
    for key, p in trainable.parameters.items():
        if p.coding is not None:
            assert np.abs(found.numbers[key].astype(int)).max() <= p.coding.high
    assert mean_loss(done.model, x, y) == pytest.approx(found.best.loss, abs=1e-5)


def test_towards_the_clean_model_a_clean_model_stays_where_it_is():
    # the cross-entropy against one's own probabilities is least where one is: every sample's gradient is zero
    model = load_model(DIGITS / "digits_float.onnx")
    gaps = {}
    for towards in ("clean", "labels"):
        found = job(loss=Plain(), towards=towards, optimizer="sgd", steps=12, lr=0.1, ema=0.0)
        gaps[towards] = max(np.abs(found.numbers[n] - model.numbers[n]).max() for n in found.numbers)
    assert gaps["clean"] < 1e-5
    assert gaps["labels"] > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0, it must be at least 1"),
        ({"lr": 0.0}, "lr is 0, it must be above 0"),
        ({"ema": 1.0}, "ema is 1, it must be at least 0 and below 1"),
        ({"optimizer": "lamb"}, "optimizer is 'lamb'"),
        ({"augment": "zoom"}, "augment is 'zoom'"),
        ({"schedule": "step"}, "schedule is 'step'"),
        ({"clip_norm": -1.0}, "clip_norm is -1"),
        ({"time_budget_s": 0.0}, "the time budget is 0 s"),
        ({"checkpoint_s": 0.0}, "checkpoint_s is 0"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Training(**options)


def test_the_rate_rises_then_falls_to_zero():
    plan = Training(lr=1.0, warmup=0.1)
    rates = [plan.rate(part / 100) for part in range(101)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0)
    assert rates[10] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.0)
    assert rates[55] == pytest.approx(0.5)
    assert Training(lr=1.0, schedule="constant").rate(1.0) == 1.0


def test_names_that_are_not_trained_are_refused():
    model = load_model(DIGITS / "digits_float.onnx")
    trainable = Trainable(model)
    data = Samples(
        Arrays("image", np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, np.int64)), np.arange(4), model.inputs
    )
    target = Target(model, Classification(), scored_output(model), data, towards="labels", batch_size=4)
    with pytest.raises(OptionError, match=r"\['nothing'\]: not trained"):
        train(trainable, data, target, Plain(), lambda n: Judged(0, 0, 0), Training(), names=("nothing",))


def test_the_checkpoint_path_is_left_whole_where_it_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(OptionError, match="the checkpoint cannot be written"):
        state.save(Path(blocked) / "c.npz", {}, {})
