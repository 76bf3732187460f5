"""`ahead`: the next chip is made while this one is scored. What a chip is lives elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def ahead(make: Callable[[int], Made], trials: Iterable[int]) -> Iterator[tuple[int, Made]]:
    """Yield ``(trial, make(trial))`` in order, the next one being made on another thread in the meantime.

    One at most is made ahead: two chips are in memory at a time. What a `make` raises is raised in its turn.

    Args:
        make: Makes one; it is called on one other thread, in order.
        trials: Numbers of the trials.

    Examples:
        >>> list(ahead(lambda trial: trial * trial, range(3)))
        [(0, 0), (1, 1), (2, 4)]
    """
    numbers = iter(trials)
    first = next(numbers, None)
    if first is None:
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="faultsim-chip")
    try:
        waiting = (first, pool.submit(make, first))
        for number in numbers:
            trial, made = waiting[0], waiting[1].result()
            waiting = (number, pool.submit(make, number))
            yield trial, made
        yield waiting[0], waiting[1].result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
