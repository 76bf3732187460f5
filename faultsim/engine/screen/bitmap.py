"""The bit map: for every stored bit the estimated share of images whose prediction its flip changes.

First-order, from one backward pass an image and rival for all bits at once. Large changes, for which a first order
means nothing, take the mean of a few flips that are really evaluated. How far to trust the map says `map_audit.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored, Xor, apply_edit
from faultsim.engine.evaluate import Progress, Scorer
from faultsim.engine.screen.rivals import classification_of
from faultsim.engine.screen.weight_slopes import weight_slopes
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep
from faultsim.errors import OptionError
from faultsim.model.graph import compile_model
from faultsim.rng import generator

Array = NDArray[Any]
LARGE = 256.0
"""A flip is large where the new number exceeds so many times the largest magnitude of its tensor."""


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """How to map.

    Attributes:
        seed: Seed of every draw.
        rivals: Nearest classes that each image is compared with, at least 1.
        elements: Most numbers of the network that are mapped, drawn at random in each tensor where there are more.
        pilot: Large flips of each tensor and direction that are evaluated.
    """

    seed: int = 0
    rivals: int = 2
    elements: int = 1 << 20
    pilot: int = 3

    def __post_init__(self) -> None:
        for name in ("rivals", "elements", "pilot"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} = {getattr(self, name)} is out of range: give at least 1")


@dataclass(frozen=True)
class SiteMap:
    """The bits of one stored tensor.

    Attributes:
        stored: The tensor as it is stored.
        indices: Flat indices of the mapped numbers, ascending.
        shares: Predicted share of images that a flip changes, in [0, 1], shape (bits, mapped numbers); bit 0 is the
            lowest of the word.
        large: Whether the flip is large, of the same shape: its share is a pilot's mean.
        reached: Whether gradients reach the tensor; else the shares of its other flips are 0, for want of better.
    """

    stored: Stored
    indices: NDArray[np.int64]
    shares: NDArray[np.float32]
    large: NDArray[np.bool_]
    reached: bool = True

    @property
    def bits(self) -> NDArray[np.float64]:
        """Mean share of each bit, shape (bits,)."""
        return np.asarray(self.shares.mean(axis=1, dtype=np.float64))

    @property
    def weight(self) -> float:
        """Numbers of the tensor that each mapped one stands for."""
        return self.stored.site.elements / self.indices.size


class Flip(NamedTuple):
    """One flip: the tensor's number in the map, the position of the element in `SiteMap.indices`, the bit."""

    site: int
    position: int
    bit: int


def flipped(stored: Stored, indices: NDArray[np.int64], bit: int) -> Array:
    """Return the numbers at flat *indices* with one bit of each flipped, in the tensor's own type."""
    masks = np.full(indices.size, np.uint64(1) << np.uint64(bit), dtype=np.uint64)
    return np.asarray(apply_edit(Xor(indices=indices, masks=masks), stored)).reshape(-1)[indices]


def bit_map(
    scorer: Scorer,
    stored: Mapping[str, Stored],
    sweep: Sweep,
    options: MapOptions,
    progress: Progress,
) -> list[SiteMap]:
    """Return the map over the scorer's data.

    Args:
        scorer: The task, a classification, on the images to map with.
        stored: The tensors to map, as the fault-free chip holds them.
        sweep: Evaluates flips on the same images, under the numbers of the whole fault-free chip.
        options: How to map.
        progress: Told of every image.

    Raises:
        ModelError: If the graph gives no gradients.
        OptionError: If the task is no classification.
    """
    if classification_of(scorer.task) is None:
        raise OptionError(f"task {scorer.task.name!r} has no margin between classes; a bit map needs a classification")
    model = scorer.runner.model
    values = {**(sweep.numbers or {}), **{name: one.values for name, one in stored.items()}}
    same = all(np.array_equal(array, model.numbers[name]) for name, array in values.items())
    program = model.program if same else compile_model(model.with_numbers(values))
    chosen = _choose(stored, options)
    changes = {name: _Changes(one, chosen[name]) for name, one in stored.items()}
    images = len(scorer.data)
    reached: set[str] = set()
    found = weight_slopes(program, scorer, list(stored), count=options.rivals, device=model.device)
    for done, slopes in enumerate(found):
        progress("bit map", done, images)
        reached |= slopes.at.keys()
        for name, rates in slopes.at.items():
            changes[name].count(slopes.leads, rates[:, chosen[name]])
    progress("bit map", images, images)
    sites = [
        SiteMap(one, chosen[name], (changes[name].counts / np.float32(images)), changes[name].large, name in reached)
        for name, one in stored.items()
    ]
    _pilot(sites, sweep, options)
    return sites


def mapped_numbers(stored: Mapping[str, Stored], options: MapOptions) -> dict[str, int]:
    """Return how many numbers of each tensor are mapped."""
    sizes = {name: one.site.elements for name, one in stored.items()}
    total = sum(sizes.values())
    if total <= options.elements:
        return sizes
    return {name: max(1, size * options.elements // total) for name, size in sizes.items()}


def _choose(stored: Mapping[str, Stored], options: MapOptions) -> dict[str, NDArray[np.int64]]:
    chosen = {}
    for name, some in mapped_numbers(stored, options).items():
        size = stored[name].site.elements
        draw = generator(options.seed, -1, "bitmap", "elements", name)
        chosen[name] = np.arange(size) if some == size else np.sort(draw.choice(size, some, replace=False))
    return chosen


class _Changes:
    """What every flip of one tensor changes: its number, and the images that this is predicted to cost."""

    def __init__(self, stored: Stored, indices: NDArray[np.int64]) -> None:
        old = stored.values.reshape(-1)[indices].astype(np.float64)
        peak = float(np.max(np.abs(stored.values.astype(np.float64)), initial=0.0))
        shape = (stored.format.bits, indices.size)
        self.large, self._up = np.zeros(shape, bool), np.zeros(shape, bool)
        self._size, self.counts = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for bit in range(stored.format.bits):
            with np.errstate(all="ignore"):  # some flips make no number
                new = flipped(stored, indices, bit).astype(np.float64)
                self.large[bit] = ~(np.abs(new) <= LARGE * peak)
                self._up[bit] = new > old
                self._size[bit] = np.abs(new - old)

    def count(self, leads: Array, rates: Array) -> None:
        """Count one image: a flip is critical where a lead falls below 0, to first order."""
        with np.errstate(all="ignore"):
            room = np.maximum(leads, 0.0)[:, None] / np.abs(rates)
            room[~np.isfinite(room)] = np.inf
            rise = np.where(rates < 0, room, np.inf).min(axis=0)  # how far the number may rise
            fall = np.where(rates > 0, room, np.inf).min(axis=0)
        for bit in range(len(self.counts)):
            self.counts[bit] += self._size[bit] > np.where(self._up[bit], rise, fall)  # NaN: large, see the pilot


def patch_of(sites: Sequence[SiteMap], flip: Flip) -> dict[str, Sparse]:
    """Return a flip as the sweep takes it."""
    one = sites[flip.site]
    index = one.indices[flip.position : flip.position + 1]
    return {one.stored.site.name: Sparse(index, flipped(one.stored, index, flip.bit))}


def shares(sweep: Sweep, sites: Sequence[SiteMap], flips: Sequence[Flip]) -> NDArray[np.float64]:
    """Return the true share of images that each flip changes, evaluated exactly."""
    tallies = sweep.score([patch_of(sites, flip) for flip in flips])
    return np.array([one.counts.mismatch / one.counts.n for one in tallies])


def _pilot(sites: Sequence[SiteMap], sweep: Sweep, options: MapOptions) -> None:
    """Give large flips the mean of a few that are evaluated, for each tensor and direction."""
    drawn: list[Flip] = []
    groups: list[tuple[int, NDArray[np.bool_], int]] = []
    for number, one in enumerate(sites):
        for direction in ("up", "down", "none"):
            group = np.stack([_going(one, bit, direction) for bit in range(len(one.shares))]) & one.large
            places = np.argwhere(group)
            if len(places):
                rng = generator(options.seed, -1, "bitmap", "pilot", one.stored.site.name, direction)
                picks = places[rng.choice(len(places), min(options.pilot, len(places)), replace=False)]
                groups.append((number, group, len(picks)))
                drawn += [Flip(number, int(position), int(bit)) for bit, position in picks]
    if not drawn:
        return
    truth = shares(sweep, sites, drawn)
    at = 0
    for number, group, count in groups:
        sites[number].shares[group] = truth[at : at + count].mean()
        at += count


def _going(one: SiteMap, bit: int, direction: str) -> NDArray[np.bool_]:
    """Return which flips of a bit make the number larger (``up``), smaller (``down``), or no number (``none``)."""
    old, new = one.stored.values.reshape(-1)[one.indices], flipped(one.stored, one.indices, bit)
    if direction == "none":
        return np.asarray(new != new)
    return np.asarray(new > old if direction == "up" else new < old)
