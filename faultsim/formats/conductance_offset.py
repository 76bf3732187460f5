"""Analog storage on one device a weight: zero lies inside the range. No noise laws live here.

References:
    .. [CrossSim] Sandia CrossSim 3.2.0, ``OffsetCoreStyle``: ``DIGITAL_OFFSET`` subtracts a computed offset,
       ``UNIT_COLUMN_SUBTRACTION`` the read-out of one more column of the array, a cell in every row.
    .. [aihwkit] IBM aihwkit 1.1.0, ``SingleDeviceConductanceConverter``: from the smallest to the largest
       weight of a tensor, zero wherever it falls.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.errors import OptionError
from faultsim.formats.base import Values
from faultsim.formats.conductance import ConductanceMapping, Real


@dataclass(frozen=True, eq=False, init=False)
class SingleDeviceOffset(ConductanceMapping):
    """A weight held by one device: ``w = step (g - g_zero)``, the offset subtracted digitally, [CrossSim]_.

    The offset itself cannot fail. With *w_min* left out the range is symmetric and ``g_zero`` is its
    middle; with the tensor's own extremes it is [aihwkit]_'s single device.

    Attributes:
        g_min_uS: Smallest conductance, uS, at least 0; it carries *w_min*.
        g_max_uS: Largest conductance, uS, above g_min; it carries *w_max*.
        w_max: Largest weight, value units, positive: a scalar, or an array broadcastable to the tensor.
        w_min: Smallest weight, at most 0, likewise; ``-w_max`` by default.

    Raises:
        OptionError: If the range is empty, w_max is not positive or w_min is.

    Examples:
        >>> one = SingleDeviceOffset(10.0, 90.0, w_max=1.0)
        >>> one.to_cells(np.array([0.0, 0.5, -1.0])).tolist()
        [[50.0, 70.0, 10.0]]
    """

    g_min_uS: float  # noqa: N815
    g_max_uS: float  # noqa: N815
    w_max: float | NDArray[np.float64]
    w_min: float | NDArray[np.float64]

    def __init__(
        self, g_min_uS: float, g_max_uS: float, w_max: ArrayLike = 1.0, w_min: ArrayLike | None = None
    ) -> None:
        super().__init__(g_min_uS, g_max_uS, w_max)
        low = np.array(-np.asarray(self.w_max) if w_min is None else w_min, dtype=np.float64)
        if not (np.all(np.isfinite(low)) and np.all(low <= 0)):
            raise OptionError(f"w_min must be finite and at most 0, got {low.max():g}; zero must lie in the range")
        low.flags.writeable = False
        object.__setattr__(self, "w_min", float(low) if low.ndim == 0 else low)

    @property
    def name(self) -> str:
        """``single_device_offset``."""
        return "single_device_offset"

    @property
    def coefficients(self) -> tuple[float, ...]:
        """``(1,)``."""
        return (1.0,)

    @property
    def step(self) -> NDArray[np.float64]:
        """Value per uS, ``(w_max - w_min) / (g_max - g_min)``, broadcastable to the tensor."""
        return (np.asarray(self.w_max, dtype=np.float64) - self.w_min) / self.span_uS

    @property
    def zero_uS(self) -> NDArray[np.float64]:  # noqa: N802
        """Conductance of the weight 0, uS, broadcastable to the tensor."""
        return self.g_min_uS - np.asarray(self.w_min) / self.step

    def to_cells(self, values: Values) -> NDArray[np.float32]:
        """Return the target conductances of *values* in uS, ``(1, *shape)``, saturating at both ends."""
        g = np.asarray(values) / self.step + self.zero_uS
        return np.clip(g, self.g_min_uS, self.g_max_uS).astype(np.float32)[None]

    def combine(self, cells: NDArray[Real]) -> NDArray[Real]:
        """Return ``g - g_zero``, uS."""
        difference: NDArray[Real] = cells[0] - self.zero_uS.astype(cells.dtype)
        return difference

    def _key(self) -> tuple[Any, ...]:
        return (*super()._key(), np.shape(self.w_min), np.asarray(self.w_min).tobytes())


@dataclass(frozen=True, eq=False, init=False)
class OffsetColumn(ConductanceMapping):
    """A weight held by one device, against a reference device shared by a block of weights, [CrossSim]_.

    ``w = 2 w_max / (g_max - g_min) (g - g_ref)``, the reference programmed to the middle of the range. It
    is one physical device with noise of its own: an error in it moves all weights of its block together,
    and they are not independent.

    Attributes:
        g_min_uS: Smallest conductance, uS, at least 0.
        g_max_uS: Largest conductance, uS, above g_min.
        w_max: Magnitude that the ends of the range carry, value units, positive: a scalar, or an array
            broadcastable to the tensor.
        block: How many weights along each axis of the tensor share one reference device (see
            `reference_block`).

    Raises:
        OptionError: If the range is empty, w_max is not positive or the block has no extent.

    Examples:
        >>> column = OffsetColumn(0.0, 20.0, w_max=1.0, block=(64, 1))   # a reference cell in every row
        >>> column.to_cells(np.array([[0.5], [-1.0]])).tolist()
        [[[15.0], [0.0]], [[10.0], [10.0]]]
    """

    g_min_uS: float  # noqa: N815
    g_max_uS: float  # noqa: N815
    w_max: float | NDArray[np.float64]
    block: tuple[int, ...]

    def __init__(self, g_min_uS: float, g_max_uS: float, w_max: ArrayLike = 1.0, *, block: tuple[int, ...]) -> None:
        super().__init__(g_min_uS, g_max_uS, w_max)
        if not block or min(block) < 1:
            raise OptionError(f"a block of weights needs an extent of at least 1 along every axis, got {block}")
        object.__setattr__(self, "block", tuple(block))

    @property
    def name(self) -> str:
        """``offset_column``."""
        return "offset_column"

    @property
    def coefficients(self) -> tuple[float, ...]:
        """``(1, -1)``: the weight's own device, then the reference."""
        return (1.0, -1.0)

    @property
    def step(self) -> NDArray[np.float64]:
        """Value per uS of difference, ``2 w_max / (g_max - g_min)``, broadcastable to the tensor."""
        return 2 * np.asarray(self.w_max, dtype=np.float64) / self.span_uS

    def to_cells(self, values: Values) -> NDArray[np.float32]:
        """Return the target conductances in uS, ``(2, *shape)``: the weight's device, and its reference."""
        middle, half = np.float32((self.g_min_uS + self.g_max_uS) / 2), np.float32(self.span_uS / 2)
        cells = np.empty((2, *np.shape(values)), np.float32)
        np.clip(self._scaled(values) * np.float32(0.5), -half, half, out=cells[0])
        cells[0] += middle
        cells[1] = middle
        return cells

    def combine(self, cells: NDArray[Real]) -> NDArray[Real]:
        """Return the weight's conductance less its reference's, uS."""
        difference: NDArray[Real] = cells[0] - cells[1]
        return difference

    def share(self, draws: NDArray[Any]) -> NDArray[Any]:
        """Give each block one entry of *draws* for its reference device: its first weight's, in place."""
        firsts = [
            np.arange(n) // extent * extent
            for n, extent in zip(draws.shape[1:], self._extents(draws.ndim - 1), strict=True)
        ]
        draws[-1] = draws[-1][np.ix_(*firsts)]
        return draws

    def groups(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the number of each weight's reference device, of *shape*."""
        extents = self._extents(len(shape))
        counts = [-(-n // extent) for n, extent in zip(shape, extents, strict=True)]
        places = np.ix_(*(np.arange(n) // extent for n, extent in zip(shape, extents, strict=True)))
        labels = np.ravel_multi_index(np.broadcast_arrays(*places), counts)
        return np.asarray(labels, np.int64).reshape(shape)

    def _extents(self, axes: int) -> tuple[int, ...]:
        if len(self.block) != axes:
            raise OptionError(
                f"a block over {len(self.block)} axes does not fit a tensor of {axes}; use reference_block"
            )
        return self.block

    def _key(self) -> tuple[Any, ...]:
        return (*super()._key(), self.block)


def reference_block(shape: tuple[int, ...], channel_axis: int, *, cols: int | None = None) -> tuple[int, ...]:
    """Return the block of `OffsetColumn` for one reference column an array: a reference cell in every row.

    Args:
        shape: The tensor's shape, at least one axis.
        channel_axis: Axis of the output channels, the columns of the array.
        cols: Output columns of an array beside the reference; ``None``: one array holds all.
    """
    block = [1] * len(shape)
    block[channel_axis] = max(shape[channel_axis], 1) if cols is None else cols
    return tuple(block)
