"""The charts of a hardening: figures and chips before and after. Those of an assessment: `draw.py`."""

from faultsim.report.html.chart import Axis, Boxes, Chart, Dots, Line, Mark, Rule, Tick, bounded
from faultsim.report.html.draw import _axis, _histogram
from faultsim.report.html.headline import Headline, headline
from faultsim.report.words import counted, percent
from faultsim.results import Result
from faultsim.results.hardening import Compared, HardenResult

_SHORT = {
    "random accuracy, mean": "mean chip",
    "random accuracy, 5th percentile": "5th percentile",
    "random accuracy, worst chip drawn": "worst drawn",
    "worst case in the device's set": "worst case, device's set",
}


def harden_charts(harden: HardenResult) -> list[Chart]:
    """Return what there is to draw: each accuracy before and after, and both histograms of chips."""
    every = (harden_chart(harden), both_chips_chart(harden))
    return [one for one in every if one is not None]


def harden_chart(harden: HardenResult) -> Chart | None:
    """Return each accuracy before and after, a row each; None where there is none."""
    known = [one for one in harden.compared if one.fraction and one.before is not None and one.after is not None]
    if not known:
        return None
    marks: list[Mark] = []
    ticks = []
    before, after = [], []
    for number, one in enumerate(known):
        y = float(len(known) - 1 - number)
        first, second = 100 * (one.before or 0.0), 100 * (one.after or 0.0)
        ticks.append(Tick(y, _SHORT.get(one.name, one.name)))
        marks.append(Line(points=((first, y), (second, y)), tone="muted"))
        before.append((first, y))
        after.append((second, y))
    marks.append(Dots(points=tuple(before), tone="clean", shape="diamond", label="before"))
    marks.append(Dots(points=tuple(after), tone="good", label="after"))
    return Chart(
        name="before-and-after",
        title="Before and after hardening",
        said="; ".join(f"{one.name}: before {_percent(one, 'before')}, after {_percent(one, 'after')}" for one in known)
        + ".",
        x=bounded("%", 0, 100),
        y=Axis(label="", low=-0.6, high=len(known) - 0.4, ticks=tuple(ticks)),
        marks=tuple(marks),
        height=80 + 28 * len(known),
    )


def both_chips_chart(harden: HardenResult) -> Chart | None:
    """Return the chips after the hardening as bars and those before as an outline; None without rows of both."""
    of = headline(harden.before)
    before, after = _values(harden.before, of), _values(harden.after, of)
    if not before or not after:
        return None
    x = _axis(of, [*before, *after])
    bars, old = _histogram(after, x, of), _histogram(before, x, of)
    outline: list[tuple[float, float | None]] = []
    for at, box in enumerate(old):
        if at and old[at - 1].x1 < box.x0 - 1e-9 * (x.high - x.low):
            outline += [(old[at - 1].x1, 0.0), (box.x0, 0.0)]
        outline += [] if at else [(box.x0, 0.0)]
        outline += [(box.x0, box.y1), (box.x1, box.y1)]
    outline.append((old[-1].x1, 0.0))
    middles = sum(before) / len(before), sum(after) / len(after)
    marks: list[Mark] = [
        Boxes(boxes=tuple(bars), tone="good", label="after"),
        Line(points=tuple(outline), tone="ink", label="before"),
        Rule(at=middles[0], axis="x", tone="ink", dash="dashed", label="mean before"),
        Rule(at=middles[1], axis="x", tone="good", dash="dashed", label="mean after"),
    ]
    words = [of.shown(value / 100 if of.fraction else value) for value in middles]
    return Chart(
        name="chips-before-and-after",
        title=f"{of.name} of {counted(len(after), 'chip')}, before and after",
        said=f"Mean before {words[0]}, after {words[1]}.",
        x=x,
        y=bounded("chips", 0, 1.08 * max(bar.y1 for bar in (*bars, *old)), whole=True),
        marks=tuple(marks),
    )


def _values(result: Result, of: Headline) -> list[float]:
    rows = () if result.random is None else result.random.per_trial
    return [of.scaled(value) for row in rows if (value := of.of_chip(row)) is not None]


def _percent(one: Compared, which: str) -> str:
    value: float | None = getattr(one, which)
    return "not finite" if value is None else percent(value)
