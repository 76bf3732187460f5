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
from faultsim.metrics import Classification, GoldenAgreement, Task
from faultsim.metrics.losses import to_logits
from faultsim.model import Model

Array = NDArray[Any]
Towards = Literal["labels", "clean"]
BatchLoss = Callable[[dict[str, Tensor]], Tensor]


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

        Raises:
            OptionError: If there are no labels, or the task has no loss.
        """
        self.towards = towards
        self._model, self._output = model, output
        self._task = task.inner if isinstance(task, GoldenAgreement) else task
        self._samples = samples
        self._clean: Array | None = None
        if towards == "clean":
            parts = [
                output.real(np.asarray(model.run(samples.inputs(i, i + batch_size))[output.name]))
                for i in range(0, len(samples), batch_size)
            ]
            self._clean = np.concatenate(parts).astype(np.float32)
        elif samples.labels(0, 1) is None:
            raise OptionError(f"{samples.source} holds no labels; give labels, or train towards the clean model")

    def batch(self, rows: Array) -> tuple[Mapping[str, Array], BatchLoss]:
        """Return the inputs of the samples at *rows* and their mean loss as a function of the outputs."""
        inputs, labels = self._samples.take(rows)
        device = self._model.device
        if self._clean is not None:
            wanted = torch.from_numpy(self._clean[rows]).to(device)
            return inputs, lambda outputs: self._distilled(outputs, wanted)
        assert labels is not None
        truth = label_tensor(labels).to(device)

        def loss(outputs: dict[str, Tensor]) -> Tensor:
            found = self._task.loss(self._output.real_tensor(outputs[self._output.name]), truth, "cross_entropy")
            return found.total / max(found.n, 1)

        return inputs, loss

    def _distilled(self, outputs: dict[str, Tensor], wanted: Tensor) -> Tensor:
        real = self._output.real_tensor(outputs[self._output.name])
        if isinstance(self._task, Classification) and real.ndim == 2 and real.shape[1] > 1:
            sure = self._output.is_probability
            teacher = torch.softmax(to_logits(wanted, probability=sure), 1)
            student = torch.log_softmax(to_logits(real, probability=sure), 1)
            return -(teacher * student).sum(1).mean()
        return (real.float() - wanted.reshape(real.shape)).square().mean()
