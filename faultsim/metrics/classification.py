"""Classification of samples, top-1 and top-k, from logits or probabilities; two classes in one output too."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from faultsim.errors import DataError, OptionError
from faultsim.metrics.binary import two_classes
from faultsim.metrics.counts import NONFINITE, Array, Judged, Tally
from faultsim.metrics.losses import (
    LossSum,
    checked_labels,
    numpy_cross_entropy,
    numpy_logits,
    per_row,
    taken_of,
    to_logits,
)
from faultsim.metrics.task import Headline


@dataclass(frozen=True, kw_only=True)
class Classification:
    """One class for each sample, from outputs of shape N×C (N×C×1×1 too), or N×1 for two classes.

    A sample counts as correct if its class is among the `top_k` largest outputs; among equal ones the lower
    class comes first, as in ``argmax``. `mismatch` is always about the first class.

    Attributes:
        top_k: How many classes may be named, at least 1.
        output_is_probability: The graph ends in a softmax or sigmoid: the cross-entropy is then ``-log p``, p
            clamped.
        margin_cap: See `faultsim.metrics.losses.margin`.
    """

    top_k: int = 1
    output_is_probability: bool = False
    margin_cap: float = 0.0
    higher_is_better = True
    counts_correct = True
    discrete = True

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise OptionError(f"top_k = {self.top_k} is out of range: give at least 1")

    @property
    def name(self) -> str:
        """What the report calls the task."""
        return "classification"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return "accuracy" if self.top_k == 1 else f"top-{self.top_k} accuracy"

    @property
    def headline(self) -> Headline:
        """What the task is known by."""
        return "accuracy"

    @property
    def share(self) -> str:
        """Name of the share of correct samples."""
        return self.metric

    @property
    def loss_name(self) -> str:
        """Name and unit of the loss."""
        return "cross-entropy (nats)"

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor, kind: str = "cross_entropy") -> LossSum:
        """Return cross-entropy or margin summed over the samples; see `Task.loss`."""
        rows, truth = self.logits(outputs), labels.reshape(-1).long()
        total = per_row(rows, truth, kind, cap=self.margin_cap).sum()
        return LossSum(total, len(rows), taken_of(rows, truth, kind))

    def logits(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the logits of each sample, shape (samples, classes)."""
        return to_logits(self._rows(outputs), probability=self.output_is_probability)

    def predict(self, outputs: Array) -> Array:
        """Return the class of each sample, int64, -1 where the output is not finite."""
        rows = self._rows(outputs)
        finite = np.isfinite(rows).all(axis=1)
        return np.where(finite, rows.argmax(axis=1), NONFINITE).astype(np.int64)

    def judge(self, outputs: Array, labels: Array, golden: Array | None = None) -> Judged:
        """Return the verdict on each sample; see `Task.judge`."""
        rows = self._rows(outputs)
        truth = checked_labels(labels, (len(rows),), rows.shape[1])
        finite = np.isfinite(rows).all(axis=1)
        classes = np.where(finite, rows.argmax(axis=1), NONFINITE)
        right = classes == truth if self.top_k == 1 else finite & (_rank(rows, truth) < self.top_k)
        loss = np.zeros(len(rows))
        logits = numpy_logits(rows[finite], probability=self.output_is_probability)
        loss[finite] = numpy_cross_entropy(logits, truth[finite])
        finite &= np.isfinite(loss)
        right, loss = right & finite, np.where(finite, loss, 0.0)
        differs = np.zeros(len(rows), bool) if golden is None else classes != np.asarray(golden).reshape(-1)
        ones = np.ones(len(rows), np.int64)
        return Judged(ones, right.astype(np.int64), differs.astype(np.int64), (~finite).astype(np.int64), loss)

    def score(self, tally: Tally) -> float:
        """Return the share of correct samples, in [0, 1]."""
        return tally.counts.accuracy

    def _rows(self, outputs: Any) -> Any:
        """Return outputs as samples × classes, at least two; works on arrays and tensors."""
        if outputs.ndim > 2 and all(size == 1 for size in outputs.shape[2:]):
            outputs = outputs.reshape(outputs.shape[0], outputs.shape[1])
        if outputs.ndim == 1:
            outputs = outputs.reshape(-1, 1)
        if outputs.ndim != 2:
            raise DataError(
                f"outputs of shape {tuple(outputs.shape)} are no classification (N×C); choose another "
                "--task, or another "
                "output"
            )
        if outputs.shape[1] > 1:
            return outputs
        return two_classes(outputs, output_is_probability=self.output_is_probability)


def _rank(rows: Array, truth: Array) -> Array:
    """Return how many classes come before the true one."""
    own = np.take_along_axis(rows, truth[:, None], axis=1)
    before = np.arange(rows.shape[1]) < truth[:, None]
    return np.asarray((rows > own).sum(axis=1) + ((rows == own) & before).sum(axis=1))
