"""The format of binary weights. Integer formats of more bits are beside."""

from dataclasses import dataclass

import numpy as np

from faultsim.errors import OptionError
from faultsim.formats.base import NumberFormat, Values, Words


@dataclass(frozen=True)
class BinaryFormat(NumberFormat):
    """One stored bit per element: 1 reads as ``+scale``, 0 as ``-scale``.

    Attributes:
        scale: Magnitude in value units, positive; a zero encodes as ``+scale``.

    Raises:
        OptionError: If the scale is not positive and finite.

    Examples:
        >>> BinaryFormat().encode(np.array([-3.0, 0.0, 2.0])).tolist()
        [0, 1, 1]
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise OptionError(f"BinaryFormat.scale must be finite and positive, got {self.scale:g}")

    @property
    def name(self) -> str:
        """``binary``."""
        return "binary"

    @property
    def bits(self) -> int:
        """One."""
        return 1

    def encode(self, values: Values) -> Words:
        """Return 1 where *values* (any shape) are zero or positive, else 0."""
        return (np.asarray(values) >= 0).astype(np.uint64)

    def decode(self, words: Words) -> Values:
        """Return ``+scale`` or ``-scale`` in float32, same shape; bits above the first are ignored."""
        sign = 2.0 * (np.asarray(words, dtype=np.uint64) & np.uint64(1)).astype(np.float32) - 1.0
        return (sign * np.float32(self.scale)).astype(np.float32)
