"""A result in a notebook or a Python session: a line, the terminal's text, HTML, matplotlib axes. No file is read.

`faultsim.results.shown` calls these by name; the page as a file is made in `html/`.
"""

import base64
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from faultsim.errors import OptionError
from faultsim.library import closest
from faultsim.report import attack, bitmap, comparison, hardening, injection, run_comparison, scenario, sweep, terminal
from faultsim.report.html.answer import answer
from faultsim.report.html.bundle import Bundle
from faultsim.report.html.chart import Chart
from faultsim.report.html.draw_scenario import scenario_charts
from faultsim.report.html.figures import figures
from faultsim.report.html.headline import headline
from faultsim.report.html.png import draw_on
from faultsim.report.html.svg import file_text
from faultsim.report.html.view import main_table
from faultsim.report.words import counted, plain
from faultsim.results import Result, SweepResult
from faultsim.results.attack import AttackResult
from faultsim.results.bitmap import BitMapResult
from faultsim.results.comparison import Comparison
from faultsim.results.hardening import HardenResult
from faultsim.results.injection import InjectionResult
from faultsim.results.probing import ProbeResult
from faultsim.results.run_comparison import RunComparison
from faultsim.results.scenario import ScenarioResult
from faultsim.results.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_ROWS = 16
_COLUMNS: dict[type[Shown], tuple[str, ...]] = {
    ScenarioResult: ("name", "status", "clean", "mean", "low", "high", "tail", "worst"),
    HardenResult: ("name", "before", "after", "note"),
    RunComparison: ("case", "words", "first", "second", "difference", "low", "high", "claimed"),
    Comparison: ("words", "first", "second", "difference", "low", "high", "claimed"),
}
"""Columns of the table of a notebook, where the rows have more than a reader wants."""


def line(result: Shown) -> str:
    """Return the type of a result, what it is of, and its answer in one line."""
    return f"<{type(result).__name__} {_of(result)}: {_answer(result)}>"


def text(result: Shown) -> str:
    """Return what the command line prints of a result, without colour."""
    if isinstance(result, Result):
        return "\n".join(said for said, _ in terminal.lines(result))
    if isinstance(result, InjectionResult):
        return "\n".join(said for said, _ in injection.lines(result))
    if isinstance(result, AttackResult | ProbeResult):
        return "\n".join(said for said, _ in attack.lines(result))
    if isinstance(result, ScenarioResult):
        return "\n".join(said for said, _ in scenario.scenario_lines(result))
    if isinstance(result, HardenResult):
        return "\n".join(hardening.lines(result))
    if isinstance(result, SweepResult):
        return "\n".join(sweep.lines(result))
    if isinstance(result, BitMapResult):
        return "\n".join(bitmap.lines(result))
    if isinstance(result, Comparison):
        return "\n".join(comparison.lines(result))
    if isinstance(result, RunComparison):
        return "\n".join(run_comparison.lines(result))
    return line(result)


def html(result: Shown) -> str:
    """Return a result as a piece of HTML: what it is of, the answer, a table, the first figure. Names are escaped."""
    left_out = 0
    parts = [f"<p><strong>{escape(_of(result))}</strong>: {escape(_answer(result))}</p>"]
    if isinstance(result, Result):
        rows = main_table(result, headline(result))
        heads: tuple[str, ...] = (headline(result).name, "value", f"{100 * result.level:g}% interval", "change")
        cells = [[row[key] for key in ("label", "value", "between", "change")] for row in rows]
    else:
        every = result.to_rows()
        table = every[:_MOST_ROWS]
        asked = _COLUMNS.get(type(result), tuple(table[0]) if table else ())
        heads = tuple(key for key in asked if _simple(table, key))
        left_out = len(every) - len(table)
        cells = [[_cell(row[key]) for key in heads] for row in table]
    head = "".join(f"<th>{escape(plain(one))}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(plain(one))}</td>' for one in row)}</tr>" for row in cells)
    parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    if left_out:
        parts.append(f"<p>and {counted(left_out, 'more row')}: to_rows()</p>")
    for chart in list(_charts(result).values())[:1]:
        picture = base64.b64encode(file_text(chart, dark=False).encode()).decode()
        said, paper = escape(plain(chart.said)), "background:#fff;padding:8px"  # a notebook's page is its own affair
        parts.append(f'<img alt="{said}" style="{paper}" src="data:image/svg+xml;base64,{picture}">')
    return f"<div>{''.join(parts)}</div>"


def plot(result: Shown, figure: str | None, ax: "Axes | None") -> "Axes":
    """Draw one figure of a result, the first where *figure* is None, on *ax* or on new axes; return the axes.

    Raises:
        OptionError: If there is no such figure, or nothing to draw.
    """
    known = _charts(result)
    if not known:
        raise OptionError(f"{_of(result)} has nothing to draw")
    if figure is not None and figure not in known:
        near = closest(figure, list(known))
        hint = f", did you mean {near!r}?" if near else ";"
        raise OptionError(f"no figure {figure[:80]!r}{hint} there are: {', '.join(known)}")
    chart = next(iter(known.values())) if figure is None else known[figure]
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(6.1, chart.height / 72), layout="constrained")
    draw_on(ax, chart)
    return ax


def _charts(result: Shown) -> dict[str, Chart]:
    if isinstance(result, ScenarioResult):
        return {chart.name: chart for chart in scenario_charts(result)}
    bundle = _bundle(result)
    if bundle is None:
        return {}
    found = figures(bundle)
    if bundle.hardening_alone:  # before and after come first, not what came after alone
        return dict(sorted(found.items(), key=lambda item: "before" not in item[0]))
    return found


def _bundle(result: Shown) -> Bundle | None:
    if isinstance(result, HardenResult):
        return Bundle(result=result.after, harden=result)
    fields = ((Result, "result"), (SweepResult, "sweep"), (InjectionResult, "campaign"), (AttackResult, "attack"),
              (ProbeResult, "probe"), (BitMapResult, "bitmap"))  # fmt: skip
    given: dict[str, Any] = {name: result for kind, name in fields if isinstance(result, kind)}
    return Bundle(**given) if given else None


def _of(result: Shown) -> str:
    """Return what a result is of: model and device, or the scenario."""
    if isinstance(result, ScenarioResult):
        return plain(result.name)
    if isinstance(result, Comparison):
        return plain(f"{result.second.path} against {result.first.path}")
    if isinstance(result, RunComparison):
        return plain(f"{result.second} against {result.first}")
    bundle = _bundle(result)
    if bundle is None:
        return ""
    main = bundle.main
    device = main.storage if isinstance(main, InjectionResult) else getattr(main, "device", None)
    name = PurePath(main.model.path).name or main.model.path
    return plain(f"{name} on {device.name}" if device is not None else name)


def _answer(result: Shown) -> str:
    if isinstance(result, ScenarioResult):
        word, said = scenario.verdict_sentence(result)
        return f"{word}: {said}"
    if isinstance(result, Comparison):
        return plain(comparison.answer(result))
    if isinstance(result, RunComparison):
        return (
            f"{len(result.cases)} cases compared; {'; '.join(run_comparison.verdicts(result)) or 'no gate was given'}"
        )
    bundle = _bundle(result)
    assert bundle is not None
    said_first = answer(bundle)
    return plain(f"{said_first.sentence} {said_first.detail}" if said_first.standing != "open" else said_first.sentence)


def _simple(table: list[dict[str, Any]], key: str) -> bool:
    """Whether a column has something to show, and no value of it is a structure."""
    values = [row[key] for row in table]
    return any(value is not None for value in values) and not any(isinstance(value, tuple | dict) for value in values)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
