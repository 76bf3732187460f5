"""The first thing that the page says: does it still work? Words only; the tables live in `view.py`."""

from typing import Literal, NamedTuple

from faultsim.report.halts import unasked_halts
from faultsim.report.html.bundle import Bundle
from faultsim.report.html.headline import Headline, headline, headline_of_sweep, rows
from faultsim.report.html.view_attack import attack_words, bitmap_words
from faultsim.report.html.view_probe import probe_words
from faultsim.report.verdict import was_interrupted
from faultsim.report.words import counted, interval
from faultsim.results import Result, SweepResult
from faultsim.results.injection import InjectionResult

Standing = Literal["pass", "fail", "open"]


class Answer(NamedTuple):
    """The first thing that the page says.

    Attributes:
        standing: Whether the requirements are met; ``open`` where that is not told.
        word: The same as a word, since colour is no text.
        sentence: Does it still work?
        detail: The numbers, with intervals and n.
    """

    standing: Standing
    word: str
    sentence: str
    detail: str


def answer(bundle: Bundle) -> Answer:
    """Return the answer of what the bundle is mainly about."""
    harden = bundle.harden
    if harden is not None and bundle.hardening_alone:
        detail = _detail(harden.after, headline(harden.after))
        standing: Standing = "pass" if harden.helped else "fail"
        return Answer(standing, "Helped" if harden.helped else "Did not help", harden.sentence, f"After it: {detail}")
    if bundle.result is not None:
        return of_result(bundle.result)
    if bundle.sweep is not None:
        return _of_sweep(bundle.sweep)
    if bundle.campaign is not None:
        return _of_campaign(bundle.campaign)
    if bundle.attack is not None:
        return Answer("open", "No verdict", *attack_words(bundle.attack))
    if bundle.probe is not None:
        return Answer("open", "No verdict", *probe_words(bundle.probe))
    assert bundle.bitmap is not None
    return Answer("open", "No verdict", *bitmap_words(bundle.bitmap))


def of_result(result: Result) -> Answer:
    """Return the answer: met or missed first, then what a random chip and the worst case do."""
    of, verdict = headline(result), result.verdict
    missed = sum(not one.passed for one in verdict.criteria)
    unsure = sum(one.inconclusive for one in verdict.criteria)
    detail = _detail(result, of)
    if verdict.unjudged and missed:
        left = f"{missed} of {len(verdict.criteria) + len(verdict.unjudged)} requirements"
        return Answer(
            "fail",
            "Failed",
            f"No: {left} {'is' if missed == 1 else 'are'} missed, and {len(verdict.unjudged)} could not be judged.",
            detail,
        )
    if verdict.unjudged:
        why = "The run was interrupted" if was_interrupted(result) else "A figure is missing, as the notes say"
        said = f"{why}: {counted(len(verdict.unjudged), 'requirement')} could not be judged."
        return Answer("open", "Not judged", said, detail)
    if not verdict.criteria:
        detail = f"{detail} Nothing was required, so there is no verdict."
        return Answer("open", "No verdict", _plainly(result, of), detail)
    all_of = counted(len(verdict.criteria), "requirement")
    doubt = f" {unsure} of them may turn with more chips." if unsure else ""
    if len(verdict.criteria) == 1 and unsure:
        doubt = " Its interval allows the other answer: more chips would tell."
    if missed:
        which = f"{missed} of {all_of} {'is' if missed == 1 else 'are'}"
        which = which if len(verdict.criteria) > 1 else "the requirement is"
        return Answer("fail", "Failed", f"No: {which} missed.{doubt}", detail)
    met = "the requirement is met" if len(verdict.criteria) == 1 else f"all {all_of} are met"
    return Answer("pass", "Passed", f"Yes: {met}.{doubt}", detail)


def _plainly(result: Result, of: Headline) -> str:
    """Return what became of the headline figure, where no requirement says what is good enough."""
    known = {row.label: of.shown(row.value) for row in rows(result)}
    parts = [f"{of.name[:1].upper()}{of.name[1:]} {of.shown(of.of(result.clean))} without faults"]
    if "random chip, mean" in known:
        parts.append(f"{known['random chip, mean']} on a random chip")
    if "worst case, same budget" in known:
        parts.append(f"{known['worst case, same budget']} in the worst case found")
    return ", ".join(parts) + "."


def _detail(result: Result, of: Headline) -> str:
    known = {row.label: row for row in rows(result)}
    parts = []
    mean = known.get("random chip, mean")
    clean = f"{of.shown(of.of(result.clean))} without faults"
    if mean is not None and result.random is not None:
        given = "given a fault event, " if result.random.event_probability is not None else ""
        between = interval(mean.low, mean.high, of_fractions=of.fraction)
        verb = "has a mean" if of.fraction else "has a mean of"
        value = f"{of.name} of {of.shown(mean.value)}" if of.fraction else f"{of.shown(mean.value)} ({of.name})"
        level = f"{100 * result.level:g}% interval {between}{' %' if of.fraction else ''}, " if between else ""
        chips = f"{level}n = {counted(result.random.trials, 'chip')}"
        parts.append(f"{given}a chip drawn at random {verb} {value} ({chips}); {clean}.")
    else:
        parts.append(f"{of.name} {clean}; no chips were drawn.")
    worst = known.get("worst case, same budget")
    if worst is not None:
        parts.append(f"The worst case found within the same budget: {of.shown(worst.value)} (found, not proven).")
        drawn = known.get("random chip, worst drawn")
        if drawn is not None and drawn.value is not None and worst.value is not None:
            beyond = drawn.value < worst.value if of.higher else drawn.value > worst.value
            parts += [f"A chip that was drawn did worse: {of.shown(drawn.value)}."] if beyond else []
    if halts := unasked_halts(result):
        parts.append(f"{halts[0].upper()}{halts[1:]}.")
    said = " ".join(parts)
    return said[0].upper() + said[1:]


def _of_sweep(sweep: SweepResult) -> Answer:
    of = headline_of_sweep(sweep.data, sweep.clean)
    means = [point.random.accuracy.mean if of.fraction else point.random.loss.mean for point in sweep.points]
    said = f"{of.name[:1].upper()}{of.name[1:]} of the mean chip"
    if sweep.points:
        first, last = sweep.points[0].label, sweep.points[-1].label
        said += f": {of.shown(means[0])} at {first}, {of.shown(means[-1])} at {last}"
    detail = f"{counted(sweep.trials, 'chip')} at each of {len(sweep.points)} values, the same ones; "
    return Answer("open", "No verdict", f"{said}.", f"{detail}{of.shown(of.of(sweep.clean))} without faults.")


def _of_campaign(found: InjectionResult) -> Answer:
    rate = found.rates.critical
    flips = (
        "of the flipped bits change" if found.flips == 1 else f"of the trials with {found.flips} flipped bits change"
    )
    detail = (
        f"{100 * found.level:g}% interval {interval(rate.low, rate.high, of_fractions=True)} %, "
        f"n = {counted(found.trials, 'trial')} of {found.population:,} stored bits."
    )
    return Answer("open", "No verdict", f"{100 * rate.value:.3g}% {flips} an answer.", detail)
