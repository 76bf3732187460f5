"""`Form`: how the runtime holds an activation of the deployed graph: name, layout and codes. Nothing runs here."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.sweep.unsigned import flip

Array = NDArray[Any]


@dataclass(frozen=True)
class Form:
    """How the twin holds an activation.

    Attributes:
        name: Its name there.
        layout: As deployed; channels last; or channels in blocks, ``(samples, C/b, H, W, b)`` in memory.
        block: Channels of a block.
        unsigned: Whether int8 codes are held as uint8, 128 higher.
    """

    name: str
    layout: Literal["plain", "last", "blocked"] = "plain"
    block: int = 1
    unsigned: bool = False

    def of(self, array: Array) -> Array:
        """Return an activation of the deployed graph as the twin holds it."""
        if self.unsigned:
            array = flip(array)
        if self.layout == "last":
            return np.ascontiguousarray(np.moveaxis(array, 1, -1))
        if self.layout == "blocked":
            n, c, *rest = array.shape
            padded = -(-c // self.block) * self.block
            wide = np.zeros((n, padded, *rest), dtype=array.dtype)
            wide[:, :c] = array
            split = wide.reshape(n, padded // self.block, self.block, *rest)
            return np.ascontiguousarray(np.moveaxis(split, 2, -1)).reshape(wide.shape)
        return array

    def plain(self, array: Array, channels: int) -> Array:
        """Return what the twin holds as the deployed graph does."""
        if self.layout == "last":
            array = np.moveaxis(array, -1, 1)
        elif self.layout == "blocked":
            array = np.moveaxis(self._split(array), -1, 2).reshape(array.shape)[:, :channels]
        return flip(array) if self.unsigned else np.ascontiguousarray(array)

    def channel(self, array: Array, axis: int, number: int) -> Array:
        """Return a view of one channel of what the twin holds; *axis* counts channels in the deployed graph."""
        if self.layout == "last":
            return array[..., number]
        if self.layout == "blocked":
            return self._split(array)[:, number // self.block, ..., number % self.block]
        return array[(slice(None),) * axis + (number,)]

    def code(self, values: Array) -> Array:
        """Return values of the deployed graph as the twin counts them."""
        return flip(values) if self.unsigned else values

    def _split(self, array: Array) -> Array:
        n, padded, *rest = array.shape
        view = array.view()
        view.shape = (n, padded // self.block, *rest, self.block)
        return view
