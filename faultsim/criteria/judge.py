"""Requirements judged against a result, each with its sentence. Nothing is measured here."""

from collections.abc import Iterable

from faultsim.criteria.measure import Measured, measure
from faultsim.criteria.names import OWN_SCORES
from faultsim.criteria.parse import METRICS, Criterion
from faultsim.results import Judgement, Result, Verdict


def judge(criterion: Criterion, result: Result) -> Judgement:
    """Judge one requirement: the point estimate decides, and the interval says how sure that is.

    Where the interval leaves the other answer possible, the judgement is marked inconclusive: more chips
    would tell. A worst case is *found, not proven*: a pass says that the search found nothing that breaks
    the requirement.

    Args:
        criterion: The requirement.
        result: The assessment; its own verdict is not looked at.

    Raises:
        OptionError: If the result does not hold what the requirement is about.
    """
    metric = METRICS[criterion.metric]
    measured = measure(criterion, result)
    passed = _passes(criterion, measured)
    over_chips = metric.unit == "fit" or criterion.metric == "halted"  # of no single chip, with an interval over them
    exact = (metric.of is None and not over_chips) or criterion.at in ("min", "max")
    return Judgement(
        text=criterion.text,
        source=criterion.source,
        metric=criterion.metric,
        at=criterion.at,
        limit=criterion.limit,
        value=measured.value,
        low=measured.low,
        high=measured.high,
        passed=passed,
        inconclusive=not exact and not _certain(criterion, measured, passed=passed),
        explanation=_sentence(criterion, measured.value, result, passed=passed),
    )


def judge_all(criteria: Iterable[Criterion], result: Result) -> Verdict:
    """Return the verdict over all requirements; with none it neither passes nor fails."""
    judged = tuple(judge(criterion, result) for criterion in criteria)
    return Verdict(passed=all(one.passed for one in judged) if judged else None, criteria=judged)


def _higher(criterion: Criterion) -> bool:
    return criterion.better == "higher"


def _passes(criterion: Criterion, measured: Measured) -> bool:
    if measured.value is None:
        return False
    return measured.value >= criterion.limit if _higher(criterion) else measured.value <= criterion.limit


def _certain(criterion: Criterion, measured: Measured, *, passed: bool) -> bool:
    """Whether the whole interval is on the value's side of the limit; an open end is on neither."""
    if measured.value is None:
        return True
    low, high, limit = measured.low, measured.high, criterion.limit
    if _higher(criterion):
        return low is not None and low >= limit if passed else high is not None and high < limit
    return high is not None and high <= limit if passed else low is not None and low > limit


def _sentence(criterion: Criterion, value: float | None, result: Result, *, passed: bool) -> str:
    metric = METRICS[criterion.metric]
    points = criterion.metric.endswith("_drop") and metric.unit == "fraction"
    unit = "points" if points else metric.unit
    sign = {(True, True): ">=", (True, False): "<", (False, True): "<=", (False, False): ">"}[
        _higher(criterion), passed
    ]
    limit = f"{_number(criterion.limit, unit)} {'asked' if _higher(criterion) else 'allowed'}"
    known = "not finite" if value is None else _number(value, unit)
    subject = _subject(criterion, result)
    if criterion.own is not None:
        subject = subject.replace("score", OWN_SCORES[criterion.own].words)
    return f"{subject} {known}, {limit}" if value is None else f"{subject} {known} {sign} {limit}"


def _subject(criterion: Criterion, result: Result) -> str:
    name = criterion.metric
    if METRICS[name].of is None and name not in ("nonfinite", "halted"):
        return _of_no_chip(name)
    chips = _chips(criterion, result)
    conditional = result.random is not None and result.random.event_probability is not None
    return f"given a fault event, {chips}" if conditional else chips


def _chips(criterion: Criterion, result: Result) -> str:
    name, trials = criterion.metric, result.random.trials if result.random else 0
    if name == "nonfinite":
        return "chips with a NaN or an infinity in an output:"
    if name == "halted":
        reloads = result.random is not None and result.random.halted is not None and result.random.halted.on_due
        return f"chips that {'reload' if reloads == 'reload' else 'halt'} on a detected error:"
    verbs = {
        "accuracy": ("reaches", "reach at least"),
        "accuracy_drop": ("loses", "lose at most"),
        "loss": ("has a loss of", "have a loss of at most"),
        "loss_increase": ("adds to the loss", "add to the loss at most"),
        "mismatch": ("answers otherwise", "answer otherwise at most"),
        "critical": ("answers otherwise, unseen,", "answer otherwise, unseen, at most"),
        "score": ("has a score of", f"have a score of at {'least' if _higher(criterion) else 'most'}"),
        "score_drop": ("has a score worse by", "have a score worse by at most"),
    }
    one, many = verbs[name]
    at = criterion.at or "mean"
    if at == "mean":
        return f"the mean chip {one}"
    if at in ("min", "max"):
        return f"the worst of {trials} chips {one}"
    share = 100 - int(at[1:]) if _higher(criterion) else int(at[1:])
    return f"{share} % of the chips {many}"


def _of_no_chip(name: str) -> str:
    if name == "sdc_fit":
        return "silent data corruptions, FIT:"
    if name in ("clean_accuracy", "clean_score"):
        return "the fault-free chip reaches" if name == "clean_accuracy" else "the fault-free chip has a score of"
    verb = {
        "worst_case_accuracy": "leaves",
        "worst_case_drop": "loses",
        "worst_case_loss": "has a loss of",
        "worst_case_score": "has a score of",
        "worst_case_score_drop": "has a score worse by",
    }[name]
    return f"the worst case (found, not proven) {verb}"


def _number(value: float, unit: str) -> str:
    if unit == "points":
        return f"{100 * value:.2f} pt"
    if unit == "fraction":
        return f"{100 * value:.2f}%"
    return f"{value:,.0f}" if unit == "chips" else f"{value:.4g}"
