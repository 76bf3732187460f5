"""Outputs that are classes already, as an ArgMax gives them: they are counted, and have no loss and no gradient."""

from dataclasses import dataclass

import numpy as np
import torch

from faultsim.errors import DataError, OptionError
from faultsim.metrics.counts import Array, Ints, Judged, Tally
from faultsim.metrics.losses import LossSum, checked_labels
from faultsim.metrics.task import Headline


@dataclass(frozen=True, kw_only=True)
class ClassIds:
    """A class for each sample, shape N or N×1, or for each position, N×…, as whole numbers or truth values.

    The scores that the class was chosen from are not there: nothing says how near another class was.

    Attributes:
        ignore_index: Label of positions that are not scored.
    """

    ignore_index: int = -100
    higher_is_better = True
    counts_correct = True
    discrete = True

    @property
    def name(self) -> str:
        """What the report calls the task."""
        return "classification (class ids)"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return "accuracy"

    @property
    def headline(self) -> Headline:
        """What the task is known by."""
        return "accuracy"

    @property
    def share(self) -> str:
        """Name of the share of correct units."""
        return "accuracy"

    @property
    def loss_name(self) -> str:
        """Name of the loss, which there is none of."""
        return "none"

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor, kind: str = "cross_entropy") -> LossSum:
        """Refuse: the output has no gradient.

        Raises:
            OptionError: Always.
        """
        raise OptionError(
            "the output has no gradient: it holds classes and not the scores that they were chosen from; choose the "
            "scores with --output, or export the model without its ArgMax"
        )

    def predict(self, outputs: Array) -> Array:
        """Return the classes as int64, shape (N,), or N×… for positions.

        Raises:
            DataError: If the outputs are no whole numbers.
        """
        given = np.asarray(outputs)
        if given.dtype.kind not in "iub" or given.ndim == 0:
            raise DataError(
                f"outputs of shape {given.shape} ({given.dtype}) are no class ids; choose another --task, or another "
                "output"
            )
        one_each = given.size == len(given)
        return given.astype(np.int64).reshape(len(given), *(() if one_each else given.shape[1:]))

    def judge(self, outputs: Array, labels: Array, golden: Array | None = None) -> Judged:
        """Return the verdict on each sample, summed over its positions, without a loss; see `Task.judge`."""
        classes = self.predict(outputs)
        truth = checked_labels(labels, classes.shape, np.iinfo(np.int64).max, self.ignore_index)
        scored = truth != self.ignore_index
        differs = np.zeros(classes.shape, bool)
        if golden is not None:
            differs = scored & (classes != np.asarray(golden).reshape(classes.shape))
        n, correct, mismatch = (_per_sample(part) for part in (scored, scored & (classes == truth), differs))
        return Judged(n, correct, mismatch, np.zeros(len(classes), np.int64), None)

    def score(self, tally: Tally) -> float:
        """Return the share of correct units, in [0, 1]."""
        return tally.counts.accuracy


def _per_sample(flags: Array) -> Ints:
    return np.asarray(flags.reshape(len(flags), -1).sum(axis=1), dtype=np.int64)
