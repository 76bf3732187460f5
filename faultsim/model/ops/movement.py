"""Ops that put elements elsewhere by axes alone: Transpose, Concat, Split, Slice, Tile, Pad and their kin."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import ints, moves
from faultsim.model.ops.registry import Context, op


@op("Transpose", codes="carry")
@moves
def Transpose(x: Tensor, *, perm: list[int] | None = None) -> Tensor:
    """*x* with its axes permuted, reversed by default (ONNX Transpose-25)."""
    return x.permute(perm if perm is not None else list(reversed(range(x.ndim))))


@op("Concat", codes="carry")
@moves
def Concat(*parts: Tensor, axis: int) -> Tensor:
    """All inputs one after the other along *axis* (ONNX Concat-13)."""
    return torch.cat(parts, dim=axis)


def _split(x: Tensor, sizes: Sequence[int] | None, axis: int, count: int) -> tuple[Tensor, ...]:
    if sizes is None:
        size = -(-x.shape[axis] // count)
        sizes = [max(min(size, x.shape[axis] - i * size), 0) for i in range(count)]
    return torch.split(x, list(sizes), dim=axis)


@op("Split", codes="carry")
@moves
def Split_2(x: Tensor, *, axis: int = 0, split: list[int] | None = None, ctx: Context) -> tuple[Tensor, ...]:
    """*x* in parts of the sizes *split*, or in equal parts (ONNX Split-11)."""
    return _split(x, split, axis, len(ctx.outputs))


@op("Split", since=13, codes="carry")
@moves
def Split(
    x: Tensor,
    split: Tensor | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    ctx: Context,
) -> tuple[Tensor, ...]:
    """*x* in parts of the sizes *split*, or in equal parts, the last one shorter (ONNX Split-18)."""
    return _split(x, None if split is None else ints(split), axis, num_outputs or len(ctx.outputs))


def _slice(x: Tensor, starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None) -> Tensor:
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = (axes[i] if axes is not None else i) % x.ndim
        step = steps[i] if steps is not None else 1
        first, stop, _ = slice(start, end, step).indices(x.shape[axis])
        if step == 1:
            x = x.narrow(axis, first, max(stop - first, 0))
        elif step > 0:
            x = x[(slice(None),) * axis + (slice(first, stop, step),)]
        else:
            x = x.index_select(axis, torch.arange(first, stop, step, device=x.device) if first > stop else _none(x))
    return x


def _none(x: Tensor) -> Tensor:
    return torch.zeros(0, dtype=torch.int64, device=x.device)


@op("Slice", codes="carry")
@moves
def Slice_1(x: Tensor, *, starts: list[int], ends: list[int], axes: list[int] | None = None) -> Tensor:
    """The part of *x* between *starts* and *ends* (ONNX Slice-1)."""
    return _slice(x, starts, ends, axes, None)


@op("Slice", since=10, codes="carry")
@moves
def Slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    """The part of *x* from *starts* to before *ends* in *steps*, backwards too (ONNX Slice-13)."""
    return _slice(
        x,
        ints(starts),
        ints(ends),
        None if axes is None else ints(axes),
        None if steps is None else ints(steps),
    )


@op("Tile", codes="carry")
@moves
def Tile(x: Tensor, repeats: Tensor) -> Tensor:
    """*x* repeated along each axis (ONNX Tile-13)."""
    return x.repeat(ints(repeats)) if x.ndim else x.clone()


_MODES = {"constant", "edge", "reflect", "wrap"}


def _source(size: int, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """For each place along a padded axis, the place of *x* that it shows."""
    at = torch.arange(-before, size + after, device=device)
    if mode == "edge":
        return at.clamp(0, size - 1)
    if mode == "wrap":
        return at.remainder(size)
    period = max(2 * (size - 1), 1)
    at = at.remainder(period)
    return torch.minimum(at, period - at) if size > 1 else torch.zeros_like(at)


def _pad(x: Tensor, pads: list[int], mode: str, value: Tensor | float, axes: list[int] | None) -> Tensor:
    if mode not in _MODES:
        raise ValueError(f"Pad cannot take mode {mode!r}; it must be one of {sorted(_MODES)}")
    chosen = [a % x.ndim for a in axes] if axes is not None else list(range(x.ndim))
    half = len(pads) // 2
    amounts = {a: (pads[i], pads[i + half]) for i, a in enumerate(chosen)}
    for axis, (before, after) in amounts.items():  # negative pads cut, first
        if before < 0 or after < 0:
            start = max(-before, 0)
            x = x.narrow(axis, start, max(x.shape[axis] - start - max(-after, 0), 0))
    grow = {a: (max(b, 0), max(c, 0)) for a, (b, c) in amounts.items() if b > 0 or c > 0}
    if not grow:
        return x
    if mode != "constant":
        for axis, (before, after) in grow.items():
            x = x.index_select(axis, _source(x.shape[axis], before, after, mode, x.device))
        return x
    flat = [n for axis in reversed(range(x.ndim)) for n in grow.get(axis, (0, 0))]
    if isinstance(value, Tensor) and (value.requires_grad or value.dtype == torch.int64):
        return _filled(x, flat, value)
    number = value.item() if isinstance(value, Tensor) else value
    return functional.pad(x, flat, value=number)


def _filled(x: Tensor, flat: list[int], value: Tensor) -> Tensor:
    """Pad with a number that must keep its gradient, or that is too long for a float."""
    inside = functional.pad(torch.ones(x.shape, dtype=torch.bool, device=x.device), flat, value=False)
    return torch.where(inside, functional.pad(x, flat), value.reshape(()).to(x.dtype))


@op("Pad", codes="carry")
@moves
def Pad_2(x: Tensor, *, pads: list[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """*x* with *pads* (all before, then all after) around it (ONNX Pad-2)."""
    return _pad(x, pads, mode, value, None)


@op("Pad", since=11, codes="carry")
@moves
def Pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """*x* with *pads* around it along *axes*; negative ones cut (ONNX Pad-25)."""
    number: Tensor | float = 0.0 if value is None or value.numel() == 0 else value
    return _pad(x, ints(pads), mode, number, None if axes is None else ints(axes))


@op("DepthToSpace", codes="carry")
@moves
def DepthToSpace(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Blocks of channels laid out as squares of pixels (ONNX DepthToSpace-13)."""
    n, c, h, w = x.shape
    b, depth = blocksize, c // (blocksize * blocksize)
    if mode == "DCR":
        blocks = x.reshape(n, b, b, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, depth, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, depth, h * b, w * b)


@op("SpaceToDepth", codes="carry")
@moves
def SpaceToDepth(x: Tensor, *, blocksize: int) -> Tensor:
    """Squares of pixels laid out as channels (ONNX SpaceToDepth-13)."""
    n, c, h, w = x.shape
    b = blocksize
    blocks = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * b * b, h // b, w // b)


@op("ReverseSequence", codes="carry")
@moves
def ReverseSequence(x: Tensor, lengths: Tensor, *, time_axis: int = 0, batch_axis: int = 1) -> Tensor:
    """The first ``lengths[b]`` steps of each sequence backwards (ONNX ReverseSequence-10)."""
    steps, batch = x.shape[time_axis], x.shape[batch_axis]
    t = torch.arange(steps, device=x.device)[None, :]
    length = lengths.to(x.device)[:, None]
    source = torch.where(t < length, length - 1 - t, t)  # batch, time
    rows = torch.arange(batch, device=x.device)[:, None]
    front = x.movedim((batch_axis, time_axis), (0, 1))
    return front[rows, source].movedim((0, 1), (batch_axis, time_axis))


@op("Trilu", codes="carry")
@moves
def Trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    """The upper (or lower) triangles of the last two axes from the *k*-th diagonal (ONNX Trilu-14)."""
    offset = 0 if k is None else ints(k)[0]
    return torch.triu(x, offset) if upper else torch.tril(x, offset)
