"""Where resized elements come from along one axis: coordinates, taps and their weights as onnxruntime rounds them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]


class Axis(NamedTuple):
    """How one axis is resized.

    Attributes:
        size: Its size in the input.
        out: Its size in the output.
        scale: out / size, or what the model gives for it.
        start: First coordinate of the crop for tf_crop_and_resize, as a share of the axis.
        end: Its last.
    """

    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0


class Method(NamedTuple):
    """How elements are interpolated: the attributes of Resize-19."""

    mode: str
    coordinates: str
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


class Taps(NamedTuple):
    """Input elements that make up each output element.

    Attributes:
        place: (out, taps), int64, inside the axis.
        weight: (out, taps), float32; None for nearest.
        outside: (out,), where the coordinate lies outside the axis; None unless it matters.
        factor: n where every element is repeated n times (nearest), else 0.
    """

    place: Tensor
    weight: Tensor | None
    outside: Tensor | None
    factor: int


def _coordinates(axis: Axis, mode: str) -> Floats:
    x = np.arange(axis.out, dtype=np.float32)
    scale, half = np.float32(axis.scale), np.float32(0.5)
    match mode:
        case "half_pixel":
            place = (x + half) / scale - half
        case "half_pixel_symmetric":
            exact = np.float32(axis.scale * axis.size)
            offset = np.float32(axis.size / 2) * (np.float32(1) - np.float32(axis.out) / exact)
            place = offset + (x + half) / scale - half
        case "pytorch_half_pixel":
            place = (x + half) / scale - half if axis.out > 1 else x * 0
        case "align_corners":
            place = x * np.float32(axis.size - 1) / np.float32(max(axis.out - 1, 1))
        case "asymmetric":
            place = x / scale
        case "tf_half_pixel_for_nn":
            place = (x + half) / scale
        case "tf_crop_and_resize":
            start, end, last = np.float32(axis.start), np.float32(axis.end), np.float32(axis.size - 1)
            if axis.out > 1:
                place = start * last + x * (end - start) * last / np.float32(axis.out - 1)
            else:
                place = half * (start + end) * last + x * 0
        case _:
            raise ValueError(f"the coordinate transformation {mode!r} is unknown")
    return np.asarray(place, dtype=np.float32)


def _rounded(place: Floats, mode: str, *, shrinks: bool) -> Floats:
    match mode:
        case "round_prefer_floor":
            rounded = np.ceil(place - np.float32(0.5))
        case "round_prefer_ceil":
            rounded = np.floor(place + np.float32(0.5))
        case "floor":
            rounded = np.floor(place)
        case "ceil":
            rounded = np.ceil(place)
        case "simple":  # before Resize-11: up when shrinking, down else
            rounded = np.ceil(place) if shrinks else np.floor(place)
        case _:
            raise ValueError(f"the nearest mode {mode!r} is unknown")
    return np.asarray(rounded, dtype=np.float32)


def _linear(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(1 - np.abs(distance), 0, 1), dtype=np.float64)


def _cubic(distance: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.asarray(np.where(d <= 1, near, np.where(d < 2, far, 0.0)), dtype=np.float64)


@lru_cache(maxsize=512)
def taps(axis: Axis, method: Method) -> Taps:
    """Return the input elements and weights of every output element along one axis, on the CPU."""
    place = _coordinates(axis, method.coordinates)
    last = axis.size - 1
    outside = None
    if method.coordinates == "tf_crop_and_resize":
        beyond = (place < 0) | (place > last)
        outside = torch.from_numpy(beyond) if beyond.any() else None
    if method.mode == "nearest":
        chosen = np.clip(_rounded(place, method.nearest, shrinks=axis.scale < 1), 0, last).astype(np.int64)
        factor = axis.out // axis.size if axis.size and axis.out % axis.size == 0 else 0
        if factor and not np.array_equal(chosen, np.arange(axis.out) // factor):
            factor = 0
        return Taps(torch.from_numpy(chosen)[:, None], None, outside, factor if outside is None else 0)
    shrink = min(axis.scale, 1.0) if method.antialias else 1.0
    reach = 2 if method.mode == "cubic" else 1
    if method.mode == "linear" and not method.antialias:
        place = np.clip(place, 0, last)
    count = 2 * int(np.ceil(reach / shrink))
    first = np.floor(place).astype(np.int64) - count // 2 + 1
    index = first[:, None] + np.arange(count)
    distance = np.asarray((index - place[:, None]) * shrink, dtype=np.float64)
    weight = _cubic(distance, method.cubic_a) if method.mode == "cubic" else _linear(distance)
    if method.exclude_outside:
        weight = np.where((index < 0) | (index > last), 0.0, weight)
    if method.exclude_outside or method.antialias:
        weight = weight / weight.sum(axis=1, keepdims=True)
    return Taps(torch.from_numpy(np.clip(index, 0, last)), torch.from_numpy(weight.astype(np.float32)), outside, 0)


def resize_axis(x: Tensor, dim: int, at: Taps) -> Tensor:
    """Return *x* with one axis resized."""
    index = at.place.to(x.device)
    if at.weight is None:
        return x.index_select(dim, index[:, 0])
    shape = [1] * x.ndim
    shape[dim] = -1
    weight = at.weight.to(device=x.device, dtype=x.dtype)
    y = x.index_select(dim, index[:, 0]) * weight[:, 0].reshape(shape)
    for k in range(1, index.shape[1]):
        y = torch.addcmul(y, x.index_select(dim, index[:, k]), weight[:, k].reshape(shape))
    return y
