"""`Reservoir`: a simple random sample of the images of one stratum, drawn while they pass by. No image is judged here.

Every image of a trial has a priority, a uniform number from the trial's own key; the sample are the images of the
lowest priorities. So the draw does not depend on how images come in batches, nor on what is found on them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.sweep.entry import Array
from faultsim.rng import generator

Rows = dict[str, Array]
"""Faulty activations at a boundary, a row an image, by name of the tensor."""


def priorities(seed: int, trial: int, images: int) -> NDArray[np.float64]:
    """Return the priority of every image in one trial, uniform in [0, 1), shape (images,)."""
    return generator(seed, trial, "screen", "audit").random(images)


class Reservoir:
    """The images of the lowest priorities among those offered.

    Attributes:
        room: Most images that are kept.
        seen: Images offered so far.
        images: Numbers of the kept images in the data set.
        rows: Their faulty activations.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.seen = 0
        self.images = np.zeros(0, np.int64)
        self.rows: Rows = {}
        self._order = np.zeros(0)

    def offer(self, images: NDArray[np.int64], order: NDArray[np.float64], cut: Callable[[Array], Rows]) -> None:
        """Take in the images of one batch.

        Args:
            images: Their numbers in the data set, each once.
            order: Their priorities.
            cut: Gives the rows of the images at some positions of *images*; they are copied only where they are kept.
        """
        self.seen += images.size
        keep = np.arange(images.size)
        if images.size > self.room:
            keep = np.argpartition(order, self.room - 1)[: self.room]
        if self.images.size == self.room and self.room:
            keep = keep[order[keep] < self._order.max()]
        if keep.size == 0:
            return
        fresh = cut(keep)
        merged = {n: np.concatenate([self.rows[n], one]) for n, one in fresh.items()} if self.images.size else fresh
        numbers = np.concatenate([self.images, images[keep]])
        ranks = np.concatenate([self._order, order[keep]])
        if numbers.size > self.room:
            best = np.argpartition(ranks, self.room - 1)[: self.room]
            numbers, ranks = numbers[best], ranks[best]
            merged = {name: one[best] for name, one in merged.items()}
        self.images, self._order, self.rows = numbers, ranks, merged
