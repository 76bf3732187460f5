"""`Rows`: the rows that a campaign has, in memory and, where one is kept, in the journal."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from faultsim.campaign.evaluator import COLUMNS, Row
from faultsim.campaign.identify import is_earlier
from faultsim.campaign.population import Ints
from faultsim.journal import Columns, Identity, Journal, JournalError, Table, open_journal, read_header


class Rows:
    """The rows of a campaign; a context manager that closes the journal.

    Args:
        path: The journal; None: memory alone.
        campaign: What is sampled.
        columns: What a row holds.

    Attributes:
        notes: What was mended when the journal was opened.

    Raises:
        JournalError: If the journal belongs to another campaign, is in use or cannot be used.
    """

    def __init__(self, path: Path | None, campaign: Identity, columns: Columns = COLUMNS) -> None:
        self._journal: Journal | None = None
        self._columns = columns
        self._parts: list[Table] = [np.empty(0, columns.dtype)]
        self.notes: tuple[str, ...] = ()
        if path is not None:
            self._journal = _opened(path, campaign, columns)
            self.notes = self._journal.notes
            try:
                self._parts.append(self._journal.rows())
            except BaseException as error:  # nobody else can close it: there is no `Rows` yet
                self._journal.__exit__(type(error), error, error.__traceback__)
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the journal; an error of the campaign is shown rather than one of closing."""
        if self._journal is not None:
            self._journal.__exit__(kind, error, trace)

    def table(self) -> Table:
        """Return all rows, sorted by trial."""
        if len(self._parts) > 1:
            whole = np.concatenate(self._parts)
            self._parts = [whole[np.argsort(whole["trial"], kind="stable")]]
        return self._parts[0]

    def missing(self, trials: Ints) -> Ints:
        """Return those of *trials* that are not there, in their order."""
        return trials[~np.isin(trials, self.table()["trial"])]

    def add(self, rows: Sequence[Row]) -> None:
        """Keep the rows of trials that are not there yet; on the disk first.

        Raises:
            JournalError: If the disk is full or the journal cannot be written.
        """
        if self._journal is not None:
            self._journal.append(rows)
        self._parts.append(np.array([tuple(row) for row in rows], dtype=self._columns.dtype))

    def sync(self) -> None:
        """Put everything on the disk."""
        if self._journal is not None:
            self._journal.sync()


def _opened(path: Path, campaign: Identity, columns: Columns) -> Journal:
    try:
        return open_journal(path, campaign, columns)
    except JournalError as error:
        if not _is_earlier(path):
            raise
        raise JournalError(
            f"{path}: this journal is of an earlier version of faultsim, which did not keep the parameters of the "
            "task, so that its rows may be those of another one; give another --out or --journal: the trials are run "
            "anew"
        ) from error


def _is_earlier(path: Path) -> bool:
    try:
        return is_earlier(read_header(path).parts)
    except JournalError:
        return False


def of_trials(table: Table, trials: Ints) -> Table:
    """Return the rows of *trials*, sorted by trial; all must be there, or some (those that are)."""
    return table[np.isin(table["trial"], trials)]


def complete_beginning(table: Table, trials: Ints) -> Ints:
    """Return the longest beginning of *trials* all of which are in *table*.

    After an interruption, chunks of several workers leave holes; which trials are behind them may depend on how fast
    they were, so that they are not used.
    """
    lacking = np.flatnonzero(~np.isin(trials, table["trial"]))
    return trials[: int(lacking[0])] if lacking.size else trials
