"""Regression: mean squared error, and whether each sample stays within a tolerance where one is given."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from faultsim.errors import DataError, OptionError
from faultsim.metrics.counts import Array, Judged, Tally
from faultsim.metrics.losses import LOSSES, LossSum, goes_with, unknown_loss
from faultsim.metrics.task import Headline


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Values for each sample, any shape N×…; a sample's loss is its mean squared error.

    Both kinds of loss are the squared error: there are no classes to have a margin between.

    Attributes:
        tolerance: Largest absolute error, in the unit of the labels, with which a sample counts as correct,
            and largest deviation from the clean model that is no mismatch. ``None``: nothing counts as
            correct, any change is a mismatch.
    """

    tolerance: float | None = None
    higher_is_better = False

    def __post_init__(self) -> None:
        if self.tolerance is not None and not (self.tolerance >= 0 and math.isfinite(self.tolerance)):
            raise OptionError(f"tolerance = {self.tolerance} is out of range: give a finite number, 0 or more")

    @property
    def name(self) -> str:
        """What the report calls the task."""
        return "regression"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return "mean squared error"

    @property
    def counts_correct(self) -> bool:
        """Whether `Counts.correct` means anything."""
        return self.tolerance is not None

    @property
    def discrete(self) -> bool:
        """Whether a prediction is an answer: with a tolerance it is kept or missed."""
        return self.tolerance is not None

    @property
    def headline(self) -> Headline:
        """What the task is known by."""
        return "loss"

    @property
    def share(self) -> str:
        """Name of the share of correct samples."""
        return "accuracy" if self.tolerance is None else f"within {self.tolerance:g}"

    @property
    def loss_name(self) -> str:
        """Name of the loss, in squared units of the labels."""
        return "mean squared error"

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor, kind: str = "cross_entropy") -> LossSum:
        """Return the squared error, a mean over each sample, summed over samples; see `Task.loss`."""
        if kind not in LOSSES:
            raise unknown_loss(kind)
        rows = outputs.reshape(len(outputs), -1)
        truth = labels.reshape(len(outputs), -1).to(rows.dtype)
        return LossSum((rows - truth).square().mean(dim=1).sum(), len(rows))

    def predict(self, outputs: Array) -> Array:
        """Return the outputs themselves."""
        return np.asarray(outputs)

    def judge(self, outputs: Array, labels: Array, golden: Array | None = None) -> Judged:
        """Return the verdict on each sample; see `Task.judge`."""
        rows = np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1)
        finite = np.isfinite(rows).all(axis=1)
        with np.errstate(invalid="ignore"):
            error = np.abs(rows - _like(labels, rows, np.shape(outputs)))
        with np.errstate(over="ignore", invalid="ignore"):
            loss = np.where(finite, np.square(error).mean(axis=1), 0.0)
        finite &= np.isfinite(loss)
        right = (
            finite & (error.max(axis=1, initial=0.0) <= self.tolerance)
            if self.tolerance is not None
            else ~finite & finite
        )
        differs = np.zeros(len(rows), bool)
        if golden is not None:
            clean = _like(golden, rows, np.shape(outputs))
            with np.errstate(invalid="ignore"):  # infinity less infinity
                near = np.abs(rows - clean) <= (self.tolerance or 0.0)
            same = (rows == clean) | (np.isnan(rows) & np.isnan(clean)) | near
            differs = ~same.all(axis=1)
        ones = np.ones(len(rows), np.int64)
        whole = [part.astype(np.int64) for part in (right, differs, ~finite)]
        return Judged(ones, whole[0], whole[1], whole[2], np.where(finite, loss, 0.0))

    def score(self, tally: Tally) -> float:
        """Return the mean squared error; infinite where any output is not finite."""
        return float("inf") if tally.counts.nonfinite else tally.mean_loss


def _like(values: Array, rows: Array, shape: tuple[int, ...]) -> Array:
    given = np.asarray(values)
    if given.dtype.kind not in "fiub" or not goes_with(given.shape, shape):
        raise DataError(
            f"labels of shape {given.shape} ({given.dtype}) do not go with outputs of shape {shape}; give one number "
            "for each"
        )
    return given.astype(np.float64).reshape(rows.shape)
