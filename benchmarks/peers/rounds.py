"""The clock: tools in turn with bare forward passes in one process, so that load slows all alike. No tool here."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from peers.campaign import Fault, Flags, Tool


class Spread(NamedTuple):
    """Median, least and largest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of some values, at least one."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:6.3f} ({self.low:.3f}–{self.high:.3f})"


class Timed(NamedTuple):
    """What one tool did.

    Attributes:
        seconds: Of a trial, in each round, by the clock on the wall.
        cpu_seconds: The same as the time that this process computed, all threads together. Other load hardly moves it,
            but a thread that waits for another in a loop counts as computing.
        flags: Which images each trial made a mismatch.
    """

    seconds: list[float]
    cpu_seconds: list[float]
    flags: Flags

    def over(self, bare: "Timed") -> Spread:
        """Return the time of a trial as a multiple of a bare forward pass of the same round."""
        return Spread.of([mine / its for mine, its in zip(self.seconds, bare.seconds, strict=True)])

    def cpu_over(self, bare: "Timed") -> Spread:
        """Return the same of the time that the process computed."""
        return Spread.of([mine / its for mine, its in zip(self.cpu_seconds, bare.cpu_seconds, strict=True)])


def round_robin(
    tools: Mapping[str, Tool], faults: Sequence[Fault], whole_faults: Sequence[Fault], rounds: int
) -> dict[str, Timed]:
    """Run the campaign *rounds* times in turn.

    A tool that takes one fault after another runs an equal share of *faults* in each round; one that shares work
    between faults runs all *whole_faults* in every round. The tool that begins moves on by one each round.

    Args:
        tools: Tools by key.
        faults: At least one for every round.
        whole_faults: What a tool with ``whole`` runs.
        rounds: At least 1.

    Returns:
        By key; seconds are of one trial, flags in the order of the faults.

    Raises:
        ValueError: If there are fewer faults than rounds.
    """
    if not 1 <= rounds <= len(faults):
        raise ValueError(f"{len(faults)} trials do not fill {rounds} rounds; give as many trials as rounds, or more")
    for tool in tools.values():
        tool.run(faults[:1])  # threads, caches, lazy imports
    seconds: dict[str, list[float]] = {key: [] for key in tools}
    cpu_seconds: dict[str, list[float]] = {key: [] for key in tools}
    flags: dict[str, list[Flags]] = {key: [] for key in tools}
    keys = list(tools)
    for turn in range(rounds):
        first = turn % len(keys)
        for key in keys[first:] + keys[:first]:
            work = whole_faults if tools[key].whole else faults[turn::rounds]
            cpu_start, start = time.process_time(), time.perf_counter()
            found = tools[key].run(work)
            seconds[key].append((time.perf_counter() - start) / len(work))
            cpu_seconds[key].append((time.process_time() - cpu_start) / len(work))
            flags[key].append(found)
    return {
        key: Timed(
            seconds[key],
            cpu_seconds[key],
            flags[key][-1] if tool.whole else _dealt(flags[key], len(faults)),
        )
        for key, tool in tools.items()
    }


def _dealt(parts: Sequence[Flags], trials: int) -> Flags:
    """Put the shares of the rounds back in the order of the faults."""
    joined = np.empty((trials, parts[0].shape[1]), dtype=np.bool_)
    for turn, part in enumerate(parts):
        joined[turn :: len(parts)] = part
    return joined
