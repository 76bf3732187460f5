"""`Permutation`: a keyed random order of ``0 … size - 1`` of which any part can be drawn alone.

References:
    .. [BlackRogaway2002] J. Black, P. Rogaway. Ciphers with arbitrary finite domains. CT-RSA 2002: a Feistel network
       over a slightly larger domain, walked until it comes back into the wanted one, is a permutation of that one.
    .. [Steele2014] G. L. Steele, D. Lea, C. H. Flood. Fast splittable pseudorandom number generators. OOPSLA 2014:
       the finaliser of SplitMix64, here the round function.
"""

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.rng import generator

_ROUNDS = 8
_SHUFFLED = 1 << 12
"""Up to this many units the order is a real shuffle, each order as likely; above, a Feistel network's."""
_MOST = 1 << 62


class Permutation:
    """The order in which the units of one stratum are drawn, without any unit twice.

    Unit *i* of the order depends on the key, the size and *i* alone: any range of trials can be drawn by anybody, and
    the first n units of the order are a simple random sample without replacement.

    Args:
        size: Units, 1 to 2^62.
        seed: The campaign's seed.
        names: What is ordered.

    Raises:
        OptionError: If the size is out of range.

    Examples:
        >>> order = Permutation(10, 0, "doc")
        >>> sorted(order(np.arange(10)).tolist()) == list(range(10))
        True
    """

    def __init__(self, size: int, seed: int, *names: str) -> None:
        if not 1 <= size <= _MOST:
            raise OptionError(
                f"a population of {size} faults is out of range, allowed are 1 to 2^62; choose other sites"
            )
        self.size = size
        rng = generator(seed, -1, "campaign order", *names)
        self._shuffled: NDArray[np.int64] | None = None
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        if size <= _SHUFFLED:
            self._shuffled = rng.permutation(size).astype(np.int64)
        else:
            self._keys = rng.integers(0, 1 << 64, size=_ROUNDS, dtype=np.uint64)
            self._half = np.uint64(((size - 1).bit_length() + 1) // 2)
            self._mask = np.uint64((1 << int(self._half)) - 1)

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the units at *positions* of the order.

        Args:
            positions: In ``[0, size)``, any shape.

        Raises:
            ValueError: If a position is out of range.
        """
        asked = np.asarray(positions, dtype=np.int64)
        if asked.size and (asked.min() < 0 or asked.max() >= self.size):
            raise ValueError(f"a position is out of range: there are {self.size} units")
        if self._shuffled is not None:
            return self._shuffled[asked]
        found = self._network(asked.astype(np.uint64))
        outside = found >= np.uint64(self.size)
        while outside.any():  # each walk ends: a permutation's cycle comes back
            found[outside] = self._network(found[outside])
            outside = found >= np.uint64(self.size)
        return found.astype(np.int64)

    def _network(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & self._mask)
        return (left << self._half) | right


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
