"""What the page says of an attack and of a bit map, as words and values for the templates. No markup, no drawing."""

from collections.abc import Iterable
from typing import Any

from faultsim.report.words import counted, interval, percent
from faultsim.results.attack import AttackCells, AttackResult, Proven, RandomBand
from faultsim.results.bitmap import BitMapResult

_MOST_ROWS = 100
_FOUND = "found, not proven"


def attack_words(found: AttackResult) -> tuple[str, str]:
    """Return the answer of an attack and the numbers behind it."""
    clean = f"{_score(found.clean.accuracy, found.clean.loss, found)} without faults"
    cells = found.cells
    if cells is not None and cells.points:
        last = cells.points[-1]
        verb = "brings" if last.cells == 1 else "bring"
        said = f"{counted(last.cells, _cell(cells))} {verb} the {found.data.score} to {percent(last.accuracy)}."
        return said, f"{_upper(clean)}; {_FOUND}: fewer may do."
    if found.worst is not None:
        said = (
            f"{_name(found)} falls to {_score(found.worst.accuracy, found.worst.loss, found)} in the worst case found."
        )
        return _upper(
            said
        ), f"{_upper(clean)}; {_random(found.random, found)}{_FOUND}: the true worst case is at least as bad."
    radius = found.curve.radii[0] if found.curve is not None and found.curve.radii else None
    if found.curve is not None and found.curve.keep is not None and radius is not None and radius.worst is not None:
        below = f"below {percent(found.curve.keep)}"
        said = f"A corruption of radius {radius.worst:.3g} ({found.curve.unit}) brings the {found.data.score} {below}."
        far = f"a random one needs a radius of {radius.random:.3g}; " if radius.random is not None else ""
        if radius.random_over_worst is not None:
            far = f"a random one needs {radius.random_over_worst:.3g} times that radius; "
        return said, f"{_upper(clean)}; {far}{_FOUND}: a smaller radius may do."
    if found.curve is not None and found.curve.points:
        last_point = found.curve.points[-1]
        worst = _score(last_point.worst.accuracy, last_point.worst.loss, found)
        said = f"{_name(found)} falls to {worst} at {found.curve.over} = {last_point.value:.4g}, worst case found."
        return _upper(said), f"{_upper(clean)}; {_random(last_point.random, found)}{_FOUND}."
    return "Nothing tried did damage.", f"{_upper(clean)}; a search that finds nothing proves nothing."


def attack_view(found: AttackResult) -> dict[str, Any]:
    """Return the tables of an attack."""
    facts = [("scored on", f"{found.data.samples:,} samples, labels {found.data.labels}"),
             ("searched on", found.searched_on),
             ("cost", f"{found.gradients:,} gradients, {found.forwards:,} forward passes")]  # fmt: skip
    if found.set is not None:
        facts.insert(0, ("set", found.set.words))
    if found.certificate is not None:
        facts.append(("proven", _proven(found.certificate)))
    if found.forecast_log10_trials is not None:
        chance = f"about 10^{found.forecast_log10_trials:,.0f} random trials for an even chance of half of it"
        facts.append(("by chance", f"{chance} (first order)"))
    if found.written is not None:
        facts.append(("written", f"{found.written.path}, sha256 {found.written.sha256}"))
    return {
        "result": found,
        "heading": found.data.score,
        "rows": _summary(found),
        "facts": facts,
        "curve": _curve(found),
        "radii": _radii(found),
        "cells": _cells(found),
        "changed": _changed(found.cells),
    }


def bitmap_words(found: BitMapResult) -> tuple[str, str]:
    """Return the answer of a bit map: how often a flip of any bit changes an answer."""
    audit = found.audit
    said = f"One flipped bit changes {100 * audit.best:.3g}% of the answers, on average over all stored bits."
    between = interval(audit.low, audit.high, of_fractions=True)
    origin = f"a map over {counted(found.images, 'image')}, corrected by {counted(audit.flips, 'exact flip')}"
    return said, f"{100 * found.level:g}% interval {between} %; from {origin}."


def bitmap_view(found: BitMapResult) -> dict[str, Any]:
    """Return the table of bit positions, and what the audit says."""
    rows = [
        (
            f"{_spans(group.bits)} of {group.width}",
            f"{group.flips:,}",
            _tiny(group.predicted),
            _tiny(group.best),
            interval(group.low, group.high, of_fractions=True),
        )
        for group in found.audit.groups
    ]
    correlation = found.audit.rank_correlation
    trust = (
        "" if correlation is None else f"Rank correlation of map and truth over the audited flips: {correlation:.2f}."
    )
    return {"result": found, "rows": rows, "trust": trust}


def _spans(bits: Iterable[int]) -> str:
    """Return whole numbers as ``0–7, 9``."""
    runs: list[list[int]] = []
    for bit in sorted(bits):
        if runs and bit == runs[-1][-1] + 1:
            runs[-1].append(bit)
        else:
            runs.append([bit])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _summary(found: AttackResult) -> list[tuple[str, str, str]]:
    rows = [("clean", _percent(found.clean.accuracy), _loss(found.clean.loss))]
    if found.random is not None:
        band = found.random
        between = interval(band.low, band.high, of_fractions=True)
        shown = f"{_percent(band.mean)} {between}".strip()
        rows.append((f"random in the same set, mean of {band.trials:,}", shown, _loss(band.loss_mean)))
    for label, score in (("lowest accuracy found", found.worst), ("largest loss found", found.largest)):
        if score is not None:
            rows.append((f"{label} ({score.method})", _percent(score.accuracy), _loss(score.loss)))
    if found.certificate is not None and found.certificate.proven:
        rows.append(("proven: never below", _percent(found.certificate.accuracy), ""))
    return rows if len(rows) > 1 else []


def _curve(found: AttackResult) -> list[tuple[str, str, str, str]]:
    if found.curve is None:
        return []
    return [
        (
            f"{point.value:.4g}",
            "" if point.random is None else _percent(point.random.mean),
            "" if point.random is None else interval(point.random.low, point.random.high, of_fractions=True),
            _percent(point.worst.accuracy),
        )
        for point in found.curve.points
    ]


def _radii(found: AttackResult) -> list[tuple[str, ...]]:
    if found.curve is None:
        return []
    return [
        (one.name, _radius(one.worst), _radius(one.random), *(
            "" if value is None else f"{value:.3g}" for value in (one.random_over_worst, one.safety_factor)))
        for one in found.curve.radii[:_MOST_ROWS]
    ]  # fmt: skip


def _cells(found: AttackResult) -> list[tuple[str, ...]]:
    if found.cells is None:
        return []
    return [
        (f"{one.cells:,}", _percent(one.accuracy), _loss(one.loss), one.method, f"{one.gradients:,}")
        for one in found.cells.points
    ]


def _changed(cells: AttackCells | None) -> list[tuple[str, ...]]:
    if cells is None:
        return []
    return [
        (f"{one.site}[{one.element}]", str(one.low_bit), _loss(one.before), _loss(one.after))
        for one in cells.changed[:_MOST_ROWS]
    ]


def _cell(cells: AttackCells) -> str:
    return {"bits": "flipped bit", "levels": "confused level", "stuck": "stuck cell"}[cells.what]


def _name(found: AttackResult) -> str:
    return found.data.score if found.clean.accuracy is not None else found.data.loss


def _score(accuracy: float | None, loss: float | None, found: AttackResult) -> str:
    return percent(accuracy) if accuracy is not None else f"{_loss(loss)} ({found.data.loss})"


def _random(band: RandomBand | None, found: AttackResult) -> str:
    if band is None:
        return ""
    between = interval(band.low, band.high, of_fractions=True)
    mean = _score(band.mean, band.loss_mean, found)
    return f"random corruptions of the same set {mean} {between} (n = {band.trials:,}); "


def _proven(one: Proven) -> str:
    if not one.proven:
        return f"nothing: {one.why_not}"
    parts = [] if one.accuracy is None else [f"no corruption of the set leaves less than {percent(one.accuracy)}"]
    parts += [] if one.loss_change is None else [f"none raises the loss by more than {one.loss_change:.4g}"]
    return "; ".join(parts)


def _percent(value: float | None) -> str:
    return "none" if value is None else percent(value)


def _loss(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _radius(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.3g}"


def _tiny(share: float) -> str:
    return f"{100 * share:.3g}%"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
