"""The charts of a scenario: all cases side by side, and a curve over the corners of each model and device."""

from collections import Counter
from collections.abc import Sequence

from faultsim.report.html.chart import Axis, Band, Chart, Dots, Line, Mark, Tick, bounded, linear
from faultsim.report.scenario import figure
from faultsim.report.words import counted, interval, plain
from faultsim.results.scenario import CaseRow, ScenarioResult

_MOST_CASES = 40
_MOST_CURVES = 24


def scenario_charts(result: ScenarioResult) -> list[Chart]:
    """Return the chart of all cases and those over corners; nothing where no case ran."""
    ran = [row for row in result.cases if row.mean is not None]
    if not ran:
        return []
    kind = Counter(row.headline for row in ran).most_common(1)[0][0]  # others have another axis: the table has them
    rows = [row for row in ran if row.headline == kind]
    groups: dict[tuple[str, ...], list[CaseRow]] = {}
    for row in rows:
        if row.corner:
            groups.setdefault(tuple(row.name.split("/")[:-1]), []).append(row)
    curves = [(where, group) for where, group in groups.items() if len(group) > 1]
    drawn = [_curve(number, where, group) for number, (where, group) in enumerate(curves[:_MOST_CURVES], 1)]
    return [_cases(rows), *drawn]


def _cases(rows: Sequence[CaseRow]) -> Chart:
    """Return a row a case: mean with its interval, 5th percentile, worst case found, clean."""
    shown = rows[:_MOST_CASES]
    scale = _scale(rows[0])
    places = [float(len(shown) - 1 - at) for at in range(len(shown))]

    def dots(name: str) -> tuple[tuple[float, float], ...]:
        pairs = zip(shown, places, strict=True)
        return tuple((scale * value, y) for row, y in pairs if (value := getattr(row, name)) is not None)

    marks: list[Mark] = [
        Line(points=((scale * row.low, y), (scale * row.high, y)), tone="chip")
        for row, y in zip(shown, places, strict=True)
        if row.low is not None and row.high is not None
    ]
    marks += [
        Dots(points=dots("clean"), tone="good", label="without faults", hollow=True),
        Dots(points=dots("tail"), tone="ink", label="95 % of the chips reach", shape="bar"),
        Dots(points=dots("mean"), tone="chip", label="mean chip, interval"),
        Dots(points=dots("worst"), tone="worst", label="worst case found", shape="diamond"),
    ]
    left_out = len(rows) - len(shown)
    more = f" {counted(left_out, 'more case')} not drawn." if left_out else ""
    said = "; ".join(f"{_named(row)}: {_words(row)}" for row in shown)
    return Chart(
        name="cases",
        title=f"{_title(rows[0])} of every case",
        said=f"{said}.{more}",
        x=_axis(rows, scale),
        y=Axis(label="", low=-0.6, high=len(shown) - 0.4,
               ticks=tuple(Tick(y, _named(row)) for row, y in zip(shown, places, strict=True))),
        marks=tuple(marks),
        height=90 + 24 * len(shown),
    )  # fmt: skip


def _curve(number: int, where: tuple[str, ...], rows: Sequence[CaseRow]) -> Chart:
    """Return the figures over the corners, in the order of the file; broken where chips are told given an event."""
    scale = _scale(rows[0])
    runs: list[list[tuple[float, CaseRow]]] = []
    for at, row in enumerate(rows):
        if not runs or (runs[-1][-1][1].event_probability is None) != (row.event_probability is None):
            runs.append([])
        runs[-1].append((float(at), row))

    def line(name: str) -> tuple[tuple[float, float | None], ...]:
        found: list[tuple[float, float | None]] = []
        for run in runs:
            found += [(x, None if (value := getattr(row, name)) is None else scale * value) for x, row in run]
            found.append((run[-1][0], None))
        return tuple(found)

    given = any(row.event_probability is not None for row in rows)
    marks: list[Mark] = []
    for run in runs:
        band = [(x, scale * r.low, scale * r.high) for x, r in run if r.low is not None and r.high is not None]
        if len(band) > 1:
            marks.append(Band(points=tuple(band), tone="chip", label="" if marks else "interval of the mean"))
    marks += [
        Line(points=line("clean"), tone="good", label="without faults", dots=True),
        Line(points=line("mean"), tone="chip", label="mean chip", dots=True),
        Line(points=line("tail"), tone="ink", dash="dashed", label="95 % of the chips reach", dots=True),
        Line(points=line("worst"), tone="worst", dash="dotted", label="worst case found", dots=True),
    ]
    return Chart(
        name=f"corners-{number}",
        title=f"{_title(rows[0])} over the corners: {' on '.join(map(plain, where))}",
        said="; ".join(f"{_named(row, of=row.corner)}: {_words(row)}" for row in rows) + ".",
        x=Axis(label=f"corner{'; * given a fault event' if given else ''}", low=-0.3, high=len(rows) - 0.7,
               ticks=tuple(Tick(float(at), _named(row, of=row.corner)) for at, row in enumerate(rows))),
        y=_axis(rows, scale),
        marks=tuple(marks),
        height=290,
    )  # fmt: skip


def _axis(rows: Sequence[CaseRow], scale: float) -> Axis:
    label = f"{_title(rows[0])} (%)" if rows[0].headline == "accuracy" else _title(rows[0])
    if rows[0].headline == "accuracy":
        return bounded(label, 0, 102)
    every = [value for row in rows for value in (row.clean, row.mean, row.low, row.high, row.tail, row.worst)]
    return linear(label, [scale * value for value in every if value is not None])


def _scale(row: CaseRow) -> float:
    return 100.0 if row.headline == "accuracy" else 1.0


def _title(row: CaseRow) -> str:
    return "agreement" if row.headline == "accuracy" and row.labels == "golden" else row.headline


def _named(row: CaseRow, *, of: str | None = None) -> str:
    return f"{plain(row.name if of is None else of)}{'' if row.event_probability is None else ' *'}"


def _words(row: CaseRow) -> str:
    between = interval(row.low, row.high, of_fractions=row.headline == "accuracy")
    return (
        f"without faults {figure(row, row.clean)}, mean chip {figure(row, row.mean)} {between}, "
        f"95 % of the chips reach {figure(row, row.tail)}, worst case found {figure(row, row.worst)}"
    )
