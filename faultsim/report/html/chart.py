"""`Chart`: a figure as plain values, in data units. What is drawn lives in `draw.py`, how in `svg.py` and `png.py`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Tone = Literal["ink", "muted", "chip", "set", "worst", "clean", "good"]
"""What a mark stands for; each renderer has one colour for each, and never colour alone tells two marks apart."""


class Tick(NamedTuple):
    """A labelled place of an axis, in data units."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        label: What it measures, with its unit.
        low: Least value shown.
        high: Greatest value shown, above `low`.
        ticks: Labelled places.
        log: Whether it is logarithmic; then `low` is above 0.
        reverse: Whether values fall from left to right.
        grid: Whether a faint line runs through the figure at each tick; of the vertical axis alone.
    """

    label: str
    low: float
    high: float
    ticks: tuple[Tick, ...]
    log: bool = False
    reverse: bool = False
    grid: bool = True

    def share(self, value: float) -> float:
        """Return where *value* lies from 0 (the axis's start) to 1 (its end), cut to that range."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        part = min(max((at - low) / (high - low), 0.0), 1.0)
        return 1 - part if self.reverse else part


class Box(NamedTuple):
    """A rectangle, filled with its tone at `strength` from 0 to 1; `said` is its own text for a pointer."""

    x0: float
    x1: float
    y0: float
    y1: float
    strength: float = 1.0
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Rectangles of one tone: bars of a histogram, cells of a heat map.

    `scale` is the legend of a heat map: what some strengths stand for, the weakest first.
    """

    boxes: tuple[Box, ...]
    tone: Tone
    label: str = ""
    scale: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points; a gap where a coordinate is missing."""

    points: tuple[tuple[float, float | None], ...]
    tone: Tone
    label: str = ""
    dash: Literal["", "dashed", "dotted"] = ""
    dots: bool = False


@dataclass(frozen=True, kw_only=True)
class Band:
    """The area between two curves: ``(x, low, high)`` each."""

    points: tuple[tuple[float, float, float], ...]
    tone: Tone
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Dots:
    """Points: circles, filled or `hollow`, diamonds, or upright bars; `faint` for many small ones in the background."""

    points: tuple[tuple[float, float], ...]
    tone: Tone
    label: str = ""
    faint: bool = False
    shape: Literal["circle", "diamond", "bar"] = "circle"
    hollow: bool = False


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A straight line across the figure at one value of an axis."""

    at: float
    axis: Literal["x", "y"]
    tone: Tone
    label: str = ""
    dash: Literal["", "dashed", "dotted"] = ""


@dataclass(frozen=True, kw_only=True)
class Words:
    """A short text beside a point, to its right, or to its left where it lies in the right half."""

    x: float
    y: float
    text: str
    tone: Tone = "ink"


Mark = Boxes | Line | Band | Dots | Rule | Words


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One figure.

    Attributes:
        name: Of its file, without an ending: letters, digits and dashes.
        title: What it shows, one line.
        said: The same for who cannot see it: the numbers that it is drawn from, in a sentence or two.
        marks: From the back to the front.
        height: Of the picture, where its width is 440.
    """

    name: str
    title: str
    said: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    height: int = 250


def linear(label: str, values: Sequence[float], *, whole: bool = False, most: int = 6, pad: float = 0.05) -> Axis:
    """Return an axis that holds all *values*, at least one, with room at both ends and ticks at round numbers.

    With *whole*, ticks are whole numbers: what is counted has no halves.
    """
    low, high = min(values), max(values)
    room = pad * (high - low) or max(abs(high), 1e-9) * 0.05
    low, high = low - room, high + room
    return Axis(label=label, low=low, high=high, ticks=_round_ticks(low, high, most, whole))


def bounded(label: str, low: float, high: float, *, whole: bool = False, most: int = 6) -> Axis:
    """Return an axis from *low* to *high* exactly; ticks as `linear`."""
    return Axis(label=label, low=low, high=high, ticks=_round_ticks(low, high, most, whole))


def logarithmic(label: str, values: Sequence[float]) -> Axis:
    """Return a logarithmic axis that holds all *values*, which are above 0, with ticks at powers of ten."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = 0.04 * (high - low) or 0.5
    low, high = low - room, high + room
    step = max(1, math.ceil((math.floor(high) - math.ceil(low)) / 6))
    powers = range(math.ceil(low), math.floor(high) + 1, step)
    ticks = tuple(Tick(10.0**power, f"{10.0**power:g}") for power in powers)
    return Axis(label=label, low=10**low, high=10**high, ticks=ticks, log=True)


def _round_ticks(low: float, high: float, most: int, whole: bool) -> tuple[Tick, ...]:
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    step = max(math.ceil(step - 1e-9), 1) if whole else step
    digits = next(count for count in range(20) if abs(round(step, count) - step) < 1e-6 * step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    top = max(abs(low), abs(high))
    figures = max(math.ceil(math.log10(top / step)) + 1, 3)  # so many tell two ticks apart

    def shown(value: float) -> str:
        return f"{value:.{figures}g}" if top >= 1e5 or digits > 4 else f"{value:.{digits}f}"

    return tuple(Tick(at * step, shown(at * step)) for at in range(first, last + 1))
