"""The one data set behind all loaders: columns that are sliced, converted and checked a batch at a time."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from faultsim.data.convert import Conversion, family
from faultsim.data.spec import Array, Column, DataSet, InputSpec
from faultsim.errors import DataError

_SCAN_ROWS_BYTES = 1 << 24
_SCAN_SAMPLES = 1024


class Feed(NamedTuple):
    """One input and where its rows come from."""

    spec: InputSpec
    column: Column
    conversion: Conversion
    what: str


class ColumnData:
    """A `DataSet` over columns; memory is that of the slice asked for, whatever lies behind the columns."""

    def __init__(
        self,
        feeds: Iterable[Feed],
        labels: Column | None,
        *,
        length: int,
        source: str,
        notes: Iterable[str] = (),
        language_model: bool = False,
    ) -> None:
        self.source = source
        self.notes = tuple(notes)
        self.language_model = language_model
        self._feeds = tuple(feeds)
        self._labels = labels
        self._length = length

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._length

    def __repr__(self) -> str:
        return f"<{self._length} samples from {self.source}>"

    def inputs(self, start: int, stop: int) -> dict[str, Array]:
        """Return the inputs of samples ``start … stop - 1`` by name; see `DataSet.inputs`."""
        start, stop = max(start, 0), min(stop, self._length)
        return {feed.spec.name: _fed(feed, start, stop) for feed in self._feeds}

    def labels(self, start: int, stop: int) -> Array | None:
        """Return the labels of the same samples; see `DataSet.labels`."""
        if self._labels is None:
            return None
        rows = np.asarray(self._labels[max(start, 0) : min(stop, self._length)])
        if family(rows.dtype) == "float":
            refuse_nonfinite(rows, "the array of labels", start)
        return rows.astype(np.int64) if family(rows.dtype) in ("int", "bool") else rows

    def scan(self) -> None:
        """Look for NaN, infinities and ids out of range in arrays now, so that no campaign meets them after an hour.

        Raises:
            DataError: With the place of the first one.
        """
        for feed in self._feeds:
            if feed.spec.upper is not None and isinstance(feed.column, np.ndarray) and feed.column.ndim:
                step = max(1, _SCAN_ROWS_BYTES // max(1, feed.column.nbytes // max(1, len(feed.column))))
                rows = len(feed.column) if feed.spec.batch_axis is None else self._length
                for start in range(0, rows, step):
                    refuse_ids(feed.column[start : min(start + step, rows)], feed.spec, feed.what, start)
            if isinstance(feed.column, np.ndarray) and family(feed.column.dtype) == "float":
                row_bytes = feed.column.dtype.itemsize * max(1, int(np.prod(feed.column.shape[1:])))
                step = max(1, _SCAN_ROWS_BYTES // row_bytes)
                whole = feed.spec.batch_axis is None
                for start in range(0, feed.column.shape[0] if whole and feed.column.ndim else self._length, step):
                    refuse_nonfinite(
                        feed.column[start : start + step] if feed.column.ndim else feed.column,
                        feed.what,
                        start,
                        masks=_is_mask(feed.spec),
                    )


def refuse_nonfinite(rows: Array, what: str, start: int, *, masks: bool = False) -> None:
    """Refuse rows that hold NaN or an infinity; *start* is the number of the first.

    Args:
        rows: Floats.
        what: What they are, for the message.
        start: The number of the first.
        masks: Whether the array is an additive mask, which -inf belongs into.

    Raises:
        DataError: With the index of the first one.
    """
    bad = ~np.isfinite(rows)
    if bad.any() and masks:
        bad &= rows != -np.inf
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0]) if bad.ndim else ()
        place = ", ".join(map(str, [first[0] + start, *first[1:]] if first else []))
        value = float(rows[first])
        held = "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
        only = " (only an input with 'mask' in its name may hold -inf)" if held == "-inf" else ""
        raise DataError(f"{what} holds {held} at [{place}]; remove or repair that sample{only}")


def refuse_ids(rows: Array, spec: InputSpec, what: str, start: int) -> None:
    """Refuse ids that the table behind an input does not have; *start* is the number of the first sample.

    Ids below 0 count from the table's end, as ONNX Gather has it. An input without a table takes anything.

    Raises:
        DataError: With the sample and the id.
    """
    if spec.upper is None or family(rows.dtype) != "int":
        return
    bad = (rows < -spec.upper) | (rows >= spec.upper)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        inside = first if spec.batch_axis is None else first[1:]
        sample = "" if spec.batch_axis is None else f" in sample {first[0] + start}"
        at = f" at [{', '.join(map(str, inside))}]" if inside else ""
        raise DataError(
            f"{what} holds the id {rows[first]}{sample}{at}, but {spec} looks ids up in a table of "
            f"{spec.upper:,} rows, 0…{spec.upper - 1}; check that the vocabulary of the data is the model's"
        )


def check_ids(data: DataSet, inputs: Iterable[InputSpec]) -> None:
    """Look at every id of a data set that no loader of ours made, as `ColumnData.scan` does.

    Raises:
        DataError: With the sample and the id of the first that its table does not have.
    """
    looked = [spec for spec in inputs if spec.upper is not None]
    for start in range(0, len(data) if looked else 0, _SCAN_SAMPLES):
        fed = data.inputs(start, min(start + _SCAN_SAMPLES, len(data)))
        for spec in looked:
            rows = np.asarray(fed.get(spec.name, 0))
            turned = np.moveaxis(rows, spec.batch_axis, 0) if spec.batch_axis and rows.ndim > spec.batch_axis else rows
            refuse_ids(turned, spec, f"input {spec.name!r} of {data.source}", start)


def constant(value: float, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array of one value that takes the memory of one element."""
    return np.broadcast_to(np.asarray(value).astype(dtype), shape)


def named(arrays: Mapping[str, Any]) -> str:
    """Return array names as a message lists them, at most ten."""
    names = [repr(name) for name in arrays]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _is_mask(spec: InputSpec) -> bool:
    return "mask" in spec.name.lower()


def _fed(feed: Feed, start: int, stop: int) -> Array:
    axis = feed.spec.batch_axis
    if axis is None:
        whole = np.asarray(feed.column[:] if feed.column.shape else feed.column)
        refuse_ids(whole, feed.spec, feed.what, 0)
        return whole
    rows = np.asarray(feed.column[start:stop])
    if family(rows.dtype) == "float":
        refuse_nonfinite(rows, feed.what, start, masks=_is_mask(feed.spec))
    converted = feed.conversion.apply(rows, start)
    refuse_ids(converted, feed.spec, feed.what, start)
    return np.ascontiguousarray(np.moveaxis(converted, 0, axis) if axis else converted)
