"""Pools over regions of interest, as detectors have them: RoiAlign and MaxRoiPool."""

from collections.abc import Sequence

import torch
from torch import Tensor

from faultsim.model.ops._widen import in_float32
from faultsim.model.ops.registry import op

MOST_SAMPLES = 1024
"""Samples an axis of a bin at most, so that a region blown up by a fault does not eat the memory."""


@op("RoiAlign", since=16)
@in_float32
def RoiAlign(
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """Every region pooled from interpolated samples (ONNX RoiAlign-22).

    The maximum is over the weighted corners of all samples, not over the samples: ONNX's and onnxruntime's reading.
    """
    half = coordinate_transformation_mode == "half_pixel"
    corners = rois * spatial_scale - (0.5 if half else 0.0)
    start, extent = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not half:
        extent = extent.clamp(min=1.0)
    out = (output_height, output_width)
    step = [extent[:, 1] / out[0], extent[:, 0] / out[1]]
    if sampling_ratio > 0:
        counts = torch.full((rois.shape[0], 2), sampling_ratio, device=x.device)
    else:
        counts = torch.nan_to_num(torch.ceil(torch.stack(step, 1).detach())).clamp(0, MOST_SAMPLES).long()
    y = x.new_zeros((rois.shape[0], x.shape[1], *out))
    for rows, columns in torch.unique(counts, dim=0).tolist():
        if rows == 0 or columns == 0:
            continue
        chosen = ((counts[:, 0] == rows) & (counts[:, 1] == columns)).nonzero().squeeze(1)
        down = _axis(start[chosen, 1], step[0][chosen], out[0], rows, x.shape[2])
        across = _axis(start[chosen, 0], step[1][chosen], out[1], columns, x.shape[3])
        image = batch_indices.long()[chosen].reshape(-1, 1, 1)
        parts = [
            (wy.unsqueeze(2) * wx.unsqueeze(1)).unsqueeze(-1) * x[image, :, iy.unsqueeze(2), ix.unsqueeze(1)]
            for iy, wy in down
            for ix, wx in across
        ]
        bins = (len(chosen), out[0], rows, out[1], columns, x.shape[1])
        if mode == "avg":
            pooled = (parts[0] + parts[1] + parts[2] + parts[3]).reshape(bins).mean(dim=(2, 4))
        else:
            best = torch.maximum(torch.maximum(parts[0], parts[1]), torch.maximum(parts[2], parts[3]))
            pooled = best.reshape(bins).amax(dim=(2, 4))
        y = y.index_copy(0, chosen, pooled.permute(0, 3, 1, 2))
    return y


@op("RoiAlign", since=10)
def RoiAlign_10(
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """As RoiAlign-16 without the shift by half a pixel (ONNX RoiAlign-10)."""
    y: Tensor = RoiAlign(
        x,
        rois,
        batch_indices,
        coordinate_transformation_mode="output_half_pixel",
        mode=mode,
        output_height=output_height,
        output_width=output_width,
        sampling_ratio=sampling_ratio,
        spatial_scale=spatial_scale,
    )
    return y


def _axis(start: Tensor, step: Tensor, bins: int, samples: int, size: int) -> list[tuple[Tensor, Tensor]]:
    """The two neighbours of every sample along one axis: index and weight, each (regions, bins · samples)."""
    offsets = (torch.arange(bins * samples, device=start.device) + 0.5) / samples
    place = start.reshape(-1, 1) + step.reshape(-1, 1) * offsets
    inside = (place >= -1) & (place <= size)
    place = place.clamp(0, size - 1)
    low = torch.nan_to_num(torch.floor(place.detach())).long()
    high = (low + 1).clamp(max=size - 1)
    share = place - low
    return [
        (low, torch.where(inside, 1 - share, 0.0)),
        (high, torch.where(inside, share, 0.0)),
    ]


@op("MaxRoiPool")
@in_float32
def MaxRoiPool(x: Tensor, rois: Tensor, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0) -> Tensor:
    """The greatest number of every bin of every region, 0 for empty bins (ONNX MaxRoiPool-22)."""
    height, width = x.shape[2:]
    scaled = rois[:, 1:] * spatial_scale
    # C's rounding: halves away from zero
    bounds = torch.trunc(scaled + torch.copysign(torch.tensor(0.5), scaled)).nan_to_num().long().tolist()
    out = []
    for image, (x1, y1, x2, y2) in zip(rois[:, 0].long().tolist(), bounds, strict=True):
        rows = _bins(y1, max(y2 - y1 + 1, 1), pooled_shape[0], height)
        columns = _bins(x1, max(x2 - x1 + 1, 1), pooled_shape[1], width)
        cells = [
            x[image, :, top:bottom, left:right].amax(dim=(1, 2))
            if bottom > top and right > left
            else x.new_zeros(x.shape[1])
            for top, bottom in rows
            for left, right in columns
        ]
        out.append(torch.stack(cells, dim=1).reshape(x.shape[1], *pooled_shape))
    return torch.stack(out) if out else x.new_zeros((0, x.shape[1], *pooled_shape))


def _bins(start: int, length: int, count: int, size: int) -> list[tuple[int, int]]:
    edges = []
    for i in range(count):
        low, high = i * length // count, -(-(i + 1) * length // count)
        edges.append((min(max(start + low, 0), size), min(max(start + high, 0), size)))
    return edges
