"""Dropout in all its versions: the identity, unless a model asks for training mode."""

import numpy as np
import torch
from torch import Tensor

from faultsim.model.ops.registry import Context, op


@op("Dropout", since=12)
def Dropout(
    x: Tensor,
    ratio: Tensor | None = None,
    training_mode: Tensor | None = None,
    *,
    ctx: Context,
    seed: int = 0,
) -> Tensor | tuple[Tensor, Tensor]:
    """The input; in training mode a share *ratio* of it is dropped, the same for the same *seed* (ONNX Dropout-22)."""
    p = 0.5 if ratio is None else float(ratio)
    if training_mode is None or not bool(training_mode) or p == 0:
        return _all(x, ctx)
    # the generator that ONNX's reference draws from, so that its conformance tests hold
    draws = np.random.RandomState(seed).uniform(0, 1.0, tuple(x.shape))
    mask = torch.from_numpy(draws >= p).to(x.device)
    return torch.where(mask, x / (1 - p), 0.0).to(x.dtype), mask


@op("Dropout", since=7)
def Dropout_7(x: Tensor, *, ctx: Context, ratio: float = 0.5) -> Tensor | tuple[Tensor, Tensor]:
    """The input, and a mask that keeps all (ONNX Dropout-7 and -10)."""
    return _all(x, ctx)


def _all(x: Tensor, ctx: Context) -> Tensor | tuple[Tensor, Tensor]:
    if len(ctx.outputs) == 1:
        return x
    return x, torch.ones(x.shape, dtype=torch.bool, device=x.device)
