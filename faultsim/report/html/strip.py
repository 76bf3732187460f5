"""A row's own small picture: how its chips spread, on the axis that all rows share. SVG, no layout."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from faultsim.report.words import plain

WIDTH, HEIGHT = 150.0, 30.0
_BINS = 50
_FLOOR = 24.0  # the axis; below it lies the worst case


class Span(NamedTuple):
    """The axis that rows share, in data units."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Return where *value* lies, in user units, 4 away from either edge."""
        part = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return 4 + (WIDTH - 8) * min(max(part, 0.0), 1.0)


def strip(values: Sequence[float], worst: float | None, clean: float | None, span: Span, said: str) -> str:
    """Return an ``svg`` element: chips as a histogram, the clean model as a line, the worst case as a diamond.

    A worst case beyond the axis is an arrow at its end.

    Args:
        values: One a chip.
        worst: The worst case found; None where there is none.
        clean: The fault-free model; None where it is not known.
        span: The axis.
        said: The same for who cannot see it.
    """
    root = Element("svg", {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "class": "strip", "role": "img"})
    root.set("aria-label", plain(said))
    SubElement(root, "title").text = plain(said)
    axis = {"x1": "4", "x2": _n(WIDTH - 4), "y1": _n(_FLOOR), "y2": _n(_FLOOR)}
    SubElement(root, "line", {**axis, "stroke": "currentColor", "stroke-opacity": "0.35"})
    wide = (WIDTH - 8) / _BINS
    counts = [0] * _BINS
    for value in values:
        counts[min(int((span.x(value) - 4) / wide), _BINS - 1)] += 1
    top = max(counts, default=0)
    for at, count in enumerate(counts):
        if count:
            tall = max(20 * count / top, 2.0)
            where = {"x": _n(4 + at * wide), "y": _n(_FLOOR - tall), "width": _n(wide), "height": _n(tall)}
            SubElement(root, "rect", {**where, "fill": "var(--chip)"})
    if clean is not None:
        x = _n(span.x(clean))
        line = {"x1": x, "x2": x, "y1": "1", "y2": _n(_FLOOR), "stroke": "var(--good)", "stroke-width": "1.5"}
        SubElement(root, "line", line)
    if worst is not None:
        place = span.x(worst)
        shape: tuple[tuple[int, int], ...] = ((0, -5), (4, 0), (0, 5), (-4, 0))
        if worst < span.low:
            shape = ((-4, 0), (4, -5), (4, 5))
        elif worst > span.high:
            shape = ((4, 0), (-4, -5), (-4, 5))
        corners = " ".join(f"{_n(place + dx)},{_n(_FLOOR + dy)}" for dx, dy in shape)
        SubElement(root, "polygon", {"points": corners, "fill": "var(--worst)"})
    return tostring(root, encoding="unicode")


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
