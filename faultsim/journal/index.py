"""Which trials a journal holds, and at which byte: 16 bytes a trial and a small dictionary of the newest."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_LEAST_SETTLED = 2**16


class _State(NamedTuple):
    trials: NDArray[np.int64]
    """Sorted, distinct."""
    offsets: NDArray[np.int64]
    newest: dict[int, int]
    """Disjoint from `trials`."""


class TrialIndex:
    """Trial to byte offset, for 10^7 trials in 160 MB.

    The settled trials are sorted arrays; the newest wait in a dictionary until they are a quarter as many, so that
    adding one costs O(log n) on average. An interrupt between two steps leaves either the old or the new state.
    """

    def __init__(self, trials: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Take distinct trials and their offsets, both of shape (trials,)."""
        order = np.argsort(trials, kind="stable")
        self._state = _State(trials[order], offsets[order], {})

    def __len__(self) -> int:
        """Trials held."""
        return len(self._state.trials) + len(self._state.newest)

    def offset(self, trial: int) -> int | None:
        """Return the byte at which the row of *trial* starts; None where it is not held."""
        trials, offsets, newest = self._state
        if trial in newest:
            return newest[trial]
        position = int(np.searchsorted(trials, trial))
        return int(offsets[position]) if position < len(trials) and trials[position] == trial else None

    def trials(self) -> NDArray[np.int64]:
        """Return all trials, sorted."""
        self.settle(least=1)
        return self._state.trials

    def add(self, entries: dict[int, int]) -> None:
        """Hold trials that are not held yet."""
        self._state.newest.update(entries)

    def drop_from(self, end: int) -> None:
        """Forget the newest entries at or behind byte *end*; only what was added since `settle` can lie there."""
        trials, offsets, newest = self._state
        self._state = _State(trials, offsets, {trial: at for trial, at in newest.items() if at < end})

    def settle(self, *, least: int = _LEAST_SETTLED) -> None:
        """Sort the newest entries in, once they are *least* and a quarter of the rest."""
        trials, offsets, newest = self._state
        if len(newest) < max(least, len(trials) // 4 if least > 1 else 0):
            return
        merged = np.concatenate([trials, np.fromiter(newest, np.int64, len(newest))])
        places = np.concatenate([offsets, np.fromiter(newest.values(), np.int64, len(newest))])
        order = np.argsort(merged, kind="stable")
        self._state = _State(merged[order], places[order], {})
