"""How a memory holds corrupted numbers: rounded to its words so that the corruption stays in its set.

The set is searched as if numbers were real. Rounded to the nearest code a corruption moves by up to half a step more,
and would leave the set: what it does would say nothing of the set. Floats of 32 bits and more round by less than ten
millionths of a percent of themselves, and are left where the nearest one lies.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints import Block, TensorSet
from faultsim.corruption import Stored
from faultsim.formats import ConductanceMapping, FloatFormat, IntFormat

Deltas = Mapping[str, NDArray[np.float64]]
_LARGEST = float(np.finfo(np.float32).max)
_SURE = 1e-6  # by how much a corruption may exceed its set: below it lies rounding of the arithmetic


def settle(stored: Stored, delta: NDArray[np.float64]) -> NDArray[Any]:
    """Return ``values + delta`` as the memory holds it: rounded to what its words can say; analog cells as it is.

    Finite numbers beyond the last code, or the largest float, saturate there.
    """
    moved = stored.values.astype(np.float64) + np.asarray(delta, dtype=np.float64).reshape(stored.site.shape)
    form = stored.format
    digital = not isinstance(form, ConductanceMapping)
    if digital and (isinstance(form, IntFormat) or form.bits < 8 * stored.values.dtype.itemsize or _overflows(form)):
        return form.decode(form.encode(moved)).astype(stored.values.dtype, copy=False)
    dtype = np.dtype(np.float32) if stored.values.dtype.kind in "iu" else stored.values.dtype
    if dtype == np.float32:
        moved = np.clip(moved, -_LARGEST, _LARGEST)
    return moved.astype(dtype)


def settle_within(stored: Mapping[str, Stored], constraint: TensorSet, delta: Deltas) -> dict[str, NDArray[Any]]:
    """Return what the memory holds under a corruption of the set, by tensor: in the set, but for wide floats.

    Each number goes to the nearest code. Where that leaves the set, numbers that were rounded away from their clean
    code go one code back: those that overshoot what one number may do, and then, until the norm fits, those that were
    rounded up by most.

    Args:
        stored: The tensors without corruption.
        constraint: The set.
        delta: A corruption that lies in it; tensors that it does not name stay as they are.
    """
    found = {name: settle(stored[name], change) for name, change in delta.items()}
    for block in constraint.blocks:
        for name, back in _overshot(stored, block, delta, found).items():
            found[name] = np.where(back, _before(stored[name], delta[name], found[name]), found[name])
    return found


def _before(stored: Stored, delta: NDArray[np.float64], held: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers one code nearer to the clean ones than those to which a corruption is rounded up."""
    asked = np.asarray(delta, dtype=np.float64).reshape(stored.site.shape)
    if isinstance(stored.format, FloatFormat):
        return stored.format.towards(held, stored.values).astype(held.dtype, copy=False)
    if not isinstance(stored.format, IntFormat):
        return settle(stored, np.zeros_like(asked))
    step = np.minimum(_step(stored.format, asked.shape) / 2, np.abs(asked))
    return settle(stored, asked - np.copysign(step, asked))


class _Rounded(NamedTuple):
    """Numbers of one block, flat, in units of its scale: as they are held, one code back, and whether they can go."""

    held: NDArray[np.float64]
    back: NDArray[np.float64]
    can: NDArray[np.bool_]
    outside: NDArray[np.bool_]  # of the box
    part: NDArray[np.float64]  # of a step that was left to round


def _overshot(
    stored: Mapping[str, Stored], block: Block, delta: Deltas, held: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.bool_]]:
    """Return, for tensors of codes, which numbers go one code back."""
    names = [name for name in block.names if name in delta]
    if not any(_coarse(stored[name]) for name in names):
        return {}
    offsets = np.cumsum([0, *(stored[name].site.elements for name in block.names)])
    places = {name: slice(offsets[i], offsets[i + 1]) for i, name in enumerate(block.names)}
    parts = {name: _rounded(stored[name], block, places[name], delta[name], held[name]) for name in names}
    one = _Rounded(*(np.concatenate(each) for each in zip(*parts.values(), strict=True)))
    eps, p = block.constraint.eps, block.constraint.p
    if eps == 0:
        return {}
    gone = one.can & ((one.held > eps * (1 + _SURE)) | one.outside)
    if not math.isinf(p):
        units = np.where(gone, one.back, one.held) / eps
        spent = float(np.sum(units**p)) - (1 + _SURE)
        if spent > 0:
            left = np.flatnonzero(one.can & ~gone)
            left = left[np.argsort(one.part[left], kind="stable")]
            saved = np.cumsum(units[left] ** p - (one.back[left] / eps) ** p)
            gone[left[: int(np.searchsorted(saved, spent)) + 1]] = True
    ends = np.cumsum([0, *(parts[name].held.size for name in names)])
    back = {name: gone[ends[i] : ends[i + 1]].reshape(stored[name].site.shape) for i, name in enumerate(names)}
    return {name: which for name, which in back.items() if which.any()}


def _rounded(stored: Stored, block: Block, place: slice, delta: NDArray[Any], held: NDArray[Any]) -> _Rounded:
    shape = stored.site.shape
    asked = np.asarray(delta, dtype=np.float64).reshape(shape)
    scale, low, high = (
        _own(getattr(block.constraint, part), shape, place, alone=len(block.names) == 1, default=default)
        for part, default in (("scale", 1.0), ("low", -np.inf), ("high", np.inf))
    )
    moved, back = asked, asked
    can = np.zeros(shape, dtype=np.bool_)
    left = np.zeros(shape)
    if _coarse(stored):
        moved = held.astype(np.float64) - stored.values.astype(np.float64)
        step = np.abs(moved)
        if isinstance(stored.format, FloatFormat):
            step = np.abs(held.astype(np.float64) - _before(stored, delta, held).astype(np.float64))
        if isinstance(stored.format, IntFormat):
            step = _step(stored.format, shape)
            moved = np.rint(moved / step) * step  # free of what decoding rounds
        can = np.abs(moved) > np.abs(asked)
        back = np.where(can, moved - np.copysign(step, moved), moved)
        left = np.divide(np.abs(asked) - np.abs(back), step, out=left, where=can & (step > 0))
    outside = (moved > high * (1 + _SURE)) | (moved < low * (1 + _SURE))
    with np.errstate(divide="ignore", invalid="ignore"):
        units, fewer = (np.where(scale > 0, np.abs(one) / scale, 0.0) for one in (moved, back))
    return _Rounded(units.reshape(-1), fewer.reshape(-1), can.reshape(-1), outside.reshape(-1), left.reshape(-1))


def _own(given: Any, shape: tuple[int, ...], place: slice, *, alone: bool, default: float) -> NDArray[np.float64]:
    """Return an argument of a block's set for the numbers of one of its tensors."""
    array = np.asarray(default if given is None else given, dtype=np.float64)
    if array.ndim == 0 or (alone and array.size != place.stop - place.start):
        return np.broadcast_to(array, shape)
    return (array if alone else array[place]).reshape(shape)


def _step(form: IntFormat, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.broadcast_to(np.asarray(form.scale, dtype=np.float64), shape)


def _coarse(stored: Stored) -> bool:
    form = stored.format
    return not isinstance(form, ConductanceMapping) and (not isinstance(form, FloatFormat) or form.bits < 32)


def _overflows(form: object) -> bool:
    """Whether numpy's own cast would make infinities of numbers that the format saturates."""
    return isinstance(form, FloatFormat) and form.kind not in ("float32", "float64")
