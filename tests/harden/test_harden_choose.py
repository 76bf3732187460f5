"""What short trainings choose, the learning rate among it, and the samples they are judged on."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.device import load_device
from faultsim.engine.evaluate import Scorer
from faultsim.errors import DataError, OptionError
from faultsim.harden import Ball, Hardening, Training, harden
from faultsim.harden import choose as choose_module
from faultsim.harden import validate as validate_module
from faultsim.harden.choose import LOWER, TRIED
from faultsim.harden.curve import Point
from faultsim.harden.recipes import named_loss, recipe
from faultsim.harden.train import train
from faultsim.harden.trainable import Trainable
from faultsim.harden.validate import LOST, MILD, PENALTY, Validator
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


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a finished search, to be copied."""
    folder = tmp_path_factory.mktemp("searched")
    _harden(folder, QUICK)
    return folder


def _scores(tmp_path):
    return json.loads((tmp_path / "out" / TRIED).read_text())["scores"]


def _usual():
    trainable = Trainable(load_model(find_model("digits")))
    return Training().largest_rate(trainable.rms(trainable.leaves()))


@pytest.mark.parametrize("slower", [True, False])
def test_the_rate_is_the_one_that_the_validation_samples_prefer(tmp_path, monkeypatch, slower):
    low = LOWER * _usual()
    ending = f"-lr-{low:.4g}" if slower else ""
    scores = {"0.03": 0.5, f"0.03-lr-{low:.4g}": 0.6 if slower else 0.5, f"0.06{ending}": 0.4, f"0.015{ending}": 0.7}
    with monkeypatch.context() as patched:  # the scores of an interrupted search
        patched.setattr(Validator, "promise", lambda self, curve: scores[next(waiting)])
        waiting = iter(scores)
        _harden(tmp_path, QUICK)
    found = _harden(tmp_path, QUICK)
    training = found.result.training
    assert training.options["lr"] == pytest.approx(low if slower else _usual())
    assert training.strength == 0.015
    assert _scores(tmp_path) == scores
    said = f"Validation scores 0.5 with a learning rate of {_usual():.3g}, {0.6 if slower else 0.5} with {low:.3g}: "
    assert any(note.startswith(said) for note in found.result.notes)


def test_a_rate_that_was_given_is_not_questioned(tmp_path):
    found = _harden(tmp_path, replace(QUICK, training=replace(QUICK.training, lr=1e-3)))
    assert found.result.training.options["lr"] == 1e-3
    assert not any("learning rate" in note for note in found.result.notes)
    assert all(key.endswith("-lr-0.001") for key in _scores(tmp_path))


def test_the_control_has_its_rate_chosen_too(tmp_path):
    found = _harden(tmp_path, replace(QUICK, losses=("plain",)))
    assert any("learning rate" in note for note in found.result.notes)
    assert len(_scores(tmp_path)) == 2


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
    near = known.x + np.float32(1e-6)  # other samples, with the same answers
    test = Arrays("image", near, spoilt)
    options = replace(QUICK, strength=0.03, test_data=test, validation_data=known)
    notes = _harden(tmp_path, options, _digits(200, 600)).result.notes
    assert any("it was probably trained on the former" in note and "--validation-data" in note for note in notes)
    options = replace(options, test_data=Arrays("image", near, known.y))
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


@pytest.mark.parametrize("golden", [False, True])
def test_each_drawn_chip_of_many_samples_is_judged_on_a_part_of_its_own(monkeypatch, golden):
    monkeypatch.setattr(validate_module, "ENOUGH", 100)
    given = _digits(0, 350)
    if golden:
        given = Arrays("image", given.inputs(0, 350)["image"], None)
    setting = make_setting(load_model(find_model("digits")), "reram", given, Options(limit=None), torch_device="cpu")
    validator = Validator(setting, None, chips=4, tolerance=0.01, seed=0)
    seen = []
    whole = Scorer.score

    def score(self, numbers=None, effects=(), **more):
        tally = whole(self, numbers, effects, **more)
        seen.append((len(self.data), tally, numbers))
        return tally

    monkeypatch.setattr(Scorer, "score", score)
    fault_free = setting.fault_free()
    found = validator({name: fault_free[name] + np.float32(0.001) for name in fault_free})
    assert [count for count, _, _ in seen] == [350, 117, 117, 116, 117]  # clean; three parts; the first one again
    drawn = [tally.counts.accuracy - 0.01 * min(tally.mean_loss, 10.0) for _, tally, _ in seen[1:]]
    short = max(validator.clean - validator.tolerance - seen[0][1].counts.accuracy, 0.0)
    assert found.score == pytest.approx(np.mean(drawn) - PENALTY * short)
    images, labels = given.inputs(0, 350)["image"], given.labels(0, 350)
    for at, (_, tally, numbers) in enumerate(seen[1:]):
        rows = np.arange(at % 3, 350, 3)
        answers = setting.model.run({"image": images[rows]}, numbers)["logits"].argmax(1)
        wanted = setting.model.run({"image": images[rows]})["logits"].argmax(1) if golden else labels[rows]
        assert tally.counts.accuracy == pytest.approx((answers == wanted).mean(), abs=1.5 / len(rows))
    assert Validator(setting, None, chips=1, tolerance=0.01, seed=0).key != validator.key


@pytest.mark.parametrize("other", [{"tolerance": 0.03}, {"chips": 2}, {"losses": ("sam",)}, {"validation": 0.2}])
def test_scores_of_another_hardening_are_refused(tmp_path, searched, other):
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    with pytest.raises(DataError, match=r"strengths.json: is of another hardening .* another folder, or delete it"):
        _harden(tmp_path, replace(QUICK, **other))


def test_a_training_of_other_samples_is_not_continued(tmp_path):
    options = replace(QUICK, strength=0.03, held_out=0.2)
    _harden(tmp_path, options, _digits(0, 500))
    with pytest.raises(OptionError, match="another"):
        _harden(tmp_path, options, _digits(50, 550))


def test_what_is_judged_on_is_not_chosen_by(tmp_path):
    same = _digits(0, 70)
    with pytest.raises(OptionError, match="validation data and test data are both one data set"):
        _harden(tmp_path, replace(QUICK, validation_data=same, test_data=same), _digits(70, 570))


def test_test_samples_without_labels_are_labelled_by_the_original(tmp_path):
    options = replace(QUICK, strength=0.03, test_data=_digits(0, 200, labels=False))
    found = _harden(tmp_path, options, _digits(200, 600)).result
    assert found.before.clean.accuracy == 1.0
    for one in (found.before, found.after):  # and none by its own answers
        assert one.data.source.endswith("labelled by the original")


def test_the_time_that_the_search_leaves_is_the_final_trainings(tmp_path, monkeypatch):
    given, spent, judged = {}, [], []

    def record(*args, **options):
        judged.append(args[4].seconds)
        place = options["checkpoint"].parent.name
        given[place] = args[5].time_budget_s
        began = time.monotonic()
        found = train(*args, **options)
        if place != "final":
            time.sleep(0.2)
            spent.append(time.monotonic() - began)
        return found

    monkeypatch.setattr(choose_module, "train", record)
    quick = replace(QUICK.training, time_budget_s=3600.0)
    _harden(tmp_path / "a", replace(QUICK, losses=("plain",), training=replace(quick, lr=1e-3)))
    assert given == {"final": 3600.0}
    given.clear()
    _harden(tmp_path / "b", replace(QUICK, losses=("plain",), training=quick))
    assert given.pop("final") == pytest.approx(3600 - sum(spent) - judged[-1], abs=0.3)
    assert list(given.values()) == [(3600.0 - judged[-1]) / 6] * 2
    assert len(set(judged[1:])) == 1  # the original was judged before the first of them
    assert judged[1] > 0
    given.clear()
    spent.clear()
    _harden(tmp_path / "c", replace(QUICK, training=quick))
    assert given.pop("final") == pytest.approx(3600 - sum(spent) - judged[-1], abs=0.3)
    assert set(given.values()) == {(3600.0 - judged[-1]) / 3 / 4}


def test_a_short_training_without_a_step_is_told_and_not_compared(tmp_path, monkeypatch):
    def idle(*args, **options):
        found = train(*args, **options)
        if options["checkpoint"].parent.name not in none:
            return found
        return replace(found, steps=0, curve=found.curve[:1], stopped="the time budget of 1 s was spent")

    none = {"strength-0.03"}
    monkeypatch.setattr(choose_module, "train", idle)
    low = LOWER * _usual()
    found = _harden(tmp_path, QUICK).result
    said = "took no step (the time budget of 1 s was spent): compared with nothing."
    assert f"The short training of l_star at strength 0.03 and a rate of {_usual():.3g} {said}" in found.notes
    assert any(f"Validation scores nothing with a learning rate of {_usual():.3g}" in note for note in found.notes)
    assert any(note.endswith(f": {_usual():.3g} as usual, since one of the two took no step.") for note in found.notes)
    assert found.training.options["lr"] == pytest.approx(_usual())
    assert "0.03" not in _scores(tmp_path)
    none |= {f"strength-{one:g}-lr-{low:.4g}" for one in (0.03, 0.06, 0.015)}
    again = _harden(tmp_path / "again", replace(QUICK, training=replace(QUICK.training, lr=low))).result
    assert (again.training.strength, again.training.strengths) == (0.03, ())


@pytest.mark.parametrize("idle", [0, 1, None])
def test_other_losses_are_taken_over_those_that_trained_alone(tmp_path, monkeypatch, idle):
    tried, scores = [], iter((0.2, 0.5, 0.1, 0.1))

    def trained(*args, **options):
        found = train(*args, **options)
        tried.append(args[3].kind)
        return found if len(tried) - 1 != idle else replace(found, steps=0, curve=found.curve[:1])

    monkeypatch.setattr(choose_module, "train", trained)
    monkeypatch.setattr(Validator, "promise", lambda self, curve: next(scores))
    options = replace(GIVEN, losses=(), recipe="bits", search=2)
    found = harden("digits_int8", "sram", target=tmp_path / "h.onnx", options=options).result
    assert ("negative_bias" in found.training.loss) == (idle is None)
    said = [note for note in found.notes if note.endswith("as usual, since one of the two took no step.")]
    assert bool(said) == (idle is not None)


def test_a_diverged_short_training_does_not_win():
    model = load_model(find_model("digits"))
    setting = make_setting(model, "reram", _digits(0, 100), Options(limit=None), torch_device="cpu")
    validator = Validator(setting, None, chips=1, tolerance=0.01, seed=0)
    validator.counts = False
    start = Point(0, 0.0, float("nan"), 0.1, float("nan"), -0.1, float("nan"), 0.0)
    lost = replace(start, step=1, loss=float("inf"), score=LOST)
    assert validator.promise((start, lost)) == LOST
    assert validator.promise((start, replace(lost, loss=1e12))) == LOST


GIVEN = replace(QUICK, training=replace(QUICK.training, lr=1e-3), losses=("noise",), resume=False)


def test_an_alpha_that_was_given_to_noise_is_the_one_that_is_trained_with(tmp_path):
    training = _harden(tmp_path, replace(GIVEN, alpha=1.0)).result.training
    assert (training.strength, training.strengths) == (1.0, ())


@pytest.mark.parametrize("options", [{"losses": ("l_star",)}, {"losses": ("l_a",)}, {"losses": (), "recipe": "lp"}])
def test_a_radius_that_was_given_is_the_one_that_is_trained_with(tmp_path, options):
    options = replace(GIVEN, ball=Ball(eps=0.5), **options)
    training = _harden(tmp_path, options).result.training
    assert (training.strength, training.strengths) == (0.5, ())
    assert "eps=0.5, " in training.settings


def test_a_factor_leaves_the_knobs_that_were_given_alone():
    device = load_device("sram")
    star = Ball(eps=0.5)
    loss = named_loss(("l_star", "noise", "clip"), device, ball=star, alpha=0.4).loss.with_strength(2.0)
    one, two, clip = loss.scaled()
    assert (one.strength, two.strength, clip.strength) == (0.5, 0.4, 1.0)
    relative = named_loss(("l_star", "clip"), device, ball=replace(star, relative=True)).loss.with_strength(2.0)
    assert relative.scaled()[0].strength == 1.0
    of_bits = recipe("bits", device, ball=star)
    for one in (of_bits.loss, of_bits.also):
        assert one.with_strength(2.0).scaled()[2].strength == 0.5
    assert recipe("analog", load_device("reram"), ball=star).loss.with_strength(2.0).scaled()[1].strength == 0.5


def test_a_strength_past_the_end_of_the_knob_is_no_other_loss(tmp_path, monkeypatch):
    rising = iter((0.5, 0.6, 0.7, 0.8))
    monkeypatch.setattr(Validator, "promise", lambda self, curve: next(rising))
    tried = _harden(tmp_path, replace(GIVEN, search=4)).result.training.strengths
    assert [(one.strength, one.score) for one in tried] == [(0.5, 0.5), (1.0, 0.6)]


@pytest.mark.parametrize(("losses", "options"), [(("negative_bias",), {}), (("plain", "negative_bias"), {})])
def test_what_has_no_knob_is_not_searched(tmp_path, losses, options):
    options = replace(GIVEN, losses=losses, **options)
    found = harden("digits_int8", "sram", target=tmp_path / "h.onnx", out=tmp_path / "out", options=options).result
    assert found.training.strengths == ()
    assert not list((tmp_path / "out").glob("strength*"))


@pytest.mark.parametrize("score", ["NaN", "Infinity", "1e999", "[" * 100_000])
def test_scores_that_are_no_numbers_are_refused(tmp_path, searched, score):
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    place = tmp_path / "out" / TRIED
    text = json.dumps({**json.loads(place.read_text()), "scores": {"0.03": 0.5}})
    place.write_text(text.replace('{"0.03": 0.5}', f'{{"0.03": {score}}}'))
    with pytest.raises(DataError, match=r"strengths.json: cannot be read; delete it"):
        _harden(tmp_path, QUICK)
