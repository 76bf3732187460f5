"""Before and after side by side, and whether it helped. Nothing is computed on a model here.

References:
    .. [ClopperPearson1934] C. J. Clopper, E. S. Pearson. Biometrika 26(4):404-413, 1934.
"""

import math
from itertools import chain
from typing import NamedTuple

import numpy as np

from faultsim.harden.radii import RELATIVE
from faultsim.results import Result
from faultsim.results.hardening import Compared, PairedGain
from faultsim.stats import clopper_pearson, t_interval
from faultsim.stats.paired_interval import paired_interval

LEAST_GAIN = 1e-9
BAD = 0.05
"""Part of the chips that are looked at for the tail."""
LOST = 0.25
"""A worst case or a 5th percentile below this part of the clean accuracy, before and after, is lost for both and does
not decide: what differs there is chance."""


class Verdict(NamedTuple):
    """Whether a hardening helped, and why."""

    helped: bool
    sentence: str


def compared(before: Result, after: Result, floats: Result | None = None) -> tuple[Compared, ...]:
    """Return the figures of two assessments side by side, losses last.

    Args:
        before: Of the original.
        after: Of the hardened model.
        floats: Of the float model that *before* was quantized from; each of its figures goes into the row's note.
    """
    rows = _rows(before, after)
    if floats is None:
        return rows
    known = {row.name: row for row in _rows(floats, floats)}
    return tuple(_with_float(row, known.get(row.name)) for row in rows)


def _with_float(row: Compared, of_float: Compared | None) -> Compared:
    if of_float is None:
        return row
    told = f"float original: {said(of_float, of_float.before)}"
    return row.model_copy(update={"note": told if row.note is None else f"{told}; {row.note}"})


def _rows(before: Result, after: Result) -> tuple[Compared, ...]:
    rows = [_row("clean accuracy", before.clean.accuracy, after.clean.accuracy)]
    if before.clean_stored is not None and after.clean_stored is not None:
        rows.append(_row("clean accuracy as stored", before.clean_stored.accuracy, after.clean_stored.accuracy))
    if before.random is not None and after.random is not None:
        one, two = before.random.accuracy, after.random.accuracy
        rows += [
            _row("random accuracy, mean", one.mean, two.mean),
            _row("random accuracy, 5th percentile", one.p05, two.p05),
        ]
        rows.append(_row("random accuracy, worst chip drawn", one.min, two.min))
    if before.worst_case is not None and after.worst_case is not None:
        rows.append(
            _row(
                "worst case in the device's set",
                before.worst_case.accuracy,
                after.worst_case.accuracy,
                note="the set is of each model's own numbers: the device scales it with them",
            )
        )
    kept = [row for row in rows if row.before is not None or row.after is not None]
    kept.append(_row("clean loss", before.clean.loss, after.clean.loss, loss=True))
    if before.random is not None and after.random is not None:
        kept.append(_row("random loss, mean", before.random.loss.mean, after.random.loss.mean, loss=True))
        kept.append(_row("random loss, 95th percentile", before.random.loss.p95, after.random.loss.p95, loss=True))
    if before.worst_case is not None and after.worst_case is not None:
        kept.append(_row("worst-case loss", before.worst_case.loss, after.worst_case.loss, loss=True))
    return tuple(kept)


def paired(before: Result, after: Result) -> PairedGain | None:
    """Return the gain in accuracy chip by chip; None where there is none to tell."""
    if before.random is None or before.random.accuracy.mean is None:
        return None
    return _gain_of(_pairs(before, after), level=before.level, most=1.0)


def paired_loss(before: Result, after: Result) -> PairedGain | None:
    """Return by how much the loss fell chip by chip; None where there is no loss of every chip."""
    pairs = _pairs(before, after, loss=True)
    return _gain_of(pairs, level=before.level, most=math.inf) if all(map(math.isfinite, chain(*pairs))) else None


def tail_rose(before: Result, after: Result, *, loss: bool = False) -> bool:
    """Return whether the bad chips are less bad by more than chance: a sign test at their common 5th percentile.

    Of both models' chips together the worst twentieth is bad. A chip that is bad with one model alone says something,
    and more of these must be the original's than a fair coin explains, at the level of the assessment (the interval of
    [ClopperPearson1934]_ lies above a half): six to none is the least at 95 %, so that few chips show nothing.

    Args:
        before: Of the original.
        after: Of the hardened model, on the same chips.
        loss: Whether losses are compared, more being worse; accuracies otherwise.
    """
    pairs = _pairs(before, after, loss=loss)
    if not pairs:
        return False
    edge = sorted(chain(*pairs))[math.ceil(2 * BAD * len(pairs)) - 1]
    was = sum(old <= edge < new for old, new in pairs)
    is_now = sum(new <= edge < old for old, new in pairs)
    return was > is_now and clopper_pearson(was, was + is_now, level=before.level).low > 0.5


def _pairs(before: Result, after: Result, *, loss: bool = False) -> list[tuple[float, float]]:
    """Return what each chip scores with the two models, more being better; losses are negative."""
    if before.random is None or after.random is None:
        return []
    old, new = (
        {row.trial: (-math.inf if row.loss is None else -row.loss) if loss else row.correct / row.n for row in rows}
        for rows in (before.random.per_trial, after.random.per_trial)
    )
    return [(old[trial], new[trial]) for trial in old if trial in new]


def _gain_of(pairs: list[tuple[float, float]], *, level: float, most: float) -> PairedGain | None:
    """Return the mean gain; of accuracies it holds where few chips carry it, too (`paired_interval`)."""
    gains = [new - old for old, new in pairs]
    if not gains:
        return None
    if math.isfinite(most) and len(gains) > 1:
        found = paired_interval(np.array(gains), level=level, span=most)
    else:
        found = t_interval(gains, level=level, bounds=(-most, most))
    alone = len(gains) == 1
    return PairedGain(
        trials=len(gains),
        mean=found.best,
        low=None if alone else found.low,
        high=None if alone else found.high,
        better=sum(gain > 0 for gain in gains),
    )


def verdict(
    rows: tuple[Compared, ...],
    *,
    tolerance: float,
    gain: PairedGain | None = None,
    tail_shown: bool = True,
    tail_fell: bool = True,
    least: float = 0.0,
) -> Verdict:
    """Return whether the clean figure held, and the random tail, their mean or a worst case improved while none fell.

    The mean counts as improved where the interval of the paired *gain* lies above 0; where it lies below, the hardening
    did not help. A tail that rose counts where *tail_shown*, one that fell where *tail_fell*; both it and a worst case
    where they rose by more than *least*, or fell by more than that and the tolerance.

    The worst cases are those in the device's set and at one absolute ε; the relative one is shown and does not decide.
    A tail that is lost for both does not decide either (`LOST`).
    For a task without accuracy the losses are compared, and *tolerance* is a part of each figure before.

    Args:
        rows: As `compared` gives them.
        tolerance: Most that a figure may fall.
        gain: Chip by chip, of the figure whose mean is compared.
        tail_shown: Whether the chips show that the tail rose (`tail_rose`).
        tail_fell: Whether they show that it fell.
        least: What one sample makes of an accuracy.
    """
    by_name = {row.name: row for row in rows}
    counted = "clean accuracy" in by_name
    clean = by_name["clean accuracy" if counted else "clean loss"]
    mean = by_name.get("random accuracy, mean" if counted else "random loss, mean")
    tail = by_name.get("random accuracy, 5th percentile" if counted else "random loss, 95th percentile")
    start = "worst case" if counted else "worst-case loss"
    worst = [row for row in rows if row.name.startswith(start) and not row.name.startswith(RELATIVE)]
    lost_tail = ""
    if counted and clean.before is not None:
        most = LOST * clean.before
        worst = [row for row in worst if max(row.before or 0.0, row.after or 0.0) >= most]
        if tail is not None and max(tail.before or 0.0, tail.after or 0.0) < most:
            lost_tail, tail = f"; {_change(tail)} is lost for both", None
    if clean.after is None or clean.before is None:
        return Verdict(False, "It did not help: the clean figure of one model is not finite.")
    fell = clean.before - clean.after if counted else clean.after - clean.before
    most_fall = _allowed(clean, tolerance)
    if fell > most_fall + LEAST_GAIN:
        went = f"{clean.name} went from {said(clean, clean.before)} to {said(clean, clean.after)}"
        return Verdict(False, f"It did not help: {went}, more than the tolerance of {_amount(clean, most_fall)}.")
    drawn = [row for row in (tail, mean) if row is not None]
    judged = [row for row in drawn + worst if row.before is not None]
    claimed = gain is not None and gain.low is not None and gain.low > 0
    better = [row for row in judged if _gain(row) > LEAST_GAIN + (0.0 if row is mean or not counted else least)]
    better = [row for row in better if (row is not mean or claimed) and (row is not tail or tail_shown)]
    fallen = [row for row in judged if _gain(row) < -LEAST_GAIN - _most_fall(row, mean, tolerance, least)]
    lost = [row for row in fallen if row is not tail or tail_fell or row.after is None]
    if lost:
        texts = "; ".join(_change(row) for row in lost)
        return Verdict(False, f"It did not help: {texts} got worse.")
    if not better:
        what = "; ".join(_change(row) for row in judged) or "there is neither a random tail nor a worst case to compare"
        doubt = " by more than chance" if any(_gain(row) > LEAST_GAIN for row in judged) else ""
        return Verdict(False, f"It did not help: nothing improved{doubt} ({what}).")
    if mean is not None and gain is not None and gain.high is not None and gain.high < 0:
        return Verdict(False, f"It did not help: {_change(mean)} fell, which is not chance.")
    helped = "; ".join(_change(row) for row in better)
    if tail is not None and tail in fallen:
        lost_tail = f"; {_change(tail)} is within chance"
    return Verdict(True, f"It helped: {helped}; {_change(clean)}{lost_tail}.")


def _allowed(row: Compared, tolerance: float) -> float:
    """Return the most that a figure may fall: of a loss a part of what it was."""
    return tolerance if row.higher_is_better or row.before is None else tolerance * abs(row.before)


def _most_fall(row: Compared, mean: Compared | None, tolerance: float, least: float) -> float:
    """Return the most that a judged figure may fall: of accuracies a sample at least, but for their mean over chips."""
    allowed = _allowed(row, tolerance)
    return max(allowed, least) if row.higher_is_better and row is not mean else allowed


def _row(
    name: str, before: float | None, after: float | None, *, loss: bool = False, note: str | None = None
) -> Compared:
    return Compared(name=name, before=before, after=after, higher_is_better=not loss, fraction=not loss, note=note)


def _gain(row: Compared) -> float:
    if row.before is None or row.after is None:
        return math.inf if row.before is None and row.after is not None else -math.inf
    return row.after - row.before if row.higher_is_better else row.before - row.after


def _change(row: Compared) -> str:
    return f"{row.name} {said(row, row.before)} → {said(row, row.after)}"


def said(row: Compared, value: float | None) -> str:
    """Return a figure of a row as text."""
    if value is None:
        return "not finite"
    return f"{value:.1%}" if row.fraction else f"{value:.4g}"


def _amount(row: Compared, value: float) -> str:
    return f"{100 * value:.2g} points" if row.fraction else f"{value:.3g}"
