"""The summary of a scenario for a terminal: a row a case, what was missed, the verdict. No figure is computed here."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from rich.console import Console
from rich.text import Text

from faultsim.report.halts import HALTED
from faultsim.report.verdict import Line
from faultsim.report.words import block, counted, cut, pad, percent, plain, speakable
from faultsim.results.scenario import CaseRow, ScenarioResult

WIDTH = 80
_WORDS = {"passed": "PASSED", "failed": "FAILED", "no verdict": "-", "error": "ERROR", "not run": "not run"}
_STYLES = {"passed": "green", "failed": "bold red", "error": "bold red", "not run": "yellow", "no verdict": ""}
_LABEL, _FIGURE = 8, 9
_NAME = WIDTH - _LABEL - 4 * _FIGURE
_DOUBTFUL = 0.2  # a model that ships is more accurate than this, or its labels are not its own
_MOST = 40  # cases whose misses are told one by one


def render_scenario(result: ScenarioResult, console: Console | None = None, *, out: str | None = None) -> None:
    """Print a scenario's summary to *console*, by default standard output, 80 columns wide.

    Args:
        result: What to show.
        console: Where to.
        out: The folder of ``summary.json``, for the last line; None leaves it out.
    """
    console = console or Console()
    for text, style in scenario_lines(result, out=out):
        console.print(
            Text(speakable(text, console.encoding), style=style), soft_wrap=True, highlight=False, emoji=False
        )


def scenario_lines(result: ScenarioResult, *, out: str | None = None) -> list[Line]:
    """Return the lines of the summary, each with its style; none is wider than 80 columns but those of paths."""
    names = Counter(_name(row) for row in result.cases)
    found: list[Line] = [*_head(result)]
    for row in result.cases:
        found += _row(row, whole=names[_name(row)] > 1)
    found += _misses(result)
    found += [("", ""), *_about(result), *_verdict(result)]
    if out is None:
        found.append(("nothing is kept: --out DIR keeps each result and a page of all cases", "dim"))
    else:
        summary = plain(str(PurePath(out) / "summary.json"))
        found.append((f"written: {summary} and a result.json for each finished case", "dim"))
        page = plain(str(PurePath(out) / "index.html"))
        found.append((f"page:    {page}, with links to the page of each finished case", "dim"))
    return found


def case_line(number: int, of: int, row: CaseRow) -> str:
    """Return one finished case as a line of progress."""
    spent = "as before" if row.reused else f"{row.seconds:.1f} s"
    return f"[{number}/{of}] {plain(row.name)}: {row.status}, {spent}"


def figure(row: CaseRow, value: float | None) -> str:
    """Return a figure of a case as people know its task: per cent for an accuracy, else a number."""
    if value is None:
        return "-"
    return percent(value) if row.headline == "accuracy" else f"{value:.4g}"


def every_chip(row: CaseRow) -> str:
    """Return what a row that is told given an event comes to over every chip; empty for any other row.

    A chip without an event does as the clean model, so the mean is weighed by the probability of one: exactly.
    """
    chance = row.event_probability
    if chance is None or row.clean is None or row.mean is None:
        return ""
    mean = row.clean + chance * (row.mean - row.clean)
    shown = f"{100 * mean:.4f}%" if row.headline == "accuracy" else f"{mean:.6g}"
    return f"{_share(1 - chance)} of the chips have no event; the mean over every chip is {shown}"


def _share(part: float) -> str:
    """Return a part near 1 in per cent with as many digits as tell it from 1, at most eight."""
    for digits in range(2, 9):
        if part >= 1 or round(100 * part, digits) < 100:
            return f"{100 * part:.{digits}f}%"
    return "nearly all"


def verdict_sentence(result: ScenarioResult) -> tuple[str, str]:
    """Return the word and the sentence that a scenario comes to."""
    count = {status: sum(row.status == status for row in result.cases) for status in _WORDS}
    said = []
    if count["failed"]:
        said.append(f"{counted(count['failed'], 'case')} of {len(result.cases)} missed a requirement")
    if count["error"]:
        said.append(f"{counted(count['error'], 'case')} of {len(result.cases)} could not be run")
    if count["not run"]:
        said.append(f"{counted(count['not run'], 'case')} not run: interrupted")
    if said:
        return ("FAILED" if count["failed"] or count["error"] else "NO VERDICT"), "; ".join(said)
    if count["passed"]:
        open_ = sum(one.inconclusive for row in result.cases for one in row.criteria)
        doubt = f"; {counted(open_, 'answer')} could turn with more chips" if open_ else ""
        rest = f", {counted(count['no verdict'], 'case')} without one" if count["no verdict"] else ""
        return "PASSED", f"{counted(count['passed'], 'case')} met every requirement{rest}{doubt}"
    return "NO VERDICT", "the scenario states no requirement"


def _head(result: ScenarioResult) -> Iterable[Line]:
    title = f": {plain(result.title)}" if result.title else ""
    yield from ((text, "bold") for text in block("", [f"{plain(result.name)}{title}"], WIDTH, indent=0))
    yield f"{counted(len(result.cases), 'case')}, {result.seconds:.1f} s", "dim"
    names = "".join(f"{name:>{_FIGURE}}" for name in ("clean", "mean", "p05", "worst"))
    yield "", ""
    yield f"{'':{_LABEL}}{pad('case', _NAME)}{names}", "bold"


def _row(row: CaseRow, *, whole: bool) -> Iterable[Line]:
    """Yield the row of a case; with *whole* its name stands whole above its figures, as its short one is another's."""
    figures = "".join(f"{figure(row, value):>{_FIGURE}}" for value in (row.clean, row.mean, row.tail, row.worst))
    if row.status in ("error", "not run"):
        figures = ""
    word, style = _WORDS[row.status], _STYLES[row.status]
    if whole:
        lines = block(word, [f"{plain(row.name)}{marks(row)}"], WIDTH, indent=_LABEL)
        lines += [f"{'':{_LABEL + _NAME}}{figures}"] if figures else []
    else:
        lines = [f"{word:<{_LABEL}}{pad(_name(row), _NAME)}{figures}"]
    yield from ((line.rstrip(), style) for line in lines)


def _name(row: CaseRow) -> str:
    """Return the name of a case, with its mark, as short as the table needs it."""
    mark = marks(row)
    return f"{cut(plain(row.name), _NAME - len(mark))}{mark}"


def marks(row: CaseRow) -> str:
    """Return the marks behind a case's name, which `remarks` explains: * given a fault event, ! chips that halt."""
    return ("" if row.event_probability is None else " *") + (" !" if row.halted else "")


def _misses(result: ScenarioResult) -> Iterable[Line]:
    rows = [row for row in result.cases if row.status in ("failed", "error")]
    for row in rows[:_MOST]:
        yield "", ""
        yield from ((text, "bold") for text in block("", [plain(row.name)], WIDTH, indent=0))
        if row.error is not None:
            yield from ((text, "") for text in block("ERROR", [plain(row.error)], WIDTH, indent=_LABEL))
        for one in row.criteria:
            doubt = " (inconclusive: more chips would tell)" if one.inconclusive else ""
            said = f"{plain(one.text)}: {plain(one.explanation)}{doubt} [{plain(one.source)}]"
            word = "met" if one.passed else "MISSED"
            yield from ((text, "") for text in block(word, [said], WIDTH, indent=_LABEL))
    if len(rows) > _MOST:
        yield f"and {len(rows) - _MOST} more, in summary.json", ""


def remarks(result: ScenarioResult, *, each: bool = True) -> list[str]:
    """Return what a careful reader must know beside the figures, a sentence each; with *each* also of single cases."""
    ran = [row for row in result.cases if row.status not in ("error", "not run")]
    said = []
    if ran:
        least, most = min(row.chips for row in ran), max(row.chips for row in ran)
        chips = f"{least}" if least == most else f"{least} to {most}"
        said.append(f"mean and p05 over {chips} chips a case; worst: found, not proven")
    if any(row.headline != "accuracy" for row in ran):
        said.append(
            "some figures are the task's loss or score; p05 is then what 95 % of the chips do at least as well as"
        )
    for row in ran:
        low = row.headline == "accuracy" and row.labels == "given" and row.clean is not None and row.clean < _DOUBTFUL
        if low and row.clean is not None:
            said.append(
                f"{plain(row.name)}: without faults only {percent(row.clean)} are right; check that data, labels and "
                "preprocessing belong to the model before you read on"
            )
    if any(row.labels == "golden" for row in ran):
        said.append("no labels: accuracy is agreement with the clean model, not with the truth")
    rare = [row for row in ran if row.event_probability is not None]
    if rare:
        chances = [row.event_probability for row in rare if row.event_probability is not None]
        ends = dict.fromkeys(f"{one:.2g}" for one in (min(chances), max(chances)))
        said.append(f"* given a fault event, which a chip meets with probability {' to '.join(ends)}")
        said += [f"{plain(row.name)}: {every_chip(row)}" for row in rare[:_MOST] if each]
        if len(rare) < len(ran):
            said.append(
                "rows with and without * are of different chips and sets: compare their means over every chip, "
                "not their percentiles and not their worst cases"
            )
    said += _halts(ran, each=each)
    if any(row.worst is None and row.mean is not None for row in ran):
        said.append("worst -: none was searched, no set of corruptions stands for these faults; the case says why")
    unsure = {row.device: row for row in ran if row.unsure}
    if unsure:
        devices = ", ".join(f"{plain(name)} ({row.unsure} of {row.assumptions})" for name, row in unsure.items())
        said.append(f"assumptions that are recalled or illustrative: {devices}")
    for row in ran:
        if row.hardened is not None and each:
            said.append(f"{plain(row.name)} hardened: {plain(row.hardened.sentence)}")
    return said


def _halts(ran: Sequence[CaseRow], *, each: bool) -> list[str]:
    """Return what the mark ! says, with the cases that it stands at where *each* is told."""
    halting = [row for row in ran if row.halted]
    if not halting:
        return []
    said = "! chips halt or reload on detected errors, and the figures are of their answers after it, with a good copy"
    if each:
        cases = ", ".join(f"{plain(row.name)} {percent(row.halted or 0.0)} of its chips" for row in halting[:_MOST])
        said += f": {cases}{'' if len(halting) <= _MOST else ' and more'}"
    if not all(any(one.metric == "halted" for one in row.criteria) for row in halting):
        said += f"; to bound them, require {HALTED}"
    return [said]


def _about(result: ScenarioResult) -> Iterable[Line]:
    return [(text, "") for text in block("note", remarks(result), WIDTH, indent=_LABEL)]


def _verdict(result: ScenarioResult) -> Iterable[Line]:
    word, said = verdict_sentence(result)
    style = {"PASSED": "bold green", "FAILED": "bold red"}.get(word, "bold")
    return [(text, style) for text in block(word, [said], WIDTH, indent=12 if word == "NO VERDICT" else _LABEL)]
