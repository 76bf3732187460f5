"""A `Chart` as SVG: inside a page, coloured by it, or as a file of its own. No style attribute: a strict CSP holds.

Every text of a chart goes through ElementTree, which escapes it: names of models and sites are foreign.
"""

from xml.etree.ElementTree import Element, SubElement, tostring

from faultsim.report.html.chart import Axis, Band, Boxes, Chart, Dots, Line, Rule, Words
from faultsim.report.words import cut, plain

WIDTH = 440
_RIGHT, _TOP, _BOTTOM = 12.0, 8.0, 40.0
_LETTER = 6.7  # mean width of a letter at 11.5 px
_ROW = 18  # height of a row of the legend
_DASHES = {"dashed": "6 4", "dotted": "2 3"}

_LIGHT = """
svg{color:#1b1f24;--chip:#0b63b5;--set:#7a5195;--worst:#c0392b;--clean:#5f6b76;--good:#1a7f4b;--muted:#5f6b76}
text{font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:currentColor}
"""
_DARK = """
@media (prefers-color-scheme: dark){svg{color:#e6e9ed;--chip:#6cb3ff;--set:#c79bea;--worst:#ff8a7a;--clean:#aab4bf;
--good:#5fd398;--muted:#aab4bf}}
"""


class _Frame:
    """Where data units lie in the picture, in user units."""

    def __init__(self, chart: Chart) -> None:
        widest = max((len(tick.label) for tick in chart.y.ticks), default=0)
        self.left = min(14 + _LETTER * widest + (16 if chart.y.label else 0), 0.46 * WIDTH)
        self.top = _TOP + _ROW * len(_legend_rows(chart))
        self.right, self.bottom = WIDTH - _RIGHT, chart.height - _BOTTOM
        self.chart = chart

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * self.chart.x.share(value)

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * self.chart.y.share(value)


def inline(chart: Chart) -> str:
    """Return the figure as an ``svg`` element of an HTML page: a screen reader reads its title and `chart.said`."""
    return tostring(_picture(chart), encoding="unicode")


def file_text(chart: Chart, *, dark: bool = True) -> str:
    """Return the figure as the text of an ``.svg`` file that stands alone, on a transparent background.

    Args:
        chart: The figure.
        dark: Whether it turns light on dark where the reader's system does; else it is for white paper.
    """
    root = _picture(chart)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("width", str(WIDTH))
    root.set("height", str(chart.height))
    style = Element("style")
    style.text = _LIGHT + (_DARK if dark else "")
    root.insert(0, style)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _picture(chart: Chart) -> Element:
    names = f"{chart.name}-title", f"{chart.name}-desc"
    root = Element("svg", {"viewBox": f"0 0 {WIDTH} {chart.height}", "role": "img"})
    root.set("aria-labelledby", " ".join(names))
    for tag, name, text in (("title", names[0], chart.title), ("desc", names[1], chart.said)):
        SubElement(root, tag, {"id": name}).text = plain(text)
    frame = _Frame(chart)
    _legend(root, chart)
    _axes(root, chart, frame)
    for mark in chart.marks:
        group = SubElement(root, "g")
        if isinstance(mark, Boxes):
            _boxes(group, mark, frame)
        elif isinstance(mark, Band):
            _band(group, mark, frame)
        elif isinstance(mark, Line):
            _line(group, mark, frame)
        elif isinstance(mark, Dots):
            _dots(group, mark, frame)
        elif isinstance(mark, Rule):
            _rule(group, mark, frame)
        else:
            _words(group, mark, frame)
    return root


def _colour(tone: str) -> str:
    return "currentColor" if tone == "ink" else f"var(--{tone})"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(parent: Element, x: float, y: float, said: str, *, anchor: str = "start", tone: str = "ink") -> Element:
    node = SubElement(parent, "text", {"x": _n(x), "y": _n(y), "text-anchor": anchor, "fill": _colour(tone)})
    node.text = plain(said)
    return node


def _letters(units: float) -> int:
    return max(int(units / _LETTER), 4)


def _cut(label: str, units: float) -> str:
    letters = _letters(units)
    return label if len(label) <= letters else f"{label[: letters - 1]}…"


def _legend_rows(chart: Chart) -> list[list[tuple[float, Line | Band | Boxes | Dots | Rule]]]:
    """Return the marks that have a label, row by row, each with where it starts."""
    rows: list[list[tuple[float, Line | Band | Boxes | Dots | Rule]]] = []
    at = float(WIDTH)
    for mark in chart.marks:
        if isinstance(mark, Words) or not mark.label:
            continue
        width = 40 + _LETTER * len(mark.label)
        if isinstance(mark, Boxes) and mark.scale:
            width = float(WIDTH)  # a row of its own
        if at + width > WIDTH - 2 or not rows:
            rows.append([])
            at = 4.0
        rows[-1].append((at, mark))
        at += width
    return rows


def _legend(root: Element, chart: Chart) -> None:
    for number, row in enumerate(_legend_rows(chart)):
        y = _TOP + _ROW * number + 5
        for x, mark in row:
            group = SubElement(root, "g")
            if isinstance(mark, Boxes) and mark.scale:
                _scale(group, mark, y)
                continue
            if isinstance(mark, Line | Rule):
                _stroke(group, [(x, y), (x + 20, y)], mark.tone, mark.dash, 2)
            elif isinstance(mark, Dots):
                _shape(group, x + 10, y, mark)
            else:
                strong = "0.25" if isinstance(mark, Band) else "0.8"
                where = {"x": _n(x + 3), "y": _n(y - 5), "width": "14", "height": "10", "rx": "2"}
                SubElement(group, "rect", {**where, "fill": _colour(mark.tone), "fill-opacity": strong})
            _text(group, x + 24, y + 4, mark.label)


def _scale(group: Element, mark: Boxes, y: float) -> None:
    """Draw the legend of a heat map: its label, then a cell of each strength with what it stands for."""
    _text(group, 4, y + 4, mark.label)
    x = 12 + _LETTER * len(mark.label)
    for strength, label in mark.scale:
        where = {"x": _n(x), "y": _n(y - 6), "width": "16", "height": "12"}
        look = {"fill": _colour(mark.tone), "fill-opacity": f"{0.85 * strength:.3f}", "stroke": "currentColor"}
        SubElement(group, "rect", {**where, **look, "stroke-opacity": "0.3"})
        _text(group, x + 20, y + 4, label, tone="muted")
        x += 28 + _LETTER * len(label)


def _axes(root: Element, chart: Chart, frame: _Frame) -> None:
    group = SubElement(root, "g")
    for tick in chart.y.ticks:
        y = frame.y(tick.at)
        grid = {"x1": _n(frame.left), "x2": _n(frame.right), "y1": _n(y), "y2": _n(y)}
        if chart.y.grid:
            SubElement(group, "line", {**grid, "stroke": "currentColor", "stroke-opacity": "0.12"})
        name = cut(plain(tick.label), _letters(frame.left - 8))
        _text(group, frame.left - 6, y + 4, name, anchor="end", tone="muted")
    bottom = {"x1": _n(frame.left), "x2": _n(frame.right), "y1": _n(frame.bottom), "y2": _n(frame.bottom)}
    SubElement(group, "line", {**bottom, "stroke": "currentColor", "stroke-opacity": "0.5"})
    _x_ticks(group, chart.x, frame)
    middle = (frame.left + frame.right) / 2
    _text(group, middle, chart.height - 6, _cut(chart.x.label, WIDTH - 20), anchor="middle")
    if chart.y.label:
        y = (frame.top + frame.bottom) / 2
        node = _text(group, 11, y, _cut(chart.y.label, frame.bottom - frame.top), anchor="middle")
        node.set("transform", f"rotate(-90 11 {_n(y)})")


def _x_ticks(group: Element, axis: Axis, frame: _Frame) -> None:
    """Draw the labels that do not run into the one before."""
    ends = -1.0
    for tick in sorted(axis.ticks, key=lambda one: frame.x(one.at)):
        x, half = frame.x(tick.at), _LETTER * len(tick.label) / 2
        mark = {"x1": _n(x), "x2": _n(x), "y1": _n(frame.bottom), "y2": _n(frame.bottom + 4)}
        SubElement(group, "line", {**mark, "stroke": "currentColor", "stroke-opacity": "0.5"})
        if x - half > ends:
            edge = min(max(x, half), WIDTH - half)
            _text(group, edge, frame.bottom + 16, tick.label, anchor="middle", tone="muted")
            ends = x + half + 6


def _boxes(group: Element, mark: Boxes, frame: _Frame) -> None:
    for box in mark.boxes:
        x0, x1 = sorted((frame.x(box.x0), frame.x(box.x1)))
        y0, y1 = sorted((frame.y(box.y0), frame.y(box.y1)))
        where = {"x": _n(x0), "y": _n(y0), "width": _n(max(x1 - x0, 0.5)), "height": _n(max(y1 - y0, 0.5))}
        look = {"fill": _colour(mark.tone), "fill-opacity": f"{0.85 * box.strength:.3f}"}
        node = SubElement(group, "rect", {**where, **look})
        if box.said:
            SubElement(node, "title").text = plain(box.said)


def _band(group: Element, mark: Band, frame: _Frame) -> None:
    around = [(x, high) for x, _, high in mark.points] + [(x, low) for x, low, _ in reversed(mark.points)]
    corners = " ".join(f"{_n(frame.x(x))},{_n(frame.y(y))}" for x, y in around)
    SubElement(group, "polygon", {"points": corners, "fill": _colour(mark.tone), "fill-opacity": "0.22"})


def _line(group: Element, mark: Line, frame: _Frame) -> None:
    run: list[tuple[float, float]] = []
    for x, y in (*mark.points, (0.0, None)):
        if y is not None:
            run.append((frame.x(x), frame.y(y)))
            continue
        _stroke(group, run, mark.tone, mark.dash, 2)
        if mark.dots:
            for place in run:
                SubElement(
                    group, "circle", {"cx": _n(place[0]), "cy": _n(place[1]), "r": "3", "fill": _colour(mark.tone)}
                )
        run = []


def _stroke(group: Element, run: list[tuple[float, float]], tone: str, dash: str, width: float) -> None:
    if len(run) < 2:
        return
    points = " ".join(f"{_n(x)},{_n(y)}" for x, y in run)
    node = SubElement(group, "polyline", {"points": points, "fill": "none", "stroke": _colour(tone)})
    node.set("stroke-width", _n(width))
    if dash:
        node.set("stroke-dasharray", _DASHES[dash])


def _dots(group: Element, mark: Dots, frame: _Frame) -> None:
    for x, y in mark.points:
        _shape(group, frame.x(x), frame.y(y), mark)


def _shape(group: Element, x: float, y: float, mark: Dots) -> None:
    if mark.faint:
        look = {"r": "2.5", "fill": _colour(mark.tone), "fill-opacity": "0.35"}
        SubElement(group, "circle", {"cx": _n(x), "cy": _n(y), **look})
        return
    if mark.shape == "bar":
        where = {"x": _n(x - 1.5), "y": _n(y - 7), "width": "3", "height": "14"}
        SubElement(group, "rect", {**where, "fill": _colour(mark.tone)})
        return
    if mark.shape == "circle":
        filled = {"fill": "none", "stroke": _colour(mark.tone), "stroke-width": "2"} if mark.hollow else {}
        SubElement(group, "circle", {"cx": _n(x), "cy": _n(y), "r": "4.5", "fill": _colour(mark.tone), **filled})
        return
    corners = " ".join(f"{_n(x + dx)},{_n(y + dy)}" for dx, dy in ((0, -6), (6, 0), (0, 6), (-6, 0)))
    SubElement(group, "polygon", {"points": corners, "fill": _colour(mark.tone)})


def _rule(group: Element, mark: Rule, frame: _Frame) -> None:
    if mark.axis == "x":
        start, end = (frame.x(mark.at), frame.top), (frame.x(mark.at), frame.bottom)
    else:
        start, end = (frame.left, frame.y(mark.at)), (frame.right, frame.y(mark.at))
    _stroke(group, [start, end], mark.tone, mark.dash, 2)


def _words(group: Element, mark: Words, frame: _Frame) -> None:
    x, y = frame.x(mark.x), frame.y(mark.y)
    left = x > (frame.left + frame.right) / 2
    node = _text(group, x + (-8 if left else 8), y + 4, mark.text, anchor="end" if left else "start", tone=mark.tone)
    node.set("class", "words")
