"""Events that flip neighbouring cells of a memory: where they fall, and what they do to one tensor. No rate here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget
from faultsim.budget.bits import FLOAT_NOTE
from faultsim.budget.regions import Regions, region_failures
from faultsim.corruption import Stored, Xor
from faultsim.faults.effects import Effects, Hits, effects
from faultsim.formats import FloatFormat
from faultsim.memory import Geometry, MemoryMap, Pattern

Ints = NDArray[np.int64]

_STARTS = 1 << 18
"""Starts of events that a budget looks at; of larger tensors it takes that many, spread evenly."""
_GOLDEN = 0.6180339887498949


def strike(
    stored: Sequence[Stored],
    geometry: Geometry,
    pattern: Pattern,
    multiplicity: Sequence[float],
    count: int,
    rng: np.random.Generator,
) -> dict[str, Xor]:
    """Return the edits of *count* events, each on a stored bit of the memory, all bits equally likely.

    Args:
        stored: All tensors in the memory, any order.
        geometry: How its cells lie.
        pattern: Along what the cells of an event are neighbours.
        multiplicity: ``P(size = 1, 2, ...)`` cells flipped by one event, adding up to 1.
        count: Number of events.
        rng: Generator of the draw.
    """
    if count == 0:
        return {}
    memory = MemoryMap(stored, geometry)
    by_name = {one.site.name: one for one in stored}
    widths = np.array([by_name[name].format.bits for name in memory.names], dtype=np.int64)
    ends = np.cumsum([by_name[name].values.size * by_name[name].format.bits for name in memory.names])
    hits = rng.integers(ends[-1], size=count)
    at = np.searchsorted(ends, hits, side="right")
    begin = np.concatenate([[0], ends[:-1]])
    starts = np.empty(count, dtype=np.int64)
    for i in np.unique(at):
        mine = at == i
        element, bit = np.divmod(hits[mine] - begin[i], widths[i])
        starts[mine] = memory.cell(memory.names[i], element, bit)
    shares = np.asarray(multiplicity, dtype=np.float64)
    sizes = rng.choice(shares.size, size=count, p=shares / shares.sum()) + 1
    if pattern == "word_cluster":
        starts, sizes = _within_word(memory, starts, sizes, rng.random(count))
    return memory.xor(memory.neighbours(starts, sizes, pattern).cells)


def cluster_budget(
    *,
    mechanism: str,
    stored: Stored,
    geometry: Geometry,
    pattern: Pattern,
    multiplicity: Sequence[float],
    events_per_bit: float,
    given_event: bool,
    p: float,
    confidence: float,
) -> Budget:
    """Bound such events on one tensor that lies alone in the memory: `faultsim.budget.regions`.

    Every start and size of an event is followed, up to 2**18 starts; of larger tensors that many, spread evenly,
    which gives the quantiles to well under 1 %. Two events on one element are not told from two on different ones.

    Args:
        mechanism: Name for the budget.
        stored: The tensor.
        geometry: How the cells lie.
        pattern: Along what the cells of an event are neighbours.
        multiplicity: ``P(size = 1, 2, ...)``, adding up to 1.
        events_per_bit: Expected events per stored bit, at least 0.
        given_event: Whether to condition on at least one event in this tensor.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    memory = MemoryMap([stored], geometry)
    parts: list[Regions] = []
    for size, share in enumerate(np.asarray(multiplicity) / sum(multiplicity), start=1):
        if share == 0 or memory.data_bits == 0:
            continue
        runs = _word_runs if pattern == "word_cluster" and size > 1 else _cell_runs
        starts, sizes, weights = runs(memory, stored, size)
        hit = memory.neighbours(starts, sizes, pattern)
        done = effects(stored, _hits(memory, *hit, stored), starts.size, "flip", p)
        rates = events_per_bit * share * memory.data_bits * weights / weights.sum()
        parts.append(Regions(done.touched, done.moved, rates))
    nothing = np.empty(0)
    return region_failures(
        mechanism=mechanism,
        scope=stored.site.name,
        regions=Regions(*(np.concatenate([nothing, *column]) for column in zip(*parts, strict=True)))
        if parts
        else Regions(nothing, nothing, nothing),
        elements=stored.values.size,
        given_event=given_event,
        p=p,
        confidence=confidence,
        note=FLOAT_NOTE if isinstance(stored.format, FloatFormat) else "",
    )


def single_bits(memory: MemoryMap, stored: Stored, p: float) -> Effects:
    """Return what the flip of a stored bit does to a tensor, bit by bit (evenly spread where they are many)."""
    starts, _, _ = _cell_runs(memory, stored, 1)
    site, element, bit = memory.owner(starts)
    hits = Hits(element, np.uint64(1) << bit.astype(np.uint64), np.arange(site.size, dtype=np.int64))
    return effects(stored, hits, site.size, "flip", p)


def _within_word(memory: MemoryMap, cells: Ints, sizes: Ints, uniform: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """Return starts and sizes of runs in the word of each cell, all runs of its data equally likely; one bit stays."""
    word = cells // memory.geometry.word_bits
    held = _held(memory, word)
    sizes = np.minimum(sizes, held)
    starts: Ints = word * memory.geometry.word_bits + (uniform * (held - sizes + 1)).astype(np.int64)
    return np.where(sizes == 1, cells, starts), sizes


def _held(memory: MemoryMap, words: Ints) -> Ints:
    """Return the bits of data that words hold: their lowest ones."""
    width = memory.geometry.word_bits
    held: Ints = np.count_nonzero(memory.owner(words[:, None] * width + np.arange(width)).site >= 0, axis=1)
    return held


def _cell_runs(memory: MemoryMap, stored: Stored, size: int) -> tuple[Ints, Ints, NDArray[np.float64]]:
    """Return the stored bits of a tensor (evenly spread where they are many) as starts of events, sizes, weights."""
    struck = memory.cell(stored.site.name, *np.divmod(_spread(memory.data_bits, _STARTS), stored.format.bits))
    return struck, np.full(struck.size, size), np.ones(struck.size)


def _word_runs(memory: MemoryMap, stored: Stored, size: int) -> tuple[Ints, Ints, NDArray[np.float64]]:
    """Return every start of a run of *size* in the data of a word, of words evenly spread, sizes and weights."""
    words = _spread(memory.words, max(_STARTS // memory.geometry.word_bits, 1))
    held = _held(memory, words)
    places = np.maximum(held - size, 0) + 1
    first = np.repeat(words * memory.geometry.word_bits, places)
    within = np.arange(first.size) - np.repeat(np.cumsum(places) - places, places)
    return first + within, np.repeat(np.minimum(size, held), places), np.repeat(held / places, places)


def _spread(total: int, most: int) -> Ints:
    """Return ``range(total)``, or *most* of it: one in each of as many equal parts, at a place that varies in it."""
    if total <= most:
        return np.arange(total, dtype=np.int64)
    inside = np.modf(np.arange(most) * _GOLDEN)[0]
    places: Ints = ((np.arange(most) + inside) * (total / most)).astype(np.int64)
    return np.minimum(places, total - 1)


def _hits(memory: MemoryMap, cells: Ints, events: Ints, stored: Stored) -> Hits:
    """Return which bits of which element each event flips; an event may flip bits of several."""
    site, element, bit = memory.owner(cells)
    held = site >= 0
    key = events[held] * stored.values.size + element[held]
    single = np.uint64(1) << bit[held].astype(np.uint64)
    order = np.argsort(key, kind="stable")
    pairs, first = np.unique(key[order], return_index=True)
    masks = np.bitwise_or.reduceat(single[order], first) if first.size else single
    regions, elements = np.divmod(pairs, max(stored.values.size, 1))
    return Hits(elements, masks, regions)
