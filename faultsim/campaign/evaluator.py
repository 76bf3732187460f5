"""`Evaluator`: trials in, rows out. Where rows are kept, and who calls, lives elsewhere.

A row is what the journal holds of a trial; `COLUMNS` declares it. Another way to evaluate trials (a screen that leaves
out what cannot change) has the same protocol and gives the same rows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from faultsim.assessment.setting import Setting
from faultsim.campaign.draw import Draws
from faultsim.campaign.patches import patches
from faultsim.engine.sweep.routes import Patch
from faultsim.engine.sweep.sweep import Sweep
from faultsim.journal import Columns
from faultsim.metrics import Tally

Row = tuple[int | float, ...]
COLUMNS = Columns(
    ints=(
        "stratum", "site", "element", "bit",
        "n", "correct", "mismatch", "nonfinite",
        "masked", "tolerable", "critical", "broken",
    ),
    floats=("loss",),
)  # fmt: skip
"""Of each trial: stratum, then the flipped bit (the first one of several), then the counts over all samples.

``n … nonfinite`` count units (predictions); ``masked … broken`` count samples by outcome, each in one: ``broken`` ones
have an output that is not finite. ``loss`` is the mean over finite units: inf where no unit is
finite, NaN where the task has no loss.
"""


class Evaluator(Protocol):
    """Scores trials."""

    def evaluate(self, trials: Sequence[int]) -> list[Row]:
        """Return a row of `COLUMNS` for each trial, in order; the same whatever else is evaluated with it."""

    @property
    def spent(self) -> Mapping[str, int]:
        """Trials by the way that they were evaluated, since the last time that it was asked."""

    @property
    def shared_s(self) -> float:
        """Seconds since the start that calls spent on what their trials share, as much for few of them as for many."""

    def watch(self, told: Callable[[float], None]) -> None:
        """Tell from now on how much of a call is done, 0 to 1, about."""


class SweepEvaluator:
    """Many trials in one sweep over the samples (`engine.sweep`)."""

    def __init__(self, setting: Setting, draws: Draws, *, memory_bytes: int) -> None:
        self._setting, self._draws = setting, draws
        self._sweep = Sweep(setting.scorer, setting.fault_free(), memory_bytes)
        self._told: dict[str, int] = {}

    def evaluate(self, trials: Sequence[int]) -> list[Row]:
        """See `Evaluator`."""
        found = self._draws.faults(trials)
        wrong = patches(self._draws.population, self._setting.stored, found)
        tallies = self._sweep.score(wrong)
        return rows_of(self._draws, trials, tallies)

    @property
    def spent(self) -> Mapping[str, int]:
        """See `Evaluator`: ``slice``, ``layer``, ``suffix``, ``whole``."""
        now = dict(self._sweep.spent.trials)
        new = {way: count - self._told.get(way, 0) for way, count in now.items()}
        self._told = now
        return new

    @property
    def shared_s(self) -> float:
        """See `Evaluator`: clean activations."""
        return self._sweep.clean_s

    def watch(self, told: Callable[[float], None]) -> None:
        """See `Evaluator`."""
        self._sweep.told = lambda seen, samples: told(seen / samples)


class PlainEvaluator:
    """A whole forward pass over all samples for each trial."""

    def __init__(self, setting: Setting, draws: Draws) -> None:
        self._setting, self._draws = setting, draws
        self._count = 0
        self._watch: Callable[[float], None] = lambda part: None

    def evaluate(self, trials: Sequence[int]) -> list[Row]:
        """See `Evaluator`."""
        found = self._draws.faults(trials)
        wrong = patches(self._draws.population, self._setting.stored, found)
        self._count += len(trials)
        tallies = []
        for one in wrong:
            tallies.append(self._score(one))
            self._watch(len(tallies) / len(wrong))
        return rows_of(self._draws, trials, tallies)

    @property
    def spent(self) -> Mapping[str, int]:
        """See `Evaluator`: ``plain``."""
        count, self._count = self._count, 0
        return {"plain": count}

    @property
    def shared_s(self) -> float:
        """See `Evaluator`: a pass by itself shares nothing."""
        return 0.0

    def watch(self, told: Callable[[float], None]) -> None:
        """See `Evaluator`."""
        self._watch = told

    def _score(self, patch: Patch) -> Tally:
        numbers = self._setting.fault_free()
        for name, sparse in patch.items():
            whole = numbers[name].copy()
            whole.reshape(-1)[sparse.indices] = sparse.values
            numbers[name] = whole
        return self._setting.scorer.score(numbers)


def rows_of(draws: Draws, trials: Sequence[int], tallies: Sequence[Tally]) -> list[Row]:
    """Return the rows of trials of which each sample was scored."""
    faults = draws.faults(trials)
    return [
        row_of(draws, trial, tuple(int(part[i, 0]) for part in faults), tally)
        for i, (trial, tally) in enumerate(zip(trials, tallies, strict=True))
    ]


def row_of(draws: Draws, trial: int, fault: tuple[int, ...], tally: Tally) -> Row:
    """Return the row of a trial.

    Args:
        draws: Tells the stratum.
        trial: Its number.
        fault: Region, element and bit of its (first) flip.
        tally: Its counts over all samples.
    """
    counts, outcomes = tally.counts, tally.outcomes
    if outcomes is None:
        raise ValueError("a campaign needs the fault-free chip: call Scorer.set_golden first")
    stratum = 0 if draws.replacement else draws.population.stratum_of_one(trial)
    return (
        int(trial), stratum, *fault,
        counts.n, counts.correct, counts.mismatch, counts.nonfinite,
        outcomes.masked, outcomes.tolerable, outcomes.critical, outcomes.nonfinite,
        short_loss(tally.mean_loss),
    )  # fmt: skip


def short_loss(loss: float) -> float:
    """Return the loss in six significant digits; more are not the same for every batch size and thread count."""
    return float(f"{loss:.5e}") if math.isfinite(loss) else loss
