"""Labels and the number of classes: what is out of range is named with its place."""

import numpy as np
import pytest

from faultsim.data import InputSpec, check_labels, load_data, one_hot_as_classes
from faultsim.data.labels import Shifted
from faultsim.errors import DataError

F32 = np.dtype(np.float32)
IMAGE = InputSpec("input", F32, ("N", 3, 4, 5))


def _save(path, compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def _load(path, *inputs, **options):
    return load_data(path, model_path=None, inputs=inputs or [IMAGE], **options)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [0, 3, 9, 10],
            r"label 10 at \[3\] in .* is out of range: the model has 10 classes, 0…9; check that data",
        ),
        ([1, 3, 10], r"label 10 at \[2\] .*; the labels seem to start at 1: declare label_offset: -1"),
        ([1, -3, 2], r"label -3 at \[1\]"),
        ([0.5, 1.0], "are float64, not class numbers; give whole numbers"),
    ],
)
def test_labels_out_of_range_are_named_with_their_place(tmp_path, labels, message):
    path = _save(tmp_path / "d.npz", x=np.zeros((len(labels), 2), np.float32), y=np.array(labels))
    data = _load(path, InputSpec("x", F32, ("N", 2)))
    with pytest.raises(DataError, match=message):
        check_labels(data, 10)


def test_labels_of_which_none_is_scored_are_refused(tmp_path):
    path = _save(tmp_path / "d.npz", x=np.zeros((2, 2), np.float32), y=np.full((2, 3), -100))
    data = _load(path, InputSpec("x", F32, ("N", 2)))
    with pytest.raises(DataError, match=r"every label in .*d.npz is -100, which means not scored.*give at least one"):
        check_labels(data, 10, ignore_index=-100)


def test_labels_in_range_ignored_or_absent_pass(tmp_path):
    data = _load(
        _save(tmp_path / "d.npz", x=np.zeros((2, 2), np.float32), y=np.array([[0, -100], [9, 1]])),
        InputSpec("x", F32, ("N", 2)),
    )
    check_labels(data, 10, ignore_index=-100)
    with pytest.raises(DataError, match=r"label -100 at \[0, 1\]"):
        check_labels(data, 10)
    check_labels(_load(None, IMAGE), 10)


SCORES = np.zeros((2, 3), np.float32)
NOTE = "labels look one-hot: taken as classes; --task regression takes them as numbers"


def _labelled(tmp_path, labels):
    path = _save(tmp_path / "d.npz", x=np.zeros((len(labels), 2), np.float32), labels=labels)
    return _load(path, InputSpec("x", F32, ("N", 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, np.uint8])
@pytest.mark.parametrize("task", [None, "classification", "top2"])
@pytest.mark.parametrize("outputs", [SCORES, SCORES[..., None, None], SCORES.astype(np.int8)])
def test_one_hot_labels_become_classes_with_a_note(tmp_path, dtype, task, outputs):
    data = one_hot_as_classes(_labelled(tmp_path, np.eye(3, dtype=dtype)[[2, 0, 1, 1]]), outputs, task)
    assert data.labels(0, 4).tolist() == [2, 0, 1, 1]
    assert data.labels(1, 2).dtype == np.int64
    assert data.notes[-1] == NOTE
    assert len(data) == 4
    assert data.inputs(1, 3)["x"].shape == (2, 2)
    check_labels(data, 3)


@pytest.mark.parametrize(
    ("labels", "outputs", "task"),
    [
        (np.eye(3), SCORES, "regression"),
        (np.eye(3), SCORES, "regression@0.1"),
        (np.eye(3), SCORES, "my.module:score"),
        (np.eye(3), np.zeros((2, 4), np.float32), None),
        (np.eye(3), SCORES.astype(np.int64), None),
        (np.eye(3), np.zeros((2, 3, 5), np.float32), None),
        (np.eye(3) * 0.9, SCORES, None),
        (np.array([[1, 0, 0], [1, 1, 0]]), SCORES, None),
        (np.array([[1, 0, 0], [0, 0, 0]]), SCORES, None),
        (np.array([[1.0, 0, 0]] * 70_000 + [[0, 2.0, -1.0]]), SCORES, None),
        (np.ones((2, 1)), np.zeros((2, 1), np.float32), None),
        (np.array([1, 0]), SCORES, None),
    ],
)
def test_other_labels_stay_as_they_are(tmp_path, labels, outputs, task):
    data = _labelled(tmp_path, labels)
    assert one_hot_as_classes(data, outputs, task) is data


def test_no_labels_are_no_classes():
    data = _load(None, InputSpec("x", F32, ("N", 3)))
    assert one_hot_as_classes(data, SCORES, None) is data


def test_an_offset_leaves_fractions_and_what_is_not_scored():
    counts = Shifted(np.array([1, -100, 3], np.int32), -1)
    assert counts[slice(0, 3)].tolist() == [0, -100, 2]
    reals = Shifted(np.array([0.7, 23.9, -0.5]), 1)
    assert reals[slice(0, 3)] == pytest.approx([1.7, 24.9, 0.5])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_limit_cuts_samples_and_not_what_all_of_them_share(tmp_path, save):
    f32 = np.dtype(np.float32)
    specs = [InputSpec("x", f32, ("N", 2)), InputSpec("anchors", f32, ("A", 4), batch_axis=None)]
    anchors = np.arange(400, dtype=np.float32).reshape(100, 4)
    save(tmp_path / "d.npz", x=np.zeros((50, 2), np.float32), anchors=anchors, labels=np.zeros(50, np.int64))
    data = load_data(tmp_path / "d.npz", model_path=None, inputs=specs, limit=10)
    assert len(data) == 10
    assert np.array_equal(data.inputs(0, 3)["anchors"], anchors)
