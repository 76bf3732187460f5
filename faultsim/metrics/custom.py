"""A task of the user's own: ``module:function`` gives losses, correctness, or both, for each sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from faultsim.data.function import resolve
from faultsim.errors import DataError, OptionError
from faultsim.metrics.counts import Array, Judged, Tally
from faultsim.metrics.losses import LOSSES, LossSum, unknown_loss
from faultsim.metrics.task import Headline


@dataclass(frozen=True)
class Custom:
    """Scores by ``function(outputs, labels)``, called with torch tensors, samples first.

    It returns, one entry a sample: losses (floats, shape (N,), differentiable where worst cases are
    searched), or whether each sample is correct (bool), or a tuple ``(losses, correct)``. With correctness
    the score is the accuracy, else the mean loss. Both kinds of loss are the function's own.

    Attributes:
        function: ``module:function``.
        has_correct: Whether it gives correctness; told by `custom_task`.
    """

    function: str
    has_correct: bool = True

    @property
    def name(self) -> str:
        """What the report calls the task."""
        return self.function

    @property
    def metric(self) -> str:
        """Name of the score."""
        return "accuracy" if self.has_correct else "mean loss"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is a better one."""
        return self.has_correct

    @property
    def counts_correct(self) -> bool:
        """Whether `Counts.correct` means anything."""
        return self.has_correct

    @property
    def discrete(self) -> bool:
        """Whether a prediction is an answer: what an output means is known to the function alone."""
        return False

    @property
    def headline(self) -> Headline:
        """What the task is known by."""
        return "accuracy" if self.has_correct else "loss"

    @property
    def share(self) -> str:
        """Name of the share of correct samples."""
        return "accuracy"

    @property
    def loss_name(self) -> str:
        """Name of the loss."""
        return "mean loss"

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor, kind: str = "cross_entropy") -> LossSum:
        """Return the function's losses summed over samples; see `Task.loss`.

        Raises:
            OptionError: If it gives no losses.
        """
        if kind not in LOSSES:
            raise unknown_loss(kind)
        losses, _ = self._call(outputs, labels)
        if losses is None:
            raise OptionError(
                f"{self.function} gives no losses, so no worst case can be searched; return (losses, correct)"
            )
        return LossSum(losses.sum(), len(losses))

    def predict(self, outputs: Array) -> Array:
        """Return the outputs themselves."""
        return np.asarray(outputs)

    def judge(self, outputs: Array, labels: Array, golden: Array | None = None) -> Judged:
        """Return the verdict on each sample; a mismatch is any change of its output. See `Task.judge`."""
        given = np.asarray(outputs)
        flat = given.reshape(len(given), -1)
        finite = np.isfinite(flat).all(axis=1) if given.dtype.kind == "f" else np.ones(len(given), bool)
        with torch.no_grad():
            losses, correct = self._call(_tensor(given), _tensor(labels))
        loss = None if losses is None else losses.double().numpy()
        finite &= True if loss is None else np.isfinite(loss)
        right = np.zeros(len(given), bool) if correct is None else correct.numpy()
        differs = np.zeros(len(given), bool)
        if golden is not None:
            clean = np.asarray(golden).reshape(flat.shape)
            lost = np.isnan(flat) & np.isnan(clean) if flat.dtype.kind == "f" else False  # as it was
            differs = ((flat != clean) & ~np.asarray(lost)).any(axis=1)
        whole = [part.astype(np.int64) for part in (right & finite, differs, ~finite)]
        ones = np.ones(len(given), np.int64)
        return Judged(ones, whole[0], whole[1], whole[2], None if loss is None else np.where(finite, loss, 0.0))

    def score(self, tally: Tally) -> float:
        """Return the accuracy, or the mean loss (infinite where any is not finite)."""
        if self.has_correct:
            return tally.counts.accuracy
        return float("inf") if tally.counts.nonfinite else tally.mean_loss

    def _call(self, outputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        try:
            given: Any = resolve(self.function, OptionError)(outputs, labels)
        except OptionError:
            raise
        except Exception as error:
            raise DataError(
                f"{self.function} raised {type(error).__name__}: {error}; run it on its own to see"
            ) from error
        parts = given if isinstance(given, tuple) else (given,)
        if not parts:
            raise DataError(f"{self.function} gave an empty tuple; return losses, correctness, or (losses, correct)")
        losses: torch.Tensor | None = None
        correct: torch.Tensor | None = None
        for part in parts:
            if not isinstance(part, torch.Tensor) or tuple(part.shape) != (len(outputs),):
                shown = tuple(part.shape) if isinstance(part, torch.Tensor) else type(part).__name__
                raise DataError(
                    f"{self.function} gave {shown}; return torch tensors with one entry a sample ({len(outputs)},)"
                )
            if part.dtype == torch.bool:
                correct = part
            else:
                losses = part
        return losses, correct


def _tensor(values: Array) -> torch.Tensor:
    array = np.array(values)  # a copy: the function may write, and a memory-mapped file must not change
    if array.dtype.kind not in "biuf":
        raise DataError(f"labels of type {array.dtype} cannot be given to a function of torch tensors; give numbers")
    return torch.from_numpy(array)


def custom_task(function: str, outputs: Array | torch.Tensor, labels: Array | torch.Tensor) -> Custom:
    """Return the task of ``module:function``, after one call on a small batch that shows what it gives.

    Raises:
        OptionError: If the function cannot be found.
        DataError: If it raises, or returns something else than one entry a sample.
    """
    task = Custom(function)
    with torch.no_grad():
        first = [part if isinstance(part, torch.Tensor) else _tensor(part) for part in (outputs, labels)]
        _, correct = task._call(first[0], first[1])
    return Custom(function, has_correct=correct is not None)
