"""`beside`: how many chips are scored at once, and by what scorer each. What a score is lives in `evaluate.py`.

onnxruntime spends its threads best on a chip each: no op waits for the slowest of them, and a chip that is being drawn
takes nothing from the threads of another.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.ahead import ahead
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Run, Runner
from faultsim.inference import Effect
from faultsim.metrics import Custom, GoldenAgreement, Task, digests
from faultsim.processors import processors

Scored = TypeVar("Scored")
MOST_BYTES = 1 << 30
"""Most bytes that the numbers of all chips together may take."""
COPIES = 8
"""Of its numbers a chip holds so many: drawn, as a draw's float64, in the graph, serialised, packed by onnxruntime."""
LEAST = 16
"""Samples of a batch that is not split further: of fewer, onnxruntime takes other kernels."""


class Beside(NamedTuple):
    """Chips that are scored side by side.

    Attributes:
        scorer: Scores one of them. Batches are so much smaller that all chips together take the memory of one whole.
        at_once: How many at the same time; 1 where each has the machine for itself.
    """

    scorer: Scorer
    at_once: int

    def each(self, score: Callable[[int], Scored], trials: Iterable[int]) -> Iterator[Scored]:
        """Yield ``score(trial)`` in order, so many at a time as there may be."""
        if self.at_once > 1:
            yield from (made for _, made in ahead(score, trials, at_once=self.at_once))
        else:
            yield from map(score, trials)


def beside(scorer: Scorer, numbers: Mapping[str, NDArray[Any]], effects: Sequence[Effect], most: int) -> Beside:
    """Return how chips like this one are scored fastest; the rows are the same either way.

    One at a time where torch computes (its threads are the process's), where the task is a function of the user's,
    where the graph has a fixed batch, where more would not fit into memory, and where the fault-free chip gives other
    bits with a part of the threads and of the batch.

    Args:
        scorer: Scores one chip with all threads; its golden model is known.
        numbers: Numbers of one of the chips.
        effects: What acts while it computes.
        most: No more than this are wanted.
    """
    runner = scorer.runner
    threads = runner.threads or processors()
    each = COPIES * sum(array.nbytes for array in runner.model.numbers.values())
    at_once = min(threads, most, scorer.batch_size // LEAST, MOST_BYTES // max(each, 1))
    golden = scorer.golden_numbers
    if at_once < 2 or runner.model.fixed_batch or golden is None or _is_foreign(scorer.task):
        return Beside(scorer, 1)
    if not (runner.bakes(numbers, effects) and runner.bakes(*golden)):
        return Beside(scorer, 1)
    size = threads // at_once, scorer.batch_size // at_once
    if size not in scorer.parts:
        alone = Runner(runner.model, runner.output, threads=size[0], prefer=runner.preferred)
        part = replace(scorer, runner=alone, batch_size=size[1])
        scorer.parts[size] = part if _same_bits(part, alone.open(*golden)) else None
    known = scorer.parts[size]
    return Beside(scorer, 1) if known is None else Beside(known, at_once)


def _is_foreign(task: Task) -> bool:
    return isinstance(task.inner if isinstance(task, GoldenAgreement) else task, Custom)


def _same_bits(part: Scorer, run: Run) -> bool:
    """Whether the fault-free chip's outputs are the whole scorer's to the last bit, on the first and the last batch."""
    assert part.digests is not None
    for batch in part.batches():
        if batch.start == 0 or batch.stop == len(part.data):
            output = part.output.real(run(batch.inputs, batch.start))
            if not np.array_equal(digests(output), part.digests[batch.start : batch.stop]):
                return False
    return True
