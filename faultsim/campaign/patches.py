"""From flipped bits to the numbers that a trial computes with. Which bits flip is drawn elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.campaign.population import Faults, Population
from faultsim.corruption import Stored
from faultsim.engine.sweep.routes import Patch
from faultsim.engine.sweep.slices import Sparse

Array = NDArray[Any]


def patches(population: Population, stored: Mapping[str, Stored], faults: Faults) -> list[Patch]:
    """Return what each trial has in place of the fault-free numbers.

    Args:
        population: Names the sites.
        stored: The tensors as they are stored.
        faults: Flipped bits, arrays of shape (trials, flips), no bit of a trial twice.
    """
    trials, flips = faults.site.shape
    found: list[dict[str, Sparse]] = [{} for _ in range(trials)]
    numbers = np.repeat(np.arange(trials), flips)
    site, element, bit = (one.reshape(-1) for one in faults)
    for region in np.unique(site).tolist():
        here = np.flatnonzero(site == region)
        one = stored[population.regions[region].site]
        words, masks = _words(numbers[here], element[here], bit[here])
        values = flipped(one, words[:, 1], masks)
        for trial, span in _spans(words[:, 0]):
            found[trial][one.site.name] = Sparse(words[span, 1], values[span])
    return list(found)


def flipped(stored: Stored, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> Array:
    """Return the numbers at flat *elements* with the bits in *masks* flipped, in the tensor's own type."""
    shape = stored.values.shape
    touched = stored.format.at(elements, shape)
    clean = stored.values.reshape(-1)[elements]
    return np.asarray(touched.decode(touched.encode(clean) ^ masks)).astype(stored.values.dtype, copy=False)


def _words(
    trials: NDArray[np.int64], elements: NDArray[np.int64], bits: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the different (trial, element) pairs in order, and the mask of all flips in each."""
    words, place = np.unique(np.stack([trials, elements], axis=1), axis=0, return_inverse=True)
    masks = np.zeros(len(words), np.uint64)
    np.bitwise_or.at(masks, place.reshape(-1), np.uint64(1) << bits.astype(np.uint64))
    return words, masks


def _spans(trials: NDArray[np.int64]) -> Sequence[tuple[int, slice]]:
    firsts = np.flatnonzero(np.r_[True, trials[1:] != trials[:-1]])
    lasts = np.r_[firsts[1:], len(trials)]
    return [(int(trials[a]), slice(int(a), int(b))) for a, b in zip(firsts, lasts, strict=True)]
