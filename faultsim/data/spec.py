"""What a model asks for (`InputSpec`) and what every loader gives (`DataSet`, `Batch`). No files here."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class InputSpec:
    """One input that the deployed graph declares.

    Attributes:
        name: Its name in the graph.
        dtype: Its numpy type.
        shape: Its declared shape: a number, the name of a symbolic dimension, or ``None`` for an unknown one.
        batch_axis: Which axis counts the samples: 0 nearly always, 1 for time-major recurrent graphs,
            ``None`` for an input that is the same for every sample (its array is then passed whole). Whatever
            lies in a file, a data set slices along the samples and gives each batch as the graph takes it.
        upper: For an integer input the rows of the smallest table that it indexes, where the graph shows one:
            ids are ``0 … upper - 1`` (ONNX Gather takes those from ``-upper`` on, too). Else ``None``.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]
    batch_axis: int | None = 0
    upper: int | None = None

    @property
    def sample_shape(self) -> tuple[int | str | None, ...]:
        """The shape of one sample: `shape` without the batch axis."""
        axis = self.batch_axis
        return self.shape if axis is None else self.shape[:axis] + self.shape[axis + 1 :]

    @property
    def fixed_batch(self) -> int | None:
        """The number of samples that one run of the graph insists on, or ``None`` where any will do."""
        size = None if self.batch_axis is None else self.shape[self.batch_axis]
        return size if isinstance(size, int) else None

    def __str__(self) -> str:
        """Return the input as users read it, ``input 'x' (float32, N×3×32×32)``."""
        return f"input {self.name!r} ({self.dtype}, {show_shape(self.shape)})"


class Batch(NamedTuple):
    """Consecutive samples ``start … stop - 1`` of a data set."""

    inputs: dict[str, Array]
    labels: Array | None
    start: int
    stop: int


class DataSet(Protocol):
    """Samples that can be read in any order, any number of times, a slice at a time.

    Attributes:
        source: Where the samples come from, for the report: a path, a function, or what was drawn.
        notes: What was done to them that the user did not ask for in so many words: one sentence each.

    A data set whose labels are the next tokens of a text may say so with an attribute ``language_model = True``: it is
    then scored by its log perplexity where no task is named. Without the attribute it is taken as False.
    One whose labels are a clean model's own answers says so with ``golden_labels = True``: accuracy is then agreement.
    """

    source: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of samples."""

    def inputs(self, start: int, stop: int) -> dict[str, Array]:
        """Return the model's inputs of samples ``start … stop - 1`` by name, in the declared types and order of axes.

        Raises:
            DataError: If a sample cannot be read, or holds NaN or an infinity.
        """

    def labels(self, start: int, stop: int) -> Array | None:
        """Return the labels of the same samples, samples first (whole numbers as int64), or ``None`` without any."""


class Column(Protocol):
    """An array whose rows are samples, read from disk when sliced, perhaps; numpy arrays are columns."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape with the samples first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return the rows as a numpy array."""


def batches(data: DataSet, size: int) -> Iterator[Batch]:
    """Yield the data set in batches of at most *size* samples, all of nearly the same size (`even`).

    Args:
        data: The samples.
        size: Samples a batch, at least 1.

    Raises:
        ValueError: If `size` is not positive.
        DataError: If a sample cannot be read.
    """
    if size < 1:
        raise ValueError(f"batch size {size} is out of range: give at least 1")
    for start, stop in even(len(data), size):
        yield Batch(data.inputs(start, stop), data.labels(start, stop), start, stop)


def even(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield spans of *count* samples, *most* at most and none much smaller: a single row may round otherwise.

    Examples:
        >>> list(even(41, 20))
        [(0, 13), (13, 27), (27, 41)]
    """
    parts = -(-count // most)
    if parts:
        yield from pairwise(count * i // parts for i in range(parts + 1))


def show_shape(shape: tuple[int | str | None, ...]) -> str:
    """Return a shape as users read it.

    Examples:
        >>> show_shape(("N", 3, None))
        'N×3×?'
    """
    return "×".join("?" if size is None else str(size) for size in shape) or "scalar"
