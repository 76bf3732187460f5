"""A `Chart` on matplotlib axes, and as PNG: for a paper or a slide. What is drawn lives in `draw.py`."""

import io
from typing import TYPE_CHECKING

from faultsim.report.html.chart import Axis, Band, Boxes, Chart, Dots, Line, Rule
from faultsim.report.html.svg import WIDTH
from faultsim.report.words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {
    "ink": "#1b1f24",
    "muted": "#5f6b76",
    "chip": "#0b63b5",
    "set": "#7a5195",
    "worst": "#c0392b",
    "clean": "#5f6b76",
    "good": "#1a7f4b",
}
_STYLES = {"": "-", "dashed": "--", "dotted": ":"}


def png_bytes(chart: Chart, *, dots_per_inch: int = 200) -> bytes:
    """Return the figure as a PNG on white, 6.1 inches wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, chart.height / 72), layout="constrained")
    FigureCanvasAgg(figure)
    draw_on(figure.add_subplot(), chart)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def draw_on(axes: "Axes", chart: Chart) -> None:
    """Draw the chart on matplotlib *axes*, with title, labels and legend."""
    for side, axis in (("x", chart.x), ("y", chart.y)):
        _set_axis(axes, side, axis)
    for mark in chart.marks:
        colour, label = _COLOURS[mark.tone], _text(getattr(mark, "label", "")) or None
        if isinstance(mark, Boxes):
            for number, box in enumerate(mark.boxes):
                axes.bar(box.x0, box.y1 - box.y0, box.x1 - box.x0, box.y0, align="edge", color=colour,
                         alpha=0.85 * box.strength, label=label if number == 0 else None)  # fmt: skip
        elif isinstance(mark, Band):
            xs, lows, highs = zip(*mark.points, strict=True)
            axes.fill_between(xs, lows, highs, color=colour, alpha=0.22, linewidth=0, label=label)
        elif isinstance(mark, Line):
            ys = [float("nan") if y is None else y for _, y in mark.points]
            axes.plot([x for x, _ in mark.points], ys, color=colour, linestyle=_STYLES[mark.dash], label=label,
                      marker="o" if mark.dots else "", markersize=4)  # fmt: skip
        elif isinstance(mark, Dots):
            xs, ys_all = zip(*mark.points, strict=True) if mark.points else ((), ())
            shape = "D" if mark.shape == "diamond" else "o"
            size, alpha, order = (9, 0.35, 1) if mark.faint else (36, 1.0, 3)
            axes.scatter(xs, ys_all, color=colour, marker=shape, label=label, s=size, alpha=alpha, zorder=order)
        elif isinstance(mark, Rule):
            line = axes.axvline if mark.axis == "x" else axes.axhline
            line(mark.at, color=colour, linestyle=_STYLES[mark.dash], label=label)
        else:
            left = chart.x.share(mark.x) > 0.5
            axes.annotate(_text(mark.text), (mark.x, mark.y), xytext=(-8 if left else 8, 0), fontsize=9, color=colour,
                          textcoords="offset points", va="center", ha="right" if left else "left")  # fmt: skip
    axes.set_title(_text(chart.title), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize="small")


def _set_axis(axes: "Axes", side: str, axis: Axis) -> None:
    from matplotlib.ticker import NullLocator

    low, high = (axis.high, axis.low) if axis.reverse else (axis.low, axis.high)
    axes.set(**{f"{side}lim": (low, high), f"{side}label": _text(axis.label)})
    if axis.log:
        axes.set(**{f"{side}scale": "log"})
    shown = axes.xaxis if side == "x" else axes.yaxis
    shown.set_ticks([tick.at for tick in axis.ticks], [_text(tick.label) for tick in axis.ticks])
    shown.set_minor_locator(NullLocator())


def _text(foreign: str) -> str:
    """Return foreign text for matplotlib: a ``$`` would start a formula."""
    return plain(foreign).replace("$", r"\$")
