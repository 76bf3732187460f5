"""`Chunker`: cuts trials into chunks of about one length in time. What a chunk holds never shows in a result."""

import time
from collections.abc import Iterator

from faultsim.campaign.population import Ints
from faultsim.engine.executors import Chunk

FIRST, MOST = 16, 512
TARGET_S = 4.0
"""A chunk is what an interruption loses at most in each worker, and what a worker can share among its trials."""
SCREENED = 128, 2048, 15.0
"""The same for screened trials, which share a backward pass of the whole network."""


class Chunker:
    """Yields trials in chunks, in order; larger ones while they are quick."""

    def __init__(self, trials: Ints, *, screened: bool = False) -> None:
        self._trials, self._at = trials, 0
        self._first, self._most, self._target_s = SCREENED if screened else (FIRST, MOST, TARGET_S)
        self._size = self._first
        self._given: dict[Chunk, float] = {}

    def __iter__(self) -> Iterator[Chunk]:
        while self._at < len(self._trials):
            chunk = tuple(self._trials[self._at : self._at + self._size].tolist())
            self._at += len(chunk)
            self._given[chunk] = time.monotonic()
            yield chunk

    def took(self, chunk: Chunk) -> None:
        """Learn from a chunk that is done."""
        seconds = time.monotonic() - self._given.pop(chunk)
        wanted = len(chunk) * self._target_s / max(seconds, 1e-3)
        self._size = int(min(max(wanted, self._first), 2 * max(self._size, len(chunk)), self._most))
