"""Whether labels go with the number of classes. What the labels mean is the task's business."""

import numpy as np

from faultsim.data.convert import family
from faultsim.data.spec import DataSet
from faultsim.errors import DataError

_STEP = 65536


def check_labels(data: DataSet, classes: int, *, ignore_index: int | None = None) -> None:
    """Refuse whole-number labels outside ``0 … classes - 1``; data without labels pass.

    Args:
        data: The samples; their labels are read once, inputs are not.
        classes: Number of classes of the model.
        ignore_index: Label that means "not scored", such as -100, which is let through.

    Raises:
        DataError: With the first label out of range, or if the labels are no whole numbers.
    """
    low, high, first = 0, classes - 1, None
    for start in range(0, len(data), _STEP):
        labels = data.labels(start, min(start + _STEP, len(data)))
        if labels is None:
            return
        if family(labels.dtype) != "int":
            raise DataError(f"the labels in {data.source} are {labels.dtype}, not class numbers; give whole numbers")
        counted = labels if ignore_index is None else labels[labels != ignore_index]
        if counted.size:
            low, high = min(low, int(counted.min())), max(high, int(counted.max()))
        bad = (labels < 0) | (labels >= classes)
        if ignore_index is not None:
            bad &= labels != ignore_index
        if first is None and bad.any():
            at = [int(i) for i in np.argwhere(bad)[0]]
            first = (int(labels[tuple(at)]), ", ".join(map(str, [at[0] + start, *at[1:]])))
    if first is not None:
        raise DataError(
            f"label {first[0]} at [{first[1]}] in {data.source} is out of range: the model has {classes} "
            "classes, "
            f"0…{classes - 1}; {_remedy(data, classes, high)}"
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
