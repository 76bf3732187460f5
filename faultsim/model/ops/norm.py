"""Norms by the data's own statistics: Layer-, Group-, Instance-, RMS-, Lp-, MeanVarianceNormalization, LRN."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import HALVES, in_float32
from faultsim.model.ops.meanpool import root
from faultsim.model.ops.registry import Context, op


@op("LayerNormalization")
def LayerNormalization(
    x: Tensor,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    ctx: Context,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Mean 0, variance 1 over the axes from *axis* on, then scale and bias (ONNX LayerNormalization-17)."""
    shape = x.shape[axis:] if axis < 0 else x.shape[axis - x.ndim :]
    wide = x.float() if x.dtype in HALVES and (stash_type == 1 or x.device.type == "cpu") else x
    if len(ctx.outputs) > 1 and any(ctx.outputs[1:]):
        axes = tuple(range(x.ndim - len(shape), x.ndim))
        mean = wide.mean(dim=axes, keepdim=True)
        centred = wide - mean
        inverse = torch.rsqrt((centred * centred).mean(dim=axes, keepdim=True) + epsilon)
        y = centred * inverse
        y = y if scale is None else y * scale
        kept = torch.float32 if stash_type == 1 else x.dtype
        return (y if bias is None else y + bias).to(x.dtype), mean.to(kept), inverse.to(kept)
    return layer_norm(wide, shape, scale, bias, epsilon).to(x.dtype)


def layer_norm(x: Tensor, shape: Sequence[int], scale: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
    """Layer norm over the trailing axes of *shape*; scale and bias may be broadcast, or absent."""
    fits = (scale is None or scale.shape == tuple(shape)) and (bias is None or bias.shape == tuple(shape))
    if fits:
        scale = scale if scale is None or scale.dtype == x.dtype else scale.to(x.dtype)
        bias = bias if bias is None or bias.dtype == x.dtype else bias.to(x.dtype)
        return functional.layer_norm(x, shape, scale, bias, epsilon)
    y = functional.layer_norm(x, shape, None, None, epsilon)
    y = y if scale is None else y * scale
    return y if bias is None else y + bias


@op("RMSNormalization")
@in_float32
def RMSNormalization(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    """Root mean square 1 over the axes from *axis* on, then scale (ONNX RMSNormalization-23)."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    return x * torch.rsqrt((x * x).mean(dim=axes, keepdim=True) + epsilon) * scale


@op("InstanceNormalization")
@in_float32
def InstanceNormalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Mean 0, variance 1 in every channel of every sample (ONNX InstanceNormalization-22)."""
    return torch.group_norm(x, x.shape[1], scale, bias, epsilon)


@op("GroupNormalization", since=21)
@in_float32
def GroupNormalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Mean 0, variance 1 in every group of channels of every sample; scale per channel (ONNX GroupNormalization-21)."""
    return torch.group_norm(x, num_groups, scale, bias, epsilon)


@op("GroupNormalization", since=18)
@in_float32
def GroupNormalization_18(x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5) -> Tensor:
    """As GroupNormalization-21 with one scale and bias a group (ONNX GroupNormalization-18)."""
    each = x.shape[1] // num_groups
    return torch.group_norm(x, num_groups, scale.repeat_interleave(each), bias.repeat_interleave(each), epsilon)


@op("LpNormalization")
@in_float32
def LpNormalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """Vectors along *axis* over their p-norm; vectors of zeros stay zeros (ONNX LpNormalization-22)."""
    norm = root(x.abs().pow(p).sum(dim=axis, keepdim=True), p)
    return x / torch.where(norm == 0, 1.0, norm)


@op("MeanVarianceNormalization")
@in_float32
def MeanVarianceNormalization(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """Mean 0 and variance 1 over *axes*; 1e-9 keeps the deviation off 0 (ONNX MeanVarianceNormalization-13)."""
    centred = x - x.mean(dim=tuple(axes), keepdim=True)
    return centred / (torch.sqrt((centred * centred).mean(dim=tuple(axes), keepdim=True)) + 1e-9)


@op("LRN")
@in_float32
def LRN(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """Every element over a power of the squares in the channels around it (ONNX LRN-13)."""
    before, channels = (size - 1) // 2, x.shape[1]
    square = functional.pad(x * x, [0, 0] * (x.ndim - 2) + [before, size - 1 - before])
    total = square.narrow(1, 0, channels)
    for i in range(1, size):
        total = total + square.narrow(1, i, channels)
    return x / (bias + alpha / size * total).pow(beta)
