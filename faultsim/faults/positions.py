"""Distinct bit positions and the edits made of them. No law and no rate lives here."""

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Xor


def distinct(rng: np.random.Generator, size: int, count: int) -> NDArray[np.int64]:
    """Return *count* distinct integers of ``range(size)``, sorted, every subset equally likely.

    Draws uniformly and drops duplicates until enough are found, which is sampling without replacement;
    time and memory grow with *count* and not with *size* (for more than half of all, with *size*).

    Args:
        rng: Generator of the draw.
        size: Number of positions, at least *count*.
        count: Number wanted, at least 0.
    """
    if count > size // 2:
        mask = np.ones(size, dtype=np.bool_)
        mask[distinct(rng, size, size - count)] = False
        return np.flatnonzero(mask)
    found = np.empty(0, dtype=np.int64)
    while found.size < count:
        drawn = rng.integers(size, size=count - found.size, dtype=np.int64)
        found = np.sort(np.concatenate([found, drawn]))
        fresh = np.ones(found.size, dtype=np.bool_)
        np.not_equal(found[1:], found[:-1], out=fresh[1:])
        found = found[fresh]
    return found


def gather(positions: NDArray[np.int64], bits: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the elements and their masks for flat bit *positions* ``element * bits + bit``.

    Args:
        positions: Flat bit positions in ascending order, each once.
        bits: Bits per element, 1 to 64; bit 0 is the least significant.

    Returns:
        Flat indices, ascending and distinct, and the OR of the bits of each as uint64.
    """
    elements = positions // bits
    single = np.uint64(1) << (positions - elements * bits).astype(np.uint64)
    if positions.size == 0:
        return elements, single
    first = np.flatnonzero(np.concatenate([[True], elements[1:] != elements[:-1]]))
    return elements[first], np.bitwise_or.reduceat(single, first)


def flip(positions: NDArray[np.int64], bits: int) -> Xor:
    """Return the edit that flips the stored bits at flat *positions* (see `gather`)."""
    indices, masks = gather(positions, bits)
    return Xor(indices=indices, masks=masks)
