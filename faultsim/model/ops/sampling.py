"""Images read at other places: GridSample, AffineGrid, CenterCropPad, ImageDecoder. Resize has a file of its own."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import in_float32, ints, moves
from faultsim.model.ops.registry import op

_MODES = {
    "bilinear": "bilinear",
    "linear": "bilinear",
    "nearest": "nearest",
    "bicubic": "bicubic",
    "cubic": "bicubic",
}


@op("GridSample", since=16)
@in_float32
def GridSample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    """The input interpolated at the places that *grid* gives in [-1, 1] (ONNX GridSample-22)."""
    if not x.is_floating_point():
        wide = functional.grid_sample(x.to(grid.dtype), grid, _MODES[mode], padding_mode, bool(align_corners))
        return wide.to(x.dtype)
    return functional.grid_sample(x, grid.to(x.dtype), _MODES[mode], padding_mode, bool(align_corners))


@op("AffineGrid", since=20)
@in_float32
def AffineGrid(theta: Tensor, size: Tensor, *, align_corners: int = 0) -> Tensor:
    """The places in [-1, 1] that an affine map sends a regular grid to (ONNX AffineGrid-20)."""
    return functional.affine_grid(theta, ints(size), bool(align_corners))


@op("CenterCropPad", since=18, codes="carry")
@moves
def CenterCropPad(x: Tensor, shape: Tensor, *, axes: Sequence[int] | None = None) -> Tensor:
    """The middle of the input, or the input amid zeros, axis by axis (ONNX CenterCropPad-18)."""
    amounts = [0] * (2 * x.ndim)
    for axis, wanted in zip(axes if axes is not None else range(x.ndim), ints(shape), strict=True):
        axis %= x.ndim
        missing = wanted - x.shape[axis]
        before = missing // 2 if missing >= 0 else -(-missing // 2)
        place = 2 * (x.ndim - 1 - axis)
        amounts[place], amounts[place + 1] = before, missing - before
    return functional.pad(x, amounts)


@op("ImageDecoder", since=20)
def ImageDecoder(encoded: Tensor, *, pixel_format: str = "RGB") -> Tensor:
    """The pixels (height, width, channels) of an image file's bytes, by Pillow (ONNX ImageDecoder-20)."""
    image = Image.open(io.BytesIO(encoded.cpu().numpy().tobytes()))
    if pixel_format == "Grayscale":
        pixels = np.array(image.convert("L"))[:, :, None]
    else:
        pixels = np.array(image.convert("RGB"))
        pixels = pixels[:, :, ::-1].copy() if pixel_format == "BGR" else pixels
    return torch.from_numpy(pixels).to(encoded.device)
