"""Before and after side by side, and whether it helped. Nothing is computed on a model here."""

import math
from typing import NamedTuple

from faultsim.harden.radii import RELATIVE
from faultsim.results import Result
from faultsim.results.hardening import Compared, PairedGain
from faultsim.stats import t_interval

LEAST_GAIN = 1e-9
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
    if before.random is None or after.random is None or before.random.accuracy.mean is None:
        return None
    old = {row.trial: row.correct / row.n for row in before.random.per_trial}
    new = {row.trial: row.correct / row.n for row in after.random.per_trial}
    gains = [new[trial] - old[trial] for trial in old if trial in new]
    if not gains:
        return None
    found = t_interval(gains, level=before.level, bounds=(-1.0, 1.0))
    alone = len(gains) == 1
    return PairedGain(
        trials=len(gains),
        mean=found.best,
        low=None if alone else found.low,
        high=None if alone else found.high,
        better=sum(gain > 0 for gain in gains),
    )


def verdict(rows: tuple[Compared, ...], *, tolerance: float, gain: PairedGain | None = None) -> Verdict:
    """Return whether the clean figure held, and the random tail, their mean or a worst case improved while none fell.

    The mean counts as improved where the interval of the paired *gain* lies above 0; where it lies below, and within
    the tolerance, the sentence says that it fell.

    The worst cases are those in the device's set and at one absolute ε; the relative one is shown and does not decide.
    A tail that is lost for both does not decide either (`LOST`).
    For a task without accuracy the losses are compared, and *tolerance* is a part of the clean loss.
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
    allowed = tolerance if counted else tolerance * abs(clean.before)
    if fell > allowed + LEAST_GAIN:
        went = f"{clean.name} went from {said(clean, clean.before)} to {said(clean, clean.after)}"
        return Verdict(False, f"It did not help: {went}, more than the tolerance of {_amount(clean, allowed)}.")
    drawn = [row for row in (tail, mean) if row is not None]
    judged = [row for row in drawn + worst if row.before is not None]
    claimed = gain is not None and gain.low is not None and gain.low > 0
    better = [row for row in judged if _gain(row) > LEAST_GAIN and (row is not mean or claimed)]
    lost = [row for row in judged if _gain(row) < -max(allowed, LEAST_GAIN)]
    if lost:
        texts = "; ".join(_change(row) for row in lost)
        return Verdict(False, f"It did not help: {texts} got worse.")
    if not better:
        what = "; ".join(_change(row) for row in judged) or "there is neither a random tail nor a worst case to compare"
        return Verdict(False, f"It did not help: nothing improved ({what}).")
    fell_too = ""
    if mean is not None and gain is not None and gain.high is not None and gain.high < 0:
        fell_too = f"; {_change(mean)} fell, which is not chance but within the tolerance"
    helped = "; ".join(_change(row) for row in better)
    return Verdict(True, f"It helped: {helped}; {_change(clean)}{fell_too}{lost_tail}.")


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
