"""Optimizer steps of ai.onnx.preview.training, and the two plain ops of ai.onnx.ml that networks hold."""

import torch
from torch import Tensor

from faultsim.model.ops.registry import op

TRAINING = "ai.onnx.preview.training"


@op("Adagrad", domain=TRAINING)
def Adagrad(
    rate: Tensor,
    step: Tensor,
    *tensors: Tensor,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> tuple[Tensor, ...]:
    """One step of Adagrad: new values, then new squared gradients (ONNX Adagrad-1)."""
    n = len(tensors) // 3
    factor = rate / (1 + step * decay_factor)
    values, squares = [], []
    for x, g, h in zip(tensors[:n], tensors[n : 2 * n], tensors[2 * n :], strict=True):
        slope = norm_coefficient * x + g
        squares.append(h + slope * slope)
        values.append(x - factor * slope / (torch.sqrt(squares[-1]) + epsilon))
    return (*values, *squares)


@op("Adam", domain=TRAINING)
def Adam(
    rate: Tensor,
    step: Tensor,
    *tensors: Tensor,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Tensor, ...]:
    """One step of Adam: new values, then new mean gradients, then new mean squares (ONNX Adam-1)."""
    n = len(tensors) // 4
    t = float(step)
    factor = rate * (1 - beta**t) ** 0.5 / (1 - alpha**t) if t > 0 else rate
    values, means, squares = [], [], []
    for x, g, v, h in zip(*(tensors[i * n : (i + 1) * n] for i in range(4)), strict=True):
        slope = norm_coefficient * x + g
        means.append(alpha * v + (1 - alpha) * slope)
        squares.append(beta * h + (1 - beta) * slope * slope)
        moved = x - factor * means[-1] / (torch.sqrt(squares[-1]) + epsilon)
        values.append((1 - norm_coefficient_post) * moved)
    return (*values, *means, *squares)


@op("Momentum", domain=TRAINING)
def Momentum(
    rate: Tensor,
    step: Tensor,
    *tensors: Tensor,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> tuple[Tensor, ...]:
    """One step with momentum, standard or Nesterov's: new values, then new momenta (ONNX Momentum-1)."""
    n = len(tensors) // 3
    share = beta if float(step) > 0 else 1.0
    values, momenta = [], []
    for x, g, v in zip(tensors[:n], tensors[n : 2 * n], tensors[2 * n :], strict=True):
        slope = norm_coefficient * x + g
        momenta.append(alpha * v + share * slope)
        move = slope + alpha * momenta[-1] if mode == "nesterov" else momenta[-1]
        values.append(x - rate * move)
    return (*values, *momenta)


@op("ArrayFeatureExtractor", domain="ai.onnx.ml")
def ArrayFeatureExtractor(x: Tensor, indices: Tensor) -> Tensor:
    """Elements of the last axis by index (ONNX-ML ArrayFeatureExtractor-1)."""
    picked = x.index_select(x.ndim - 1, indices.reshape(-1).long())
    return picked.reshape(1, -1) if x.ndim == 1 else picked


@op("Binarizer", domain="ai.onnx.ml")
def Binarizer(x: Tensor, *, threshold: float = 0.0) -> Tensor:
    """1 where x is greater than the threshold, else 0 (ONNX-ML Binarizer-1)."""
    return (x > threshold).to(x.dtype)
