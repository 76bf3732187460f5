"""Whether an assessment will be able to judge its requirements, asked before it starts. Nothing is judged here."""

from collections.abc import Iterable

from faultsim.criteria import METRICS, Criterion
from faultsim.criteria.names import is_score, own_name
from faultsim.errors import OptionError
from faultsim.metrics import Task

_OF_ACCURACY = frozenset({"clean_accuracy", "worst_case_accuracy", "worst_case_drop"})
_OF_SCORE = frozenset({"clean_score", "worst_case_score", "worst_case_score_drop"})


def needs_worst_case(criterion: Criterion) -> bool:
    """Whether the requirement is about the worst case."""
    return criterion.metric.startswith("worst_case")


def check_judgeable(
    criteria: Iterable[Criterion], *, task: Task, no_set: str, lossless: bool = False, has_fit: bool = False
) -> None:
    """Refuse requirements that this assessment cannot judge, before it spends an hour on chips.

    Args:
        criteria: The requirements.
        task: What the model does.
        no_set: Why the device gives no set of corruptions, empty where it gives one.
        lossless: Whether the task turned out to have no loss on this output.
        has_fit: Whether the device's own rate of fault events is known and chips are drawn given one.

    Raises:
        OptionError: With every such requirement, one a line.
    """
    problems = []
    for one in criteria:
        why = _why_not(one, task, lossless=lossless, has_fit=has_fit)
        if not why and needs_worst_case(one) and no_set:
            why = f"no worst case: {no_set}; require something of random chips"
        if why:
            problems.append(f"{one.source}: requirement {one.text!r} cannot be judged: {why}")
    if problems:
        raise OptionError("\n".join(problems))


def _why_not(one: Criterion, task: Task, *, lossless: bool, has_fit: bool) -> str:
    """Return why the task has no such figure; empty where it has."""
    of = METRICS[one.metric].of
    if (one.metric in _OF_ACCURACY or of in ("accuracy", "drop")) and not task.counts_correct:
        other = "score or score_drop" if task.headline == "score" else "loss or loss_increase"
        return f"the task counts no correct answers; require {other}"
    if needs_worst_case(one) and lossless:
        return "no worst case: the output has no loss and no gradient; require something of random chips"
    if of in ("loss", "increase") and lossless:
        return "the output has no loss; require " + ("accuracy" if task.counts_correct else "score or score_drop")
    if one.metric in _OF_SCORE or of in ("score", "score_drop"):
        if task.headline == "accuracy":
            return "the score of the task is its accuracy; require accuracy or accuracy_drop"
        if one.own is not None and not is_score(one.own, task.metric):
            return f"the score of the task is its {task.metric}; require {own_name(task.metric) or 'score'}"
        if not one.metric.endswith("drop") and (one.better == "higher") != task.higher_is_better:
            way, sign = ("higher", ">=") if task.higher_is_better else ("lower", "<=")
            return f"of {task.metric} {way} is better; write {one.metric}{sign}…"
    if one.metric == "sdc_fit" and not has_fit:
        return "the device gives no rate of fault events that each chip was drawn given"
    return ""
