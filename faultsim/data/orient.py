"""Where the samples lie in arrays of the user's: as the graph takes them, or in front. No array is converted here.

A model may count its samples along another axis than the first (time-major recurrent graphs: T×N×C). Its arrays may be
saved as it takes them, which is what is tried first, or samples first where only that fits; labels likewise.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from faultsim.data.convert import fits
from faultsim.data.spec import Column, InputSpec, show_shape
from faultsim.errors import DataError

_MOST_TURNED = 8


class Orientation(NamedTuple):
    """Which axis of each array has the samples, by the array's name, where it is not the first; and what is said."""

    axes: dict[str, int]
    labels: int
    notes: tuple[str, ...] = ()

    def turned(self, name: str, column: Column) -> Column:
        """Return an array with its samples first."""
        axis = self.axes.get(name, 0)
        return np.moveaxis(np.asanyarray(column), axis, 0) if axis else column

    def turned_labels(self, labels: Column) -> Column:
        """Return the labels with their samples first."""
        return np.moveaxis(np.asanyarray(labels), self.labels, 0) if self.labels else labels


def orient(
    inputs: Sequence[InputSpec],
    chosen: Mapping[str, tuple[str, Column]],
    labels: Column | None,
    place: str,
    *,
    placed: Sequence[str] = (),
    label_axis: int | None = None,
) -> Orientation:
    """Tell where the samples lie in every array.

    Args:
        inputs: The inputs of the model.
        chosen: By input, the name of its array and the array.
        labels: The labels, where there are any.
        place: Where the arrays lie, for messages.
        placed: Inputs with declared preprocessing of pixels, whose samples always come first.
        label_axis: The axis of the labels that counts the samples, where the user named it.

    Raises:
        DataError: If the labels could be meant in two ways, or have no axis of the given number.
    """
    turned = [spec for spec in inputs if spec.batch_axis and spec.name in chosen and spec.name not in placed]
    fed = [spec for spec in inputs if spec.name in chosen]
    if label_axis is not None and (labels is None or label_axis >= len(labels.shape)):
        have = "no labels" if labels is None else f"labels of shape {show_shape(labels.shape)}"
        raise DataError(f"axis {label_axis} of the labels is said to count the samples, but {place} holds {have}")
    picked: dict[str, int] | None = None
    for choice in itertools.product((True, False), repeat=min(len(turned), _MOST_TURNED)):
        as_graph = {spec.name for spec, take in zip(turned, choice, strict=False) if take}
        axes = {spec.name: (spec.batch_axis or 0) if spec.name in as_graph else 0 for spec in fed}
        if _consistent(fed, chosen, axes, labels, label_axis, placed):
            picked = axes
            break
    if picked is None:  # what does not fit is said by the checks that follow
        picked = {spec.name: _possible(spec, chosen[spec.name][1]) if spec in turned else 0 for spec in fed}
    first = dict.fromkeys(picked, 0)
    either = bool(any(picked.values()) and _consistent(fed, chosen, first, labels, label_axis, placed))
    count = _count(fed, chosen, picked)
    notes = [_note(spec, chosen[spec.name], picked[spec.name], count, place, either=either) for spec in turned]
    if label_axis is None and labels is not None and count is not None:
        label_axis = _label_axis(labels, count, place, either=any(picked.values()))
        if label_axis:
            notes.append(f"labels in {place}: axis {label_axis} was taken to count the samples")
    return Orientation({chosen[name][0]: axis for name, axis in picked.items() if axis}, label_axis or 0, tuple(notes))


def _note(spec: InputSpec, array: tuple[str, Column], axis: int, count: int | None, place: str, *, either: bool) -> str:
    what = f"array {array[0]!r} in {place} ({show_shape(array[1].shape)})"
    if not axis:
        return f"{what}: its samples were taken to come first, the model has them along axis {spec.batch_axis}"
    return f"{what}: axis {axis} was taken to count the samples, {count or '?'} of them, as in the model" + (
        "; were they meant to come first, transpose it" if either else ""
    )


def _consistent(
    fed: Sequence[InputSpec],
    chosen: Mapping[str, tuple[str, Column]],
    axes: Mapping[str, int],
    labels: Column | None,
    label_axis: int | None,
    placed: Sequence[str],
) -> bool:
    """Whether shapes, lengths and sizes of one name agree if the samples lie along *axes*."""
    sizes: dict[str, int] = {}
    for spec in fed:
        shape = chosen[spec.name][1].shape
        if spec.batch_axis is None or spec.name in placed:
            continue
        if len(shape) != len(spec.shape):
            return False
        axis = axes[spec.name]
        sample = shape[:axis] + shape[axis + 1 :]
        if not fits(sample, spec.sample_shape):
            return False
        for size, name in zip(sample, spec.sample_shape, strict=True):
            if isinstance(name, str) and sizes.setdefault(name, size) != size:
                return False
    counts = _counts(fed, chosen, axes)
    if len(counts) > 1:
        return False
    if labels is None or not counts:
        return True
    (count,) = counts
    if label_axis is not None:
        return labels.shape[label_axis] == count
    return count in labels.shape[: 2 if any(axes.values()) else 1]


def _counts(fed: Sequence[InputSpec], chosen: Mapping[str, tuple[str, Column]], axes: Mapping[str, int]) -> set[int]:
    """Return the numbers of samples; one sample for an input of batch 1 says nothing, it may serve all."""
    found = {
        (spec.fixed_batch == 1, chosen[spec.name][1].shape[axes[spec.name]])
        for spec in fed
        if spec.batch_axis is not None and len(chosen[spec.name][1].shape) > axes[spec.name]
    }
    telling = {count for single, count in found if not (single and count == 1)}
    return telling or {count for _, count in found}


def _count(fed: Sequence[InputSpec], chosen: Mapping[str, tuple[str, Column]], axes: Mapping[str, int]) -> int | None:
    counts = _counts(fed, chosen, axes)
    return next(iter(counts)) if len(counts) == 1 else None


def _possible(spec: InputSpec, column: Column) -> int:
    axis = spec.batch_axis or 0
    return axis if len(column.shape) > axis else 0


def _label_axis(labels: Column, count: int, place: str, *, either: bool) -> int:
    """Return which axis of the labels has *count* samples; *either*: both may, as the inputs are not samples first."""
    shape = labels.shape
    if len(shape) < 2 or shape[1] != count:
        return 0
    if shape[0] != count:
        return 1
    if either and count > 1:
        raise DataError(
            f"the labels in {place} have shape {show_shape(shape)} for {count} samples, so either axis could count "
            "them; name the one that does with --batch-axis labels=0 (or 1)"
        )
    return 0
