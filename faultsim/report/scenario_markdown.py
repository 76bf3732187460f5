"""The summary of a scenario as Markdown, for the page of a CI job. Nothing is judged here; foreign text is escaped."""

from faultsim.report.markdown import code, escape
from faultsim.report.scenario import figure, marks, remarks, verdict_sentence
from faultsim.results.scenario import ScenarioResult

_MARKS = {"PASSED": "✅", "FAILED": "❌", "NO VERDICT": "ℹ️"}


def scenario_markdown(result: ScenarioResult) -> str:
    """Return the summary as GitHub's Markdown, for the page of a CI job."""
    word, said = verdict_sentence(result)
    title = f": {escape(result.title)}" if result.title else ""
    lines = [f"## {_MARKS[word]} {escape(result.name)}{title}", "", f"**{word}**: {escape(said)}.", ""]
    lines += ["| | case | clean | mean | p05 | worst (found, not proven) |", "|---|---|--:|--:|--:|--:|"]
    for row in result.cases:
        mark = {"passed": "✅", "failed": "❌", "error": "❌"}.get(row.status, "ℹ️")
        figures = " | ".join(figure(row, value) for value in (row.clean, row.mean, row.tail, row.worst))
        lines.append(f"| {mark} {row.status} | {code(row.name)}{escape(marks(row))} | {figures} |")
    for row in result.cases:
        missed = [one for one in row.criteria if not one.passed]
        if row.error is not None:
            lines += ["", f"- {code(row.name)} could not be run: {escape(row.error)}"]
        if missed:
            lines.append("")
        lines += [f"- {code(row.name)} missed {code(one.text)}: {escape(one.explanation)}" for one in missed]
    notes = remarks(result)
    lines += ["", *(f"- {escape(one)}" for one in notes)] if notes else []
    return "\n".join([*lines, ""])
