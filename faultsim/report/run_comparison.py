"""Two runs of a scenario, as lines for a terminal, as Markdown and as JUnit XML. Nothing is compared here."""

from faultsim.report.comparison import answer, between, change, claim, gate_line, shown, verdict_line
from faultsim.report.markdown import code, escape
from faultsim.report.words import counted, pad, plain, wrapped
from faultsim.results.comparison import Compared
from faultsim.results.run_comparison import ComparedCase, RunComparison

_NAME_CELLS = 36


def lines(found: RunComparison) -> list[str]:
    """Return the terminal report: a row a case with its main figure, what is not in both, the gates."""
    said = [f"first   {plain(found.first)}", f"second  {plain(found.second)}", f"cases   {_cases(found)}", ""]
    said.append(f"{pad('mean chip', _NAME_CELLS)}{'first':>9}{'second':>9}{'change':>11}")
    for case in found.cases:
        one = main(case)
        if one is None:
            said += [plain(case.name), *wrapped(plain(answer(case.comparison)), "    ", "    ")]
            continue
        figures = f"{shown(one, one.first):>9}{shown(one, one.second):>9}{change(one):>11}"
        said.append(f"{pad(plain(case.name), _NAME_CELLS)}{figures}")
        said.append(verdict_line(one, case.comparison.level))
    said.append("")
    for note in notes(found):
        said += wrapped(f"note: {note}", "      ")
    if found.gated:
        said.append("")
        for verdict in verdicts(found):
            said += wrapped(verdict, "        ")
    return [line.rstrip() for line in said]


def markdown(found: RunComparison) -> str:
    """Return the same for the summary page of a CI job; foreign names cannot make markup."""
    mark = "❌" if found.failed else "✅" if found.gated else "ℹ️"
    said = [f"## {mark} {escape(plain(found.second))} against {escape(plain(found.first))}", ""]
    said += ["| case | first | second | change | interval | claimed |", "|---|--:|--:|--:|--:|---|"]
    for case in found.cases:
        one = main(case)
        cells = ("", "", "", "", "not tested") if one is None else (
            shown(one, one.first), shown(one, one.second), change(one), between(one), claim(one)
        )  # fmt: skip
        said.append(f"| {code(case.name)} | {' | '.join(map(escape, cells))} |")
    told = [*notes(found), *(verdicts(found) if found.gated else [])]
    return "\n".join([*said, "", *(f"- {escape(one)}" for one in told), ""])


def main(case: ComparedCase) -> Compared | None:
    """Return the main figure of a case; None where it could not be tested."""
    made = case.comparison
    return next((one for one in made.figures if one.name == made.main and one.test is not None), None)


def notes(found: RunComparison) -> list[str]:
    """Return what a careful reader must know beside the table."""
    said = []
    apart = [case.name for case in found.cases if not case.comparison.paired]
    if apart:
        said.append(f"{counted(len(apart), 'case')} not on the same chips: {_named(apart)}")
    for names, where in ((found.missing, "second"), (found.added, "first")):
        if names:
            said.append(f"no result in the {where}: {_named(names)}")
    unjudged = sorted({text for case in found.cases for text in case.unjudged})
    for text in unjudged:
        lacking = [case.name for case in found.cases if text in case.unjudged]
        said.append(f"{plain(text)} not judged, neither result holds it: {_named(lacking)}")
    levels = [case.comparison.level for case in found.cases if main(case) is not None]
    if len(levels) > 1:
        said.append(f"{len(levels)} tests, each at its own level: where nothing differs, {_by_chance(levels)}")
    return said


def _by_chance(levels: list[float]) -> str:
    """Return how many tests claim a difference by chance alone."""
    if len(set(levels)) > 1:
        return f"{sum(1 - level for level in levels):.2g} of them claim by chance"
    level = levels[0]
    return f"one in {1 / (1 - level):.3g} claims at {100 * level:g} %" if level < 1 else "none claims"


def verdicts(found: RunComparison) -> list[str]:
    """Return a line for each gate that failed or is open, then what all of them come to."""
    said = []
    gates = [(case.name, gate) for case in found.cases for gate in case.comparison.gates]
    for name, gate in gates:
        if gate.failed or gate.inconclusive:
            said.append(f"{gate_line(gate)} in {plain(name)}")
    if found.missing:
        said.append(f"FAILED  {counted(len(found.missing), 'case')} without a result: {_named(found.missing)}")
    if not found.failed:
        said.append(f"PASSED  {counted(len(gates), 'gate')} on {counted(len(found.cases), 'case')}")
    return said


def _cases(found: RunComparison) -> str:
    same = sum(case.comparison.paired for case in found.cases)
    return f"{len(found.cases)} in both, {same} of them on the same chips, compared one by one"


def _named(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(plain, names[:6])) + (", …" if len(names) > 6 else "")
