"""`Verdicts`: judges evaluated images and adds them to their trials. Nothing is computed by the model here."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.evaluate import Scorer
from faultsim.engine.screen.reservoir import Reservoir
from faultsim.engine.screen.trial import Trial

Array = NDArray[Any]


class Evaluated(NamedTuple):
    """Some images of one sample of one trial.

    Attributes:
        trial: The trial.
        kept: Which of its samples.
        images: Numbers in the data set.
    """

    trial: Trial
    kept: Reservoir
    images: NDArray[np.int64]


class Verdicts:
    """Compares outputs with those of the fault-free chip.

    Args:
        scorer: Judges; it knows the fault-free predictions.
        numbers: The fault-free chip's numbers by site, where they are not the model's own.
    """

    def __init__(self, scorer: Scorer, numbers: Mapping[str, Array] | None) -> None:
        self._scorer = scorer
        self._numbers = numbers

    def count(self, parts: Sequence[Evaluated], output: Array) -> None:
        """Add the verdicts on *output*, whose rows are the images of *parts* one after the other."""
        images = np.concatenate([one.images for one in parts])
        judged, _ = self._scorer.judge(self._scorer.output.real(output), self._labels[images], images)
        start = 0
        for one in parts:
            part = slice(start, start + one.images.size)
            start = part.stop
            one.trial.add(
                one.kept,
                mismatch=judged.mismatch[part],
                change=judged.correct[part] - self.right[one.images],
                nonfinite=judged.nonfinite[part],
            )

    @cached_property
    def _labels(self) -> Array:
        return np.concatenate([self._scorer.batch_labels(batch) for batch in self._scorer.batches()])

    @cached_property
    def right(self) -> NDArray[np.int64]:
        """Whether the fault-free model is right, for each image."""
        scorer = self._scorer
        run = scorer.runner.open(self._numbers)
        parts = []
        for batch in scorer.batches():
            output = scorer.output.real(run(batch.inputs, batch.start))
            judged, _ = scorer.judge(output, scorer.batch_labels(batch), np.arange(batch.start, batch.stop))
            parts.append(judged.correct)
        return np.concatenate(parts)
