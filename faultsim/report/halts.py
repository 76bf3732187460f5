"""Chips that a detected memory error halts or reloads, in words, where no requirement names them. No layout here."""

from faultsim.report.words import counted
from faultsim.results import RandomResult, Result

HALTED = "halted<=0.01"
"""The requirement that is suggested."""


def halt_words(random: RandomResult | None) -> str:
    """Return how many chips halt or reload and what their figures are of; empty where none does."""
    halted = None if random is None else random.halted
    if random is None or halted is None or not halted.chips:
        return ""
    reload = halted.on_due == "reload"
    verb = ("reload" if reload else "halt") + ("s" if halted.chips == 1 else "")
    after = "with words reloaded from a good copy" if reload else "after a restart with a good copy"
    given = "given a fault event, " if random.event_probability is not None else ""
    chips = f"{halted.chips} of {counted(random.trials, 'chip')}"
    return f"{given}{chips} {verb} on detected errors; figures are of their answers {after}"


def unasked_halts(result: Result) -> str:
    """Return `halt_words` where no requirement of the result is about them, else nothing."""
    asked = [one.metric for one in result.verdict.criteria] + list(result.verdict.unjudged)
    return "" if any(one.strip().startswith("halted") for one in asked) else halt_words(result.random)
