"""BatchNormalization in all its versions. Norms that take their statistics from the data live in `norm.py`."""

import torch
from torch import Tensor

from faultsim.model.ops.registry import Context, op


def _affine(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, epsilon: float) -> Tensor:
    # written out: torch's own has no gradient in mean and var; this is also how onnxruntime rounds
    factor = scale / torch.sqrt(var + epsilon)
    offset = bias - mean * factor
    if scale.ndim == 1 and x.ndim > 2:
        shape = (-1, *[1] * (x.ndim - 2))
        factor, offset = factor.view(shape), offset.view(shape)
    return torch.addcmul(offset, x, factor).to(x.dtype)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    axes = tuple(a for a in range(x.ndim) if a != 1) if x.ndim > 1 else (0,)
    mean = x.mean(dim=axes)
    var = x.var(dim=axes, correction=0)
    return mean.reshape(-1), var.reshape(-1)


@op("BatchNormalization", since=14)
def BatchNormalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Every channel normalized by given statistics, or in training by the batch's (ONNX BatchNormalization-15)."""
    if x.dtype in (torch.float16, torch.bfloat16) and scale.dtype == x.dtype and x.device.type == "cpu":
        scale, bias = scale.float(), bias.float()
    if mean.dtype in (torch.float16, torch.bfloat16):
        mean, var, kept = mean.float(), var.float(), mean.dtype
    else:
        kept = mean.dtype
    if not training_mode:
        return _affine(x, scale, bias, mean, var, epsilon)
    now_mean, now_var = _statistics(x.to(mean.dtype))
    y = _affine(x, scale, bias, now_mean, now_var, epsilon)
    new_mean = mean * momentum + now_mean * (1 - momentum)
    new_var = var * momentum + now_var * (1 - momentum)
    return y, new_mean.to(kept), new_var.to(kept)


@op("BatchNormalization", since=7)
def BatchNormalization_7(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    ctx: Context,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    """As BatchNormalization-15; more than one wanted output means training (ONNX BatchNormalization-7 and -9).

    With ``spatial`` 0 every element has its own scale, bias and statistics.
    """
    if sum(map(bool, ctx.outputs)) > 1:
        result = BatchNormalization(x, scale, bias, mean, var, epsilon=epsilon, momentum=momentum, training_mode=1)
        return (*result, *_statistics(x))
    if spatial:
        return BatchNormalization(x, scale, bias, mean, var, epsilon=epsilon)
    return _affine(x, scale, bias, mean, var, epsilon)
