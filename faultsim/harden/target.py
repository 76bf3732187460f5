"""What a batch is trained towards: its labels, or the clean model's own outputs. The losses are elsewhere."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.engine.evaluate import label_tensor
from faultsim.engine.scored import ScoredOutput
from faultsim.errors import OptionError
from faultsim.harden.samples import Samples
from faultsim.metrics import Classification, GoldenAgreement, Task, TokenClassification
from faultsim.model import Model

Array = NDArray[Any]
Towards = Literal["labels", "clean"]
BatchLoss = Callable[[dict[str, Tensor]], Tensor]
MOST_BYTES = 1 << 31
"""Outputs of the clean model up to this many bytes are kept while another trains towards them."""


class Target:
    """The mean task loss of batches.

    Attributes:
        towards: ``"labels"``, or ``"clean"``: distillation, the cross-entropy against the clean model's probabilities
            (Hinton et al., arXiv 1503.02531, at temperature 1), or the squared error where outputs are no classes.
    """

    def __init__(
        self, model: Model, task: Task, output: ScoredOutput, samples: Samples, *, towards: Towards, batch_size: int
    ) -> None:
        """Prepare the targets of *samples*; for ``"clean"`` the clean model runs over all of them once.

        Where its outputs would fill more than `MOST_BYTES`, it runs over each batch anew instead.

        Raises:
            OptionError: If there are no labels, or the task has no loss.
        """
        self.towards = towards
        self._model, self._output = model, output
        self._task = task.inner if isinstance(task, GoldenAgreement) else task
        self._samples = samples
        self._clean: Array | None = None
        if towards == "clean":
            self._clean = self._outputs(batch_size)
        elif samples.labels(0, 1) is None:
            raise OptionError(f"{samples.source} holds no labels; give labels, or train towards the clean model")

    def batch(self, rows: Array) -> tuple[Mapping[str, Array], BatchLoss]:
        """Return the inputs of the samples at *rows* and their mean loss as a function of the outputs."""
        inputs, labels = self._samples.take(rows)
        device = self._model.device
        if self.towards == "clean":
            answers = self._answers(inputs) if self._clean is None else self._clean[rows]
            wanted = torch.from_numpy(answers).to(device)
            kept = self._scored(labels)
            return inputs, lambda outputs: self._distilled(outputs, wanted, kept)
        assert labels is not None
        truth = label_tensor(labels).to(device)

        def loss(outputs: dict[str, Tensor]) -> Tensor:
            found = self._task.loss(self._output.real_tensor(outputs[self._output.name]), truth, "cross_entropy")
            return found.total / max(found.n, 1)

        return inputs, loss

    def _outputs(self, batch_size: int) -> Array | None:
        """The clean model's outputs of all samples; None where they are too many to keep."""
        count = len(self._samples)
        first = self._answers(self._samples.inputs(0, batch_size))
        if first[:1].nbytes * count > MOST_BYTES:
            return None
        whole = np.empty((count, *first.shape[1:]), dtype=np.float32)
        whole[: len(first)] = first
        for i in range(batch_size, count, batch_size):
            whole[i : i + batch_size] = self._answers(self._samples.inputs(i, i + batch_size))
        return whole

    def _answers(self, inputs: Mapping[str, Array]) -> Array:
        found: Array = self._output.real(np.asarray(self._model.run(inputs)[self._output.name])).astype(np.float32)
        return found

    def _distilled(self, outputs: dict[str, Tensor], wanted: Tensor, kept: Tensor | None) -> Tensor:
        real = self._output.real_tensor(outputs[self._output.name])
        task = self._task
        if not isinstance(task, Classification | TokenClassification):
            return (real.float() - wanted.reshape(real.shape)).square().mean()
        rows = [
            task.logits(one, kept) if isinstance(task, TokenClassification) else task.logits(one)
            for one in (real, wanted.reshape(real.shape))
        ]
        student, teacher = torch.log_softmax(rows[0], 1), torch.softmax(rows[1], 1)
        return -(teacher * student).sum() / max(len(student), 1)

    def _scored(self, labels: Array | None) -> Tensor | None:
        """Which positions of a batch are scored, where labels tell; None for all."""
        if labels is None or not isinstance(self._task, TokenClassification):
            return None
        return label_tensor(labels).reshape(-1).to(self._model.device) != self._task.ignore_index
