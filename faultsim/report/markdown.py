"""A result as Markdown, for the summary page of a CI job. No figure is computed here; foreign text is escaped."""

import re
from pathlib import PurePath

from faultsim.report.figures import fragile_measure, sites, table
from faultsim.report.html.answer import answer, of_result
from faultsim.report.html.bundle import Bundle
from faultsim.report.html.view_more import campaign_view, harden_view, sweep_view
from faultsim.report.verdict import next_command
from faultsim.report.words import counted, plain
from faultsim.results import Result

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}  # an @ would call a person
_LINK = re.compile(r"(?i)(https?|ftp|www)([:.])")
_MARKS = {"pass": "✅", "fail": "❌", "open": "ℹ️"}


def markdown(result: Result) -> str:
    """Return the summary: answer, requirements, the main table, the most fragile tensors, the next command.

    It is GitHub's Markdown. Names from the file cannot make markup, links, tags or mentions: every character
    that could is escaped, and control characters are gone.

    Args:
        result: The assessment.
    """
    found = of_result(result)
    model = PurePath(result.model.path).name or result.model.path
    lines = [
        f"## {_MARKS[found.standing]} {escape(model)} on {escape(result.device.name)}: {found.word.lower()}",
        "",
        f"**{escape(found.sentence)}** {escape(found.detail)}",
        "",
    ]
    if result.data.labels == "golden":
        lines += ["No labels: the figures are agreement with the clean model, not with the truth.", ""]
    if result.verdict.criteria:
        lines += ["| requirement | verdict | why |", "|---|---|---|"]
        for one in result.verdict.criteria:
            word = ("passed" if one.passed else "**failed**") + (", inconclusive" if one.inconclusive else "")
            lines.append(f"| {code(one.text)} | {word} | {escape(one.explanation)} |")
        lines.append("")
    lines += [f"- not judged: {code(text)}" for text in result.verdict.unjudged]
    lines += ["", *fenced("\n".join(line.rstrip() for line in table(result))), ""]
    bars = sites(result)
    if bars:
        lines += [f"Most fragile ({fragile_measure(result)}):", "", *fenced("\n".join(bars)), ""]
    unsure = [one for one in result.device.assumptions if (one.rests_on or one.status) in ("recalled", "illustrative")]
    if unsure:
        what = counted(len(unsure), "assumption")
        lines += [f"{what} of {len(result.device.assumptions)} recalled or illustrative, with no checked source.", ""]
    lines += ["Next:", "", *fenced(next_command(result)), ""]
    return "\n".join(lines)


def markdown_of_bundle(bundle: Bundle) -> str:
    """Return the same of what a report shows: a sweep, a hardening, a campaign, an attack or a bit map too."""
    if bundle.result is not None and not bundle.hardening_alone:
        return markdown(bundle.result)
    found, main = answer(bundle), bundle.main
    model = PurePath(main.model.path).name or main.model.path
    lines = [f"## {_MARKS[found.standing]} {escape(model)}: {found.word.lower()}", ""]
    lines += [f"**{escape(found.sentence)}** {escape(found.detail)}", ""]
    if bundle.harden is not None:
        lines += ["| what | before | after | change | |", "|---|--:|--:|--:|---|"]
        for row in harden_view(bundle.harden)["rows"]:
            cells = (row["name"], row["before"], row["after"], row["change"], row["word"])
            lines.append("| " + " | ".join(map(escape, cells)) + " |")
    elif bundle.sweep is not None:
        seen = sweep_view(bundle.sweep)
        heads = f"| {escape(bundle.sweep.over)} | mean | interval | {seen['edge']} | worst drawn |"
        lines += [heads, "|---|--:|--:|--:|--:|"]
        for row in seen["rows"]:
            cells = (row["label"], row["mean"], row["between"], row["edge"], row["worst"])
            lines.append("| " + " | ".join(map(escape, cells)) + " |")
    elif bundle.campaign is not None:
        lines += ["| what | rate | interval, % | n |", "|---|--:|--:|--:|"]
        for label, value, between, trials in campaign_view(bundle.campaign)["rates"]:
            lines.append(f"| {label} | {value} | {escape(between)} | {trials:,} |")
    return "\n".join([*lines, ""])


def escape(text: str) -> str:
    r"""Return foreign text that Markdown shows as it is, in the middle of a line; an address in it is no link.

    Examples:
        >>> print(escape("a|b <img> *c*"))
        a\|b &lt;img&gt; \*c\*
    """
    safe = "".join(_ENTITIES.get(letter, letter) for letter in _SPECIAL.sub(r"\\\1", plain(text)))
    return _LINK.sub(r"\1&#8203;\2", safe)  # a space of no width


def code(text: str) -> str:
    r"""Return foreign text as code inside a line or a table, with a fence longer than any run of backticks in it.

    Examples:
        >>> print(code("a`b|c"))
        ``a`b\|c``
    """
    safe = plain(text).replace("|", "\\|")  # a table's cell ends at a bare bar, in code too
    fence = _fence(safe, 1)
    gap = " " if safe.startswith("`") or safe.endswith("`") else ""
    return f"{fence}{gap}{safe}{gap}{fence}"


def fenced(text: str) -> list[str]:
    """Return lines of a block of code that its own text cannot end."""
    safe = "\n".join(plain(line) for line in text.split("\n"))
    fence = _fence(safe, 3)
    return [f"{fence}text", safe, fence]


def _fence(text: str, least: int) -> str:
    runs = [len(run) for run in re.findall("`+", text)]
    return "`" * max(least, 1 + max(runs, default=0))
