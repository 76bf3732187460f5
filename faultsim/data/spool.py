"""Growing arrays on disk: rows are appended a block at a time and read back through a memory map."""

import tempfile
from typing import Any

import numpy as np

from faultsim.data.spec import Array, show_shape
from faultsim.errors import DataError


class Spool:
    """Rows of one type and shape, kept in a nameless temporary file until `array` maps them."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the spool, and has no name to leak
        self._dtype: np.dtype[Any] | None = None
        self._row: tuple[int, ...] = ()
        self.rows = 0

    def append(self, block: Array) -> None:
        """Add rows; the first block fixes type and shape.

        Raises:
            DataError: If a later block has another type or shape of rows.
        """
        if self._dtype is None:
            self._dtype, self._row = block.dtype, block.shape[1:]
        elif (block.dtype, block.shape[1:]) != (self._dtype, self._row):
            raise DataError(
                f"{self._what} gives rows of {block.dtype} {show_shape(block.shape[1:])} after rows of "
                f"{self._dtype} {show_shape(self._row)}; give all batches the same type and shape"
            )
        self._file.write(np.ascontiguousarray(block).data if block.size else b"")
        self.rows += block.shape[0]

    def array(self) -> Array:
        """Return all rows as a read-only array on disk; nothing can be appended after it."""
        dtype, shape = self._dtype or np.dtype(np.float64), (self.rows, *self._row)
        self._file.flush()
        with self._file as file:
            if not np.prod(shape, dtype=np.int64):
                return np.empty(shape, dtype)
            return np.memmap(file, dtype, "r", 0, shape)
