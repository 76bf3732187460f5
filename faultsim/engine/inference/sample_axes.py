"""Finds where the samples of every value lie, by runs of a few samples. What they range over is told in `calibrate`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import FaultsimError
from faultsim.inference import SampleAxis
from faultsim.model import Model

Array = NDArray[Any]
Feeds = Mapping[str, Array]
Take = Callable[[str, Array], None]
Watch = Callable[[Feeds, int, Take], None]
"""Runs a model on a batch of so many samples and hands over every value by its name."""

SIZES = (2, 3)
"""Batches whose shapes are compared: the axis that grows counts the samples."""
CHANGED = 1
"""The sample that is replaced, to see where it lies: neither the first nor, of three, the last one."""
CLEAR = 0.9
"""Least part of what changes that must lie where the replaced sample is thought to."""


def sample_axes(model: Model, feeds: Feeds, watch: Watch) -> dict[str, SampleAxis | None]:
    """Return where the samples of every value lie; values of which nothing can be told are left out.

    An axis that counts samples grows with the batch. Where it holds more than one slice of a sample, and in graphs with
    a fixed batch, one sample is replaced: its slices are those that change.

    Args:
        model: The model.
        feeds: One batch of its inputs.
        watch: Runs it.
    """
    given = {spec.name: SampleAxis(spec.batch_axis) for spec in model.inputs if spec.batch_axis is not None}
    fixed = model.fixed_batch
    try:
        return {**(_grown(model, feeds, watch) if fixed is None else _fixed(model, feeds, fixed, watch)), **given}
    except FaultsimError:  # a graph that takes one batch size alone, or fails on a sample that is none
        return dict(given)


def _grown(model: Model, feeds: Feeds, watch: Watch) -> dict[str, SampleAxis | None]:
    shapes: list[dict[str, tuple[int, ...]]] = [{}, {}]
    for to, size in zip(shapes, SIZES, strict=True):
        watch(_repeated(model, feeds, size), size, lambda name, array, to=to: to.update({name: array.shape}))  # type: ignore[misc]
    small, large = shapes
    axes = {name: _growing(shape, large[name]) for name, shape in small.items() if name in large}
    batch = SIZES[-1]
    folded = {name: [axis] for name, axis in axes.items() if axis is not None and large[name][axis] > batch}
    found: dict[str, SampleAxis | None] = {
        name: None if axis is None else SampleAxis(axis) for name, axis in axes.items()
    }
    if not folded:
        return found
    try:
        changes = _changes(model, _repeated(model, feeds, batch), batch, watch, lambda name, _: folded.get(name, ()))
    except FaultsimError:
        return found
    return {**found, **{name: where for name, change in changes.items() if (where := _where(change, batch))}}


def _fixed(model: Model, feeds: Feeds, batch: int, watch: Watch) -> dict[str, SampleAxis | None]:
    if batch <= CHANGED:
        return {}
    changes = _changes(model, feeds, batch, watch, lambda _, array: range(array.ndim))
    return {name: _where(change, batch) for name, change in changes.items()}


def _changes(
    model: Model, feeds: Feeds, batch: int, watch: Watch, axes: Callable[[str, Array], Iterable[int]]
) -> dict[str, dict[int, NDArray[np.float64]]]:
    """Return how much each slice of a value changes with one sample, by name and axis; only what changes at all."""
    sums: list[dict[str, dict[int, NDArray[np.float64]]]] = [{}, {}]
    for to, one in zip(sums, (feeds, _replaced(model, feeds)), strict=True):

        def take(name: str, array: Array, to: dict[str, dict[int, NDArray[np.float64]]] = to) -> None:
            chosen = [axis for axis in axes(name, array) if array.shape[axis] and array.shape[axis] % batch == 0]
            to[name] = {axis: _summed(array, axis) for axis in chosen}

        watch(one, batch, take)
    before, after = sums
    found = {}
    for name, old in before.items():
        new = after.get(name, {})
        same = {axis: one for axis, one in old.items() if axis in new and new[axis].shape == one.shape}
        change = {axis: np.abs(new[axis] - one) for axis, one in same.items()}
        if any(one.any() for one in change.values()):
            found[name] = change
    return found


def _where(change: Mapping[int, NDArray[np.float64]], batch: int) -> SampleAxis | None:
    """Return the axis and the layout that hold what has changed; None where none does.

    Of equal ones the first axis, and whole blocks of it.
    """
    best, where = CLEAR, None
    for axis, one in change.items():
        slices = len(one) // batch
        for inner in (d for d in range(slices, 0, -1) if slices % d == 0):
            inside = np.arange(len(one)) // inner % batch == CHANGED
            share = float(one[inside].sum()) / max(float(one.sum()), np.finfo(np.float64).tiny)
            if share > best:
                best, where = share, SampleAxis(axis, None if inner == slices else inner)
    return where


def _summed(array: Array, axis: int) -> NDArray[np.float64]:
    """Return one number of each slice along *axis*: another one for other elements, or for another order of them."""
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float32)
    weights = (2.0 + np.cos(np.arange(rows.shape[1]))).astype(np.float32)
    return np.nan_to_num((np.nan_to_num(rows) @ weights).astype(np.float64))


def _repeated(model: Model, feeds: Feeds, size: int) -> dict[str, Array]:
    """Return the first sample of a batch, *size* times."""
    made = {}
    for spec in model.inputs:
        array = np.asarray(feeds[spec.name])
        if spec.batch_axis is not None:
            array = np.take(array, [0] * size, axis=spec.batch_axis)
        made[spec.name] = array
    return made


def _replaced(model: Model, feeds: Feeds) -> dict[str, Array]:
    """Return a batch with another sample in place of one: its own elements in another order, so indices stay in range.

    Floats that are all equal are raised.
    """
    made = {}
    for spec in model.inputs:
        array = np.array(feeds[spec.name])
        if spec.batch_axis is not None:
            samples = np.moveaxis(array, spec.batch_axis, 0)  # a view
            old = samples[CHANGED].copy()
            new = np.roll(old.reshape(-1), 1).reshape(old.shape)
            samples[CHANGED] = new + 1 if array.dtype.kind == "f" and np.array_equal(new, old) else new
        made[spec.name] = array
    return made


def _growing(first: tuple[int, ...], second: tuple[int, ...]) -> int | None:
    """The one axis on which two shapes differ."""
    if len(first) != len(second):
        return None
    axes = [axis for axis, sizes in enumerate(zip(first, second, strict=True)) if sizes[0] != sizes[1]]
    return axes[0] if len(axes) == 1 else None
