"""What a number format is: the exact way between a number and the bits of its word. Formats live beside."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Words = NDArray[np.uint64]


class NumberFormat(ABC):
    """How the numbers of one tensor lie in memory, one word an element.

    ``decode(encode(v))`` is ``v`` for every representable ``v``, and ``encode(decode(w))`` is ``w`` for every
    word that a representable number has; values that are not representable are rounded to the nearest one and
    saturate.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The format's name as users write it, such as ``int8`` or ``float32``."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Stored bits per element, 1 to 64."""

    @property
    def per_channel(self) -> bool:
        """Whether the format varies over the tensor, so that a word decodes only in its place (see `at`)."""
        return False

    def at(self, indices: NDArray[np.int64], shape: tuple[int, ...]) -> "NumberFormat":
        """Return the format of the elements at flat *indices* of a tensor of *shape*, as a 1-D tensor."""
        return self

    @abstractmethod
    def encode(self, values: Values) -> Words:
        """Return the stored words of *values*, the same shape, in the low `bits` bits of each uint64."""

    @abstractmethod
    def decode(self, words: Words) -> Values:
        """Return the values of *words*, the same shape, in the dtype that the graph computes with."""
