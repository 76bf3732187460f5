"""The journal of a running campaign: one open file that rows are appended to. How lines look lives in `format`."""

import contextlib
import io
import os
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultsim.journal.columns import Row, Table
from faultsim.journal.errors import FULL, JournalError, cannot, shown
from faultsim.journal.format import SEAL_BYTES, Header, seal
from faultsim.journal.index import TrialIndex
from faultsim.journal.lock import forget_owner
from faultsim.journal.scan import Scan, Tail
from faultsim.journal.union import conflict, gaps, unite

SYNC_ROWS: Final = 10_000
SYNC_S: Final = 1.0

_OPEN: "weakref.WeakSet[Journal]" = weakref.WeakSet()


class Journal:
    """Rows of one campaign in one file, to be written by one process; `open_journal` makes it.

    Every `append` hands its rows to the operating system before it returns: when the process dies, however it dies,
    none of them is lost. What has not been synced yet (at most `sync_rows` rows, or those of the last `sync_s` before
    the last append) can be lost when the machine loses power. A forked child finds the journal closed.

    Attributes:
        path: The file.
        columns: What a row holds.
        notes: One sentence each on what was found and mended when the file was opened, for the user to read.
    """

    def __init__(
        self,
        fd: int,
        path: Path,
        header: Header,
        tail: Tail,
        index: TrialIndex,
        *,
        notes: tuple[str, ...] = (),
        sync_rows: int = SYNC_ROWS,
        sync_s: float = SYNC_S,
    ) -> None:
        self.path, self.columns, self.notes = path, header.columns, notes
        self._fd, self._tail, self._index = fd, tail, index
        self._sync_rows, self._sync_s = sync_rows, sync_s
        self._synced_rows, self._synced_at_s = tail.rows, time.monotonic()
        self._dirty = False  # the file may hold more than _tail says: a write was cut short
        self._failure: str | None = None
        _OPEN.add(self)

    def __len__(self) -> int:
        """Trials that are in the journal."""
        return len(self._index)

    def __contains__(self, trial: int) -> bool:
        """Whether the trial is in the journal."""
        return self._index.offset(trial) is not None

    def trials(self) -> NDArray[np.int64]:
        """Return the trials that are in the journal, sorted, shape (trials,)."""
        self._mend()
        return self._index.trials().copy()

    def missing(self, total: int) -> Iterator[int]:
        """Yield, in order, the trials of 0 to *total* - 1 that are not in the journal as of this call."""
        return (trial for first, last in gaps(self.trials(), total) for trial in range(first, last + 1))

    def append(self, rows: Iterable[Row] | Table) -> int:
        """Write rows, all or none: the journal never holds part of a call, and stays usable where a call fails.

        Args:
            rows: Values in the order of ``columns.names``, or an array of ``columns.dtype``. A trial that is in the
                journal already with the same values is passed over.

        Returns:
            How many of them were new.

        Raises:
            JournalError: If a row does not fit the columns, a trial has another answer already, the disk is full, or
                the file cannot be written.
        """
        self._mend()
        fresh = self._fresh(rows.tolist() if isinstance(rows, np.ndarray) else rows)
        if not fresh:
            return 0
        self._index.settle()
        chain, end, lines, offsets = self._tail.chain, self._tail.end, [], {}
        for trial, text in fresh.items():
            line, chain = seal(text, chain)
            lines.append(line)
            offsets[trial] = end
            end += len(line)
        after = Tail(end, chain, self._tail.rows + len(lines))
        self._dirty = True
        self._write(b"".join(lines))
        self._index.add(offsets)
        self._tail = after  # from here on the rows are in
        self._dirty = False
        unsynced = after.rows - self._synced_rows
        if unsynced >= self._sync_rows or time.monotonic() - self._synced_at_s >= self._sync_s:
            self.sync()
        return len(lines)

    def sync(self) -> None:
        """Return once all rows are on the disk and would outlive a loss of power.

        Raises:
            JournalError: If the disk does not take them. The journal then takes no more rows, for the system may have
                dropped what it could not write: open it anew, which reads what is there.
        """
        self._mend()
        if self._tail.rows == self._synced_rows:
            return
        try:
            os.fsync(self._fd)
        except OSError as error:
            fault = str(cannot(self.path, "put on the disk", error))
            lost = self._tail.rows - self._synced_rows
            self._failure = (
                f"{fault}; the last {lost} rows may be lost, run the same command again: it goes on from there"
            )
            raise JournalError(self._failure) from None
        self._synced_rows, self._synced_at_s = self._tail.rows, time.monotonic()

    def rows(self) -> Table:
        """Return all rows, read back from the file, in the order of their trials: an array of ``columns.dtype``.

        The order of appending does not show. Needs ``columns.dtype.itemsize`` bytes a row, twice while it works.

        Raises:
            JournalError: If the file was damaged since it was written, or cannot be read.
        """
        self._mend()
        with io.FileIO(self._fd, "rb", closefd=False) as file:
            scan = Scan(file, self.path)
            tables = [block.table(self.columns, self.path) for block in scan.blocks()]
        if scan.tail != self._tail or scan.torn_bytes:
            raise self._changed(scan.tail.end + scan.torn_bytes)
        whole = np.concatenate([np.empty(0, self.columns.dtype), *tables])
        return unite(whole, lambda row: f"{self.path}:{row + 2}").rows

    def close(self) -> None:
        """Sync, release the lock and close the file; a second call does nothing.

        Raises:
            JournalError: If the last rows cannot be put on the disk; the file is closed all the same.
        """
        if self._fd < 0:
            return
        try:
            if self._failure is None:
                self.sync()
        finally:
            fd, self._fd = self._fd, -1
            _OPEN.discard(self)
            if self._failure is None:  # else another journal may lie there by now
                forget_owner(self.path)
            os.close(fd)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            with contextlib.suppress(JournalError):  # what went wrong first is what the user must read
                self.close()

    def _fresh(self, rows: Iterable[Row]) -> dict[int, bytes]:
        """Return the texts of the trials that are not in the journal yet; check those that are."""
        fresh: dict[int, bytes] = {}
        for row in rows:
            text = self.columns.encode(row)
            trial = int(text[1 : text.index(b",")] if b"," in text else text[1:])
            known = fresh.get(trial) or self._text(trial)
            if known is None:
                fresh[trial] = text
            elif known != text:
                one, other = self.columns.decode([known]), self.columns.decode([text])
                if one.tobytes() != other.tobytes():
                    raise conflict(one[0], other[0], str(self.path), "the row to be appended")
        return fresh

    def _text(self, trial: int) -> bytes | None:
        offset = self._index.offset(trial)
        if offset is None:
            return None
        os.lseek(self._fd, offset, os.SEEK_SET)
        line = os.read(self._fd, self.columns.limit_bytes + SEAL_BYTES + 1).split(b"\n")[0]
        return line[:-SEAL_BYTES]

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except BaseException as error:
            with contextlib.suppress(OSError, JournalError):
                self._mend()
            if not isinstance(error, OSError):
                raise
            kept = f"all {self._tail.rows} rows before are kept, and the same command goes on from there"
            full = " is full" if error.errno in FULL else ""
            said = cannot(self.path, "written", error)
            raise JournalError(f"{said}; {kept}" if not full else f"{said}; {kept} once there is space") from None

    def _mend(self) -> None:
        """Bring the file back to the rows that are in; refuse a journal that cannot go on."""
        if self._failure is not None:
            raise JournalError(self._failure)
        if self._fd < 0:
            raise JournalError(f"{shown(self.path)}: this journal is closed; open it with open_journal to go on")
        if self._dirty:
            try:
                os.ftruncate(self._fd, self._tail.end)
            except OSError as error:
                raise cannot(self.path, "written", error) from None
            self._index.drop_from(self._tail.end)
            self._dirty = False
        state = os.fstat(self._fd)
        if state.st_nlink == 0:
            self._failure = self._rescued()
            raise JournalError(self._failure)
        if state.st_size != self._tail.end:
            raise self._changed(state.st_size)

    def _changed(self, size: int) -> JournalError:
        self._failure = (
            f"{shown(self.path)}: another program changed this journal while it was in use ({self._tail.end} bytes "
            f"were written, {size} are there); let only one process use it, and run the same command again: what is "
            f"damaged will be named"
        )
        return JournalError(self._failure)

    def _rescued(self) -> str:
        """Write the deleted file's content, which only this process can still reach, to a new file."""
        copy = self.path.with_name(f"{self.path.name}.rescued")
        deleted = f"{shown(self.path)}: the journal was deleted or replaced while it was in use"
        try:
            with copy.open("xb") as new, io.FileIO(self._fd, "rb", closefd=False) as old:
                old.seek(0)
                while piece := old.read(2**20):
                    new.write(piece)
                new.flush()
                os.fsync(new.fileno())
        except OSError as error:
            return f"{deleted}, and its {self._tail.rows} rows could not be saved ({error.strerror}); run it again"
        return f"{deleted}; its {self._tail.rows} rows are in {shown(copy)}, give that to --journal to go on"


def _close_in_child() -> None:
    """Close the journals that a forked child inherits: its descriptors would keep the lock of a dead parent."""
    for journal in list(_OPEN):
        with contextlib.suppress(OSError):
            os.close(journal._fd)
        journal._fd = -1
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
