"""Rows of a campaign to the figures of a result, each with its interval over chips. No model runs here."""

import math
from collections.abc import Sequence

from faultsim.metrics import Tally
from faultsim.results import Accuracies, Losses, RandomResult, Rate, TrialRow
from faultsim.stats import quantile_estimate, t_interval


def row(trial: int, tally: Tally) -> TrialRow:
    """Return the row of one chip."""
    counts = tally.counts
    return TrialRow(
        trial=trial,
        correct=counts.correct,
        mismatch=counts.mismatch,
        nonfinite=counts.nonfinite,
        n=counts.n,
        loss=tally.mean_loss if counts.nonfinite == 0 and math.isfinite(tally.mean_loss) else None,
    )


def interval(values: Sequence[float], level: float) -> tuple[float, float | None, float | None]:
    """Return the mean of fractions over chips and its t interval; no interval from a single chip."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    found = t_interval(list(values), level=level, bounds=(0.0, 1.0))
    return found.best, found.low, found.high


def summarise(
    rows: Sequence[TrialRow],
    *,
    level: float,
    scored: bool = True,
    event_probability: float | None = None,
    constraint: str | None = None,
    stopped: str | None = None,
) -> RandomResult:
    """Return the figures over all chips in *rows*, at least one.

    Args:
        rows: One a chip.
        level: Two-sided confidence of every interval, in (0, 1).
        scored: Whether the counts of correct answers mean an accuracy for this task.
        event_probability: As `RandomResult` has it.
        constraint: As `RandomResult` has it.
        stopped: As `RandomResult` has it.
    """
    accuracies = [r.correct / r.n for r in rows]
    if scored:
        mean, low, high = interval(accuracies, level)
        q = quantile_estimate(accuracies, 0.05, level=level)
        accuracy = Accuracies(
            mean=mean,
            low=low,
            high=high,
            p05=q.best,
            p05_low=None if q.low_open else q.low,
            p05_high=None if q.high_open else q.high,
            min=min(accuracies),
            max=max(accuracies),
        )
    else:
        why = "the task counts no correct answers"
        accuracy = Accuracies(
            mean=None,
            low=None,
            high=None,
            p05=None,
            p05_low=None,
            p05_high=None,
            min=None,
            max=None,
            note=why,
        )
    losses = [r.loss for r in rows if r.loss is not None]
    finite = len(losses) == len(rows)
    bounds = t_interval(losses, level=level) if finite and len(losses) > 1 else None
    loss = Losses(
        mean=math.fsum(losses) / len(losses) if finite else None,
        max=max(losses) if finite else None,
        low=bounds.low if bounds else None,
        high=bounds.high if bounds else None,
        note=None if finite else f"{len(rows) - len(losses)} chips have outputs that are not finite",
    )
    wrong, wrong_low, wrong_high = interval([r.mismatch / r.n for r in rows], level)
    return RandomResult(
        trials=len(rows),
        accuracy=accuracy,
        loss=loss,
        mismatch_rate=Rate(mean=wrong, low=wrong_low, high=wrong_high),
        nonfinite_trials=sum(r.nonfinite > 0 for r in rows),
        event_probability=event_probability,
        constraint=constraint,
        stopped=stopped,
        per_trial=tuple(rows),
    )
