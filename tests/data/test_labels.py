"""Labels and the number of classes: what is out of range is named with its place."""

import numpy as np
import pytest

from faultsim.data import InputSpec, check_labels, load_data
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


def test_labels_in_range_ignored_or_absent_pass(tmp_path):
    data = _load(
        _save(tmp_path / "d.npz", x=np.zeros((2, 2), np.float32), y=np.array([[0, -100], [9, 1]])),
        InputSpec("x", F32, ("N", 2)),
    )
    check_labels(data, 10, ignore_index=-100)
    with pytest.raises(DataError, match=r"label -100 at \[0, 1\]"):
        check_labels(data, 10)
    check_labels(_load(None, IMAGE), 10)
