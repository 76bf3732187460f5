"""Scores a model under given numbers over a data set, a batch at a time. No numbers are made here."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faultsim.data.spec import Batch, DataSet, batches
from faultsim.engine.ahead import go_on
from faultsim.engine.runner import Run, Runner
from faultsim.engine.scored import ScoredOutput
from faultsim.errors import DataError, OptionError
from faultsim.inference import Effect
from faultsim.metrics import GoldenAgreement, Judged, Tally, Task, classify, digests

Array = NDArray[Any]
KEEP_BYTES = 1 << 28
"""Batches up to this many bytes together are kept in memory between chips; more are read again for each chip."""


@dataclass
class Scorer:
    """A model's task on a data set, ready to be scored under any numbers.

    Attributes:
        runner: Runs the model.
        output: The output that is judged.
        task: Judges it.
        data: The samples.
        batch_size: Samples a batch.
        golden: Predictions of the fault-free model, one a sample, once `set_golden` has run.
        labels: Labels in place of the data's own, for agreement with the clean model.
        digests: Of the fault-free model's outputs, 16 bytes a sample, shape (samples, 2), once `set_golden` has run;
            outcomes are counted where they are known.
        golden_numbers: Its numbers and effects, once `set_golden` has run.
        parts: Scorers of a part of the threads and of the batch (`beside`), kept while the fault-free chip is the same.
    """

    runner: Runner
    output: ScoredOutput
    task: Task
    data: DataSet
    batch_size: int
    golden: Array | None = None
    labels: Array | None = None
    digests: NDArray[np.uint64] | None = None
    golden_numbers: tuple[Mapping[str, Array], Sequence[Effect]] | None = None
    _kept: list[Batch] = field(init=False, default_factory=list)
    parts: dict[tuple[int, int], "Scorer | None"] = field(init=False, default_factory=dict)
    _reading: threading.Lock = field(init=False, default_factory=threading.Lock)

    def batches(self) -> Iterator[Batch]:
        """Yield the data set's batches, from memory where they fit; several threads may each have theirs."""
        if self._kept:
            yield from self._kept
            return
        kept: list[Batch] | None = []
        size = 0
        source = batches(self.data, self.batch_size)
        while True:
            with self._reading:
                batch = next(source, None)
            if batch is None:
                break
            size += sum(a.nbytes for a in batch.inputs.values())
            if kept is not None and size <= KEEP_BYTES:
                kept.append(batch)
            else:
                kept = None
            yield batch
        if kept is not None:
            self._kept = kept

    def batch_labels(self, batch: Batch) -> Array:
        """Return the labels of a batch.

        Raises:
            DataError: If there are none.
        """
        labels = batch.labels if self.labels is None else self.labels[batch.start : batch.stop]
        if labels is None:
            raise DataError(f"{self.data.source} holds no labels; give data with labels, or none at all")
        return labels

    def set_golden(self, numbers: Mapping[str, Array] | None = None, effects: Sequence[Effect] = ()) -> None:
        """Take the model under *numbers* as the fault-free chip: its predictions, and a digest of each output.

        *effects* are what a chip without faults has of its own, such as activations rounded to its memory's format.
        """
        run = self.runner.open(numbers, effects)
        predictions, seen = [], []
        for batch in self.batches():
            output = self.output.real(run(batch.inputs, batch.start))
            predictions.append(self.task.predict(output))
            seen.append(digests(output))
        self.golden, self.digests = np.concatenate(predictions), np.concatenate(seen)
        self.golden_numbers = numbers or {}, effects
        self.parts.clear()

    def set_labels_from_clean(self, task: GoldenAgreement) -> None:
        """Take the clean model's own predictions as the labels.

        Raises:
            DataError: If a clean output is not finite.
        """
        run = self.runner.open()
        self.labels = np.concatenate(
            [task.labels_from(self.output.real(run(batch.inputs)), batch.start) for batch in self.batches()]
        )

    def score(
        self,
        numbers: Mapping[str, Array] | None = None,
        effects: Sequence[Effect] = (),
        *,
        margins: list[float] | None = None,
        outcomes: NDArray[np.uint8] | None = None,
        run: Run | None = None,
    ) -> Tally:
        """Return the tally over all samples under *numbers*, with outcomes where the fault-free chip is known.

        Args:
            numbers: Numbers of the chip, by site; the deployed model's own where ``None``.
            effects: Its faults that act while it computes.
            margins: Collects the sum of the margins of each batch.
            outcomes: Is filled with the class of each sample (`metrics.outcomes`: 0 masked, 1 tolerable, 2 critical,
                3 non-finite), shape (samples,), uint8; a row of a memory-mapped array does.
            run: The chip, where `Runner.open` has been called on these numbers and effects already.

        Raises:
            DataError: If the data do not go with the model.
            ModelError: If the numbers do not.
            ValueError: If *outcomes* are asked for before `set_golden`, or are of another shape.
        """
        if outcomes is not None and (self.digests is None or outcomes.shape != (len(self.data),)):
            raise ValueError(
                f"outcomes of shape {outcomes.shape} cannot be filled: give ({len(self.data)},), after set_golden"
            )
        run = run or self.runner.open(numbers, effects)
        total = Tally()
        for batch in self.batches():
            go_on()
            output = self.output.real(run(batch.inputs, batch.start))
            labels = self.batch_labels(batch)
            judged, classes = self.judge(output, labels, np.arange(batch.start, batch.stop))
            if outcomes is not None and classes is not None:
                outcomes[batch.start : batch.stop] = classes
            total += Tally.of(judged, classes)
            if margins is not None:
                margins.append(self._margin(output, labels))
        return total

    def judge(
        self, output: Array, labels: Array, samples: NDArray[np.int64]
    ) -> tuple[Judged, NDArray[np.uint8] | None]:
        """Return the task's verdict on some samples, and their outcome classes where the fault-free chip is known.

        Args:
            output: Outputs in real units, samples first.
            labels: Labels of these samples.
            samples: Their numbers in the data set.
        """
        judged = self.task.judge(output, labels, None if self.golden is None else self.golden[samples])
        return judged, None if self.digests is None else classify(output, judged, self.digests[samples])

    def _margin(self, output: Array, labels: Array) -> float:
        try:
            with torch.no_grad():
                outputs = torch.from_numpy(np.ascontiguousarray(output))
                return float(self.task.loss(outputs, label_tensor(labels), "margin").total)
        except OptionError:
            return 0.0


def label_tensor(labels: Array) -> torch.Tensor:
    """Return labels as a loss takes them.

    Raises:
        OptionError: If they are texts: a score counts them, no loss can be differentiated at them.
    """
    if labels.dtype.kind not in "biuf":
        raise OptionError("the labels are texts, which have no gradient; give token ids for a worst case")
    return torch.from_numpy(np.require(labels, requirements=["C", "W"]))  # a memory-mapped file cannot be written


Progress = Callable[[str, int, int], None]
"""Told of every step: phase, steps done, steps in all."""
