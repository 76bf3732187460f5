"""`BatchJudge`: the verdict on a batch in which only some samples differ from the clean run."""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.evaluate import Scorer
from faultsim.metrics import Judged, Tally

Array = NDArray[Any]


class BatchJudge:
    """Judges the samples that a trial changed, and takes the clean verdict for all others; threads take turns.

    Attributes:
        start: Number of the batch's first sample in the data set.
        stop: Number behind its last one.
    """

    def __init__(self, scorer: Scorer, golden: Array, labels: Array, start: int) -> None:
        self._scorer = scorer
        self._labels = labels
        self._judging = Lock()  # a task of the user's own need not bear several threads
        self.start = start
        self.stop = start + len(golden)
        self._judged, self._classes = scorer.judge(scorer.output.real(golden), labels, np.arange(start, self.stop))
        self._tally = Tally.of(self._judged, self._classes)

    @property
    def is_clean(self) -> bool:
        """Whether the clean outputs given are those of the fault-free chip that the scorer knows, bit by bit."""
        return self._classes is None or not self._classes.any()

    def __len__(self) -> int:
        return self.stop - self.start

    def tally(self, samples: NDArray[np.int64] | None, output: Array | None) -> tuple[Tally, NDArray[np.uint8] | None]:
        """Return the tally of the batch and the class of each sample.

        Args:
            samples: Numbers of the changed samples in the batch; None where *output* holds all, in order.
            output: Their raw outputs; None where nothing changed.
        """
        if output is None:
            return self._tally, self._classes
        numbers = np.arange(len(self)) if samples is None else samples
        real = self._scorer.output.real(output)
        with self._judging:
            judged, classes = self._scorer.judge(real, self._labels[numbers], numbers + self.start)
        if samples is None:
            return Tally.of(judged, classes), classes
        merged = Judged(*(_put(clean, samples, part) for clean, part in zip(self._judged, judged, strict=True)))
        kinds = _put(self._classes, samples, classes)
        return Tally.of(merged, kinds), kinds


def _put(clean: Array | None, samples: NDArray[np.int64], changed: Array | None) -> Any:
    if clean is None or changed is None:
        return None
    merged = clean.copy()
    merged[samples] = changed
    return merged
