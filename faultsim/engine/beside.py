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
from faultsim.metrics import digests
from faultsim.processors import processors

Scored = TypeVar("Scored")
MOST_BYTES = 1 << 30
"""Most bytes that the numbers of all chips together may take, the copy that onnxruntime packs among them."""


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

    One at a time where torch computes (its threads are the process's), where the graph has a fixed batch, and where
    more would not fit into memory.

    Args:
        scorer: Scores one chip with all threads; its golden model is known.
        numbers: Numbers of one of the chips.
        effects: What acts while it computes.
        most: No more than this are wanted.
    """
    runner = scorer.runner
    threads = runner.threads or processors()
    each = 2 * sum(array.nbytes for array in runner.model.numbers.values())
    at_once = min(threads, most, scorer.batch_size, MOST_BYTES // max(each, 1))
    fixed = any(spec.fixed_batch for spec in runner.model.inputs)
    if at_once < 2 or fixed or not runner.bakes(numbers, effects):
        return Beside(scorer, 1)
    alone = Runner(runner.model, runner.output, threads=threads // at_once)
    part = replace(scorer, runner=alone, batch_size=scorer.batch_size // at_once)
    golden = scorer.golden_numbers
    if golden is None:
        return Beside(part, at_once)
    if not runner.bakes(*golden):
        return Beside(scorer, 1)
    if not _same_bits(part, alone.open(*golden)):
        part.set_golden(*golden)
    return Beside(part, at_once)


def _same_bits(part: Scorer, run: Run) -> bool:
    """Whether the fault-free chip's outputs are the whole scorer's to the last bit, on the first and the last batch."""
    assert part.digests is not None
    for batch in part.batches():
        if batch.start == 0 or batch.stop == len(part.data):
            output = part.output.real(run(batch.inputs, batch.start))
            if not np.array_equal(digests(output), part.digests[batch.start : batch.stop]):
                return False
    return True
