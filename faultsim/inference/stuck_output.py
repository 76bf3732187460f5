"""The law of broken processing elements that hold one output each: output-stationary arrays, dead lanes.

References:
    .. [Zhang2018] J. J. Zhang, T. Gu, K. Basu, S. Garg. Analyzing and mitigating the impact of permanent faults on
       a systolic array based neural network accelerator. VTS 2018, arXiv 1802.04657: broken elements of an array
       that holds weights. Here each element holds an output, which is what output-stationary means.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import check_rate
from faultsim.errors import OptionError
from faultsim.inference.base import Effect, LayerLaw, Stage, register
from faultsim.inference.calibration import SampleAxis
from faultsim.inference.place import Place


@register
@dataclass(frozen=True, kw_only=True)
class StuckOutput(LayerLaw):
    """Some outputs of every layer read a fixed value, or have an accumulator bit that is stuck.

    In an output-stationary array of *rows* x *columns* elements the one at (r, c) sums the outputs at position m with
    ``m mod rows == r`` and channel n with ``n mod columns == c``: the layer is computed in blocks, one after the
    other on the same array. For arrays that hold weights see [Zhang2018]_: there broken elements are wrong weights.
    A position is a pixel of one sample's feature map, a token, or 0.

    Attributes:
        elements: Broken elements as (row, column); None instead of a number for the whole row or column.
        rows: Rows of the array; None if they are as many as positions, so that a row is a position.
        columns: Columns; None if they are as many as channels: ``((None, 3),)`` is then output channel 3.
        value: What they read, as a fraction of the layer's largest output on clean data; the bias comes after.
        bit: Bit of the accumulator (0 is the lowest) that is stuck instead: of its 32-bit integer where the layer
            multiplies integer codes, of its float32 word elsewhere.
        level: What the bit is stuck at.

    Raises:
        OptionError: If a number is out of range.
    """

    kind: ClassVar[str] = "stuck_output"
    order: ClassVar[int] = 3
    elements: tuple[tuple[int | None, int | None], ...]
    rows: int | None = None
    columns: int | None = None
    value: float = 0.0
    bit: int | None = None
    level: Literal[0, 1] = 1

    def __post_init__(self) -> None:
        for name, size in (("rows", self.rows), ("columns", self.columns)):
            if size is not None and size < 1:
                raise OptionError(f"an array needs at least one of its {name}, got {size}")
        for row, column in self.elements:
            for place, size in ((row, self.rows), (column, self.columns)):
                if place is not None and not 0 <= place < (size or place + 1):
                    raise OptionError(
                        f"element ({row}, {column}) lies outside an array of {self.rows} x {self.columns}"
                    )
        if self.bit is not None and not 0 <= self.bit < 32:
            raise OptionError(f"an accumulator has bits 0 to 31, got {self.bit}")
        if not np.isfinite(self.value):
            raise OptionError(f"a stuck output's value must be finite, got {self.value:g}")

    @property
    def is_null(self) -> bool:
        """Whether no element is broken."""
        return not self.elements

    @property
    def stage(self) -> Stage:
        """Outputs of the layer."""
        return "output"

    def act(self, values: NDArray[Any], place: Place, effect: Effect) -> NDArray[Any]:
        """Overwrite the outputs of the broken elements."""
        samples, at = _apart(values, place)
        moved = samples[..., None] if at is None else np.moveaxis(samples, at, -1)
        flat = np.ascontiguousarray(moved).reshape(len(moved), -1, moved.shape[-1])
        step = None
        if place.step is not None:
            steps = _apart(np.broadcast_to(place.step, values.shape), place)[0]
            step = (steps[..., None] if at is None else np.moveaxis(steps, at, -1)).reshape(flat.shape)
        for row, column in self.elements:
            where = np.ix_(
                np.arange(len(flat)), _hit(flat.shape[1], row, self.rows), _hit(flat.shape[2], column, self.columns)
            )
            flat[where] = self._broken(flat[where], None if step is None else step[where], place)
        back = flat.reshape(moved.shape)
        return _together(back[..., 0] if at is None else np.moveaxis(back, -1, at), values.shape, place)

    def _broken(self, values: NDArray[Any], step: NDArray[Any] | None, place: Place) -> NDArray[Any]:
        if self.bit is None:
            return np.full_like(values, self.value * place.ranges.outputs.peak)
        mask = np.uint32(1 << self.bit)
        if step is None:
            words = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
            return (words | mask if self.level else words & ~mask).view(np.float32).astype(values.dtype)
        sums = np.clip(np.nan_to_num(np.rint(values / step)), -(2.0**31), 2.0**31 - 1).astype(np.int64).astype(np.int32)
        words = sums.view(np.uint32)
        forced = (words | mask if self.level else words & ~mask).view(np.int32)
        return np.asarray(forced * step, dtype=values.dtype)


def broken_elements(
    rng: np.random.Generator, *, rows: int, columns: int, p: float, at_least_one: bool = False
) -> tuple[tuple[int, int], ...]:
    """Draw which elements of an array are broken, each with probability *p* by itself.

    Args:
        rng: Generator of this draw alone.
        rows: Rows of the array.
        columns: Columns of the array.
        p: Probability of one element, 0 to 1.
        at_least_one: Whether to draw given that there is one.

    Raises:
        OptionError: If *p* is out of range, or 0 where one broken element is asked for.
    """
    check_rate("p", p)
    if at_least_one and p == 0:
        raise OptionError("at_least_one needs p above 0, or no element can be broken")
    broken = rng.random(rows * columns) < p
    if at_least_one and not broken.any():
        # By inversion: the first broken element given that there is one; those after it are free.
        size = rows * columns
        left = float(rng.random()) * -np.expm1(size * np.log1p(-p))
        first = min(int(np.log1p(-left) / np.log1p(-p)), size - 1)
        broken[first] = True
        broken[first + 1 :] = rng.random(size - first - 1) < p
    return tuple((int(i) // columns, int(i) % columns) for i in np.flatnonzero(broken))


def _whole(shape: tuple[int, ...], place: Place) -> SampleAxis | None:
    """Where the samples of a value of this *shape* lie; None where it cannot be told apart by them."""
    where = place.sample_axis
    return where if where is not None and where.fits(shape, place.batch) else None


def _apart(values: NDArray[Any], place: Place) -> tuple[NDArray[Any], int | None]:
    """Return (samples, slices, other axes), and which axis of that counts channels."""
    where, channel = _whole(values.shape, place), place.channel_axis
    at = None if channel is None else channel % values.ndim
    if where is None:
        return values[None, None], None if at is None else 2 + at
    samples = where.apart(values, place.batch)
    return samples, None if at is None or at == where.axis else 2 + at - (at > where.axis)


def _together(samples: NDArray[Any], shape: tuple[int, ...], place: Place) -> NDArray[Any]:
    where = _whole(shape, place)
    return samples.reshape(shape) if where is None else where.together(samples)


def _hit(size: int, place: int | None, period: int | None) -> NDArray[np.int64]:
    if place is None:
        return np.arange(size)
    return np.arange(place, size, period) if period is not None else np.arange(place, min(place + 1, size))
