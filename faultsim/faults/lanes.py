"""Which weights one lane of an accelerator computes with, and what reads as zero there. No law and no rate here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Site, Stored
from faultsim.formats.base import Words

Ints = NDArray[np.int64]


def weights(stored: Sequence[Stored]) -> list[Stored]:
    """Return the tensors that multiply: weights of at least two dimensions, embeddings left out; by name."""
    found = [one for one in stored if is_weight(one.site) and one.values.size]
    return sorted(found, key=lambda one: one.site.name)


def is_weight(site: Site) -> bool:
    """Whether a tensor's numbers are multiplied: an embedding's are only looked up."""
    return site.role == "weight" and site.kind != "embedding" and len(site.shape) >= 2


def channels(site: Site) -> int:
    """Return the output channels of a weight."""
    return site.shape[site.channel_axis]


def matrix(site: Site) -> Ints:
    """Return the flat indices of a weight as a matrix, shape (inputs x kernel, output channels)."""
    flat = np.arange(site.elements, dtype=np.int64).reshape(site.shape)
    return np.moveaxis(flat, site.channel_axis, -1).reshape(-1, channels(site))


def lane_elements(site: Site, channel: int) -> Ints:
    """Return the flat indices of one output channel of a weight, ascending."""
    return np.sort(matrix(site)[:, channel])


def bias_of(weight: Site, stored: Sequence[Stored]) -> Stored | None:
    """Return the bias of a weight's layer, one number per output channel; the first by name, or ``None``."""
    found = [
        one
        for one in stored
        if one.site.role == "bias" and one.site.layer == weight.layer and one.values.size == channels(weight)
    ]
    return min(found, key=lambda one: one.site.name, default=None)


def real_zero(weight: Stored, stored: Sequence[Stored]) -> Ints:
    """Return the stored number that stands for a weight of zero, per output channel, in the tensor's own units.

    0, save for integer codes whose graph has a zero point: that of the layer with the codes' type. Where the layer
    has several such (of its input as well), the one nearest to the median code, as weights spread around zero.
    """
    site, count = weight.site, channels(weight.site)
    if weight.values.dtype.kind not in "iu":
        return np.zeros(count, dtype=np.int64)
    found = [
        np.broadcast_to(one.values.reshape(-1).astype(np.int64), (count,))
        for one in sorted(stored, key=lambda one: one.site.name)
        if one.site.role == "zero_point"
        and one.site.layer == site.layer
        and one.values.dtype == weight.values.dtype
        and one.values.size in (1, count)
    ]
    if not found:
        return np.zeros(count, dtype=np.int64)
    middle = float(np.median(weight.values))
    return min(found, key=lambda zero: abs(float(zero.mean()) - middle))


def words_at(stored: Stored, elements: Ints, values: NDArray[np.generic]) -> Words:
    """Return the words of some *values* at the flat *elements* of a tensor, saturating."""
    return stored.format.at(elements, stored.values.shape).encode(values)
