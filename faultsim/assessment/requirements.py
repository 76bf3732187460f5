"""Which requirements an assessment can judge: asked before it starts, and once more of its result."""

from collections.abc import Iterable

from faultsim.criteria import METRICS, Criterion, judge
from faultsim.criteria.names import is_score, own_name
from faultsim.errors import OptionError
from faultsim.metrics import Task
from faultsim.results import Judgement, Result, Score, Verdict

_OF_ACCURACY = frozenset({"clean_accuracy", "worst_case_accuracy", "worst_case_drop"})
_OF_SCORE = frozenset({"clean_score", "worst_case_score", "worst_case_score_drop"})


def needs_worst_case(criterion: Criterion) -> bool:
    """Whether the requirement is about the worst case."""
    return criterion.metric.startswith("worst_case")


def check_judgeable(
    criteria: Iterable[Criterion],
    *,
    task: Task,
    clean: Score,
    no_set: str,
    lossless: bool = False,
    has_fit: bool = False,
) -> None:
    """Refuse requirements that this assessment cannot judge, before it spends an hour on chips.

    Args:
        criteria: The requirements.
        task: What the model does.
        clean: The model as deployed, which drops and increases are against.
        no_set: Why the device gives no set of corruptions, empty where it gives one.
        lossless: Whether the task turned out to have no loss on this output.
        has_fit: Whether the device's own rate of fault events is known and chips are drawn given one.

    Raises:
        OptionError: With every such requirement, one a line.
    """
    problems = []
    for one in criteria:
        why = _why_not(one, task, lossless=lossless, has_fit=has_fit) or _why_not_against(one, clean)
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


def _why_not_against(one: Criterion, clean: Score) -> str:
    """Return why nothing can be compared with the clean model; empty where it can, or nothing is."""
    of = METRICS[one.metric].of
    if of == "increase" and clean.loss is None:
        return "the clean model's loss is not finite; require loss, or accuracy where the task has one"
    if (of == "score_drop" or one.metric == "worst_case_score_drop") and clean.score is None:
        return "the clean model's score is not finite; require score"
    return ""


def judge_known(criteria: Iterable[Criterion], result: Result) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict over what the result can say, and why it cannot say the rest, a sentence each.

    With a requirement left over nothing passes: the verdict is that of the judged ones only where one of them fails.
    """
    judged: list[Judgement] = []
    left: list[str] = []
    why: list[str] = []
    asked = tuple(criteria)
    for one in asked:
        try:
            judged.append(judge(one, result))
        except OptionError as error:
            left.append(one.text)
            why.append(f"Not judged: {error}")
    if left and all(one.passed for one in judged):
        return Verdict(unjudged=tuple(one.text for one in asked)), tuple(why)
    passed = all(one.passed for one in judged) if judged else None
    return Verdict(passed=passed, criteria=tuple(judged), unjudged=tuple(left)), tuple(why)
