"""`in_lanes`: pieces of a sweep side by side, each on one thread. What a piece computes lives elsewhere.

Small pieces gain little from several threads each, and onnxruntime's threads wait for the next piece at full power: two
pieces side by side take half the processor time of one piece after the other on two threads.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import NamedTuple

from faultsim.engine.sweep.routes import Route
from faultsim.errors import FaultsimError

Members = Sequence[tuple[int, Route]]


class Counted(NamedTuple):
    """What a task has computed: samples behind the faulty layer, those that left there, calls, and rides."""

    rows: int = 0
    masked: int = 0
    calls: int = 0
    shared: int = 0


class Task(NamedTuple):
    """Some trials of one batch.

    Attributes:
        cost: How long it takes, in any unit: the longest ones begin.
        members: Its trials.
        run: Computes them.
    """

    cost: float
    members: Members
    run: Callable[[], Counted]


def in_lanes(tasks: Sequence[Task], lanes: int) -> Iterator[tuple[Members, Counted | None]]:
    """Run tasks, *lanes* at a time, and yield what each counted; None where its way failed.

    Args:
        tasks: Each writes what is its own; what several of them open or count, they lock.
        lanes: How many run at a time, at least 1.
    """
    ordered = sorted(tasks, key=lambda task: -task.cost)
    if lanes == 1 or len(ordered) < 2:
        for task in ordered:
            yield task.members, _run(task)
        return
    pool = _pool(os.getpid(), lanes)
    waiting = [(task, pool.submit(_run, task)) for task in ordered]
    try:
        for task, found in waiting:
            yield task.members, found.result()
    finally:
        for _, found in waiting:
            found.cancel()
        wait([found for _, found in waiting])


@cache
def _pool(process: int, lanes: int) -> ThreadPoolExecutor:
    """Return the threads of a process, always the same ones: memory that a thread has freed stays with it."""
    return ThreadPoolExecutor(lanes, thread_name_prefix="faultsim-lane")


def _run(task: Task) -> Counted | None:
    try:
        return task.run()
    except (FaultsimError, MemoryError):
        return None
