"""The losses that ONNX has as ops: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""

import torch
from torch import Tensor

from faultsim.model.ops._widen import in_float32
from faultsim.model.ops.registry import op


@op("NegativeLogLikelihoodLoss")
@in_float32
def NegativeLogLikelihoodLoss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of the target class, weighted, reduced (ONNX NegativeLogLikelihoodLoss-22).

    The mean is over the weights of the targets that count.
    """
    labels = target.long()
    ignored = torch.zeros_like(labels, dtype=torch.bool) if ignore_index is None else labels == ignore_index
    labels = torch.where(ignored, 0, labels)
    picked = -x.gather(1, labels.unsqueeze(1)).squeeze(1)
    weights = torch.ones_like(picked) if weight is None else weight[labels]
    weights = torch.where(ignored, 0.0, weights)
    loss = torch.where(ignored, 0.0, picked) * weights
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / weights.sum()


@op("SoftmaxCrossEntropyLoss")
@in_float32
def SoftmaxCrossEntropyLoss(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[Tensor, Tensor]:
    """The loss of log-softmax over axis 1, and the log-probabilities (ONNX SoftmaxCrossEntropyLoss-13)."""
    logs = torch.log_softmax(scores, dim=1)
    return NegativeLogLikelihoodLoss(logs, labels, weights, ignore_index=ignore_index, reduction=reduction), logs
