"""A checkpoint is looked at before anything goes on from it: every number of it is there, fits and is finite."""

import json
import math
import struct

import numpy as np
import pytest

from faultsim.errors import DataError
from faultsim.harden import state
from faultsim.harden.validate import LOST
from tests.harden.train_job import job


@pytest.fixture(scope="module", params=["adam", "sgd"])
def kept(request, tmp_path_factory):
    """A checkpoint of a training that is at its end."""
    place = tmp_path_factory.mktemp("kept") / state.NAME
    job(checkpoint=place, steps=6, optimizer=request.param)
    return request.param, *state.load(place)


def _without(start):
    return lambda arrays: {name: array for name, array in arrays.items() if not name.startswith(start)}


def _changed(start, change):
    def made(arrays):
        name = next(name for name in arrays if name.startswith(start))
        return {**arrays, name: change(arrays[name])}

    return made


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without("optimizer/"), "is missing, or too much"),
        (_without("best/"), "'best/.*' is missing"),
        (lambda arrays: {**arrays, "optimizer/step/none": np.zeros((), np.float32)}, "'optimizer/step/none' is"),
        (_changed("leaf/", lambda array: array.reshape(-1)[:1]), r"'leaf/.*' is float32\[1\], not float32\["),
        (_changed("mean/", lambda array: array.reshape(-1)[:1]), r"'mean/.*' is float32\[1\], not float32\["),
        (_changed("best/", lambda array: array.astype(np.float64)), r"'best/.*' is float64\["),
        (_changed("leaf/", lambda array: np.full_like(array, np.nan)), "'leaf/.*' is not finite"),
        (_changed("optimizer/", lambda array: np.full_like(array, np.inf)), "'optimizer/.*' is not finite"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(kept, tmp_path, change, reason):
    optimizer, arrays, meta = kept
    place = tmp_path / state.NAME
    state.save(place, change(arrays), meta)
    with pytest.raises(DataError, match=rf"this checkpoint is not whole \(.*{reason}.*delete it"):
        job(checkpoint=place, resume=True, steps=6, optimizer=optimizer)


def test_adams_moments_are_all_there(kept, tmp_path):
    optimizer, arrays, meta = kept
    if optimizer != "adam":
        return
    place = tmp_path / state.NAME
    state.save(place, _without("optimizer/exp_avg/")(arrays), meta)
    with pytest.raises(DataError, match=r"'optimizer/exp_avg/.*' is missing"):
        job(checkpoint=place, resume=True, steps=6)


def _point(**other):
    """The row of a point of a curve; losses of a network that has diverged are none the worse for it."""
    fields = {
        "step": 0,
        "epoch": 0.0,
        "train_loss": None,
        "loss": math.inf,
        "accuracy": None,
        "score": LOST,
        "lr": None,
    }
    return list({**fields, "seconds": 0.0, **other}.values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"step": -5}, "step -5 of 6"),
        ({"step": 7}, "step 7 of 6"),
        ({"step": math.inf}, "step inf of 6"),
        ({"step": 2.5}, "step 2.5 of 6"),
        ({"curve": []}, "no validation in it"),
        ({"curve": [[math.inf, *[0.0] * 7]]}, "step inf of a point"),
        ({"curve": [[-5, *[0.0] * 7]]}, "step -5 of a point"),
        ({"curve": [[0, *[0.0] * 6]]}, "is no point of a curve"),
        ({"curve": [_point(), _point()]}, r"validations at the steps \[0, 0\] of 6"),
        ({"curve": [_point(), _point(step=7)]}, r"validations at the steps \[0, 7\] of 6"),
        ({"curve": [_point(step=6)]}, r"validations at the steps \[6\] of 6"),
        ({"curve": [_point(epoch=-1.0)]}, "epoch -1 at step 0"),
        ({"curve": [_point(accuracy=2.0)]}, "accuracy 2 at step 0"),
        ({"curve": [_point(score=None)]}, "score nan at step 0"),
        ({"curve": [_point(score=-math.inf)]}, "score -inf at step 0"),
        ({"curve": [_point(lr=-1.0)]}, "lr -1 at step 0"),
        ({"curve": [_point(seconds=math.inf)]}, "seconds inf at step 0"),
        ({"curve": [_point(seconds=True)]}, "is no point of a curve"),
        ({"spent": -1.0}, "spent -1"),
        ({"sum": math.nan}, "sum nan"),
        ({"count": math.inf}, "count inf"),
    ],
)
def test_figures_out_of_range_are_refused(kept, tmp_path, change, reason):
    optimizer, arrays, meta = kept
    place = tmp_path / state.NAME
    state.save(place, arrays, {**meta, **change})
    with pytest.raises(DataError, match=rf"this checkpoint is not whole \(.*{reason}.*delete it"):
        job(checkpoint=place, resume=True, steps=6, optimizer=optimizer)


def test_a_curve_of_a_network_that_diverged_is_gone_on_from(kept, tmp_path):
    optimizer, arrays, meta = kept
    place = tmp_path / state.NAME
    curve = [_point(), _point(step=6, epoch=1.0, train_loss=math.inf, loss=None, accuracy=1.0, lr=0.0)]
    state.save(place, arrays, {**meta, "curve": curve})
    assert len(job(checkpoint=place, resume=True, steps=6, optimizer=optimizer).curve) == 2


@pytest.mark.parametrize("kind", ["F8_E4M3", "F4", "F6_E2M3"])
def test_numbers_that_numpy_does_not_know_are_refused(tmp_path, kind):
    count = {"F4": 4, "F6_E2M3": 6}.get(kind, 8)
    tensor = {"dtype": kind, "shape": [8], "data_offsets": [0, count]}
    header = json.dumps({"__metadata__": {"faultsim": "{}"}, "a": tensor}).encode()
    header += b" " * (-len(header) % 8)
    place = tmp_path / state.NAME
    place.write_bytes(struct.pack("<Q", len(header)) + header + bytes(count))
    with pytest.raises(DataError, match=r"cannot be read as a checkpoint \(.*delete it, and the training starts again"):
        state.load(place)


@pytest.mark.parametrize("options", [{"optimizer": "sgd", "momentum": 0.0}, {"optimizer": "sgd"}, {}])
def test_a_whole_checkpoint_is_gone_on_from(tmp_path, options):
    place = tmp_path / state.NAME
    whole = job(checkpoint=place, steps=6, **options)
    again = job(checkpoint=place, resume=True, steps=6, **options)
    assert all(np.array_equal(whole.numbers[name], again.numbers[name]) for name in whole.numbers)
