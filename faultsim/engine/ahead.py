"""`ahead`: the next chips are made while this one is used. What a chip is lives elsewhere."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")
_thread = threading.local()


class GivenUpError(Exception):
    """Nobody waits any more for what a thread of `ahead` makes."""


def go_on() -> None:
    """Let what takes long say, from time to time, that it may be given up.

    Raises:
        GivenUpError: On a thread of `ahead` whose consumer has left; nobody sees it.
    """
    left: threading.Event | None = getattr(_thread, "left", None)
    if left is not None and left.is_set():
        raise GivenUpError


def ahead(make: Callable[[int], Made], trials: Iterable[int], *, at_once: int = 1) -> Iterator[tuple[int, Made]]:
    """Yield ``(trial, make(trial))`` in order, the next ones being made on other threads in the meantime.

    As many as are made at once are in memory beside the one that was yielded. What a `make` raises is raised in its
    turn. Where the consumer leaves, those being made end at their next `go_on`.

    Args:
        make: Makes one; called on *at_once* other threads, on one of them in order.
        trials: Numbers of the trials.
        at_once: How many are made at the same time, at least 1.

    Examples:
        >>> list(ahead(lambda trial: trial * trial, range(3)))
        [(0, 0), (1, 1), (2, 4)]
    """
    numbers = iter(trials)
    waiting: deque[tuple[int, Future[Made]]] = deque()
    left = threading.Event()

    def begin() -> None:
        _thread.left = left

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="faultsim-chip", initializer=begin)

    def submit() -> None:
        number = next(numbers, None)
        if number is not None:
            waiting.append((number, pool.submit(make, number)))

    try:
        for _ in range(at_once):
            submit()
        while waiting:
            trial, made = waiting[0][0], waiting[0][1].result()
            waiting.popleft()
            submit()
            yield trial, made
    finally:
        left.set()
        pool.shutdown(wait=False, cancel_futures=True)
