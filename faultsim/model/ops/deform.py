"""Windows taken apart: DeformConv samples each element of a window elsewhere, Col2Im puts windows together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from faultsim.model.ops._widen import in_float32, ints
from faultsim.model.ops._window import pad_spatial
from faultsim.model.ops.registry import op


@op("DeformConv", since=19)
@in_float32
def DeformConv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
) -> Tensor:
    """A 2-D convolution whose taps lie off the grid by *offset*, interpolated, 0 outside (ONNX DeformConv-22)."""
    rows, channels, height, width = x.shape
    kernel_h, kernel_w = w.shape[2:]
    out_h, out_w = offset.shape[2:]
    taps = kernel_h * kernel_w
    shift = offset.reshape(rows, offset_group, taps, 2, out_h, out_w)
    grid = []
    for axis, (kernel, out) in enumerate(((kernel_h, out_h), (kernel_w, out_w))):
        within = torch.arange(kernel, device=x.device) * dilations[axis]
        within = within.repeat_interleave(kernel_w) if axis == 0 else within.repeat(kernel_h)
        start = torch.arange(out, device=x.device) * strides[axis] - pads[axis]
        start = start.reshape(-1, 1) if axis == 0 else start.reshape(1, -1)
        grid.append(within.reshape(taps, 1, 1) + start + shift[:, :, :, axis])
    sampled = _bilinear(x.reshape(rows, offset_group, -1, height * width), height, width, grid[0], grid[1])
    if mask is not None:
        sampled = sampled * mask.reshape(rows, offset_group, 1, taps, out_h, out_w)
    columns = sampled.reshape(rows, group, channels // group * taps, out_h * out_w)
    y = torch.matmul(w.reshape(group, w.shape[0] // group, -1), columns)
    y = y.reshape(rows, w.shape[0], out_h, out_w)
    return y if b is None else y + b.reshape(-1, 1, 1)


def _bilinear(x: Tensor, height: int, width: int, row: Tensor, column: Tensor) -> Tensor:
    """Sample planes (N, G, C, H · W) at places (N, G, …); gives (N, G, C, …)."""
    shape = row.shape
    row, column = row.flatten(2), column.flatten(2)
    top, left = torch.floor(row.detach()), torch.floor(column.detach())
    down, right = row - top, column - left
    total: Tensor | None = None
    for r, weight_r in ((top, 1 - down), (top + 1, down)):
        for c, weight_c in ((left, 1 - right), (left + 1, right)):
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            place = torch.where(inside, r * width + c, 0).long().unsqueeze(2).expand(-1, -1, x.shape[2], -1)
            weight = torch.where(inside, weight_r * weight_c, 0.0).unsqueeze(2)
            part = x.gather(3, place) * weight
            total = part if total is None else total + part
    assert total is not None
    return total.reshape(*total.shape[:3], *shape[2:])


@op("Col2Im", since=18)
def Col2Im(
    x: Tensor,
    image_shape: Tensor,
    block_shape: Tensor,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The image whose windows are the columns of *x*, overlaps added (ONNX Col2Im-18)."""
    image, block = ints(image_shape), ints(block_shape)
    rank = len(image)
    spread, steps = dilations or [1] * rank, strides or [1] * rank
    around = pads or [0] * (2 * rank)
    padded = [n + around[i] + around[rank + i] for i, n in enumerate(image)]
    # place in the padded image, (block elements, windows), one axis after the other
    place = torch.zeros((1, 1), dtype=torch.int64, device=x.device)
    for i in range(rank):
        count = (padded[i] - (block[i] - 1) * spread[i] - 1) // steps[i] + 1
        element = torch.arange(block[i], device=x.device) * spread[i]
        window = torch.arange(count, device=x.device) * steps[i]
        here = element.reshape(1, -1, 1, 1) + window.reshape(1, 1, 1, -1)
        place = (place[:, None, :, None] * padded[i] + here).reshape(place.shape[0] * block[i], place.shape[1] * count)
    columns = x.reshape(x.shape[0], -1, place.numel())
    size = 1
    for n in padded:
        size *= n
    flat = torch.zeros((*columns.shape[:2], size), dtype=x.dtype, device=x.device)
    y = flat.index_add(2, place.reshape(-1), columns).reshape(*columns.shape[:2], *padded)
    return pad_spatial(y, [-p for p in around[:rank]], [-p for p in around[rank:]])
