"""What a task is: how outputs are scored against labels. Each kind of task has its own file."""

from typing import Literal, Protocol

import torch

from faultsim.metrics.counts import Array, Judged, Tally
from faultsim.metrics.losses import LossSum

Headline = Literal["accuracy", "loss", "score"]
"""What a task is known by: the share of correct units, its loss, or a score that is neither."""


class Task(Protocol):
    """Scores one output of the model; a frozen value.

    Outputs and labels have samples first. Trials that ride along the batch axis are reshaped to samples by
    the caller.
    """

    @property
    def name(self) -> str:
        """What the report calls the task."""

    @property
    def metric(self) -> str:
        """Name and unit of `score`: ``accuracy``, ``log perplexity (nats)`` …."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is a better one."""

    @property
    def headline(self) -> Headline:
        """What `score` is: ``accuracy`` (`Counts.accuracy`), ``loss`` (`Tally.mean_loss`), or ``score``, neither."""

    @property
    def share(self) -> str:
        """Name of `Counts.accuracy` for this task, a fraction."""

    @property
    def loss_name(self) -> str:
        """Name and unit of the loss."""

    @property
    def discrete(self) -> bool:
        """Whether a prediction is an answer (a class, a token): else any change of a number is a changed prediction."""

    @property
    def counts_correct(self) -> bool:
        """Whether `Counts.correct` means anything; for BLEU and regression without a tolerance it stays 0."""

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor, kind: str = "cross_entropy") -> LossSum:
        """Return the sum of the losses over the units of a batch, differentiable, and their number.

        Non-finite outputs give a non-finite sum. Divide by n for the mean.

        Raises:
            OptionError: If the task has no such loss.
        """

    def predict(self, outputs: Array) -> Array:
        """Return the predictions: classes as int64 (-1 for an output that is not finite), or values."""

    def judge(self, outputs: Array, labels: Array, golden: Array | None = None) -> Judged:
        """Return the verdict on each sample; *golden* is what `predict` gave for the clean model.

        Raises:
            DataError: If the labels do not go with the outputs.
        """

    def score(self, tally: Tally) -> float:
        """Return the task's figure over all samples tallied."""
