"""`BitFlips`: the stored bits of a tensor, each of which can flip. Levels and stuck cells are beside."""

from collections.abc import Sequence

import numpy as np

from faultsim.corruption import Stored
from faultsim.errors import OptionError
from faultsim.formats import Words
from faultsim.search.bits.choices import WordChoices


class BitFlips(WordChoices):
    """Every stored bit can take its other value, in the stored format: two's complement, float, any.

    Args of the constructor:
        stored: The tensor.
        bits: Bits that can flip, 0 the least significant, negative numbers from the top (-1 the sign bit);
            ``None`` for all.

    Raises:
        OptionError: If a bit is out of range or there is none.
        DeviceError: If the tensor is not stored as bits.
    """

    def __init__(self, stored: Stored, bits: Sequence[int] | None = None) -> None:
        chosen = chosen_bits(stored, bits)
        self.bits = np.array(chosen, dtype=np.uint64)
        super().__init__(stored, list(range(len(chosen))), [1] * len(chosen), chosen)

    def patterns(self, words: Words) -> Words:
        """Return the other value of every bit."""
        return ~words[:, None] & self.masks


def chosen_bits(stored: Stored, bits: Sequence[int] | None) -> list[int]:
    """Return the numbers of the *bits* of a tensor, ascending, negative ones counted from the top.

    Raises:
        OptionError: If one is out of range, or there is none.
    """
    width = stored.format.bits
    if bits is None:
        return list(range(width))
    for bit in bits:
        if not -width <= bit < width:
            raise OptionError(
                f"bit {bit} is out of range: {stored.site.name} is stored as {stored.format.name}; "
                f"give 0 to {width - 1}, or {-width} to -1 from the top"
            )
    if not bits:
        raise OptionError(f"no bit of {stored.site.name} is left to flip; give at least one, or None for all")
    return sorted({bit % width for bit in bits})
