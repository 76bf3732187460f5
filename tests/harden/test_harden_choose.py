"""What short trainings choose, the learning rate among it, and the samples they are judged on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.errors import OptionError
from faultsim.harden import Hardening, Training, harden
from faultsim.harden.choose import LOWER, TRIED
from faultsim.harden.curve import Point
from faultsim.harden.trainable import Trainable
from faultsim.harden.validate import MILD, PENALTY, Validator
from faultsim.library import find_model
from faultsim.model import load_model
from tests.harden.conftest import Arrays

QUICK = Hardening(
    losses=("l_star",),
    training=Training(steps=8, batch_size=32, validate_every=8),
    assess=Options(trials=2, site_trials=0, site_samples=32, search_gradients=2, limit=None),
    search=3,
    chips=1,
    tolerance=0.02,
    radii=False,
    resume=True,
)


def _harden(tmp_path, options, data=None):
    return harden("digits", "reram", data, target=tmp_path / "h.onnx", out=tmp_path / "out", options=options)


def _usual():
    trainable = Trainable(load_model(find_model("digits")))
    return Training().largest_rate(trainable.rms(trainable.leaves()))


@pytest.mark.parametrize("slower", [True, False])
def test_the_rate_is_the_one_that_the_validation_samples_prefer(tmp_path, slower):
    low = LOWER * _usual()
    ending = f"-lr-{low:.4g}" if slower else ""
    scores = {"0.03": 0.5, f"0.03-lr-{low:.4g}": 0.6 if slower else 0.5, f"0.06{ending}": 0.4, f"0.015{ending}": 0.7}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / TRIED).write_text(json.dumps(scores))
    found = _harden(tmp_path, QUICK)
    training = found.result.training
    assert training.options["lr"] == pytest.approx(low if slower else _usual())
    assert training.strength == 0.015
    assert json.loads((tmp_path / "out" / TRIED).read_text()) == scores
    said = f"Validation scores 0.5 with a learning rate of {_usual():.3g}, {0.6 if slower else 0.5} with {low:.3g}: "
    assert any(note.startswith(said) for note in found.result.notes)


def test_a_rate_that_was_given_is_not_questioned(tmp_path):
    found = _harden(tmp_path, replace(QUICK, training=replace(QUICK.training, lr=1e-3)))
    assert found.result.training.options["lr"] == 1e-3
    assert not any("learning rate" in note for note in found.result.notes)
    assert all(key.endswith("-lr-0.001") for key in json.loads((tmp_path / "out" / TRIED).read_text()))


def test_the_control_has_its_rate_chosen_too(tmp_path):
    found = _harden(tmp_path, replace(QUICK, losses=("plain",)))
    assert any("learning rate" in note for note in found.result.notes)
    assert len(json.loads((tmp_path / "out" / TRIED).read_text())) == 2


def _digits(start, stop, labels=True):
    with np.load(find_model("digits").with_suffix(".npz")) as archive:
        return Arrays("image", archive["image"][start:stop], archive["labels"][start:stop] if labels else None)


def test_choices_are_made_on_the_samples_that_were_given(tmp_path):
    options = replace(QUICK, strength=0.03, validation_data=_digits(0, 70), validation=0.0, held_out=0.2)
    training = _harden(tmp_path, options, _digits(70, 570)).result.training
    assert (training.train_samples, training.validation_samples, training.test_samples) == (400, 70, 100)


def test_validation_samples_without_labels_are_labelled_by_the_original(tmp_path):
    options = replace(QUICK, strength=0.03, validation_data=_digits(0, 70, labels=False), held_out=0.2)
    found = _harden(tmp_path, options, _digits(70, 570, labels=False)).result
    assert found.training.curve[0].accuracy == 1.0


def test_without_samples_to_choose_by_there_is_no_choice(tmp_path):
    with pytest.raises(OptionError, match="no sample is left to choose by; give validation data, or a part"):
        _harden(tmp_path, replace(QUICK, validation=0.0))


def test_samples_that_the_original_has_seen_are_told(tmp_path):
    wrong = _digits(0, 200)
    known = Arrays("image", wrong.inputs(0, 200)["image"], wrong.labels(0, 200).copy())
    spoilt = known.labels(0, 200).copy()
    spoilt[::10] = (spoilt[::10] + 1) % 10
    test = Arrays("image", wrong.inputs(0, 200)["image"], spoilt)
    options = replace(QUICK, strength=0.03, test_data=test, validation_data=known)
    notes = _harden(tmp_path, options, _digits(200, 600)).result.notes
    assert any("it was probably trained on the former" in note and "--validation-data" in note for note in notes)
    options = replace(options, test_data=known)
    assert not any("probably" in n for n in _harden(tmp_path / "b", options, _digits(200, 600)).result.notes)


def test_a_short_training_is_judged_by_its_own_points_and_milder():
    model = load_model(find_model("digits"))
    setting = make_setting(model, "reram", _digits(0, 100), Options(limit=None), torch_device="cpu")
    validator = Validator(setting, None, chips=1, tolerance=0.01, seed=0)
    kept, fallen = validator.clean, validator.clean - 0.11
    start = Point(0, 0.0, float("nan"), 0.1, kept, 0.9, float("nan"), 0.0)
    points = (start, replace(start, step=1, accuracy=fallen, score=0.8 - PENALTY * 0.1))
    assert validator.promise(points) == pytest.approx(0.8 - MILD * 0.1)
    assert validator.promise((*points, replace(start, step=2, score=0.7))) == 0.7
    assert validator.promise((start,)) == 0.9
