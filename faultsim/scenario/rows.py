"""A case's result → its row of the summary. Nothing is run and no file is written here."""

from pathlib import Path
from typing import NamedTuple

from faultsim.results import Judgement, Result, Verdict
from faultsim.results.scenario import CaseRow, CaseStatus, HardenedCase
from faultsim.scenario.case import Case

_UNSURE = ("recalled", "illustrative")


class _Figures(NamedTuple):
    clean: float | None
    mean: float | None
    low: float | None
    high: float | None
    tail: float | None
    worst: float | None


def with_verdict(result: Result, case: Case, factors: dict[str, Judgement]) -> Result:
    """Return the result with the requirements as the scenario's author wrote them, safety factors in their places.

    Args:
        result: Of `faultsim.assessment.assess`, its verdict over what that judges, in order.
        case: The case.
        factors: The judged safety factors, by their text.
    """
    rest = iter(result.verdict.criteria)
    judged = tuple(
        factors[one.text]
        if one.factor is not None
        else next(rest).model_copy(update={"text": one.text, "source": one.source})
        for one in case.asked
    )
    passed = all(one.passed for one in judged) if judged else None
    return result.model_copy(update={"verdict": Verdict(passed=passed, criteria=judged)})


def row_of(
    case: Case, result: Result, *, file: Path | None, reused: bool, hardened: HardenedCase | None, seconds: float
) -> CaseRow:
    """Return the row of a case that ran."""
    verdict = result.verdict
    statuses: dict[bool | None, CaseStatus] = {True: "passed", False: "failed", None: "no verdict"}
    assumptions = result.device.assumptions
    return CaseRow(
        name=case.name,
        model=str(case.model),
        device=result.device.name,
        corner=case.corner,
        conditions=result.device.conditions,
        status=statuses[verdict.passed],
        reused=reused,
        result=None if file is None else file.as_posix(),
        headline=result.data.headline,
        labels=result.data.labels,
        chips=0 if result.random is None else result.random.trials,
        event_probability=None if result.random is None else result.random.event_probability,
        halted=None if result.random is None or result.random.halted is None else result.random.halted.share,
        **_figures(result)._asdict(),
        criteria=verdict.criteria,
        unsure=sum((one.rests_on or one.status) in _UNSURE for one in assumptions),
        assumptions=len(assumptions),
        hardened=hardened,
        seconds=round(seconds, 3),
    )


def empty_row(case: Case, status: CaseStatus, error: str | None = None, *, seconds: float = 0.0) -> CaseRow:
    """Return the row of a case without a result."""
    return CaseRow(
        name=case.name,
        model=str(case.model),
        device=case.device.stem,
        corner=case.corner,
        status=status,
        error=error,
        seconds=round(seconds, 3),
    )


def _figures(result: Result) -> _Figures:
    kind, random, worst = result.data.headline, result.random, result.worst_case
    clean = result.clean_stored or result.clean
    if kind == "score":
        scores = None if random is None else random.score
        drawn = (None,) * 4 if scores is None else (scores.mean, scores.low, scores.high, scores.bad)
        return _Figures(clean.score, *drawn, None if worst is None else worst.score)
    if kind == "loss":
        losses = None if random is None else random.loss
        drawn = (None,) * 4 if losses is None else (losses.mean, losses.low, losses.high, losses.p95)
        return _Figures(clean.loss, *drawn, None if worst is None else worst.loss)
    accuracies = None if random is None else random.accuracy
    drawn = (None,) * 4 if accuracies is None else (accuracies.mean, accuracies.low, accuracies.high, accuracies.p05)
    return _Figures(clean.accuracy, *drawn, None if worst is None else worst.accuracy)
