"""`Waiting`: sampled images that wait to be evaluated, put together into calls of a tail. Nothing runs here."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from faultsim.engine.screen.reservoir import Rows
from faultsim.engine.screen.trial import Trial
from faultsim.engine.screen.verdicts import Evaluated


class Waiting(NamedTuple):
    """Images of one trial, ready to be evaluated, and their faulty activations."""

    part: Evaluated
    rows: Rows


def calls(members: Sequence[Trial], start: int, stop: int) -> Iterator[list[Waiting]]:
    """Yield what trials have to be evaluated of the images ``start … stop - 1``, in groups that fill a call."""
    waiting: list[Waiting] = []
    for trial in members:
        for kept in trial.samples if trial.exact and not trial.failed else ():
            here = np.flatnonzero((kept.images >= start) & (kept.images < stop))
            if here.size:
                rows = {name: one[here] for name, one in kept.rows.items()}
                waiting.append(Waiting(Evaluated(trial, kept, kept.images[here]), rows))
        if sum(one.part.images.size for one in waiting) >= stop - start:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
