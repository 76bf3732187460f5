"""One class for each token (tagging, parsing heads, pixels), and language modelling, with its own score."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from faultsim.errors import DataError
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
class TokenClassification:
    """A class for each position, from outputs N×T×C; the unit is the position.

    With arc scores N×T×T and heads as labels its accuracy is the unlabelled attachment score (UAS); with
    N×C×H×W and ``class_axis=1`` it is the accuracy of pixels. One output a position is the score of the second of two
    classes.

    Attributes:
        ignore_index: Label of positions that are not scored (padding, punctuation).
        class_axis: Which axis of the outputs holds the classes.
        output_is_probability: The graph ends in a softmax.
        margin_cap: See `faultsim.metrics.losses.margin`.
    """

    ignore_index: int = -100
    class_axis: int = -1
    output_is_probability: bool = False
    margin_cap: float = 0.0
    counts_correct = True
    discrete = True

    @property
    def name(self) -> str:
        """What the report calls the task."""
        return "token classification"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return "accuracy"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is a better one."""
        return True

    @property
    def headline(self) -> Headline:
        """What the task is known by."""
        return "accuracy"

    @property
    def share(self) -> str:
        """Name of the share of correct positions."""
        return "accuracy"

    @property
    def loss_name(self) -> str:
        """Name and unit of the loss."""
        return "cross-entropy (nats)"

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor, kind: str = "cross_entropy") -> LossSum:
        """Return cross-entropy or margin summed over the scored positions; see `Task.loss`."""
        flat = labels.reshape(-1).long()
        kept = flat != self.ignore_index
        rows = self.logits(outputs, kept)
        total = per_row(rows, flat[kept], kind, cap=self.margin_cap).sum()
        return LossSum(total, len(rows), taken_of(rows, flat[kept], kind))

    def logits(self, outputs: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits of each position, or of those *kept*, shape (positions, classes)."""
        moved = self._classes_last(outputs)
        rows = moved.reshape(-1, moved.shape[-1])
        return to_logits(rows if kept is None else rows[kept], probability=self.output_is_probability)

    def predict(self, outputs: Array) -> Array:
        """Return the class of each position, int64, shape N×T, -1 where the output is not finite."""
        moved = self._classes_last(outputs)
        return np.where(np.isfinite(moved).all(axis=-1), moved.argmax(axis=-1), NONFINITE).astype(np.int64)

    def judge(self, outputs: Array, labels: Array, golden: Array | None = None) -> Judged:
        """Return the verdict on each sample, summed over its positions; see `Task.judge`."""
        moved = self._classes_last(outputs)
        places = moved.shape[:-1]
        truth = checked_labels(labels, places, moved.shape[-1], self.ignore_index)
        scored = truth != self.ignore_index
        classes = self.predict(outputs)
        finite = classes != NONFINITE
        loss = np.zeros(places)
        kept = scored & finite
        loss[kept] = numpy_cross_entropy(numpy_logits(moved[kept], probability=self.output_is_probability), truth[kept])
        finite &= loss <= np.finfo(np.float64).max / max(1, math.prod(places[1:]))  # so that a sample's sum is finite
        loss = np.where(finite, loss, 0.0)
        differs = np.zeros(places, bool) if golden is None else classes != np.asarray(golden).reshape(places)
        axes = tuple(range(1, len(places)))
        n, right, other, broken = (
            np.asarray(part.sum(axis=axes), dtype=np.int64)
            for part in (scored, scored & finite & (classes == truth), scored & differs, scored & ~finite)
        )
        return Judged(n, right, other, broken, np.asarray(loss.sum(axis=axes), dtype=np.float64))

    def score(self, tally: Tally) -> float:
        """Return the share of correct positions, in [0, 1]."""
        return tally.counts.accuracy

    def _classes_last(self, outputs: Any) -> Any:
        if outputs.ndim < 3:
            raise DataError(
                f"outputs of shape {tuple(outputs.shape)} have no axis of positions (N×T×C); choose another "
                "--task, or "
                "another output"
            )
        if self.class_axis not in (-1, outputs.ndim - 1):
            tensor = isinstance(outputs, torch.Tensor)
            outputs = outputs.movedim(self.class_axis, -1) if tensor else np.moveaxis(outputs, self.class_axis, -1)
        if outputs.shape[-1] > 1:
            return outputs
        return two_classes(outputs, output_is_probability=self.output_is_probability)


@dataclass(frozen=True, kw_only=True)
class LanguageModel(TokenClassification):
    """The next token at each position; the score is the log perplexity, lower is better.

    Labels are the next tokens themselves: position t of the outputs is scored against position t of the
    labels.
    """

    @property
    def name(self) -> str:
        """What the report calls the task."""
        return "language modelling"

    @property
    def metric(self) -> str:
        """Name and unit of the score."""
        return "log perplexity (nats)"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is a better one."""
        return False

    @property
    def headline(self) -> Headline:
        """What the task is known by: the mean cross-entropy a token is the log perplexity."""
        return "loss"

    @property
    def share(self) -> str:
        """Name of the share of correct tokens."""
        return "token accuracy"

    @property
    def loss_name(self) -> str:
        """Name and unit of the loss."""
        return self.metric

    def score(self, tally: Tally) -> float:
        """Return the mean cross-entropy a token, nats; infinite where any output is not finite."""
        return float("inf") if tally.counts.nonfinite else tally.mean_loss
