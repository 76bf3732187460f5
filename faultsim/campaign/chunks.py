"""`Chunker`: cuts trials into chunks of about one length in time. What a chunk holds never shows in a result."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from faultsim.campaign.population import Ints
from faultsim.engine.executors import Chunk


class Pace(NamedTuple):
    """How long chunks get: what an interruption loses at most in each worker, and what its trials can share.

    Attributes:
        first: Trials of the first chunk, about.
        fewest: Trials of any chunk but a last one, at least.
        most: Most trials of a chunk; a last one may hold more, see `last`.
        target_s: Seconds of a chunk where its trials share little.
        longest_s: Most seconds of a chunk, unless what they share alone takes a third of that.
        growth: A chunk is at most so many times as large as the one before: the first ones tell little.
        last: A last chunk is up to so many times as long: a short one after it would pay for all that trials share.
    """

    first: int
    fewest: int
    most: int
    target_s: float
    longest_s: float
    growth: int
    last: float


EXACT = Pace(16, 16, 2048, 4.0, 30.0, 16, 1.0)
SCREENED = Pace(1536, 256, 8192, 15.0, 60.0, 16, 1.5)
"""Screened trials share backward passes of the whole network too, which cost as much as many hundreds of them."""
SHARED = 0.03
"""Share of a chunk's time, about, that may go into what its trials share: chunks are longer where that is dear."""


class Chunker:
    """Yields trials in chunks, in order; larger ones while they are quick, or share much.

    Trials can be given in waves (`next_wave`): what was learnt of their pace is kept.

    Args:
        trials: Numbers of the trials.
        screened: Whether they are screened.
        workers: Who takes chunks at a time: no chunk holds more than one's part of the trials that are left.
    """

    def __init__(self, trials: Ints, *, screened: bool = False, workers: int = 1) -> None:
        self._trials, self._at, self._workers = trials, 0, workers
        self._pace = SCREENED if screened else EXACT
        self._size = self._pace.first
        self._given: dict[Chunk, float] = {}

    def next_wave(self, trials: Ints) -> "Chunker":
        """Return itself, with other trials to cut; those of before that were not yielded are dropped."""
        self._trials, self._at = trials, 0
        return self

    def __iter__(self) -> Iterator[Chunk]:
        while self._at < len(self._trials):
            part = max(-(-(len(self._trials) - self._at) // self._workers), self._pace.fewest)
            size = part if part <= self._pace.last * self._size else self._size
            chunk = tuple(self._trials[self._at : self._at + size].tolist())
            self._at += len(chunk)
            self._given[chunk] = time.monotonic()
            yield chunk

    def took(self, chunk: Chunk, shared_s: float = 0.0) -> None:
        """Learn from a chunk that is done.

        Args:
            chunk: It.
            shared_s: Seconds of it that more trials would not have made more.
        """
        pace = self._pace
        seconds = time.monotonic() - self._given.pop(chunk)
        shared_s = min(shared_s, seconds)
        target_s = min(max(pace.target_s, shared_s / SHARED), max(pace.longest_s, 3 * shared_s))
        each = max(seconds - shared_s, 1e-3) / len(chunk)
        wanted = max(target_s - shared_s, 0.0) / each
        self._size = int(min(max(wanted, pace.fewest), pace.growth * max(self._size, len(chunk)), pace.most))
