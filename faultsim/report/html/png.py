"""A `Chart` on matplotlib axes, and as PNG: for a paper or a slide. What is drawn lives in `draw.py`."""

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any

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
_LONG = 12  # letters of a name beside the figure that leave little room above it
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
    heading: str | None = None
    for mark in chart.marks:
        colour, label = _COLOURS[mark.tone], _text(getattr(mark, "label", "")) or None
        if isinstance(mark, Boxes):
            for strength, said in mark.scale:
                axes.bar(0, 0, 0, color=colour, alpha=0.85 * strength, label=_text(said))
            heading, label = (label, None) if mark.scale else (heading, label)
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
            shape = {"diamond": "D", "bar": "|", "circle": "o"}[mark.shape]
            size, alpha, order = (9, 0.35, 1) if mark.faint else (120 if mark.shape == "bar" else 36, 1.0, 3)
            look: dict[str, Any] = {"facecolors": "none", "edgecolors": colour} if mark.hollow else {"color": colour}
            axes.scatter(xs, ys_all, marker=shape, label=label, s=size, alpha=alpha, zorder=order, **look)
        elif isinstance(mark, Rule):
            line = axes.axvline if mark.axis == "x" else axes.axhline
            line(mark.at, color=colour, linestyle=_STYLES[mark.dash], label=label)
        else:
            left = chart.x.share(mark.x) > 0.5
            axes.annotate(_text(mark.text), (mark.x, mark.y), xytext=(-8 if left else 8, 0), fontsize=9, color=colour,
                          textcoords="offset points", va="center", ha="right" if left else "left")  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    named = max((len(tick.label) for tick in chart.y.ticks), default=0) > _LONG
    title = textwrap.fill(_text(chart.title[:1].upper() + chart.title[1:]), 44 if named else 64)
    _head(axes, title, heading, 2 if named else 3)


def _head(axes: "Axes", title: str, heading: str | None, columns: int) -> None:
    """Set the title, and the legend below it, above what is drawn: neither hides a mark."""
    entries = len(axes.get_legend_handles_labels()[1])
    if not entries:
        axes.set_title(title, fontsize=10, loc="left")
        return
    columns = entries if heading else columns
    rows = math.ceil(entries / columns) + (1 if heading else 0)
    axes.set_title(title, fontsize=10, loc="left", pad=6 + 14 * rows)
    axes.legend(
        frameon=False, fontsize="small", title=heading, title_fontsize="small", ncols=columns, loc="lower left",
        bbox_to_anchor=(0, 1), borderaxespad=0, columnspacing=1.2,
    )  # fmt: skip


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
