"""Which classes could overtake the fault-free answer of a sample, and by how much it leads them. No gradient here."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from faultsim.engine.scored import ScoredOutput
from faultsim.metrics import Classification, GoldenAgreement, Task
from faultsim.metrics.losses import to_logits


class Rivals(NamedTuple):
    """The leads of a batch.

    Attributes:
        leads: Leads over the rivals, in logits, nearest rival first, shape (rivals, samples); differentiable.
        finite: Whether every number of a sample's output is finite, shape (samples,).
    """

    leads: torch.Tensor
    finite: NDArray[np.bool_]


def classification_of(task: Task) -> Classification | None:
    """Return the classification behind a task; None where one sample has no single class to lead with."""
    inner = task.inner if isinstance(task, GoldenAgreement) else task
    return inner if isinstance(inner, Classification) else None


def rivals(raw: torch.Tensor, output: ScoredOutput, count: int) -> Rivals:
    """Return by how much each sample's class leads the *count* next ones.

    A softmax is looked through: leads are differences of logarithms, which are differences of logits.

    Args:
        raw: The scored output as the graph gives it, samples along `ScoredOutput.batch_axis`.
        output: What it is.
        count: Rivals a sample, at least 1; all other classes where there are fewer.
    """
    real = output.real_tensor(raw)
    rows = real.reshape(real.shape[0], -1)
    if rows.shape[1] == 1:  # two classes in one number, as `Classification` takes it
        rows = torch.cat([1 - rows if output.is_probability else rows * 0, rows], dim=1)
    logits = to_logits(rows, probability=output.is_probability)
    order = logits.detach().topk(min(count + 1, logits.shape[1]), dim=1).indices
    best = logits.gather(1, order)
    leads = (best[:, :1] - best[:, 1:]).T
    return Rivals(leads, np.asarray(torch.isfinite(logits.detach()).all(dim=1).cpu().numpy()))


def numpy_of(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor as a float32 array without its history."""
    return np.asarray(tensor.detach().to(torch.float32).cpu().numpy())
