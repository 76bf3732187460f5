"""Ops that draw random numbers, each from a generator of its own: RandomNormal, Bernoulli and their kin.

A draw depends on the node's output name and its ``seed`` attribute alone, never on a global generator: every
run of the model, and every pass through a loop's body, draws the same numbers.
"""

from collections.abc import Sequence

import torch
from onnx import TensorProto
from torch import Tensor

from faultsim.model.ops._widen import HALVES
from faultsim.model.ops.registry import Context, op
from faultsim.model.ste import replace_ste
from faultsim.model.values import TORCH_DTYPES
from faultsim.rng import generator


def _uniform(shape: Sequence[int], seed: float | None, ctx: Context) -> Tensor:
    rng = generator(0, -1, "onnx", str(seed), *ctx.outputs)
    return torch.from_numpy(rng.random(tuple(shape))).to(ctx.device)


def _normal(shape: Sequence[int], seed: float | None, ctx: Context) -> Tensor:
    rng = generator(0, -1, "onnx", str(seed), *ctx.outputs)
    return torch.as_tensor(rng.standard_normal(tuple(shape))).to(ctx.device)


@op("RandomNormal")
def RandomNormal(
    *,
    shape: list[int],
    dtype: int = TensorProto.FLOAT,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    ctx: Context,
) -> Tensor:
    """Numbers of a normal law (ONNX RandomNormal-22)."""
    return (_normal(shape, seed, ctx) * scale + mean).to(TORCH_DTYPES[dtype])


@op("RandomUniform")
def RandomUniform(
    *,
    shape: list[int],
    dtype: int = TensorProto.FLOAT,
    low: float = 0.0,
    high: float = 1.0,
    seed: float | None = None,
    ctx: Context,
) -> Tensor:
    """Numbers even between *low* and *high* (ONNX RandomUniform-22)."""
    return (_uniform(shape, seed, ctx) * (high - low) + low).to(TORCH_DTYPES[dtype])


@op("RandomNormalLike")
def RandomNormalLike(
    x: Tensor,
    *,
    dtype: int | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    ctx: Context,
) -> Tensor:
    """Numbers of a normal law, shaped as *x* (ONNX RandomNormalLike-22)."""
    wanted = x.dtype if dtype is None else TORCH_DTYPES[dtype]
    return (_normal(x.shape, seed, ctx) * scale + mean).to(device=x.device, dtype=wanted)


@op("RandomUniformLike")
def RandomUniformLike(
    x: Tensor,
    *,
    dtype: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
    seed: float | None = None,
    ctx: Context,
) -> Tensor:
    """Numbers even between *low* and *high*, shaped as *x* (ONNX RandomUniformLike-22)."""
    wanted = x.dtype if dtype is None else TORCH_DTYPES[dtype]
    return (_uniform(x.shape, seed, ctx) * (high - low) + low).to(device=x.device, dtype=wanted)


@op("Bernoulli")
def Bernoulli(x: Tensor, *, dtype: int | None = None, seed: float | None = None, ctx: Context) -> Tensor:
    """1 with probability *x*, else 0 (ONNX Bernoulli-22); straight-through, the mean's gradient."""
    wanted = x.dtype if dtype is None else TORCH_DTYPES[dtype]
    hits = (_uniform(x.shape, seed, ctx).to(x.device) < x).to(wanted)
    return replace_ste(x.to(wanted), hits) if wanted.is_floating_point else hits


@op("Multinomial")
def Multinomial(
    x: Tensor,
    *,
    dtype: int = TensorProto.INT32,
    sample_size: int = 1,
    seed: float | None = None,
    ctx: Context,
) -> Tensor:
    """For each row of unnormalised log-probabilities, *sample_size* drawn classes (ONNX Multinomial-22)."""
    numbers = (x.float() if x.dtype in HALVES else x).double()
    edges = torch.cumsum(torch.softmax(numbers, -1), -1)
    drawn = _uniform((x.shape[0], sample_size), seed, ctx).to(x.device)
    classes = torch.searchsorted(edges, drawn, right=True).clamp(max=x.shape[1] - 1)
    return classes.to(TORCH_DTYPES[dtype])
