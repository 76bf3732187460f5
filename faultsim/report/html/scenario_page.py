"""The page of a whole scenario: verdict first, a row a case, requirements by case, all cases side by side.

What the page of one case says lives in `view.py`; which files there are in `scenario_files.py`.
"""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from faultsim.report.html.draw_scenario import scenario_charts
from faultsim.report.html.headline import headline
from faultsim.report.html.page import fill
from faultsim.report.html.strip import Span, strip
from faultsim.report.scenario import every_chip, figure, marks, remarks, verdict_sentence
from faultsim.report.words import counted, interval
from faultsim.results import Result
from faultsim.results.scenario import CaseRow, ScenarioResult

_WORDS = {"passed": "passed", "failed": "failed", "no verdict": "none asked", "error": "error", "not run": "not run"}
_STANDING = {"passed": "pass", "failed": "fail", "error": "fail"}


def render_scenario_page(
    result: ScenarioResult,
    results: Mapping[str, Result] | None = None,
    *,
    links: Mapping[str, str] | None = None,
    next_command: str | None = None,
) -> str:
    """Return the page as the text of one HTML file, which loads nothing.

    Args:
        result: The scenario.
        results: The cases' own results by name, for their chips; a case without one has no small picture.
        links: Where the pages of cases lie, by name of the case, as an address from this page.
        next_command: What is worth running next; None leaves it out.
    """
    results, links = results or {}, links or {}
    word, sentence = verdict_sentence(result)
    texts = tuple(dict.fromkeys(one.text for row in result.cases for one in row.criteria))
    span, axis = _span(result, results)
    versions = [one.provenance.versions for one in results.values()]
    return fill(
        "scenario.html.j2",
        scenario_charts(result),
        {"scenario": result.to_dict()},
        scenario=result,
        version=next((found for one in versions if (found := one.get("faultsim-nn"))), ""),
        standing={"PASSED": "pass", "FAILED": "fail"}.get(word, "open"),
        word=word.capitalize(),
        sentence=f"{sentence[:1].upper()}{sentence[1:]}.",
        counts=_counts(result),
        missed=_missed(result),
        next=next_command,
        caption=f"Small pictures: how many chips reach what, {axis}; line: without faults; "
        "diamond: the worst case found, an arrow where it lies beyond",
        rows=[_row(row, results.get(row.name), links.get(row.name), span.get(row.headline)) for row in result.cases],
        texts=texts,
        judged=[
            {"name": row.name, "cells": [{one.text: one for one in row.criteria}.get(text) for text in texts]}
            for row in result.cases
            if row.criteria
        ],
        broken=[row for row in result.cases if row.error is not None],
        hardened=[row for row in result.cases if row.hardened is not None],
        models=tuple(dict.fromkeys(row.model for row in result.cases)),
        reused=sum(row.reused for row in result.cases),
        remarks=remarks(result, each=False),
    )


def _counts(result: ScenarioResult) -> str:
    models, devices = {row.model for row in result.cases}, {row.device for row in result.cases}
    return (
        f"{counted(len(result.cases), 'case')}: {counted(len(models), 'model')} on {counted(len(devices), 'device')}. "
        "A case is one model on one device at one corner."
    )


def _missed(result: ScenarioResult) -> list[dict[str, str]]:
    missed = [
        {"case": row.name, "said": f"{one.explanation} ({one.text})"}
        for row in result.cases
        for one in row.criteria
        if not one.passed
    ]
    return missed + [{"case": row.name, "said": row.error} for row in result.cases if row.error is not None]


def _span(result: ScenarioResult, results: Mapping[str, Result]) -> tuple[dict[str, Span], str]:
    """Return the axis of the small pictures for each kind of figure, and the same in words.

    It holds every chip and the clean models; a worst case beyond it is drawn as an arrow at its end.
    """
    found: dict[str, Span] = {}
    for kind in dict.fromkeys(row.headline for row in result.cases):
        rows = [row for row in result.cases if row.headline == kind]
        every = [value for row in rows for value in (row.clean, row.mean, row.tail) if value is not None]
        every += [value for row in rows if row.name in results for value in _chips(results[row.name])]
        if every:
            room = 0.02 * (max(every) - min(every)) or 0.01
            found[kind] = Span(min(every) - room, max(every) + room)
    words = {
        kind: f"from {100 * max(span.low, 0):.3g} to {100 * min(span.high, 1):.3g} %" if kind == "accuracy"
        else f"{kind} from {span.low:.4g} to {span.high:.4g}"
        for kind, span in found.items()
    }  # fmt: skip
    return found, " and ".join(words.values())


def _chips(result: Result) -> list[float]:
    of = headline(result)
    rows = () if result.random is None else result.random.per_trial
    return [value for one in rows if (value := of.of_chip(one)) is not None]


def _row(row: CaseRow, result: Result | None, href: str | None, span: Span | None) -> dict[str, Any]:
    ran = row.status not in ("error", "not run")
    picture = None
    if result is not None and span is not None:
        values = _chips(result)
        if values:
            least, most = figure(row, min(values)), figure(row, max(values))
            said = f"{counted(len(values), 'chip')} from {least} to {most}, worst case found {figure(row, row.worst)}"
            picture = Markup(strip(values, row.worst, row.clean, span, said))  # noqa: S704  (escaped there)
    return {
        "name": row.name,
        "star": marks(row),
        "href": href,
        "conditions": "; ".join(filter(None, (row.conditions, every_chip(row)))),
        "standing": _STANDING.get(row.status, ""),
        "word": _WORDS[row.status],
        "strip": picture,
        "clean": figure(row, row.clean) if ran else "",
        "mean": figure(row, row.mean) if ran else "",
        "between": interval(row.low, row.high, of_fractions=row.headline == "accuracy"),
        "tail": figure(row, row.tail) if ran else "",
        "worst": figure(row, row.worst) if ran else "",
    }
