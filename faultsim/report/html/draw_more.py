"""The charts of sweeps and of campaigns of bit flips. Those of an assessment: `draw.py`."""

import re
from typing import NamedTuple

from faultsim.report.html.chart import (
    Axis,
    Band,
    Box,
    Boxes,
    Chart,
    Dots,
    Line,
    Mark,
    Rule,
    Tick,
    bounded,
    linear,
    logarithmic,
)
from faultsim.report.html.headline import Headline, headline_of_sweep
from faultsim.report.words import counted, percent
from faultsim.results import RandomResult, SweepResult
from faultsim.results.injection import InjectionResult

_CELL = re.compile(r"(.+) bit (\d+)", re.DOTALL)
_MOST_ROWS = 40
_SCALE = tuple((0.06 + 0.94 * part, f"{100 * part:g} %") for part in (0.0, 0.25, 0.5, 1.0))
_MOST_DOTS = 3000


def sweep_chart(sweep: SweepResult) -> Chart | None:
    """Return the curve over the condition: mean with band, bad percentile, worst chip, clean; None without a point."""
    of = headline_of_sweep(sweep.data, sweep.clean)
    points = [(point.value, _figures(point.random, of)) for point in sweep.points]
    if not any(figures.mean is not None for _, figures in points):
        return None
    clean = of.of(sweep.clean_stored or sweep.clean)
    shown = [of.scaled(value) for _, figures in points for value in figures if value is not None]
    shown += [] if clean is None else [of.scaled(clean)]
    each = [
        (point.value, of.scaled(value))
        for point in sweep.points
        for row in point.random.per_trial
        if (value := of.of_chip(row)) is not None
    ]
    shown += [value for _, value in each]
    y = bounded(of.axis, 0, 104) if of.fraction else linear(of.axis, shown)
    band = tuple(
        (x, of.scaled(one.low), of.scaled(one.high))
        for x, one in points
        if one.low is not None and one.high is not None
    )

    def curve(values: list[float | None]) -> tuple[tuple[float, float | None], ...]:
        pairs = zip(points, values, strict=True)
        return tuple((x, None if value is None else of.scaled(value)) for (x, _), value in pairs)

    marks: list[Mark] = [Band(points=band, tone="chip", label=f"{100 * sweep.level:g}% interval")] if band else []
    if 0 < len(each) <= _MOST_DOTS:
        marks.append(Dots(points=tuple(each), tone="muted", label="each chip", faint=True))
    marks.append(Line(points=curve([one.mean for _, one in points]), tone="chip", label="mean chip", dots=True))
    if any(one.bad is not None for _, one in points):
        label = "5th percentile" if of.higher else "95th percentile"
        marks.append(Line(points=curve([one.bad for _, one in points]), tone="ink", dash="dashed", label=label))
    marks.append(Line(points=curve([one.worst for _, one in points]), tone="worst", dash="dotted", label="worst drawn"))
    if clean is not None:
        marks.append(Rule(at=of.scaled(clean), axis="y", tone="good", label="without faults"))
    said = "; ".join(f"at {point.label} {of.shown(_figures(point.random, of).mean)}" for point in sweep.points)
    return Chart(
        name="sweep",
        title=f"{of.name} over {sweep.over}, {counted(sweep.trials, 'chip')} at each value",
        said=f"Mean chip: {said}; without faults {of.shown(clean)}.",
        x=_condition_axis(sweep, [x for x, _ in points]),
        y=y,
        marks=tuple(marks),
        height=280,
    )


def heat_chart(injection: InjectionResult) -> Chart | None:
    """Return tensor against bit position, coloured by the critical share; None unless strata are tensor × bit."""
    cells: dict[tuple[str, int], tuple[int, int]] = {}
    for row in injection.strata:
        match = _CELL.fullmatch(row.name)
        if match is None:
            return None
        cells[match[1], int(match[2])] = (row.critical, row.trials)
    names = list(dict.fromkeys(name for name, _ in cells))
    if not names or len(names) > _MOST_ROWS:
        return None
    bits = max(bit for _, bit in cells) + 1
    boxes = []
    for (name, bit), (critical, trials) in cells.items():
        y = float(len(names) - 1 - names.index(name))
        if trials == 0:
            continue  # nothing was drawn here: an empty cell
        share = critical / trials
        boxes.append(Box(bit - 0.46, bit + 0.46, y - 0.44, y + 0.44, 0.06 + 0.94 * share,
                         f"{name}, bit {bit}: {critical} of {counted(trials, 'trial')} critical"))  # fmt: skip
    worst = sorted(((c / t, n, b, t) for (n, b), (c, t) in cells.items() if t), reverse=True)[:3]
    marks: list[Mark] = [Boxes(boxes=tuple(boxes), tone="worst", label="flips that change an answer", scale=_SCALE)]
    said = "; ".join(f"{name} bit {bit} {percent(share)} of {counted(n, 'trial')}" for share, name, bit, n in worst)
    step = 1 if bits <= 12 else 4 if bits <= 32 else 8
    return Chart(
        name="tensor-by-bit",
        title="Where a flipped bit hurts: tensor by bit position",
        said=f"Worst: {said}.",
        x=Axis(label="bit, 0 the least significant", low=-0.6, high=bits - 0.4,
               ticks=tuple(Tick(float(bit), str(bit)) for bit in range(0, bits, step)), reverse=True),
        y=Axis(label="", low=-0.6, high=len(names) - 0.4, grid=False,
               ticks=tuple(Tick(float(len(names) - 1 - at), name) for at, name in enumerate(names))),
        marks=tuple(marks),
        height=90 + 20 * len(names),
    )  # fmt: skip


class _Figures(NamedTuple):
    mean: float | None
    low: float | None
    high: float | None
    bad: float | None
    worst: float | None


def _figures(random: RandomResult, of: Headline) -> _Figures:
    if of.fraction:
        found = random.accuracy
        return _Figures(found.mean, found.low, found.high, found.p05, found.min)
    loss = random.loss
    return _Figures(loss.mean, loss.low, loss.high, loss.p95, loss.max)


def _condition_axis(sweep: SweepResult, xs: list[float]) -> Axis:
    label = f"{sweep.over} ({sweep.unit})"
    if min(xs) > 0 and max(xs) / min(xs) > 50:
        axis = logarithmic(label, xs)
        return Axis(label=label, low=axis.low, high=axis.high, log=True,
                    ticks=tuple(Tick(point.value, point.label) for point in sweep.points))  # fmt: skip
    axis = linear(label, xs)
    if sweep.over == "vdd":  # the voltage falls to the right: severity rises
        return Axis(label=label, low=axis.low, high=axis.high, ticks=axis.ticks, reverse=True)
    return axis
