"""Where a hardening leaves its model, and that its two results can be drawn again from there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faultsim.assessment import Options
from faultsim.assessment.given import IN_MEMORY
from faultsim.assessment.replay import replay
from faultsim.harden import Hardening, Training, harden
from faultsim.harden import run as run_module
from faultsim.library import find_model
from faultsim.model import load_model
from tests.harden.conftest import DIGITS

TRAIN, TEST = DIGITS / "digits_float_train.npz", DIGITS / "digits_float.npz"
QUICK = Hardening(
    recipe="analog",
    strength=1.0,
    training=Training(steps=100, batch_size=32, validate_every=50),
    assess=Options(trials=16, site_trials=0, site_samples=32, search_gradients=2),
    chips=1,
    tolerance=0.03,
    radii=False,
)


def _harden(tmp_path: Path, **changed):
    options = replace(QUICK, **changed)
    target = tmp_path / "new" / "h.onnx"
    return harden("digits", "reram", TRAIN, target=target, out=tmp_path / "out", options=options)


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    """The test images alone."""
    with np.load(TEST, allow_pickle=False) as archive:
        np.savez(tmp_path / "images.npz", **{name: archive[name] for name in archive.files if name != "labels"})
    return tmp_path / "images.npz"


def test_the_model_lies_where_it_was_asked_for_and_both_results_are_replayed(tmp_path):
    done = _harden(tmp_path, test_data=TEST)
    assert done.result.helped
    assert done.exported.path == tmp_path / "new" / "h.onnx"
    assert done.result.hardened == done.result.after.model.path == str(done.exported.path)
    assert not (tmp_path / "out" / "candidate.onnx").exists()
    for one in (done.result.before, done.result.after):
        assert one.rerun.data == str(TEST)
        assert replay(one, 1).agrees


def test_without_labels_it_is_told_whose_answers_stand_in(tmp_path, unlabelled):
    done = _harden(tmp_path, test_data=unlabelled).result
    assert (done.before.data.labels, done.after.data.labels) == ("golden", "given")
    assert any("agreement with the original's own answers, before and after" in note for note in done.notes)
    assert done.after.rerun.data == IN_MEMORY  # whose labels there would be those of the hardened model
    assert not any("clean model's own" in note for note in done.after.notes)


def test_samples_that_the_original_labelled_once_may_be_given_again(tmp_path):
    kept = run_module.prepare(  # what an earlier hardening without labels was trained on
        "digits", "reram", str(TRAIN), replace(QUICK, test_data=TEST), torch_device="cpu"
    ).train
    kept.golden_labels = True
    done = harden("digits", "reram", kept, target=tmp_path / "b.onnx", options=replace(QUICK, test_data=TEST))
    assert done.result.training.towards == "clean"


def test_where_the_file_cannot_be_written_the_model_and_the_result_are_kept(tmp_path):
    (tmp_path / "new").write_text("a file")
    done = _harden(tmp_path, test_data=TEST)
    assert done.result.hardened == str(tmp_path / "out" / "candidate.onnx")
    assert done.exported.path.is_file()
    assert any("cannot be written" in note and "candidate.onnx" in note for note in done.result.notes)


def test_a_folder_on_another_disk_gets_the_model_too(tmp_path, monkeypatch):
    real = Path.replace

    def other_disk(self, target):
        if Path(target).parent != self.parent:
            raise OSError(18, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", other_disk)
    place, target = tmp_path / "candidate.onnx", tmp_path / "other" / "h.onnx"
    model = load_model(find_model("digits"))
    model.write(place)
    written = place.read_bytes()
    assert run_module._moved(model, place, target) == (target, model.sha256, ())
    assert target.read_bytes() == written
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["h.onnx", "other"]
