"""Whether labels go with the number of classes, and one-hot labels as class numbers."""

import numpy as np

from faultsim.data.convert import family
from faultsim.data.spec import Array, Column, DataSet
from faultsim.errors import DataError

_STEP = 65536
NOT_SCORED = -100
"""The label that torch, too, leaves out."""


def check_labels(data: DataSet, classes: int, *, ignore_index: int | None = None) -> None:
    """Refuse whole-number labels outside ``0 … classes - 1``, or none that is scored; data without labels pass.

    Args:
        data: The samples; their labels are read once, inputs are not.
        classes: Number of classes of the model.
        ignore_index: Label that means "not scored", such as -100, which is let through.

    Raises:
        DataError: With the first label out of range, or if the labels are no whole numbers, or all *ignore_index*.
    """
    low, high, first, scored = 0, classes - 1, None, False
    for start in range(0, len(data), _STEP):
        labels = data.labels(start, min(start + _STEP, len(data)))
        if labels is None:
            return
        if family(labels.dtype) != "int":
            raise DataError(f"the labels in {data.source} are {labels.dtype}, not class numbers; give whole numbers")
        counted = labels if ignore_index is None else labels[labels != ignore_index]
        if counted.size:
            scored = True
            low, high = min(low, int(counted.min())), max(high, int(counted.max()))
        bad = (labels < 0) | (labels >= classes)
        if ignore_index is not None:
            bad &= labels != ignore_index
        if first is None and bad.any():
            at = [int(i) for i in np.argwhere(bad)[0]]
            first = (int(labels[tuple(at)]), ", ".join(map(str, [at[0] + start, *at[1:]])))
    if first is not None:
        raise DataError(
            f"label {first[0]} at [{first[1]}] in {data.source} is out of range: the model has {classes} classes, "
            f"0…{classes - 1}; {_remedy(data, classes, high)}"
            + ("" if ignore_index is None else f", or leave it out: --task segmentation@{first[0]}, or tagging@")
        )
    if ignore_index is not None and len(data) and not scored:
        raise DataError(
            f"every label in {data.source} is {ignore_index}, which means not scored: nothing is left to score; give "
            "at least one sample another label"
        )


def _remedy(data: DataSet, classes: int, high: int) -> str:
    if high == classes and not _holds_zero(data):
        return "the labels seem to start at 1: declare label_offset: -1 in a preprocessing file"
    return "check that data and model belong together, or declare label_offset in a preprocessing file"


def _holds_zero(data: DataSet) -> bool:
    for start in range(0, len(data), _STEP):
        labels = data.labels(start, min(start + _STEP, len(data)))
        if labels is not None and (labels == 0).any():
            return True
    return False


def one_hot_as_classes(data: DataSet, outputs: Array, task: str | None) -> DataSet:
    """Return the data with class numbers for labels where these are one-hot, else the data themselves.

    One-hot is: as many numbers a sample as the model has scores (N×C, C at least 2), all 0 but a single 1, in every
    sample. Only where nothing else is asked for: by classification, top-k, or no named task.

    Args:
        data: The samples; their labels are read once.
        outputs: Some outputs of the model, samples first.
        task: The name of the task, where the user gave one.
    """
    asked = task is None or task == "classification" or task.startswith("top")
    shape = outputs.shape
    while len(shape) > 2 and shape[-1] == 1:  # N×C×1×1
        shape = shape[:-1]
    if not asked or len(shape) != 2 or shape[1] < 2 or outputs.dtype in (np.int32, np.int64, np.bool_):
        return data
    step = max(1, _STEP // shape[1])
    for start in range(0, len(data), step):
        labels = data.labels(start, min(start + step, len(data)))
        if labels is None or labels.dtype.kind not in "iufb" or labels.ndim < 2 or labels.size == 0:
            return data
        rows = labels.reshape(len(labels), -1)
        if rows.shape[1] != shape[1] or labels.shape[1] != shape[1]:
            return data
        if not (((rows == 0) | (rows == 1)).all() and ((rows == 1).sum(axis=1) == 1).all()):
            return data
    return _Classes(data)


class _Classes:
    """A data set with the place of the one in each row of labels in place of the row."""

    def __init__(self, data: DataSet) -> None:
        self.source = data.source
        self.notes = (*data.notes, "labels look one-hot: taken as classes; --task regression takes them as numbers")
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def inputs(self, start: int, stop: int) -> dict[str, Array]:
        """Return the inputs as they are."""
        return self._data.inputs(start, stop)

    def labels(self, start: int, stop: int) -> Array | None:
        """Return the classes of the samples, int64."""
        rows = self._data.labels(start, stop)
        return None if rows is None else rows.reshape(len(rows), -1).argmax(axis=1).astype(np.int64)


class Shifted:
    """Labels with a constant added, as floats where they are such; -100, which means "not scored", stays."""

    def __init__(self, labels: Column, offset: int) -> None:
        self.shape, self.dtype = labels.shape, labels.dtype
        self._labels, self._offset = labels, offset

    def __getitem__(self, rows: slice, /) -> Array:
        labels: Array = np.asarray(self._labels[rows])
        if labels.dtype.kind == "f":
            return np.where(labels == NOT_SCORED, labels, labels + self._offset)
        labels = labels.astype(np.int64)
        return np.where(labels == NOT_SCORED, labels, labels + self._offset)
