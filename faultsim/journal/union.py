"""The union of rows on their trial: equal duplicates are one row, different answers an error. No file is read here."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.journal.columns import Table
from faultsim.journal.errors import JournalError, shown


class Union(NamedTuple):
    """Rows with one row a trial."""

    rows: Table
    """In the order of their trials, shape (trials,)."""
    duplicates: int
    """Rows that were left out because an equal one is there."""


def unite(rows: Table, place: Callable[[int], str]) -> Union:
    """Return one row for each trial.

    Two rows are equal where every bit is: 0.0 and -0.0 are different answers.

    Args:
        rows: Any order, shape (rows,).
        place: Says where the row of a position came from, for the message.

    Raises:
        JournalError: If two rows of one trial differ.
    """
    order = np.argsort(rows["trial"], kind="stable")
    united = rows[order]
    again = np.flatnonzero(united["trial"][1:] == united["trial"][:-1])
    raw = united.view(f"V{united.dtype.itemsize}")
    wrong = again[raw[again + 1] != raw[again]]
    if len(wrong):
        first = int(wrong[0])
        raise conflict(united[first], united[first + 1], place(int(order[first])), place(int(order[first + 1])))
    return Union(np.delete(united, again + 1) if len(again) else united, len(again))


def conflict(one: np.void, other: np.void, here: str, there: str) -> JournalError:
    """Return the error that names the trial, the first column that differs, and both places."""
    names = one.dtype.names or ()
    name = next(name for name in names if one[name].tobytes() != other[name].tobytes())
    first, second = (_short(row[name]) for row in (one, other))
    return JournalError(
        f"trial {one['trial']} has two answers: {name} = {first} in {shown(here)}, {second} in {shown(there)}; one "
        f"trial of one campaign has one answer, so that one of them was computed otherwise (another machine, library "
        f"version or number of threads?): run all of it alike, in a new --journal"
    )


def ranges(trials: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return sorted distinct trials as ranges ``(first, last)``, both ends within.

    Examples:
        >>> ranges(np.array([0, 1, 2, 5, 7, 8]))
        [(0, 2), (5, 5), (7, 8)]
    """
    if not len(trials):
        return []
    cuts = np.flatnonzero(np.diff(trials) != 1)
    firsts, lasts = trials[np.r_[0, cuts + 1]], trials[np.r_[cuts, len(trials) - 1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def gaps(trials: NDArray[np.int64], total: int) -> list[tuple[int, int]]:
    """Return the ranges of 0 to *total* - 1 that sorted distinct *trials* leave out.

    Examples:
        >>> gaps(np.array([1, 2, 5]), 8)
        [(0, 0), (3, 4), (6, 7)]
    """
    present = ranges(trials[trials < total])
    edges = [(-1, -1), *present, (total, total)]
    return [(a + 1, b - 1) for (_, a), (b, _) in itertools.pairwise(edges) if a + 1 < b]


def _short(value: object) -> str:
    return f"{value.size} bytes" if isinstance(value, np.ndarray) else str(value)
