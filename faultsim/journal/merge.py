"""Shards of one campaign into one journal, and a journal's rows for reading. No journal is changed or locked here."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from faultsim.journal.columns import Columns, Table
from faultsim.journal.errors import JournalError, cannot, shown
from faultsim.journal.format import Header, first_chain, header_line, seal
from faultsim.journal.identity import Identity, difference
from faultsim.journal.opening import check_regular, header_of, sync_folder
from faultsim.journal.scan import Scan
from faultsim.journal.union import gaps, unite

MOST_BYTES: Final = 2**32
"""Rows that `merge` holds, unpacked: a small file can hold packed columns of any size."""
_ROWS_A_WRITE: Final = 10_000


class Contents(NamedTuple):
    """What a journal holds."""

    header: Header
    """The campaign and the columns."""
    rows: Table
    """All rows in the order of the file, duplicates included, shape (rows,)."""
    notes: tuple[str, ...]
    """What was passed over: a row at the end that is not whole."""


class Merged(NamedTuple):
    """What became of the shards."""

    path: Path
    """The new journal."""
    rows: int
    """Its trials."""
    duplicates: int
    """Rows that were in more than one shard, equal in all."""
    gaps: tuple[tuple[int, int], ...]
    """Trials that no shard has, as ranges ``(first, last)``, both ends within."""
    notes: tuple[str, ...]
    """What was passed over in the shards."""


def read_header(path: Path | str) -> Header:
    """Return what the first line of a journal says; no row is read.

    Raises:
        JournalError: If it is no journal, its header is damaged, or it cannot be read.
    """
    with _opened(Path(path)) as file:
        return Scan(file, Path(path)).header


def read_journal(path: Path | str, *, columns: Columns | None = None, most_bytes: int | None = None) -> Contents:
    """Return what a journal holds, even while another process writes it.

    Args:
        path: The file.
        columns: The only columns that are taken; None: whatever its header declares.
        most_bytes: Most bytes that its rows may take, unpacked; None: any number. No more than these are unpacked.

    Raises:
        JournalError: If it is no journal, is damaged, has other columns or larger rows, or cannot be read.
    """
    path = Path(path)
    with _opened(path) as file:
        scan = Scan(file, path)
        found = scan.header.columns
        if columns is not None and found != columns:
            raise JournalError(
                f"{shown(path)}: this journal has other columns, {', '.join(found.names)}, not "
                f"{', '.join(columns.names)}; use the version that made it"
            )
        tables = []
        for block in scan.blocks():
            if most_bytes is not None and block.tail.rows * found.dtype.itemsize > most_bytes:
                raise JournalError(
                    f"{shown(path)}: its rows take more than {most_bytes:,} bytes, at {found.dtype.itemsize:,} a row; "
                    f"allowed are {MOST_BYTES:,} over all journals: merge fewer of them at a time"
                )
            tables.append(block.table(found, path))
    rows = np.concatenate([np.empty(0, found.dtype), *tables])
    torn = f"{shown(path)}: {scan.torn_bytes} bytes at the end are no whole row and were passed over"
    return Contents(scan.header, rows, (torn,) if scan.torn_bytes else ())


def _opened(path: Path) -> io.FileIO:
    check_regular(path)
    try:
        return io.FileIO(path, "rb")
    except OSError as error:
        raise cannot(path, "read", error) from None


def merge(paths: Sequence[Path | str], out: Path | str, *, total: int | None = None) -> Merged:
    """Write one journal with the rows of all shards of a campaign, in the order of their trials.

    The same rows give the same file, byte by byte, in whatever shards and order they come. The file appears whole or
    not at all, and a campaign can go on with it.

    Args:
        paths: Journals of one campaign, at least 1, with any of its trials.
        out: The new file; nothing may lie there.
        total: Trials of the whole campaign, numbered from 0; None: up to the last one found.

    Returns:
        What was merged, and which trials are missing.

    Raises:
        JournalError: If the journals are of different campaigns, a trial has two answers, one cannot be read, or the
            new file is there already or cannot be written.
    """
    sources, target = [Path(path) for path in paths], Path(out)
    if not sources:
        raise JournalError("no journal to merge; give at least one")
    if target.exists() or target.is_symlink():
        raise JournalError(f"{shown(target)}: is there already; give the name of a new file for the merged journal")
    first = read_header(sources[0])
    for source in sources[1:]:
        _check_shard(source, read_header(source), sources[0], first)
    shards: list[Contents] = []
    for source in sources:
        left = MOST_BYTES - sum(shard.rows.nbytes for shard in shards)
        shards.append(read_journal(source, columns=first.columns, most_bytes=left))
    starts = np.cumsum([0, *(len(shard.rows) for shard in shards)])

    def place(row: int) -> str:
        shard = int(np.searchsorted(starts, row, side="right")) - 1
        return f"{sources[shard]}:{row - int(starts[shard]) + 2}"

    rows, duplicates = unite(np.concatenate([shard.rows for shard in shards]), place)
    _write(target, header_of(Identity(first.parts, first.campaign), first.columns), rows)
    upto = total if total is not None else int(rows["trial"][-1]) + 1 if len(rows) else 0
    notes = tuple(note for shard in shards for note in shard.notes)
    return Merged(target, len(rows), duplicates, tuple(gaps(rows["trial"], upto)), notes)


def _check_shard(path: Path, header: Header, first_path: Path, first: Header) -> None:
    if header.campaign != first.campaign:
        differs = difference(header.parts, first.parts, was="is", now="there")
        raise JournalError(
            f"{shown(path)}: a journal of another campaign than {shown(first_path)}: {differs}; merge only "
            f"shards of one campaign"
        )
    if header.columns != first.columns:
        raise JournalError(
            f"{shown(path)}: has the columns {', '.join(header.columns.names)}, and {shown(first_path)} has "
            f"{', '.join(first.columns.names)}; merge only journals that one version of faultsim wrote"
        )


def _write(target: Path, header: Header, rows: Table) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("xb") as file:
                line = header_line(header)
                file.write(line)
                chain = first_chain(line)
                for start in range(0, len(rows), _ROWS_A_WRITE):
                    for row in rows[start : start + _ROWS_A_WRITE].tolist():
                        sealed, chain = seal(header.columns.encode(row), chain)
                        file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except OSError as error:
            raise cannot(target, "written", error) from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(target)
