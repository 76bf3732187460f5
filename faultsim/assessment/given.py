"""Data sets that the caller made: which options go with them, and how a result names them. Nothing is loaded here."""

from collections.abc import Sequence
from typing import Any

from faultsim.assessment.options import Options
from faultsim.data import check_ids
from faultsim.data.spec import Array, DataSet, InputSpec
from faultsim.errors import DataError, OptionError

IN_MEMORY = "(in memory)"
"""What `Rerun.data` says of a data set that was given as an object: no path leads back to it."""


def from_caller(data: Any, inputs: Sequence[InputSpec], options: Options) -> DataSet:
    """Return the caller's own data set, its first samples alone under a limit.

    Args:
        data: What was given in place of a path.
        inputs: What the model declares.
        options: Of the assessment.

    Raises:
        DataError: If it is no data set, or its ids do not go with the model.
        OptionError: If an option asks for what is only done to a file, or to drawn inputs.
    """
    if not (hasattr(data, "inputs") and hasattr(data, "labels")):
        raise DataError(
            f"data of type {type(data).__name__} cannot be read; give a path (numpy.savez writes arrays to one), "
            "module:function, or a data set (faultsim.data.spec.DataSet)"
        )
    for name, value in (("preprocess", options.preprocess), ("input_shape", options.input_shape)):
        if value:
            raise OptionError(
                f"{name} is {str(value)!r}, but the data are a data set in memory, which is taken as it is; leave "
                f"{name} out, or give the data as a path"
            )
    samples: DataSet = data
    check_ids(samples, inputs)
    limit = options.limit
    return samples if limit is None or limit >= len(samples) else _First(samples, limit)


class _First:
    """The first samples of a data set (`data.spec.DataSet`)."""

    def __init__(self, data: DataSet, samples: int) -> None:
        self._data = data
        self._samples = samples
        self.source = data.source
        self.notes = data.notes
        self.golden_labels = bool(getattr(data, "golden_labels", False))
        self.language_model = bool(getattr(data, "language_model", False))

    def __len__(self) -> int:
        return self._samples

    def inputs(self, start: int, stop: int) -> dict[str, Array]:
        """Return the inputs as they are."""
        return self._data.inputs(start, min(stop, self._samples))

    def labels(self, start: int, stop: int) -> Array | None:
        """Return the labels as they are."""
        return self._data.labels(start, min(stop, self._samples))
