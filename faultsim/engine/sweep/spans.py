"""`even`, `grouped`: how samples and trials are split into calls. What a call computes lives elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


def even(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield spans of *count* samples, *most* at most and none much smaller: single rows may round otherwise."""
    parts = -(-count // most)
    edges = [count * i // parts for i in range(parts + 1)]
    yield from pairwise(edges)


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
