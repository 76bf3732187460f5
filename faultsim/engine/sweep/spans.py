"""`fewest_rows`, `grouped`: how samples and trials are split into calls. What a call computes lives elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from faultsim.data.spec import even

T = TypeVar("T")
LEAST = 16
"""Samples of a batch that is not split further, however small the memory is."""


def fewest_rows(samples: int, batch_size: int) -> int:
    """Return the fewest samples that are computed at once: batches are cut evenly, and cut again to fit in memory."""
    smallest = min(high - low for low, high in even(samples, batch_size))
    return smallest if smallest <= LEAST else LEAST // 2


def grouped(items: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Yield items in order, in groups whose sizes add up to at most *most*, or of a single item."""
    group: list[T] = []
    used = 0
    for one in items:
        own = size(one)
        if group and used + own > most:
            yield group
            group, used = [], 0
        group.append(one)
        used += own
    if group:
        yield group
