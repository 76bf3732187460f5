"""The law of how a chip holds activations in memory: rounding and no fault."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.formats.base import NumberFormat
from faultsim.formats.integers import IntFormat
from faultsim.inference.base import InferenceLaw, register


@dataclass(frozen=True, kw_only=True)
class ActivationLaw(InferenceLaw):
    """A law of the activation memory.

    Attributes:
        bits: Bits of the symmetric integer codes that the chip holds float activations in, 2 to 22, their scale from
            the largest magnitude on clean data; None for float words as in the graph. Activations that the graph
            itself holds as integer codes stay as they are.

    Raises:
        OptionError: If *bits* is out of range.
    """

    bits: int | None = None

    def __post_init__(self) -> None:
        if self.bits is not None and not 2 <= self.bits <= 22:
            raise OptionError(f"activations are stored in 2 to 22 bits here, got {self.bits}")

    def fault_free(self) -> InferenceLaw | None:
        """The rounding alone."""
        return None if self.bits is None else ActivationStorage(bits=self.bits)


@register
@dataclass(frozen=True, kw_only=True)
class ActivationStorage(ActivationLaw):
    """Activations are rounded to the format of the chip's memory whenever they are written."""

    kind: ClassVar[str] = "activation_storage"

    @property
    def is_null(self) -> bool:
        """Whether the graph's own words are stored."""
        return self.bits is None


def rounded(values: NDArray[Any], form: NumberFormat) -> NDArray[Any]:
    """Return *values* (any shape) as memory of this format gives them back, in their own dtype; NaN reads as 0."""
    if isinstance(form, IntFormat):
        codes = values / np.float64(form.scale) + form.zero_point
        np.nan_to_num(np.rint(codes, out=codes), copy=False, nan=float(form.zero_point))
        np.clip(codes, form.lowest, form.highest, out=codes)
        return ((codes - form.zero_point) * form.scale).astype(values.dtype)
    return np.asarray(form.decode(form.encode(values)), dtype=values.dtype)
