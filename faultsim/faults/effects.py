"""What hits on cells do to the numbers of one tensor: how many change, and by how much. No law and no rate here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored, Stuck, Xor
from faultsim.formats import BinaryFormat, IntFormat
from faultsim.formats.base import Words
from faultsim.memory import MemoryMap

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Reads = Literal["zero", "one", "random", "flip"]
"""What hit bits become: 0, 1, a coin each, or the other value."""

_CHUNK = 1 << 18


class Effects(NamedTuple):
    """What a failure of each region does to a tensor, three arrays of shape (regions,).

    Attributes:
        touched: Elements that change (at most, where bits read at random).
        moved: ``sum |change|**p``, or the largest ``|change|`` for p = inf; infinite for floats that read
            anything but zeros.
    """

    touched: Floats
    moved: Floats


class Hits(NamedTuple):
    """Which bits of which elements a region holds, three arrays of one length."""

    elements: Ints
    masks: Words
    regions: Ints


def words_of(stored: Stored, elements: Ints) -> Words:
    """Return the stored words of some flat *elements* of a tensor."""
    fmt = stored.format.at(elements, stored.values.shape)
    return fmt.encode(stored.values.reshape(-1)[elements])


def bits_at(memory: MemoryMap, stored: Mapping[str, Stored], cells: Ints) -> NDArray[np.bool_]:
    """Return what each logical cell of a memory holds, the shape of *cells* (1-D); padding holds 0."""
    site, element, bit = memory.owner(cells)
    found = np.zeros(cells.shape, dtype=np.bool_)
    for at in np.unique(site[site >= 0]):
        mine = np.flatnonzero(site == at)
        words = words_of(stored[memory.names[at]], element[mine])
        found[mine] = (words >> bit[mine].astype(np.uint64)) & np.uint64(1) == 1
    return found


def empty() -> Xor:
    """Return the edit that changes nothing."""
    return Xor(indices=np.empty(0, dtype=np.int64), masks=np.empty(0, dtype=np.uint64))


def xor_of(before: Words, after: Words, indices: Ints) -> Xor:
    """Return the edit that turns the words *before* at the flat *indices* into those *after*."""
    changed = before != after
    return Xor(indices=indices[changed], masks=(before ^ after)[changed])


def merged(stored: Stored, flips: Sequence[Xor], stuck: Sequence[Stuck]) -> Xor | Stuck:
    """Return one edit for several of one tensor: flips add up, stuck bits win over flips, the later over the former.

    An `Xor` unless there are stuck bits alone, which stay stuck whatever is written.
    """
    if len(flips) + len(stuck) == 1:
        return flips[0] if flips else stuck[0]
    touched = [flip.indices for flip in flips] + [cells.indices for cells in stuck]
    indices = np.unique(np.concatenate(touched))
    flipped, masks, bits = (np.zeros(indices.size, dtype=np.uint64) for _ in range(3))
    for flip in flips:
        flipped[np.searchsorted(indices, flip.indices)] ^= flip.masks
    for cells in stuck:
        at = np.searchsorted(indices, cells.indices)
        masks[at] |= cells.masks
        bits[at] = (bits[at] & ~cells.masks) | (cells.bits & cells.masks)
    if not flips:
        return Stuck(indices=indices, masks=masks, bits=bits)
    before = words_of(stored, indices)
    return xor_of(before, ((before ^ flipped) & ~masks) | bits, indices)


def region_effects(
    stored: Stored, memory: MemoryMap, region_of: Callable[[Ints], Ints], regions: int, reads: Reads, p: float
) -> Effects:
    """Return what a failure of each of *regions* regions of a memory does to one tensor in it.

    Args:
        stored: The tensor.
        memory: Where it lies.
        region_of: Number of the region of each cell, the shape of its argument (elements, bits). The bits of an
            element that lie in one region must follow one another.
        regions: How many there are.
        reads: What bits of a failed region read as.
        p: 1, 2 or ``math.inf``.
    """
    bits = stored.format.bits
    total = Effects(np.zeros(regions), np.zeros(regions))
    for start in range(0, stored.values.size, _CHUNK):
        elements = np.arange(start, min(start + _CHUNK, stored.values.size), dtype=np.int64)
        region = region_of(memory.cell(stored.site.name, elements[:, None], np.arange(bits)))
        fresh = np.ones(region.shape, dtype=np.bool_)
        fresh[:, 1:] = region[:, 1:] != region[:, :-1]
        first = np.flatnonzero(fresh)
        single = np.broadcast_to(np.uint64(1) << np.arange(bits, dtype=np.uint64), region.shape).reshape(-1)
        masks = np.bitwise_or.reduceat(single, first)
        hits = Hits(elements[first // bits], masks, region.reshape(-1)[first])
        part = effects(stored, hits, regions, reads, p)
        moved = np.maximum(total.moved, part.moved) if np.isinf(p) else total.moved + part.moved
        total = Effects(total.touched + part.touched, moved)
    return total


def effects(stored: Stored, hits: Hits, regions: int, reads: Reads, p: float) -> Effects:
    """Return what hits do to a tensor, summed over each region (the largest change for p = inf)."""
    words = words_of(stored, hits.elements)
    touched, change = np.zeros(words.shape), np.zeros(words.shape)
    fmt = stored.format.at(hits.elements, stored.values.shape)
    ball = reads == "zero" or isinstance(stored.format, IntFormat | BinaryFormat)  # a float only shrinks to 0
    before = fmt.decode(words).astype(np.float64) if ball else change
    for after in _outcomes(words, hits.masks, reads, stored.format.bits):
        wrong = after != words
        touched = np.maximum(touched, wrong)
        now = np.abs(fmt.decode(after).astype(np.float64) - before) if ball else np.where(wrong, np.inf, 0.0)
        change = np.maximum(change, now)
    moved = np.zeros(regions)
    if np.isinf(p):
        np.maximum.at(moved, hits.regions, change)
    else:
        moved = np.bincount(hits.regions, change**p, regions).astype(np.float64)
    return Effects(np.bincount(hits.regions, touched, regions).astype(np.float64), moved)


def _outcomes(words: Words, masks: Words, reads: Reads, bits: int) -> list[Words]:
    """Return what the words can read as; of random bits the extremes, one of which lies furthest off."""
    if reads == "flip":
        return [words ^ masks]
    if reads == "zero":
        return [words & ~masks]
    if reads == "one":
        return [words | masks]
    sign = np.uint64(1 << (bits - 1))
    ends = (np.uint64(0), sign, ~sign, ~np.uint64(0))
    return [(words & ~masks) | (masks & end) for end in ends]
