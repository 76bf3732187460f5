"""`NetworkObjective`: a model on its data as the searches see it (`search.Objective`). No search lives here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faultsim.constraints import Tensors, TensorSet
from faultsim.corruption import Stored
from faultsim.engine.evaluate import Scorer, label_tensor
from faultsim.engine.settle import Deltas, settle, settle_within
from faultsim.model import Model
from faultsim.search.objective import Gradient, Loss, Score


class NetworkObjective:
    """Losses, gradients and scores of a stored model under deltas; every candidate is scored as it is deployed.

    Where a tensor is stored as integer codes or in narrow floats, a corrupted number is rounded to the nearest of them
    and saturates, as the memory can hold nothing else; the gradient passes straight through. Of a set that is known,
    corruptions of integer codes stay inside (`settle_within`): what is scored is a corruption of the set.

    Attributes:
        within: The set that all corruptions lie in; None where there is none.
        gradients: Gradients taken so far, each over the whole data set of the scorer.
        forwards: Forward passes scored so far.
    """

    def __init__(
        self, model: Model, stored: Mapping[str, Stored], scorer: Scorer, within: TensorSet | None = None
    ) -> None:
        self.within = within
        self.model = model
        self.stored = dict(stored)
        self.scorer = scorer
        self.gradients = 0
        self.forwards = 0
        self._clean: dict[str, Gradient] = {}

    def inside(self, within: TensorSet) -> "NetworkObjective":
        """Return the same objective for corruptions of *within*: counts of its own, clean gradients shared."""
        found = NetworkObjective(self.model, self.stored, self.scorer, within)
        found._clean = self._clean
        return found

    def gradient(self, delta: Deltas | None, loss: Loss) -> Gradient:
        """Return the mean loss at *delta* and its gradient by every stored tensor, per unit of its numbers.

        The gradient without corruption is computed once and kept: searches share it.
        """
        if delta is None and loss in self._clean:
            return self._clean[loss]
        numbers = self.numbers(delta)
        output, task = self.scorer.output, self.scorer.task
        total, units = 0.0, 0
        sums: Tensors = {name: np.zeros(one.site.shape) for name, one in self.stored.items()}
        before = self.forwards
        kind = self._collapse(numbers) if loss == "collapse" else loss
        for batch in self.scorer.batches():
            labels = label_tensor(self.scorer.batch_labels(batch)).to(self.model.device)
            counted = 0

            def batch_loss(outputs: dict[str, torch.Tensor], labels: torch.Tensor = labels) -> torch.Tensor:
                nonlocal counted
                found = task.loss(output.real_tensor(outputs[output.name]), labels, kind)
                counted = found.n
                return found.total

            value, grads = self.model.gradient(batch.inputs, batch_loss, sites=list(self.stored), numbers=numbers)
            total += value
            units += counted
            for name, gradient in grads.items():
                sums[name] += gradient
        self.gradients += 1
        n = max(units, 1)
        found = Gradient(total / n, {name: gradient / n for name, gradient in sums.items()})
        if delta is None:
            self._clean[loss] = found
        beside = self.forwards - before
        return found._replace(forwards=beside) if beside else found

    def score(self, delta: Deltas | None) -> Score:
        """Return mean loss, mean margin and accuracy under *delta*; a sample that is not finite is wrong."""
        self.forwards += 1
        margins: list[float] = []
        tally = self.scorer.score(self.numbers(delta), margins=margins)
        counts = tally.counts
        accuracy = counts.accuracy if self.scorer.task.counts_correct else float("nan")
        return Score(tally.mean_loss, sum(margins) / max(counts.n, 1), accuracy, counts.nonfinite)

    def _collapse(self, numbers: Mapping[str, NDArray[Any]]) -> str:
        """Return the collapse into the class that takes most over all batches: no batch chooses one of its own."""
        if len(self.scorer.data) <= self.scorer.batch_size:
            return "collapse"
        self.forwards += 1
        output, task = self.scorer.output, self.scorer.task
        sums: list[NDArray[np.float64]] = []
        for batch in self.scorer.batches():
            labels = label_tensor(self.scorer.batch_labels(batch))
            rows = output.real(np.asarray(self.model.run(batch.inputs, numbers)[output.name]))
            taken = task.loss(torch.from_numpy(rows.astype(np.float64)), labels, "collapse").taken
            if taken is not None:
                sums.append(taken.numpy())
        return f"collapse:{int(np.sum(sums, axis=0).argmax())}" if sums else "collapse"

    def numbers(self, delta: Deltas | None) -> dict[str, NDArray[Any]]:
        """Return the numbers that the corrupted chip computes with, by site."""
        corrupted = {name: one.values for name, one in self.stored.items()}
        if self.within is not None:
            return corrupted | settle_within(self.stored, self.within, delta or {})
        return corrupted | {name: settle(self.stored[name], change) for name, change in (delta or {}).items()}
