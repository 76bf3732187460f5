"""What the chips drawn did to their inputs, as labelled lines: answers, outcomes, SDC FIT. No table, no colour."""

from faultsim.report.words import block, counted, interval, percent, plain
from faultsim.results import OutcomeShare, RandomResult, Result

_DUE = {
    None: "restarted with a good copy unless the profile says otherwise",
    "halt": "restarted with a good copy",
    "reload": "reloaded from a good copy",
    "zero_word": "read as zeros",
    "pass_through": "handed on as they are",
}


def chip_lines(result: Result, random: RandomResult, width: int) -> list[str]:
    """Return the lines about the random chips that stand below the table."""
    found: list[str] = []
    if random.stopped:
        found += block("", [plain(random.stopped)], width)
    if _has_answers(result):
        rate = random.mismatch_rate
        between = interval(rate.low, rate.high, of_fractions=True)
        said = f"{percent(rate.mean)} {between} differ from the fault-free chip's, mean chip"
        found += block("answers", [said], width)
    found += block("outcomes", _outcomes(result, random), width)
    found += block("memory code", _noticed(random), width)
    found += block("crashes", _crashed(random), width)
    fit = random.sdc_fit
    if fit is not None:
        between = interval(fit.low, fit.high, of_fractions=False)
        said = (
            f"{fit.value:.4g} {between} in 10^9 h: {fit.device_fit:.4g} device FIT × P(critical | event), "
            f"{counted(fit.events, 'event')}"
        )
        found += block("SDC FIT", [said], width)
    if random.nonfinite_trials:
        said = f"{random.nonfinite_trials} of {counted(random.trials, 'chip')} gave a NaN or an infinity"
        found += block("non-finite", [said], width)
    if random.event_probability is not None:
        said = f"all given a fault event, which a chip meets with probability {random.event_probability:.3g}"
        found += block("rare", [said], width)
    return found


def _has_answers(result: Result) -> bool:
    """Whether a prediction is an answer: any fault changes a value."""
    values = result.clean.accuracy is None and result.data.headline == "loss"
    return result.data.predictions == "classes" and not values


def _outcomes(result: Result, random: RandomResult) -> list[str]:
    outcomes = random.outcomes
    if outcomes is None:
        return []
    answers = _has_answers(result)
    parts = [f"masked {_share(outcomes.masked)}"]
    if answers or outcomes.tolerable.total:
        parts.append(f"tolerable {_share(outcomes.tolerable)}")
    changed = "critical" if answers else "changed"
    parts += [f"{changed} {_share(outcomes.critical)}", f"non-finite {_share(outcomes.nonfinite)}"]
    between = interval(outcomes.critical.low, outcomes.critical.high, of_fractions=True)
    ends = f"{between} %, " if between else ""
    some = f"{changed} {ends}on {outcomes.chips_critical} of {counted(random.trials, 'chip')}"
    return ["  ".join(parts), f"{some}; all masked on {outcomes.chips_masked}"]


def _noticed(random: RandomResult) -> list[str]:
    """Return what the memory's code noticed: words that it repaired or reported."""
    corrected, detected = (sum(getattr(row, name) for row in random.per_trial) for name in ("corrected", "detected"))
    if not corrected and not detected:
        return []
    on = sum(row.detected > 0 for row in random.per_trial)
    return [
        f"{counted(corrected, 'word')} corrected; {counted(detected, 'error')} detected and not correctable, on {on} "
        f"of {counted(random.trials, 'chip')} ({_DUE[None if random.halted is None else random.halted.on_due]})"
    ]


def _crashed(random: RandomResult) -> list[str]:
    """Return how many chips stopped for all to see, which no code of the memory counts."""
    crashed = sum(row.crashed > 0 for row in random.per_trial)
    if not crashed:
        return []
    return [f"{crashed} of {counted(random.trials, 'chip')} stopped for all to see; what stopped them is in no answer"]


def _share(one: OutcomeShare) -> str:
    """Return a share in per cent that is 0 or 100 only where it is exact."""
    if one.share in (0, 1):
        return f"{100 * one.share:.0f}%"
    if one.share > 0.9995:
        return ">99.9%"
    return f"{100 * one.share:.1f}%" if one.share >= 0.0005 else f"{100 * one.share:.1g}%"
