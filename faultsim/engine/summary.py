"""Rows of a campaign to the figures of a result, each with its interval over chips. No model runs here."""

import math
from collections.abc import Sequence

from faultsim.criteria.percentile import percentile
from faultsim.memory import OnDue
from faultsim.metrics import Tally, Task
from faultsim.results import (
    Accuracies,
    Halted,
    Losses,
    OutcomeCounts,
    Outcomes,
    OutcomeShare,
    RandomResult,
    Rate,
    Scores,
    SdcFit,
    TrialRow,
)
from faultsim.stats import clopper_pearson, quantile_estimate, t_interval


def row(
    trial: int, tally: Tally, task: Task | None = None, *, detected: int = 0, corrected: int = 0, crashed: int = 0
) -> TrialRow:
    """Return the row of one chip.

    Args:
        trial: Number of the chip.
        tally: Its counts over all samples.
        task: What gives the chip's own score, where it is known by another figure than its accuracy.
        detected: Memory words with a detected uncorrectable error.
        corrected: Memory words that a code repaired.
        crashed: 1 where the chip stopped for all to see, else 0.
    """
    counts = tally.counts
    outcomes = tally.outcomes
    return TrialRow(
        trial=trial,
        correct=counts.correct,
        mismatch=counts.mismatch,
        nonfinite=counts.nonfinite,
        n=counts.n,
        loss=tally.mean_loss if counts.nonfinite == 0 and math.isfinite(tally.mean_loss) else None,
        score=None if task is None else own_score(task, tally),
        outcomes=None
        if outcomes is None
        else OutcomeCounts(
            masked=outcomes.masked,
            tolerable=outcomes.tolerable,
            critical=outcomes.critical,
            nonfinite=outcomes.nonfinite,
        ),
        detected=detected,
        corrected=corrected,
        crashed=crashed,
    )


def own_score(task: Task, tally: Tally) -> float | None:
    """Return the task's own score; ``None`` where it is not finite, or the task is known by its accuracy."""
    if task.headline == "accuracy":
        return None
    score = task.score(tally)
    return score if math.isfinite(score) else None


def interval(values: Sequence[float], level: float, *, rare: bool = False) -> tuple[float, float | None, float | None]:
    """Return the mean of fractions over chips and its t interval; no interval from a single chip.

    Args:
        values: One fraction a chip.
        level: Confidence, in (0, 1).
        rare: Whether every chip has one event or few. One in many of these can ruin a chip, which the spread of those
            that were seen does not show: as many chips as Clopper-Pearson allows unseen may then be lost, or spared.
    """
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    if min(values) == max(values):
        # No chip differed, and the t interval has no width: as many may differ as Clopper-Pearson still allows, by all.
        unseen = clopper_pearson(0, len(values), level=level).high or 0.0
        return mean, mean * (1 - unseen), mean + (1 - mean) * unseen
    found = t_interval(list(values), level=level, bounds=(0.0, 1.0))
    if not rare or found.low is None or found.high is None:
        return found.best, found.low, found.high
    unseen = clopper_pearson(0, len(values), level=level).high or 0.0
    return found.best, min(found.low, mean * (1 - unseen)), max(found.high, mean + (1 - mean) * unseen)


def share_interval(
    values: Sequence[float], level: float, *, rare: bool = False
) -> tuple[float, float | None, float | None]:
    """Return what `interval` does, with a width even where every chip has a share of 0, or every chip of 1.

    The t interval has none there. A mean share is at most the probability of any share above 0, whose exact bound
    (Clopper-Pearson) is the end that is shown; at 1 it is the mirror image.
    """
    mean, low, high = interval(values, level, rare=rare)
    if all(value == 0 for value in values):
        return mean, 0.0, clopper_pearson(0, len(values), level=level).high
    if all(value == 1 for value in values):
        return mean, clopper_pearson(len(values), len(values), level=level).low, 1.0
    return mean, low, high


def summarise(
    rows: Sequence[TrialRow],
    *,
    level: float,
    scored: bool = True,
    higher_is_better: bool | None = None,
    event_probability: float | None = None,
    constraint: str | None = None,
    stopped: str | None = None,
    device_fit: float | None = None,
    on_due: OnDue | None = None,
) -> RandomResult:
    """Return the figures over all chips in *rows*, at least one.

    Args:
        rows: One a chip.
        level: Two-sided confidence of every interval, in (0, 1).
        scored: Whether the counts of correct answers mean an accuracy for this task.
        higher_is_better: For tasks with a score of their own in the rows, whether a larger one is better; ``None``:
            the task is known by its accuracy.
        event_probability: As `RandomResult` has it.
        constraint: As `RandomResult` has it.
        stopped: As `RandomResult` has it.
        device_fit: Fault events of the device in FIT (failures in 10^9 h), where every chip was drawn given one event.
        on_due: What follows an error that the memory's code detects and cannot correct; ``None`` without a code.
    """
    rare = event_probability is not None
    wrong, wrong_low, wrong_high = share_interval([r.mismatch / r.n for r in rows], level, rare=rare)
    outcomes = _outcomes(rows, level, rare=rare)
    return RandomResult(
        trials=len(rows),
        accuracy=_accuracies(rows, level, rare=rare) if scored else _no_accuracies(),
        loss=_losses(rows, level),
        mismatch_rate=Rate(mean=wrong, low=wrong_low, high=wrong_high),
        score=None if higher_is_better is None else _scores(rows, level, higher_is_better=higher_is_better),
        outcomes=outcomes,
        sdc_fit=None if device_fit is None or outcomes is None else _fit(outcomes, device_fit, events=len(rows)),
        nonfinite_trials=sum(r.nonfinite > 0 for r in rows),
        halted=_halted(rows, level, on_due) if constraint is None else None,
        event_probability=event_probability,
        constraint=constraint,
        stopped=stopped,
        per_trial=tuple(rows),
    )


def _accuracies(rows: Sequence[TrialRow], level: float, *, rare: bool) -> Accuracies:
    accuracies = [r.correct / r.n for r in rows]
    mean, low, high = interval(accuracies, level, rare=rare)
    q = quantile_estimate(accuracies, 0.05, level=level)
    return Accuracies(
        mean=mean,
        low=low,
        high=high,
        p05=q.best,
        p05_low=None if q.low_open else q.low,
        p05_high=None if q.high_open else q.high,
        min=min(accuracies),
        max=max(accuracies),
    )


def _no_accuracies() -> Accuracies:
    why = "the task counts no correct answers"
    return Accuracies(
        mean=None, low=None, high=None, p05=None, p05_low=None, p05_high=None, min=None, max=None, note=why
    )


def _differ(values: Sequence[float]) -> bool:
    """Whether the t interval bounds a mean without ends of its own: where no chip differs it has no width."""
    return len(values) > 1 and min(values) < max(values)


def _losses(rows: Sequence[TrialRow], level: float) -> Losses:
    losses = [r.loss for r in rows if r.loss is not None]
    finite = len(losses) == len(rows)
    bounds = t_interval(losses, level=level) if finite and _differ(losses) else None
    bad = percentile([r.loss for r in rows], 0.95, level=level, higher_is_better=False)
    broken = sum(r.loss is None and r.nonfinite > 0 for r in rows)
    note = "the task has no loss" if not losses else f"{len(rows) - len(losses)} chips have a loss that is not finite"
    note = f"{broken} chips have outputs that are not finite" if broken else note
    return Losses(
        mean=math.fsum(losses) / len(losses) if finite else None,
        max=max(losses) if finite else None,
        low=bounds.low if bounds else None,
        high=bounds.high if bounds else None,
        p95=bad.value,
        p95_low=bad.low,
        p95_high=bad.high,
        note=None if finite else note,
    )


def _scores(rows: Sequence[TrialRow], level: float, *, higher_is_better: bool) -> Scores:
    scores = [r.score for r in rows if r.score is not None]
    broken = len(rows) - len(scores)
    least = 0.0 if scores and min(scores) >= 0 else -math.inf  # BLEU, perplexity and errors are never below 0
    bounds = t_interval(scores, level=level, bounds=(least, math.inf)) if not broken and _differ(scores) else None
    share = 0.05 if higher_is_better else 0.95
    bad = percentile([r.score for r in rows], share, level=level, higher_is_better=higher_is_better)
    return Scores(
        mean=None if broken else math.fsum(scores) / len(scores),
        low=bounds.low if bounds else None,
        high=bounds.high if bounds else None,
        bad=bad.value,
        bad_low=bad.low,
        bad_high=bad.high,
        min=None if not scores or (broken and higher_is_better) else min(scores),
        max=None if not scores or (broken and not higher_is_better) else max(scores),
        nonfinite=broken,
    )


def _outcomes(rows: Sequence[TrialRow], level: float, *, rare: bool) -> Outcomes | None:
    known = [r.outcomes for r in rows if r.outcomes is not None]
    if len(known) < len(rows):
        return None

    def share(name: str) -> OutcomeShare:
        counts = [getattr(one, name) for one in known]
        shares = [n / one.samples for n, one in zip(counts, known, strict=True)]
        mean, low, high = share_interval(shares, level, rare=rare)
        return OutcomeShare(total=sum(counts), share=mean, low=low, high=high)

    return Outcomes(
        masked=share("masked"),
        tolerable=share("tolerable"),
        critical=share("critical"),
        nonfinite=share("nonfinite"),
        chips_masked=sum(one.masked == one.samples for one in known),
        chips_critical=sum(one.critical > 0 for one in known),
    )


def _halted(rows: Sequence[TrialRow], level: float, on_due: OnDue | None) -> Halted:
    if on_due not in ("halt", "reload"):
        return Halted(on_due=on_due, chips=0, share=0.0, low=0.0, high=0.0)
    chips = sum(r.detected > 0 for r in rows)
    found = clopper_pearson(chips, len(rows), level=level)
    return Halted(on_due=on_due, chips=chips, share=found.best, low=found.low, high=found.high)


def _fit(outcomes: Outcomes, device_fit: float, *, events: int) -> SdcFit:
    critical = outcomes.critical
    return SdcFit(
        value=device_fit * critical.share,
        low=None if critical.low is None else device_fit * critical.low,
        high=None if critical.high is None else device_fit * critical.high,
        device_fit=device_fit,
        events=events,
    )
