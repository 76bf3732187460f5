"""Sequences and optionals, Python lists and None; stacking and slicing of tensors, codes and strings."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from faultsim.model.ops.registry import Context, op
from faultsim.model.values import Codes, Value, carried


def stack(values: list[Value], axis: int) -> Value:
    """Return tensors of one shape as one, along a new axis."""
    first = values[0]
    if isinstance(first, Codes):
        return Codes(torch.stack([carried(v) for v in values], axis), first.elem_type)  # type: ignore[arg-type]
    if isinstance(first, Tensor):
        return torch.stack([_plain(v) for v in values], axis)
    return np.stack(values, axis)  # type: ignore[arg-type]


def join(values: list[Value], axis: int) -> Value:
    """Return tensors as one, along an axis they have."""
    first = values[0]
    if isinstance(first, Codes):
        return Codes(torch.cat([carried(v) for v in values], axis), first.elem_type)  # type: ignore[arg-type]
    if isinstance(first, Tensor):
        return torch.cat([_plain(v) for v in values], axis)
    return np.concatenate(values, axis)  # type: ignore[arg-type]


def pick(value: Value, axis: int, index: int) -> Value:
    """Return the slice at *index* of an axis, without that axis."""
    if isinstance(value, Codes):
        return Codes(value.values.select(axis, index), value.elem_type)
    if isinstance(value, Tensor):
        return value.select(axis, index)
    return np.asarray(np.asarray(value).take(index, axis))


@op("SequenceEmpty", since=11)
def SequenceEmpty(*, dtype: int = 1) -> list[Value]:
    """A sequence of nothing (SequenceEmpty-11)."""
    return []


@op("SequenceConstruct", since=11, codes="aware")
def SequenceConstruct(*inputs: Value) -> list[Value]:
    """A sequence of the inputs (SequenceConstruct-11)."""
    return list(inputs)


@op("SequenceAt", since=11, codes="aware")
def SequenceAt(sequence: list[Value], position: Any) -> Value:
    """The element at a position, from the end if negative (SequenceAt-11)."""
    return sequence[int(carried(position))]


@op("SequenceInsert", since=11, codes="aware")
def SequenceInsert(sequence: list[Value], tensor: Value, position: Any = None) -> list[Value]:
    """The sequence with a tensor before a position, at the end by default (SequenceInsert-11)."""
    place = len(sequence) if position is None else int(carried(position))
    copy = list(sequence)
    copy.insert(place, tensor)
    return copy


@op("SequenceErase", since=11, codes="aware")
def SequenceErase(sequence: list[Value], position: Any = None) -> list[Value]:
    """The sequence without the element at a position, without its last by default (SequenceErase-11)."""
    copy = list(sequence)
    del copy[-1 if position is None else int(carried(position))]
    return copy


@op("SequenceLength", since=11, codes="aware")
def SequenceLength(sequence: list[Value], *, ctx: Context) -> Tensor:
    """How many elements a sequence has (SequenceLength-11)."""
    return torch.tensor(len(sequence), dtype=torch.int64, device=ctx.device)


@op("ConcatFromSequence", since=11, codes="aware")
def ConcatFromSequence(sequence: list[Value], *, axis: int, new_axis: int = 0) -> Value:
    """The elements as one tensor, along an axis or a new one (ConcatFromSequence-11)."""
    return stack(sequence, axis) if new_axis else join(sequence, axis)


@op("SplitToSequence", since=11, codes="aware")
def SplitToSequence(tensor: Value, split: Any = None, *, axis: int = 0, keepdims: int = 1) -> list[Value]:
    """Parts of a tensor along an axis (SplitToSequence-11, -24)."""
    data = tensor.values if isinstance(tensor, Codes) else tensor
    extent = int(data.shape[axis])  # type: ignore[union-attr]
    if split is None:
        parts = [_slab(tensor, axis, i, 1) for i in range(extent)]
        return parts if keepdims else [pick(tensor, axis, i) for i in range(extent)]
    asked = carried(split)
    if asked.ndim == 0:
        size = int(asked)
        return [_slab(tensor, axis, start, min(size, extent - start)) for start in range(0, extent, size)]
    sizes = [int(s) for s in asked.tolist()]
    return [_slab(tensor, axis, sum(sizes[:i]), size) for i, size in enumerate(sizes)]


@op("SequenceMap", since=17, codes="aware")
def SequenceMap(sequence: list[Value], *others: Value, body: Any, ctx: Context) -> tuple[list[Value], ...]:
    """Sequences of what a body makes of the elements (SequenceMap-17); tensors go to every call."""
    results = [
        ctx.run(body, [element, *(o[i] if isinstance(o, list) else o for o in others)])
        for i, element in enumerate(sequence)
    ]
    return tuple([r[k] for r in results] for k in range(len(body.output_names)))


@op("Optional", since=15, codes="aware")
def Optional(value: Value = None, *, type: Any = None) -> Value:
    """The value as an optional; without one, an empty optional (Optional-15)."""
    return value


@op("OptionalGetElement", since=15, codes="aware")
def OptionalGetElement(value: Value) -> Value:
    """What an optional holds (OptionalGetElement-15, -18)."""
    if value is None:
        raise ValueError("the optional is empty")
    return value


@op("OptionalHasElement", since=15, codes="aware")
def OptionalHasElement(value: Value = None, *, ctx: Context) -> Tensor:
    """Whether an optional holds something (OptionalHasElement-15, -18)."""
    return torch.tensor(value is not None, device=ctx.device)


def _slab(value: Value, axis: int, start: int, length: int) -> Value:
    if isinstance(value, Codes):
        return Codes(value.values.narrow(axis, start, length), value.elem_type)
    if isinstance(value, Tensor):
        return value.narrow(axis, start, length)
    return np.asarray(value).take(range(start, start + length), axis)


def _plain(value: Value) -> Tensor:
    if isinstance(value, Codes):
        raise TypeError("a sequence mixes codes and tensors")
    if not isinstance(value, Tensor):
        raise TypeError("a sequence mixes tensors and strings")
    return value
