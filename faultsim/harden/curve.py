"""What a training says of itself: `Judged`, `Point`, `Trained`. Nothing is trained here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class Judged(NamedTuple):
    """Numbers on the validation samples.

    Attributes:
        loss: Mean clean loss.
        accuracy: Clean accuracy, a fraction; NaN where the task counts none.
        score: What is kept: the best one. More is better.
    """

    loss: float
    accuracy: float
    score: float


Judge = Callable[[Mapping[str, Array]], Judged]


@dataclass(frozen=True)
class Point:
    """One validation of a training.

    Attributes:
        step: Steps done.
        epoch: Passes over the training samples done.
        train_loss: Mean of the training loss over the steps since the last point; NaN at the start.
        loss: Clean loss on the validation samples.
        accuracy: Clean accuracy there; NaN where the task counts none.
        score: What is kept by.
        lr: Learning rate of the last step.
        seconds: Since the training began, without interruptions.
    """

    step: int
    epoch: float
    train_loss: float
    loss: float
    accuracy: float
    score: float
    lr: float
    seconds: float

    def row(self) -> list[float | None]:
        """Return the fields in order as JSON has them: NaN as None."""
        return [None if math.isnan(value) else value for value in astuple(self)]

    @classmethod
    def of(cls, row: object) -> "Point":
        """Return the point that `row` gave.

        Losses may be anything, as those of a network that has diverged are; a score is finite all the same.

        Raises:
            ValueError: If it is none.
        """
        if not isinstance(row, list) or len(row) != 8 or not all(x is None or type(x) in (int, float) for x in row):
            raise ValueError(f"{str(row)[:80]!r} is no point of a curve")
        step, *rest = row
        if type(step) is not int or step < 0:
            raise ValueError(f"step {step!r} of a point")
        point = cls(step, *(math.nan if value is None else float(value) for value in rest))
        legal = {
            "epoch": 0 <= point.epoch < math.inf,
            "accuracy": math.isnan(point.accuracy) or 0 <= point.accuracy <= 1,
            "score": math.isfinite(point.score),
            "lr": math.isnan(point.lr) or 0 <= point.lr < math.inf,
            "seconds": 0 <= point.seconds < math.inf,
        }
        for name, fits in legal.items():
            if not fits:
                raise ValueError(f"{name} {getattr(point, name):g} at step {step}")
        return point


@dataclass(frozen=True, eq=False)
class Trained:
    """A training that has ended.

    Attributes:
        numbers: The best numbers that were validated, by name, ready to be written.
        curve: Every validation, the untrained model first.
        best: The one that `numbers` are from; with a `part` below 1, what they score.
        steps: Steps done.
        planned: Steps that were planned.
        seconds: Time spent, interruptions left out.
        stopped: Why it ended before the plan, None where it did not.
        part: How much of the way from the original's numbers to the trained ones `numbers` are, in (0, 1].
        dropped: Chips drawn by the losses that were left out: their loss or gradient was not finite.
        skipped: Steps at which nothing was trained, for the same reason.
        found: Step of the best validation, whatever the way back made of it.
        late: Whether the time budget cut the way back short.
    """

    numbers: dict[str, Array]
    curve: tuple[Point, ...]
    best: Point
    steps: int
    planned: int
    seconds: float
    stopped: str | None
    part: float = 1.0
    dropped: int = 0
    skipped: int = 0
    found: int = 0
    late: bool = False


def chosen(curve: Sequence[Point], slack: float) -> Point:
    """Return the last point whose score is within *slack* of the best and above the first's; the first if none is.

    With no slack it is the first of the best ones. With slack the scores are noisy, and that of a trained point is the
    mean of its own and of the trained point's before it: a few chips that miss by luck make no best point.

    Args:
        curve: At least one point, the untrained model's first.
        slack: At least 0, in units of the score.
    """
    if not slack:
        return max(curve, key=lambda point: point.score)
    scores = steady(curve)
    best = max(scores)
    near = [i for i, score in enumerate(scores) if score >= best - slack and score > scores[0]]
    return curve[near[-1] if near else scores.index(best)]


def steady(curve: Sequence[Point]) -> list[float]:
    """Return the scores of a curve, each but the first two averaged with the one before it."""
    own = [point.score for point in curve]
    return [*own[:2], *(0.5 * (own[i - 1] + own[i]) for i in range(2, len(own)))]


Told = Callable[[Point, int], None]
"""Told of every validation, with the steps planned."""
