"""The charts of an assessment: chips, random against worst case, damage along the graph. Others: `draw_more.py`."""

import math
from collections.abc import Sequence

from faultsim.report.figures import Row, _harms
from faultsim.report.html.chart import (
    Axis,
    Box,
    Boxes,
    Chart,
    Dots,
    Line,
    Mark,
    Rule,
    Tick,
    Tone,
    Words,
    bounded,
    linear,
    logarithmic,
)
from faultsim.report.html.headline import Headline, headline, rows
from faultsim.report.words import counted, interval
from faultsim.results import Result

_BINS = 24
_LOG_FROM = 50.0  # a loss that spans more than this factor is drawn on a logarithmic axis
_MOST_NAMES = 12


def charts(result: Result) -> list[Chart]:
    """Return the charts that the result has something for."""
    found = (chips_chart(result), ladder_chart(result), layers_chart(result))
    return [one for one in found if one is not None]


def chips_chart(result: Result) -> Chart | None:
    """Return the histogram of chips with clean model, mean, 5th percentile and worst chip; None without rows."""
    of, random = headline(result), result.random
    if random is None or not random.per_trial:
        return None
    values = [of.scaled(value) for row in random.per_trial if (value := of.of_chip(row)) is not None]
    if not values:
        return None
    clean = of.of(result.clean_stored or result.clean)
    places = [row for row in rows(result) if row.label.startswith("random chip") and row.value is not None]
    marked = [of.scaled(row.value) for row in places if row.value is not None]
    everything = [*values, *marked, *([of.scaled(clean)] if clean is not None else [])]
    x = _axis(of, everything)
    bars = _histogram(values, x, of)
    top = max(bar.y1 for bar in bars)
    marks: list[Mark] = [Boxes(boxes=tuple(bars), tone="chip", label="chips")]
    looks: dict[str, tuple[Tone, str, str]] = {
        "mean": ("ink", "", "mean"),
        "pct": ("ink", "dashed", "5th percentile" if of.higher else "95th percentile"),
        "drawn": ("worst", "dotted", "worst drawn"),
    }
    for row, at in zip(places, marked, strict=True):
        tone, dash, label = looks[row.label.split()[-1]]
        marks.append(Rule(at=at, axis="x", tone=tone, dash=dash, label=label))  # type: ignore[arg-type]
    if clean is not None:
        marks.append(Rule(at=of.scaled(clean), axis="x", tone="good", label="without faults"))
    left_out = random.trials - len(values)
    said = "; ".join(f"{row.label} {of.shown(row.value)}" for row in places)
    missing = f"; {left_out} not finite and not drawn" if left_out else ""
    return Chart(
        name="chips",
        title=f"{of.name} of {counted(random.trials, 'chip')} drawn at random",
        said=f"{said}; without faults {of.shown(clean)}{missing}.",
        x=x,
        y=bounded("chips", 0, 1.08 * top, whole=True),
        marks=tuple(marks),
    )


def ladder_chart(result: Result) -> Chart | None:
    """Return random chips against the worst case on one axis, a row each; None where there is one row only."""
    of = headline(result)
    known = [row for row in rows(result) if row.value is not None]
    if len(known) < 2:
        return None
    values = [of.scaled(end) for row in known for end in (row.value, row.low, row.high) if end is not None]
    x = bounded(of.axis, 0, 100) if of.fraction else _axis(of, values)
    marks: list[Mark] = []
    ticks = []
    for number, row in enumerate(known):
        y = float(len(known) - 1 - number)
        ticks.append(Tick(y, _short(row.label)))
        marks += _rung(row, y, of, x)
    said = "; ".join(
        f"{row.label} {of.shown(row.value)} {interval(row.low, row.high, of_fractions=of.fraction)}".strip()
        for row in known
    )
    return Chart(
        name="random-against-worst",
        title="Random chips against the worst case" if result.worst_case else "Random chips against the clean model",
        said=f"{said}.",
        x=x,
        y=Axis(label="", low=-0.6, high=len(known) - 0.4, ticks=tuple(ticks)),
        marks=tuple(marks),
        height=70 + 30 * len(known),
    )


def layers_chart(result: Result) -> Chart | None:
    """Return what each tensor alone costs, in the order of the graph; None where nothing is known of a tensor."""
    order = sorted(result.sites, key=lambda site: site.depth)
    harms, unit = _harms(result, order)
    if not any(site.worst_case or site.random for site in order) or not any(harm > 0 for harm in harms):
        return None
    scale = 100.0 if unit == "pt" else 1.0
    costs = [max(scale * harm, 0.0) for harm in harms]
    named = {"pt": "points lost", "loss": "loss added", "score": "score lost"}[unit]
    searched = any(site.worst_case for site in order)
    tone: Tone = "worst" if searched else "chip"
    what = "worst case found in each alone" if searched else "mean chip with faults in each alone"
    worst = sorted(zip(costs, order, strict=True), key=lambda pair: -pair[0])[:5]
    said = f"The {what}: " + "; ".join(f"{site.name} {cost:.4g} {named}" for cost, site in worst) + "."
    name, title = "damage-along-the-graph", "Damage along the graph, from input to output"
    amount = bounded(named, 0, 1.1 * max(costs))
    texts = [f"{site.name}: {cost:.4g} {named}" for site, cost in zip(order, costs, strict=True)]
    if len(order) <= _MOST_NAMES:  # lying bars: there is room for names
        down = [float(len(order) - 1 - at) for at in range(len(order))]
        bars = tuple(Box(0.0, c, y - 0.36, y + 0.36, 1.0, t) for c, y, t in zip(costs, down, texts, strict=True))
        ticks = tuple(Tick(y, site.name) for y, site in zip(down, order, strict=True))
        names = Axis(label="", low=-0.6, high=len(order) - 0.4, ticks=ticks, grid=False)
        across = Axis(label=f"{named}, {what}", low=0.0, high=amount.high, ticks=amount.ticks)
        marks = (Boxes(boxes=bars, tone=tone),)
        return Chart(name=name, title=title, said=said, x=across, y=names, marks=marks, height=76 + 26 * len(order))
    boxes = tuple(Box(at - 0.4, at + 0.4, 0.0, c, 1.0, t) for at, (c, t) in enumerate(zip(costs, texts, strict=True)))
    top = max(range(len(costs)), key=costs.__getitem__)
    step = max(1, len(order) // 8)
    ticks = tuple(Tick(float(at), str(at)) for at in range(0, len(order), step))
    along = Axis(label=f"tensors in graph order: {what}", low=-0.7, high=len(order) - 0.3, ticks=ticks)
    found = (Boxes(boxes=boxes, tone=tone), Words(x=float(top), y=costs[top], text=order[top].name))
    return Chart(name=name, title=title, said=said, x=along, y=amount, marks=found)


def _rung(row: Row, y: float, of: Headline, x: Axis) -> list[Mark]:
    assert row.value is not None
    at = of.scaled(row.value)
    tone: Tone = "worst" if row.label.startswith("worst") else "set" if "set" in row.label else "chip"
    if row.label.startswith("clean"):
        tone = "good"
    found: list[Mark] = []
    if row.low is not None and row.high is not None:
        found.append(Line(points=((of.scaled(row.low), y), (of.scaled(row.high), y)), tone=tone))
    found.append(Dots(points=((at, y),), tone=tone, shape="diamond" if tone == "worst" else "circle"))
    beside = row.low if x.share(at) > 0.5 else row.high  # clear of the interval
    found.append(Words(x=at if beside is None else of.scaled(beside), y=y, text=of.shown(row.value)))
    return found


def _short(label: str) -> str:
    shorter = {
        "random chip, mean": "mean chip",
        "random chip, 5th pct": "5th percentile",
        "random chip, 95th pct": "95th percentile",
        "random chip, worst drawn": "worst drawn",
        "random in the same set": "random in the set",
        "worst case, same budget": "worst case found",
    }
    return shorter.get(label, label)


def _axis(of: Headline, values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    if not of.fraction and low > 0 and high / low > _LOG_FROM:
        return logarithmic(of.axis, values)
    axis = linear(of.axis, values)
    if of.fraction and (axis.high > 100 or axis.low < 0):
        room = 0.01 * max(min(axis.high, 100) - max(axis.low, 0), 0.5)
        low, high = (max(axis.low, -room), min(axis.high, 100 + room))
        return Axis(label=axis.label, low=low, high=high, ticks=tuple(t for t in axis.ticks if 0 <= t.at <= 100))
    return axis


def _histogram(values: Sequence[float], x: Axis, of: Headline) -> list[Box]:
    """Return the bars: bins of equal width on the axis as it is drawn."""
    counts = [0] * _BINS
    for value in values:
        counts[min(int(x.share(value) * _BINS), _BINS - 1)] += 1

    def edge(number: int) -> float:
        part = number / _BINS
        if x.log:
            return math.exp(math.log(x.low) + part * (math.log(x.high) - math.log(x.low)))
        return x.low + part * (x.high - x.low)

    unit = " %" if of.fraction else ""
    return [
        Box(edge(at), edge(at + 1), 0.0, float(count), 1.0,
            f"{counted(count, 'chip')} from {edge(at):.4g} to {edge(at + 1):.4g}{unit}")
        for at, count in enumerate(counts) if count
    ]  # fmt: skip
