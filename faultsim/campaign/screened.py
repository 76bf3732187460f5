"""`ScreenEvaluator`: trials of which few images are evaluated, and some whole, as an audit. No rate lives here.

A row holds what the screen counted and, where the trial is one of those that are evaluated whole, the exact counts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.setting import Setting
from faultsim.campaign.draw import Draws
from faultsim.campaign.evaluator import COLUMNS, Row, row_of, rows_of
from faultsim.campaign.patches import patches
from faultsim.engine.screen.rivals import classification_of
from faultsim.engine.screen.screened import ScreenedSweep, ScreenOptions
from faultsim.engine.screen.tally import ScreenedTally
from faultsim.errors import OptionError
from faultsim.journal import Columns, Table

WHOLE_EVERY = 32
"""One trial in so many is evaluated on every image too."""
PASSES = 3
"""Passes over the data of a call, about."""
SCREEN_VERSION = 6
"""Version of the screen; raise it when the same trial would be screened otherwise."""
_TALLY = ("unchanged", "screened", "audited", "suspects", "evaluated", "audit_mismatch", "mismatch", "audit_correct",
          "correct", "clean_correct", "nonfinite")  # fmt: skip
SCREEN_COLUMNS = Columns(
    ints=(*COLUMNS.names[1:-1], "whole", *(f"screen_{name}" for name in _TALLY)), floats=COLUMNS.names[-1:]
)
"""`COLUMNS`, of which the counts are zero but in trials evaluated whole; and a `ScreenedTally`."""


class ScreenedShares(NamedTuple):
    """What `stats.difference.screened_rate` takes, each of shape (trials,): answers, share left, mean difference."""

    predicted: NDArray[np.float64]
    left: NDArray[np.float64]
    difference: NDArray[np.float64]


class ScreenEvaluator:
    """Screened trials (`engine.screen`), one in `WHOLE_EVERY` evaluated on every image as well.

    Args:
        setting: Model, data and task; a classification.
        draws: The faults, drawn independently.
        memory_bytes: Room for clean activations, their slopes, and open pieces of the graph.

    Raises:
        OptionError: If the task is no classification.
    """

    def __init__(self, setting: Setting, draws: Draws, *, memory_bytes: int) -> None:
        if classification_of(setting.task) is None:
            raise OptionError(
                f"--screen compares scores of classes, of which the task {setting.task.name} has none; leave it out"
            )
        self._setting, self._draws = setting, draws
        numbers = setting.fault_free()
        self._screen = ScreenedSweep(
            setting.scorer, numbers, options=ScreenOptions(seed=draws.seed), memory_bytes=memory_bytes
        )
        self._spent = {"screened": 0, "exact": 0}
        self._passes = 0

    def evaluate(self, trials: Sequence[int]) -> list[Row]:
        """See `Evaluator`."""
        self._passes = 0
        found = self._draws.faults(trials)
        wrong = patches(self._draws.population, self._setting.stored, found)
        audited = [k for k, trial in enumerate(trials) if is_whole(trial)]
        screened, whole = self._screen.score_some_whole(wrong, audited, trials=trials)
        exact = dict(zip(audited, whole, strict=True))
        rows: list[Row] = []
        for k, (trial, tally) in enumerate(zip(trials, screened, strict=True)):
            fault = tuple(int(part[k, 0]) for part in found)
            if k in exact:
                *counts, loss = row_of(self._draws, trial, fault, exact[k])
            else:
                *counts, loss = int(trial), 0, *fault, tally.n, *(0,) * 7, float("nan")
            rows.append((*counts, int(k in exact), *(getattr(tally, name) for name in _TALLY), loss))
            self._spent["exact" if tally.is_exact else "screened"] += 1
        return rows

    def whole(self, trials: Sequence[int]) -> list[Row]:
        """Return rows of `COLUMNS` of a few trials, each on every image; nobody is told how far that is."""
        self._screen.exact.told = None
        wrong = patches(self._draws.population, self._setting.stored, self._draws.faults(trials))
        return rows_of(self._draws, trials, self._screen.exact.score(wrong))

    @property
    def spent(self) -> Mapping[str, int]:
        """See `Evaluator`: ``screened``, and ``exact`` where no image was left to the screen unseen."""
        spent, self._spent = self._spent, {"screened": 0, "exact": 0}
        return spent

    @property
    def shared_s(self) -> float:
        """See `Evaluator`: clean activations and their slopes."""
        return self._screen.shared_s

    def watch(self, told: Callable[[float], None]) -> None:
        """See `Evaluator`: two passes and one of whole trials; more where memory is short."""

        def passed(seen: int, samples: int) -> None:
            told(min((self._passes + seen / samples) / PASSES, 1.0))
            self._passes += seen == samples

        self._screen.exact.told = passed


def is_whole(trial: int) -> bool:
    """Return whether a trial is evaluated on every image: one of every `WHOLE_EVERY`, the first and random ones.

    Which one is a hash of the number of their group (the finalizer of SplitMix64, [Steele2014]_ fig. 16): no stride of
    shards goes in step with it, so that every shard gets its part.

    References:
        .. [Steele2014] G. L. Steele, D. Lea, C. H. Flood. Fast splittable pseudorandom number generators. OOPSLA 2014.
    """
    group, place = divmod(trial, WHOLE_EVERY)
    group = (group ^ group >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    group = (group ^ group >> 27) * 0x94D049BB133111EB % (1 << 64)
    return (group ^ group >> 31) % WHOLE_EVERY == place


def screen_facts() -> dict[str, int | float]:
    """Return what of the screen belongs to a campaign's identity."""
    options = ScreenOptions()
    names = ("rivals", "fall", "reach", "audit", "suspects")
    chosen = {name: getattr(options, name) for name in names}
    return {"version": SCREEN_VERSION, "whole_every": WHOLE_EVERY, **chosen}


def tallies(rows: Table) -> list[ScreenedTally]:
    """Return what the screen counted in each row."""
    columns = [rows["n"].tolist(), *(rows[f"screen_{name}"].tolist() for name in _TALLY)]
    return [ScreenedTally(**dict(zip(("n", *_TALLY), one, strict=True))) for one in zip(*columns, strict=True)]


def answers(rows: Table) -> NDArray[np.float64]:
    """Return each trial's share of changed predictions by the screen alone: no audit, no trial evaluated whole."""
    return np.asarray(rows["screen_mismatch"] * _weight(rows, "suspects", "evaluated") / np.maximum(rows["n"], 1))


def changed_shares(rows: Table) -> ScreenedShares:
    """Return each trial's share of changed predictions; a trial evaluated whole leaves nothing to the screen."""
    seen = tallies(rows)
    whole = rows["whole"] > 0
    exact = rows["mismatch"] / np.maximum(rows["n"], 1)
    return ScreenedShares(
        np.where(whole, exact, [one.predicted for one in seen]),
        np.where(whole, 0.0, [one.left for one in seen]),
        np.where(whole, 0.0, [one.difference for one in seen]),
    )


def accuracy_shares(rows: Table) -> ScreenedShares:
    """Return each trial's accuracy; differences lie in [-1, 1]."""
    whole = rows["whole"] > 0
    n = np.maximum(rows["n"], 1)
    every = rows["screen_evaluated"] == rows["screen_suspects"]
    sure = rows["screen_clean_correct"] + np.where(every, rows["screen_correct"], 0)
    audit = rows["screen_audit_correct"] * _weight(rows, "screened", "audited")
    suspect = np.where(every, 0.0, rows["screen_correct"] * _weight(rows, "suspects", "evaluated"))
    left = rows["screen_screened"] + np.where(every, 0, rows["screen_suspects"])
    difference = (audit + suspect) / np.maximum(left, 1)
    return ScreenedShares(
        np.where(whole, rows["correct"], sure) / n, np.where(whole, 0, left) / n, np.where(whole, 0.0, difference)
    )


def _weight(rows: Table, population: str, sampled: str) -> NDArray[np.float64]:
    return np.asarray(rows[f"screen_{population}"] / np.maximum(rows[f"screen_{sampled}"], 1), dtype=np.float64)
