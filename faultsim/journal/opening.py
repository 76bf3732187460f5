"""Opening a journal: a new file, or one that is resumed after whatever ended its last run. Rows live in `journal`."""

import contextlib
import functools
import io
import os
import stat
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultsim.journal.columns import Columns, Table
from faultsim.journal.errors import JournalError, cannot, shown
from faultsim.journal.format import SEAL_BYTES, Header, first_chain, header_line
from faultsim.journal.identity import Identity, difference
from faultsim.journal.index import TrialIndex
from faultsim.journal.journal import SYNC_ROWS, SYNC_S, Journal
from faultsim.journal.lock import lock, say_owner
from faultsim.journal.scan import Scan, Tail, is_torn_header, no_row
from faultsim.journal.union import conflict

_TRIES: Final = 3


def open_journal(
    path: Path | str,
    campaign: Identity,
    columns: Columns,
    *,
    sync_rows: int = SYNC_ROWS,
    sync_s: float = SYNC_S,
) -> Journal:
    """Open the journal of a campaign: a new one, or the one that an earlier run of the same campaign left.

    What a crash cut short at the end of the file is cut off, with a note; nothing else is ever removed.

    Args:
        path: The file; its folder must be there.
        campaign: What the campaign samples, from `identity`.
        columns: What a row holds.
        sync_rows: Rows, at least 1, after which `Journal.append` syncs.
        sync_s: Seconds since the last sync, at least 0, after which it does.

    Returns:
        The journal, locked for this process until it is closed or the process ends. Use it in a ``with``.

    Raises:
        JournalError: If the file is in use, of another campaign or with other columns, no journal, damaged with good
            rows behind the damage, or cannot be read and written.
    """
    path = Path(path)
    if sync_rows < 1 or not sync_s >= 0:
        raise JournalError(f"sync_rows = {sync_rows}, sync_s = {sync_s}: give at least 1 row and at least 0 seconds")
    for _ in range(_TRIES):
        fd = _descriptor(path)
        try:
            notes = [note for note in [lock(fd, path)] if note]
            if not _is_still(path, fd):  # its owner deleted it between our two calls
                os.close(fd)
                continue
            header, tail, index = _resumed(fd, path, header_of(campaign, columns), notes)
            say_owner(path)
            return Journal(fd, path, header, tail, index, notes=tuple(notes), sync_rows=sync_rows, sync_s=sync_s)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(fd)
            raise
    raise JournalError(
        f"{shown(path)}: the journal is deleted again and again while it is opened; use another --journal"
    )


def header_of(campaign: Identity, columns: Columns) -> Header:
    """Return the header that this version writes."""
    return Header(campaign.parts, campaign.id, columns, f"faultsim {_version()}")


@functools.cache
def _version() -> str:
    return metadata.version("faultsim-nn")


def check_same(path: Path, found: Header, wanted: Header) -> None:
    """Refuse a journal of another campaign, or with other columns.

    Raises:
        JournalError: The message says which part differs.
    """
    if found.campaign != wanted.campaign:
        raise JournalError(
            f"{shown(path)}: this journal belongs to another campaign: {difference(found.parts, wanted.parts)}; use "
            f"another --journal, or what the journal was made with"
        )
    if found.columns != wanted.columns:
        raise JournalError(
            f"{shown(path)}: this journal has other columns, {', '.join(found.columns.names)} "
            f"({shown(found.created_by)}), not {', '.join(wanted.columns.names)}; use another "
            f"--journal, or the version that made it"
        )


def sync_folder(path: Path) -> None:
    """Put the folder's entry of a new file on the disk, where the system can do that."""
    with contextlib.suppress(OSError):  # some file systems and Windows cannot sync a folder
        fd = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def check_regular(path: Path) -> None:
    """Refuse a path at which something other than a regular file lies: a pipe or a device would block or never end.

    Raises:
        JournalError: If so, or if the path cannot be looked up; a path at which nothing lies passes.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise cannot(path, "opened", error if isinstance(error, OSError) else OSError(str(error))) from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise JournalError(f"{shown(path)}: is {kind}; give the name of a file to --journal")


def _descriptor(path: Path) -> int:
    check_regular(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise cannot(path, "opened", error) from None


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def _resumed(fd: int, path: Path, wanted: Header, notes: list[str]) -> tuple[Header, Tail, TrialIndex]:
    with io.FileIO(fd, "rb", closefd=False) as file:
        if is_torn_header(file):
            return _begun(fd, path, wanted, notes)
        scan = Scan(file, path)
        check_same(path, scan.header, wanted)
        none = np.empty(0, np.int64)
        trials, offsets = [none], [none]
        for block in scan.blocks():
            trials.append(block.trials(path))
            offsets.append(block.offsets)
    if scan.torn_bytes:
        try:
            os.ftruncate(fd, scan.tail.end)
            os.fsync(fd)
        except OSError as error:
            raise cannot(path, "written", error) from None
        notes.append(
            f"{shown(path)}: the last write was cut short by a crash; {scan.torn_bytes} bytes behind row "
            f"{scan.tail.rows} were removed, and what they held is computed again"
        )
    return (
        scan.header,
        scan.tail,
        _index(fd, path, scan.header.columns, np.concatenate(trials), np.concatenate(offsets)),
    )


def _begun(fd: int, path: Path, wanted: Header, notes: list[str]) -> tuple[Header, Tail, TrialIndex]:
    line = header_line(wanted)
    try:
        if os.fstat(fd).st_size:
            notes.append(f"{shown(path)}: the journal's creation was cut short by a crash; it is begun anew")
            os.ftruncate(fd, 0)
        view = memoryview(line)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
        raise cannot(path, "written", error) from None
    sync_folder(path)
    none = np.empty(0, np.int64)
    return wanted, Tail(len(line), first_chain(line), 0), TrialIndex(none, none)


def _index(
    fd: int,
    path: Path,
    columns: Columns,
    trials: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> TrialIndex:
    """Index the rows, the first of equal duplicates; refuse different ones."""
    order = np.argsort(trials, kind="stable")
    again = np.flatnonzero(trials[order][1:] == trials[order][:-1])
    for position in again.tolist():
        pair = [int(offsets[order[position]]), int(offsets[order[position + 1]])]
        lines = [int(order[position]) + 2, int(order[position + 1]) + 2]
        one, other = (_row(fd, path, columns, *place) for place in zip(lines, pair, strict=True))
        if one.tobytes() != other.tobytes():
            here, there = (f"{path}, byte {offset}" for offset in pair)
            raise conflict(one[0], other[0], here, there)
    first = np.delete(order, again + 1)
    return TrialIndex(trials[first], offsets[first])


def _row(fd: int, path: Path, columns: Columns, number: int, offset: int) -> Table:
    try:
        return columns.decode([_line(fd, offset, columns)[:-SEAL_BYTES]])
    except ValueError as error:
        raise no_row(path, number, offset, str(error)) from None


def _line(fd: int, offset: int, columns: Columns) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, columns.limit_bytes + SEAL_BYTES + 1).split(b"\n")[0]
