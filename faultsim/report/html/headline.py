"""The figure that a result is known by (accuracy, loss or own score): of a chip, of a model, as text. No drawing."""

from typing import NamedTuple

from faultsim.report.figures import Row, _accuracy_rows, _headline, _loss_rows, _score_rows
from faultsim.report.words import percent, plain
from faultsim.results import DataInfo, RandomResult, Result, Score, TrialRow


class Headline(NamedTuple):
    """How the headline figure of a result is read and written.

    Attributes:
        kind: ``accuracy``, ``loss`` or ``score``.
        name: What people call it.
        higher: Whether more is better.
    """

    kind: str
    name: str
    higher: bool

    @property
    def fraction(self) -> bool:
        """Whether it is a fraction, shown in per cent."""
        return self.kind == "accuracy"

    @property
    def axis(self) -> str:
        """The label of an axis."""
        return f"{self.name} (%)" if self.fraction else self.name

    def shown(self, value: float | None) -> str:
        """Return a value as text."""
        if value is None:
            return "not finite"
        return percent(value) if self.fraction else f"{value:.4g}"

    def scaled(self, value: float) -> float:
        """Return a value in the unit of the axis."""
        return 100 * value if self.fraction else value

    def of_chip(self, row: TrialRow) -> float | None:
        """Return the figure of one chip; None where it is not finite."""
        if self.kind == "accuracy":
            return row.correct / row.n
        return row.loss if self.kind == "loss" else row.score

    def of(self, score: Score | None) -> float | None:
        """Return the figure of one exact model."""
        found: float | None = None if score is None else getattr(score, self.kind)
        return found


def headline(result: Result) -> Headline:
    """Return the headline of an assessment; a task without its figure falls back to the loss."""
    return _of(_headline(result), result.data)


def headline_of_sweep(data: DataInfo, clean: Score) -> Headline:
    """Return the headline of a sweep: accuracy where there is one, else the loss."""
    return _of("accuracy" if data.headline == "accuracy" and clean.accuracy is not None else "loss", data)


def rows(result: Result) -> tuple[Row, ...]:
    """Return the rows of the main table: the same figures as in the terminal."""
    makers = {"accuracy": _accuracy_rows, "loss": _loss_rows, "score": _score_rows}
    return tuple(makers[_headline(result)](result))


def worst_chip(random: RandomResult, of: Headline) -> TrialRow | None:
    """Return the worst chip drawn, the first of equals; None where the result keeps no row a chip."""

    def badness(row: TrialRow) -> float:
        value = of.of_chip(row)
        if value is None:
            return float("inf")
        return -value if of.higher else value

    return max(random.per_trial, key=badness, default=None)


def _of(kind: str, data: DataInfo) -> Headline:
    names = {"accuracy": data.score, "loss": data.loss, "score": data.metric or "score"}
    higher = kind == "accuracy" or (kind == "score" and data.higher_is_better is not False)
    return Headline(kind, plain(names[kind]), higher)
