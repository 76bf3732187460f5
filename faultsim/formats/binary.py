"""The format of binary weights. Integer formats of more bits are beside."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.errors import OptionError
from faultsim.formats.base import NumberFormat, Values, Words


@dataclass(frozen=True, eq=False, init=False)
class BinaryFormat(NumberFormat):
    """One stored bit per element: 1 reads as ``+scale``, 0 as ``-scale``.

    Attributes:
        scale: Magnitude in value units, positive: a scalar, or an array broadcastable to the tensor; a zero encodes as
            ``+scale``.

    Raises:
        OptionError: If the scale is not positive and finite.

    Examples:
        >>> BinaryFormat().encode(np.array([-3.0, 0.0, 2.0])).tolist()
        [0, 1, 1]
    """

    scale: float | NDArray[np.float64] = 1.0

    def __init__(self, scale: ArrayLike = 1.0) -> None:
        sizes = np.array(scale, dtype=np.float64)
        if not (np.all(np.isfinite(sizes)) and np.all(sizes > 0)):
            raise OptionError(f"BinaryFormat.scale must be finite and positive, got {sizes.min():g}")
        sizes.flags.writeable = False
        object.__setattr__(self, "scale", float(sizes) if sizes.ndim == 0 else sizes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BinaryFormat) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return np.shape(self.scale), np.asarray(self.scale).tobytes()

    @property
    def name(self) -> str:
        """``binary``."""
        return "binary"

    @property
    def bits(self) -> int:
        """One."""
        return 1

    @property
    def per_channel(self) -> bool:
        """Whether the scale varies over the tensor."""
        return np.ndim(self.scale) > 0

    def at(self, indices: NDArray[np.int64], shape: tuple[int, ...]) -> "BinaryFormat":
        """Return the format of the elements at flat *indices* of a tensor of *shape*, as a 1-D tensor."""
        if not self.per_channel:
            return self
        return BinaryFormat(np.broadcast_to(self.scale, shape)[np.unravel_index(indices, shape)])

    def encode(self, values: Values) -> Words:
        """Return 1 where *values* (any shape) are zero or positive, else 0."""
        return (np.asarray(values) >= 0).astype(np.uint64)

    def decode(self, words: Words) -> Values:
        """Return ``+scale`` or ``-scale`` in float32; bits above the first are ignored.

        Args:
            words: Stored words; the tensor's own shape where `per_channel`, else any shape.
        """
        sign = 2.0 * (np.asarray(words, dtype=np.uint64) & np.uint64(1)).astype(np.float32) - 1.0
        return (sign * np.asarray(self.scale, dtype=np.float32)).astype(np.float32)
