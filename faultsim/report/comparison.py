"""Two results side by side, as lines for a terminal and as Markdown. Nothing is compared here."""

import itertools
from pathlib import PurePath

from faultsim.report.markdown import code, escape
from faultsim.report.words import MINUS, counted, interval, pad, percent, plain, signed, wrapped
from faultsim.results.comparison import Compared, Comparison, Gate, Side

_NAME_CELLS = 36


def lines(found: Comparison) -> list[str]:
    """Return the terminal report: the two, whether their chips are the same, the figures, the gates."""
    said = []
    for head in (f"first   {_side(found.first)}", f"second  {_side(found.second)}", f"chips   {_chips(found)}"):
        said += wrapped(head, "        ")
    said += ["", *wrapped(answer(found), ""), ""]
    tested = [one for one in found.figures if one.test is not None]
    others = [one for one in found.figures if one.test is None]
    if tested:
        said.append(f"{pad('tested', _NAME_CELLS)}{'first':>9}{'second':>9}{'change':>11}")
        for one in tested:
            said += [_row(one), verdict_line(one, found.level)]
    if others:
        said += ["", f"{pad('not tested, so no claim', _NAME_CELLS)}{'first':>9}{'second':>9}{'change':>11}"]
        said += [_row(one) for one in others]
    notes = [wrapped(f"note: {plain(note)}", "      ") for note in found.notes]
    said += ["", *itertools.chain.from_iterable(notes)] if notes else []
    gates = [wrapped(gate_line(gate), "        ") for gate in found.gates]
    said += ["", *itertools.chain.from_iterable(gates)] if gates else []
    return [line.rstrip() for line in said]


def markdown(found: Comparison) -> str:
    """Return the same for the summary page of a CI job; foreign names cannot make markup."""
    mark = "❌" if found.failed else "✅" if found.gates else "ℹ️"
    model = PurePath(found.second.model).name or found.second.model
    said = [f"## {mark} {escape(model)} against {escape(found.first.path)}", "", f"**{escape(answer(found))}**", ""]
    if found.gates:
        said += ["| gate | verdict | why |", "|---|---|---|"]
        for gate in found.gates:
            said.append(f"| {code(gate.text)} | {_word(gate)} | {escape(gate.explanation)} |")
        said.append("")
    span = f"{100 * found.level:g} % interval"
    said += [f"| figure | first | second | change | {span} | claimed |", "|---|--:|--:|--:|--:|---|"]
    for one in found.figures:
        cells = (shown(one, one.first), shown(one, one.second), change(one), between(one), claim(one))
        said.append(f"| {escape(one.words)} | " + " | ".join(map(escape, cells)) + " |")
    said += ["", f"Chips: {escape(_chips(found))}."]
    return "\n".join([*said, *(f"- {escape(note)}" for note in found.notes), ""])


def answer(found: Comparison) -> str:
    """Return the sentence on the main figure, which claims a difference only where a test does."""
    main = next((one for one in found.figures if one.name == found.main and one.test is not None), None)
    if main is None:
        return f"No difference can be claimed: no test could be made of the mean chip's {found.main}."
    return f"{main.sentence[:1].upper()}{main.sentence[1:]}."


def change(one: Compared) -> str:
    """Return second minus first with its unit."""
    if one.difference is None:
        return ""
    return signed(f"{100 * one.difference:+.2f}") + " pt" if one.fraction else signed(f"{one.difference:+.4g}")


def claim(one: Compared) -> str:
    """Return what may be said of the difference: better, worse, not shown, or not tested."""
    if one.test is None:
        return "not tested"
    chance = "" if one.p_value is None else ", p < 0.0001" if one.p_value < 1e-4 else f", p = {one.p_value:.2g}"
    if not one.claimed or one.difference is None:
        return f"not shown{chance}"
    return f"{'better' if (one.difference > 0) == one.higher_is_better else 'worse'}{chance}"


def _row(one: Compared) -> str:
    return f"{pad(one.words, _NAME_CELLS)}{shown(one, one.first):>9}{shown(one, one.second):>9}{change(one):>11}"


def verdict_line(one: Compared, level: float) -> str:
    """Return what a test says of the figure in the line above."""
    return f"    {claim(one)}, {100 * level:g} % interval {between(one)}"


def shown(one: Compared, value: float | None) -> str:
    """Return a figure as text: per cent for a fraction."""
    if value is None:
        return "none"
    return percent(value) if one.fraction else f"{value:.4g}"


def between(one: Compared) -> str:
    """Return the interval of the difference."""
    return interval(one.low, one.high, of_fractions=one.fraction).replace("-", MINUS)


def _side(side: Side) -> str:
    where = f", {plain(side.conditions)}" if side.conditions else ""
    model = PurePath(side.model).name or side.model
    return f"{plain(side.path)}: {plain(model)} on {plain(side.device)}{where}, {counted(side.trials, 'chip')}"


def _chips(found: Comparison) -> str:
    if not found.paired:
        return f"two samples, not the same chips: {plain(found.unpaired_because or '')}"
    shared = max((one.trials[0] for one in found.figures if one.test is not None), default=0)
    return f"the same {counted(shared, 'chip')}, compared one by one"


def gate_line(gate: Gate) -> str:
    """Return what became of a gate, in one line."""
    doubt = "; inconclusive: more chips would tell" if gate.inconclusive else ""
    return f"{'FAILED' if gate.failed else 'PASSED'}  {plain(gate.explanation)}{doubt} ({plain(gate.text)})"


def _word(gate: Gate) -> str:
    return ("**failed**" if gate.failed else "passed") + (", inconclusive" if gate.inconclusive else "")
