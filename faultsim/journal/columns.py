"""What one row of a journal holds, declared once: its text and its array. Checksums and files live elsewhere."""

import base64
import json
import operator
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from faultsim.journal.errors import JournalError, shown

Row: TypeAlias = Sequence[Any]
"""The values of one trial in the order of `Columns.names`, the number of the trial first."""
Table: TypeAlias = NDArray[np.void]
"""Rows as a structured array of `Columns.dtype`, shape (rows,)."""

_LEAST, _MOST = -(2**63), 2**63 - 1
_MOST_COLUMNS = 256
_MOST_BYTES = 2**24
_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a row: ``trial``, then counts, then floats, then byte arrays.

    A row is one trial, and ``trial`` (0 to 2^63 - 1) is its key; it is not named here. Floats come back bit by bit
    (every NaN as the one that ``float("nan")`` gives).

    Examples:
        >>> columns = Columns(ints=("n", "correct"), floats=("loss",))
        >>> columns.names
        ('trial', 'n', 'correct', 'loss')
        >>> columns.encode((7, 1000, 912, 0.25))
        b'[7,1000,912,0.25'
    """

    ints: tuple[str, ...] = ()
    """Signed 64-bit numbers."""
    floats: tuple[str, ...] = ()
    """Float64; NaN and the infinities may occur."""
    byte_arrays: tuple[tuple[str, int], ...] = ()
    """Name and length in bytes, at least 1, together at most 2^24: the outcome of every image. Stored compressed."""

    def __post_init__(self) -> None:
        """Refuse names that are no identifiers or occur twice, and lengths out of range."""
        names = self.names
        for name in names:
            if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or len(name) > 64:
                raise JournalError(f"the column {shown(repr(name))} has no usable name; use letters, digits and _")
        if len(set(names)) < len(names) or len(names) > _MOST_COLUMNS:
            raise JournalError(
                f"{len(names)} columns; give at most {_MOST_COLUMNS}, each name once, 'trial' not at all"
            )
        for name, size in self.byte_arrays:
            if type(size) is not int or not 1 <= size <= _MOST_BYTES:
                raise JournalError(f"the column {name} has {shown(size)} bytes; give a length from 1 to {_MOST_BYTES}")
        if sum(size for _, size in self.byte_arrays) > _MOST_BYTES:
            raise JournalError(f"the byte columns have more than {_MOST_BYTES} bytes a row together; give fewer")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All columns in the order of a row."""
        return ("trial", *self.ints, *self.floats, *(name for name, _ in self.byte_arrays))

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The type of a row in an array, without padding."""
        fields: list[Any] = [(name, np.int64) for name in ("trial", *self.ints)]
        fields += [(name, np.float64) for name in self.floats]
        fields += [(name, np.uint8, (size,)) for name, size in self.byte_arrays]
        return np.dtype(fields)

    @cached_property
    def limit_bytes(self) -> int:
        """The longest text of a row, without its checksum."""
        packed = sum(4 * (size + size // 1000 + 64) // 3 + 8 for _, size in self.byte_arrays)
        return 1 + 21 * (1 + len(self.ints)) + 26 * len(self.floats) + packed

    def encode(self, row: Row) -> bytes:
        """Return the text of *row*: a JSON list without its closing bracket, ASCII.

        Raises:
            JournalError: If the row has another length, or a value another type or range, than its column.
        """
        if len(row) != len(self.names):
            raise JournalError(f"a row of {len(row)} values for {len(self.names)} columns: {', '.join(self.names)}")
        whole, real = 1 + len(self.ints), 1 + len(self.ints) + len(self.floats)
        try:
            parts = [*map(_int_text, row[:whole]), *map(_float_text, row[whole:real])]
            if self.byte_arrays:
                parts += starmap(_byte_text, zip(row[real:], self.byte_arrays, strict=True))
        except (TypeError, ValueError) as error:
            raise JournalError(f"trial {shown(row[0])}: {self._first_wrong(row)}: {error}") from None
        if parts[0].startswith("-"):
            raise JournalError(f"trial {shown(row[0])}: trials are numbered from 0; give the trial's number first")
        return f"[{','.join(parts)}".encode("ascii")

    def decode(self, texts: Sequence[bytes]) -> Table:
        """Return the rows that `encode` wrote.

        Raises:
            ValueError: If one is not what `encode` writes; it says what is wrong, not where.
        """
        if not texts:
            return np.empty(0, dtype=self.dtype)
        try:
            rows = json.loads((b"[" + b"],".join(texts) + b"]]").decode("ascii"), parse_constant=_refuse)
        except RecursionError:
            raise ValueError("nested lists") from None
        if len(rows) != len(texts) or {type(row) for row in rows} != {list} or {*map(len, rows)} != {len(self.names)}:
            raise ValueError(f"not the {len(self.names)} values of the columns {', '.join(self.names)}")
        table = np.empty(len(rows), dtype=self.dtype)
        sizes = dict(self.byte_arrays)
        for name, values in zip(self.names, zip(*rows, strict=True), strict=True):
            if name in sizes:
                table[name] = np.frombuffer(b"".join(_bytes(v, sizes[name]) for v in values), np.uint8).reshape(
                    len(rows), sizes[name]
                )
            else:
                table[name] = _reals(values, name) if name in self.floats else _wholes(values, name)
        if int(table["trial"].min()) < 0:
            raise ValueError("a negative trial")
        return table

    def to_json(self) -> list[list[str | int]]:
        """Return the declaration as it stands in a header."""
        plain: list[list[str | int]] = [[name, "int"] for name in self.ints]
        plain += [[name, "float"] for name in self.floats]
        return plain + [[name, "bytes", size] for name, size in self.byte_arrays]

    def _first_wrong(self, row: Row) -> str:
        kinds = [*[_int_text] * (1 + len(self.ints)), *[_float_text] * len(self.floats)]
        for name, value, text in zip(self.names, row, kinds, strict=False):
            try:
                text(value)
            except (TypeError, ValueError):
                return f"{name} = {shown(repr(value))}"
        return "byte columns"


def columns_from_json(plain: object) -> Columns:
    """Return the columns that `Columns.to_json` declared.

    Raises:
        ValueError: If *plain* is no such declaration.
    """
    if not isinstance(plain, list) or len(plain) > _MOST_COLUMNS:
        raise ValueError("no list of columns")
    kinds: Mapping[str, list[Any]] = {"int": [], "float": [], "bytes": []}
    for one in plain:
        if not isinstance(one, list) or len(one) < 2 or one[1] not in ("int", "float", "bytes"):
            raise ValueError("a column that is neither int, float nor bytes")
        if len(one) != 2 + (one[1] == "bytes"):
            raise ValueError("a column with too few or too many words")
        kinds[one[1]].append((one[0], one[2]) if one[1] == "bytes" else one[0])
    try:
        found = Columns(ints=tuple(kinds["int"]), floats=tuple(kinds["float"]), byte_arrays=tuple(kinds["bytes"]))
    except (JournalError, TypeError) as error:
        raise ValueError(str(error)) from None
    if found.to_json() != plain:
        raise ValueError("columns out of order: counts come first, then floats, then bytes")
    return found


def _int_text(value: object) -> str:
    if type(value) is not int:
        if isinstance(value, bool | np.bool_):
            raise TypeError("true or false where a whole number belongs")
        value = operator.index(value)  # type: ignore[arg-type]  # raises TypeError where it is no whole number
    if not _LEAST <= value <= _MOST:
        raise ValueError("beyond 64 bits")
    return repr(value)


def _float_text(value: object) -> str:
    if isinstance(value, bool | str | bytes):
        raise TypeError("no number")
    text = repr(float(value))  # type: ignore[arg-type]  # raises TypeError where it is no number
    return f'"{text}"' if text in _NOT_FINITE else text


def _byte_text(value: Any, column: tuple[str, int]) -> str:
    name, size = column
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8:
            raise TypeError(f"{name} is an array of {value.dtype}, not of uint8")
        value = value.tobytes()
    if not isinstance(value, bytes | bytearray) or len(value) != size:
        raise ValueError(f"{name} is not the {size} bytes that its column has")
    return f'"{base64.b64encode(zlib.compress(value, 6)).decode("ascii")}"'


def _wholes(values: Sequence[object], name: str) -> NDArray[np.int64]:
    if {*map(type, values)} != {int}:
        raise ValueError(f"{name} is no whole number")
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        raise ValueError(f"{name} is beyond 64 bits") from None


def _reals(values: Sequence[Any], name: str) -> NDArray[np.float64]:
    words = [value for value in values if type(value) is not float]
    if not all(isinstance(word, str) and word in _NOT_FINITE for word in words):
        raise ValueError(f"{name} is no float")
    named = np.array([_NOT_FINITE[v] if isinstance(v, str) else v for v in values] if words else values, np.float64)
    if int(np.isfinite(named).sum()) != len(values) - len(words):
        raise ValueError(f"{name} is beyond float64")
    return named


def _bytes(text: object, size: int) -> bytes:
    if not isinstance(text, str):
        raise ValueError("a byte column that is no text")
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(base64.b64decode(text, validate=True), size + 1)  # a bomb stops here
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(found) != size or not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"a byte column of another length than {size}")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")
