"""Reading a journal block by block: its good rows, then a torn tail, or the place of the damage. Nothing is written."""

import contextlib
import io
import itertools
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from faultsim.journal.columns import Columns, Table
from faultsim.journal.errors import JournalError, cannot, shown
from faultsim.journal.format import (
    HEADER_LIMIT_BYTES,
    MAGIC,
    SEAL_BYTES,
    Header,
    first_chain,
    fits,
    parse_header,
    stored_chain,
)

BLOCK_BYTES: Final = 2**18
"""Fits the cache: larger blocks are slower."""
_TRIAL_DIGITS: Final = 19
"""Of 2^63 - 1."""
_PADDED: Final = re.compile(rb"0.").match
"""Whether zeros stand before a number."""


class Tail(NamedTuple):
    """Where the good rows of a file end."""

    end: int
    """Bytes up to there: the header and every good row."""
    chain: int
    """The checksum that the next row's starts from."""
    rows: int
    """Good rows."""


class Block(NamedTuple):
    """Rows that lie one after another and whose checksums fit."""

    lines: list[bytes]
    """Without their newlines."""
    tail: Tail
    """Where the file's good rows end with this block."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """The byte at which each line starts, shape (rows,)."""
        lengths = np.fromiter(map(len, self.lines), np.int64, len(self.lines)) + 1
        return self.tail.end - np.cumsum(lengths[::-1])[::-1]

    def table(self, columns: Columns, path: Path) -> Table:
        """Return the rows.

        Raises:
            JournalError: If a line, though its checksum fits, is no row of these columns.
        """
        try:
            return columns.decode([line[:-SEAL_BYTES] for line in self.lines])
        except ValueError:
            for position, (line, offset) in enumerate(zip(self.lines, self.offsets, strict=True)):
                number = self.tail.rows - len(self.lines) + position + 2
                try:
                    columns.decode([line[:-SEAL_BYTES]])
                except ValueError as error:
                    raise no_row(path, number, int(offset), str(error)) from None
            raise

    def trials(self, path: Path) -> NDArray[np.int64]:
        """Return the trial of each row, shape (rows,), at a fraction of the cost of `table`.

        Raises:
            JournalError: If a line, though its checksum fits, does not start with a trial.
        """
        words = [line[1 : line.index(b",")] for line in self.lines]
        with contextlib.suppress(ValueError, OverflowError):
            if b"".join(words).isdigit() and max(map(len, words)) <= _TRIAL_DIGITS and not any(map(_PADDED, words)):
                return np.array([*map(int, words)], dtype=np.int64)
        position = next(i for i, word in enumerate(words) if not _is_trial(word))
        number = self.tail.rows - len(self.lines) + position + 2
        raise no_row(path, number, int(self.offsets[position]), "it does not start with a trial")


class Scan:
    """One pass over a journal file as long as it is now: its header at once, its rows by `blocks`.

    What another process appends in the meantime is not looked at.

    Attributes:
        header: What the first line says.
        tail: Where the good rows end, as far as they were read.
        torn_bytes: Bytes behind the last good row, once `blocks` came to its end: the rest of a write that was cut
            short by a crash. They hold no row.
    """

    def __init__(self, file: io.FileIO, path: Path) -> None:
        self._file, self._path = file, path
        self.torn_bytes = 0
        try:
            self._size = os.fstat(file.fileno()).st_size
            start = io.BufferedReader(_Part(file, 0, self._size)).readline(HEADER_LIMIT_BYTES + 1)
        except OSError as error:
            raise cannot(path, "read", error) from None
        try:
            self.header: Header = parse_header(start)
        except JournalError as error:
            raise JournalError(f"{shown(path)}: {error}") from None
        except ValueError as error:
            raise _no_header(path, start, str(error)) from None
        self.tail = Tail(len(start), first_chain(start), 0)

    def blocks(self) -> Iterator[Block]:
        """Yield all good rows.

        Raises:
            JournalError: If a line is damaged and a good one follows, or the file cannot be read.
        """
        carry, at_end = b"", False
        limit = self.header.columns.limit_bytes + SEAL_BYTES
        while not at_end:
            try:
                at = self.tail.end + len(carry)
                self._file.seek(at)
                piece = self._file.read(min(max(BLOCK_BYTES, limit), max(0, self._size - at)))
            except OSError as error:
                raise cannot(self._path, "read", error) from None
            at_end = not piece
            lines = (carry + piece).split(b"\n")
            carry = lines.pop()
            good, chain = _fitting(lines, self.tail.chain)
            if good:
                taken = lines[:good]
                self.tail = Tail(self.tail.end + sum(map(len, taken)) + good, chain, self.tail.rows + good)
                yield Block(taken, self.tail)
            if good < len(lines) or len(carry) > limit:
                break
        self._judge_rest()

    def _judge_rest(self) -> None:
        """Tell a torn tail, behind which nothing fits any more, from damage with good rows behind it."""
        try:
            reader = io.BufferedReader(_Part(self._file, self.tail.end, self._size), BLOCK_BYTES)
            limit = self.header.columns.limit_bytes + SEAL_BYTES + 1
            lines = iter(lambda: reader.readline(limit), b"")
            first = next(lines, b"")
            self.torn_bytes = len(first)
            befores: list[int | None] = [crc32(first[:-1][:-SEAL_BYTES], self.tail.chain), stored_chain(first[:-1])]
            for number in itertools.count(self.tail.rows + 3):
                line = next(lines, b"")
                if not line:
                    return
                body = line[:-1]
                if line.endswith(b"\n") and any(before is not None and fits(body, before) for before in befores):
                    raise self._damaged(number)
                befores = [stored_chain(body)]
                self.torn_bytes += len(line)
        except OSError as error:
            raise cannot(self._path, "read", error) from None

    def _damaged(self, intact: int) -> JournalError:
        number, name = self.tail.rows + 2, shlex.quote(str(self._path))
        return JournalError(
            f"{shown(self._path)}:{number}: damaged at byte {self.tail.end}, and line {intact} after it is intact, so "
            f"that this is no write cut short; restore the file from a copy, or keep the {self.tail.rows} rows before "
            f"it with 'head -c {self.tail.end} {shown(name)} > NEW' and use NEW in its place"
        )


class _Part(io.RawIOBase):
    """The bytes of an open file from one place to another; the file stays open when the buffer over it is dropped."""

    def __init__(self, file: io.FileIO, start: int, end: int) -> None:
        self._file, self._left = file, max(0, end - start)
        file.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int | None:  # type: ignore[override]
        read = self._file.readinto(buffer[: self._left])
        self._left -= read or 0
        return read


def is_torn_header(file: io.FileIO) -> bool:
    """Tell whether the file is a journal whose creation was cut short: part of a first line, or zeros, or nothing."""
    size = os.fstat(file.fileno()).st_size
    if size > HEADER_LIMIT_BYTES:
        return False
    file.seek(0)
    start = file.read(HEADER_LIMIT_BYTES).rstrip(b"\0")
    return b"\n" not in start and (start.startswith(MAGIC) or MAGIC.startswith(start))


def _is_trial(word: bytes) -> bool:
    """Tell whether a word is a whole number as `Columns.encode` writes trials; a long one is never made a number."""
    return word.isdigit() and len(word) <= _TRIAL_DIGITS and not _PADDED(word) and int(word) < 2**63


def _fitting(lines: list[bytes], chain: int) -> tuple[int, int]:
    """Return how many lines fit, and the last one's checksum: the loop that reading a journal spends its time in."""
    count = 0
    for line in lines:
        found = crc32(line[:-SEAL_BYTES], chain)
        if line[-SEAL_BYTES:] != b',"%08x"]' % found:
            break
        chain = found
        count += 1
    return count, chain


def _no_header(path: Path, start: bytes, reason: str) -> JournalError:
    if not start.startswith(MAGIC):
        return JournalError(f"{shown(path)}: {reason}; it is left as it is, give another file")
    return JournalError(
        f"{shown(path)}:1: the first line is damaged at byte 0 ({shown(reason)}); restore the file from a copy, or "
        f"give another file"
    )


def no_row(path: Path, number: int, offset: int, reason: str) -> JournalError:
    """Return the error that a line, though its checksum fits, is no row."""
    return JournalError(
        f"{shown(path)}:{number}: no row of this journal's columns at byte {offset} ({shown(reason)}), though its "
        f"checksum fits; no version of faultsim wrote it, give another file"
    )
