"""The charts of attacks and of bit maps. Others: `draw.py`, `draw_more.py`."""

import math
from collections.abc import Sequence

from faultsim.report.html.chart import (
    Axis,
    Band,
    Box,
    Boxes,
    Chart,
    Line,
    Mark,
    Rule,
    Tick,
    bounded,
    linear,
    logarithmic,
)
from faultsim.report.words import counted, percent
from faultsim.results.attack import AttackResult
from faultsim.results.bitmap import BitMapResult, BitMapSite

_MOST_ROWS = 40
_SCALE = ((1e-4, "≤ 0.01 %"), (1e-3, "0.1 %"), (1e-2, "1 %"), (1e-1, "10 %"), (1.0, "100 %"))
_LEAST = 1e-4  # a share below this is drawn as the palest cell


def attack_charts(found: AttackResult) -> list[Chart]:
    """Return accuracy over the radius, or over the number of cells; nothing where the attack has no curve."""
    every = (_radius_chart(found), _cells_chart(found))
    return [one for one in every if one is not None]


def bitmap_charts(found: BitMapResult) -> list[Chart]:
    """Return a heat map of tensor by bit for each width of a word, on a logarithmic scale of colour."""
    widths = sorted({len(site.bits) for site in found.sites})
    return [_heat([site for site in found.sites if len(site.bits) == width], width) for width in widths]


def _radius_chart(found: AttackResult) -> Chart | None:
    curve = found.curve
    if curve is None or not any(point.worst.accuracy is not None for point in curve.points):
        return None
    points = curve.points
    band = tuple(
        (one.value, 100 * one.random.low, 100 * one.random.high)
        for one in points
        if one.random is not None and one.random.low is not None and one.random.high is not None
    )
    random = tuple((one.value, None if one.random is None else _scaled(one.random.mean)) for one in points)
    worst = tuple((one.value, _scaled(one.worst.accuracy)) for one in points)
    marks: list[Mark] = [Band(points=band, tone="chip", label=f"{100 * found.level:g}% interval")] if band else []
    if any(value is not None for _, value in random):
        marks.append(Line(points=random, tone="chip", dots=True, label="random in the same set, mean"))
    marks.append(Line(points=worst, tone="worst", dash="dashed", dots=True, label="worst case found"))
    marks += _clean(found)
    what = "radius" if curve.over == "eps" else "numbers that move"
    label = f"{what} ({curve.unit})" if curve.unit else what
    said = "; ".join(f"at {x:.4g} random {_shown(r)}, worst {_shown(w)}"
                     for (x, r), (_, w) in zip(random, worst, strict=True))  # fmt: skip
    return Chart(
        name="attack",
        title=f"{found.data.score} over the {what}: random against worst case",
        said=f"{said}.",
        x=_along(label, [one.value for one in points]),
        y=bounded(f"{found.data.score} (%)", 0, 104),
        marks=tuple(marks),
        height=280,
    )


def _cells_chart(found: AttackResult) -> Chart | None:
    cells = found.cells
    if cells is None or len(cells.points) < 2:
        return None
    worst = tuple((float(one.cells), 100 * one.accuracy) for one in cells.points)
    marks: list[Mark] = [Line(points=worst, tone="worst", dots=True, label="worst case found"), *_clean(found)]
    if cells.until_accuracy is not None:
        marks.append(Rule(at=100 * cells.until_accuracy, axis="y", tone="ink", dash="dashed", label="asked for"))
    what = {"bits": "flipped bits", "levels": "confused levels", "stuck": "stuck cells"}[cells.what]
    return Chart(
        name="attack-cells",
        title=f"{found.data.score} over the number of {what}",
        said="; ".join(f"{one.cells} {what}: {percent(one.accuracy)}" for one in cells.points) + ".",
        x=_along(what, [x for x, _ in worst], whole=True),
        y=bounded(f"{found.data.score} (%)", 0, 104),
        marks=tuple(marks),
    )


def _heat(sites: Sequence[BitMapSite], width: int) -> Chart:
    ranked = sorted(sites, key=lambda site: -math.fsum(site.bits))[:_MOST_ROWS]
    kept = [site for site in sites if any(site is one for one in ranked)]
    boxes = []
    for row, site in enumerate(kept):
        y = float(len(kept) - 1 - row)
        for bit, share in enumerate(site.bits):
            said = f"{site.name}, bit {bit}: {100 * share:.3g}% of answers change"
            boxes.append(Box(bit - 0.46, bit + 0.46, y - 0.44, y + 0.44, _strength(share), said))
    worst = sorted(((share, site.name, bit) for site in sites for bit, share in enumerate(site.bits)), reverse=True)[:3]
    left_out = len(sites) - len(kept)
    more = f" The {counted(left_out, 'tensor')} that matter least are not drawn." if left_out else ""
    scale = tuple((_strength(share), said) for share, said in _SCALE)
    step = 1 if width <= 12 else 4 if width <= 32 else 8
    return Chart(
        name=f"bit-map-{width}",
        title=f"Answers that one flipped bit changes: tensor by bit, words of {width} bits",
        said="Worst: " + "; ".join(f"{name} bit {bit} {100 * share:.3g}%" for share, name, bit in worst) + f".{more}",
        x=Axis(label="bit, 0 the least significant", low=-0.6, high=width - 0.4, reverse=True,
               ticks=tuple(Tick(float(bit), str(bit)) for bit in range(0, width, step))),
        y=Axis(label="", low=-0.6, high=len(kept) - 0.4, grid=False,
               ticks=tuple(Tick(float(len(kept) - 1 - at), site.name) for at, site in enumerate(kept))),
        marks=(Boxes(boxes=tuple(boxes), tone="worst", label="answers changed", scale=scale),),
        height=90 + 20 * len(kept),
    )  # fmt: skip


def _strength(share: float) -> float:
    if share <= _LEAST:
        return 0.06
    return 0.06 + 0.94 * (1 - math.log10(share) / math.log10(_LEAST))


def _along(label: str, values: Sequence[float], *, whole: bool = False) -> Axis:
    if min(values) > 0 and max(values) / min(values) > 20:
        return logarithmic(label, values)
    return linear(label, values, whole=whole)


def _clean(found: AttackResult) -> list[Mark]:
    if found.clean.accuracy is None:
        return []
    return [Rule(at=100 * found.clean.accuracy, axis="y", tone="good", label="without faults")]


def _scaled(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}%"
