"""The verdict of a result as lines of text, and the command that is worth running next. Nothing is judged here."""

import re
import shlex
from collections.abc import Iterable

from faultsim.report.again import assess_command
from faultsim.report.halts import HALTED, unasked_halts
from faultsim.report.words import block, counted, interval, plain
from faultsim.results import Judgement, Result
from faultsim.stats import trials_for_quantile

Line = tuple[str, str]  # text, rich style
_PERCENTILE = re.compile(r"p(0[1-9]|[1-9]\d)")
_UNITS = {"accuracy_drop": " pt", "accuracy": " %", "mismatch": " %", "critical": " %", "halted": " %"}


def verdict_lines(result: Result, width: int) -> Iterable[Line]:
    """Yield a sentence for each requirement, or why there is no verdict; and that chips halt, where none names it."""
    verdict = result.verdict
    if verdict.unjudged:
        were = "was" if len(verdict.unjudged) == 1 else "were"
        why = "the run was interrupted" if was_interrupted(result) else "a figure is missing, as the notes say"
        said = f"{counted(len(verdict.unjudged), 'requirement')} {were} not judged: {why}"
        if verdict.passed is False:  # a miss is a miss, whatever the others would say
            missed = sum(not one.passed for one in verdict.criteria)
            said = f"{counted(missed, 'requirement')} missed, and {said}"
            yield from ((text, "bold red") for text in block("FAILED", [said], width, indent=8))
        else:
            yield from ((text, "bold") for text in block("NO VERDICT", [said], width, indent=12))
    elif not verdict.criteria:
        yield "NO VERDICT  no requirement was given", "bold"
    for one in verdict.criteria:
        word, style = ("PASSED", "bold green") if one.passed else ("FAILED", "bold red")
        place = f"{plain(one.source)} {plain(one.text)}"
        yield from ((text, style) for text in block(word, [f"{plain(one.explanation)} ({place})"], width, indent=8))
        if one.inconclusive:
            yield from ((text, "yellow") for text in block("", [_inconclusive(one)], width, indent=8))
    if halts := unasked_halts(result):
        said = f"{halts}; no requirement is about that ({HALTED})"
        yield from ((text, "yellow") for text in block("HALTS", [said], width, indent=8))


def next_command(result: Result) -> str:
    """Return the command that this result suggests, unbroken, to be copied."""
    verdict = result.verdict
    command = plain(result.provenance.command)
    if not command.startswith("faultsim assess "):
        asked = "".join(f" --require {shlex.quote(plain(one))}" for one in verdict.unjudged)
        command = assess_command(result) + asked
    halts = f' --require "{HALTED}"' if unasked_halts(result) else ""
    if verdict.unjudged and not was_interrupted(result):
        return f'{assess_command(result)} --require "{_wish(result)}"{halts}'
    if verdict.unjudged:
        return f"{command}  # once more, to its end"
    if not verdict.criteria:
        return f'{command} --require "{_wish(result)}"{halts}'
    if halts and verdict.passed:
        return f"{command}{halts}"
    try:
        words = shlex.split(command)
    except ValueError:  # a foreign result; its quotes do not close
        command = assess_command(result)
        words = shlex.split(command)
    unsure = [one.at for one in verdict.criteria if one.inconclusive]
    if unsure and result.random is not None:
        return _with(words, "--trials", str(more_trials(result.random.trials, unsure, level=result.level)))
    ranked = sorted((one for one in result.sites if one.worst_case), key=_remaining)
    if verdict.passed is False and ranked:
        return f"{command} --exclude {shlex.quote(plain(ranked[0].name))}  # as if it were protected"
    return f"{_with(words, '--seed', str(result.seed + 1))}  # the same answer from other chips?"


def was_interrupted(result: Result) -> bool:
    """Whether requirements were left because the run ended early, and not because a figure could not be computed."""
    return not any(note.startswith("Not judged: ") for note in result.notes)


def more_trials(trials: int, at: Iterable[str | None], *, level: float) -> int:
    """Return the chips that may settle what *trials* left open: four times as many, and enough for each percentile.

    Args:
        trials: Chips so far.
        at: Which chip each open requirement is of, as `Judgement.at` has it.
        level: Of the intervals, strictly between 0 and 1.
    """
    shares = [int(one[1:]) / 100 for one in at if one is not None and _PERCENTILE.fullmatch(one)]
    return max(4 * trials, *(trials_for_quantile(one, level=level) for one in shares), 1)


def _inconclusive(one: Judgement) -> str:
    unit = _UNITS.get(one.metric, "")
    between = interval(one.low, one.high, of_fractions=bool(unit))
    if not between:
        return "inconclusive: too few chips, or chips all alike, bound it on no side; more chips would tell"
    return f"inconclusive: its interval {between}{unit} allows the other answer; more chips would tell"


def _wish(result: Result) -> str:
    if result.data.headline == "score":
        return "score_drop<=1@p95"
    if result.clean.accuracy is None or result.data.headline == "loss":
        return "loss_increase<=0.1@p95"
    return "accuracy_drop<=0.01@p95"


def _with(words: list[str], option: str, value: str) -> str:
    """Return the command with *option* set once, to *value*."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word.startswith(f"{option}="):
            skip = False
            continue
        if word == option:
            skip = True
            continue
        kept.append(word)
    return shlex.join([*kept, option, value])


def _remaining(site: object) -> float:
    worst = getattr(site, "worst_case", None)
    accuracy = getattr(worst, "accuracy", None)
    loss = getattr(worst, "loss", None)
    return accuracy if accuracy is not None else -(loss if loss is not None else float("inf"))
