"""`even`, `chunks`: how samples and trials are split into calls. What a call computes lives elsewhere."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from faultsim.engine.sweep.routes import Route


def even(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield spans of *count* samples, *most* at most and none much smaller: single rows may round otherwise."""
    parts = -(-count // most)
    edges = [count * i // parts for i in range(parts + 1)]
    yield from pairwise(edges)


def chunks(members: Sequence[tuple[int, Route]], most: int) -> Iterator[list[tuple[int, Route]]]:
    """Yield trials in groups of at most *most* faulty channels, or of a single trial."""
    chunk: list[tuple[int, Route]] = []
    used = 0
    for member in members:
        count = len(member[1].channels)
        if chunk and used + count > most:
            yield chunk
            chunk, used = [], 0
        chunk.append(member)
        used += count
    if chunk:
        yield chunk
