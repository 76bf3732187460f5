"""Requirements such as ``accuracy_drop<=0.01@p95``, parsed: grammar and table of metrics. No result here.

A requirement is *metric* *bound* *limit* [``@`` *chip*]. Its chip is ``mean``, a percentile ``p01`` to
``p99`` of the chips drawn, or ``min`` / ``max``, the worst one drawn. A percentile is one of the metric's own
values: ``accuracy@p05`` is what 95 % of the chips reach, ``accuracy_drop@p95`` is the drop that 95 % of the
chips stay at or under; both say the same of a chip. The score of a task goes by its own name too (`names.py`).
"""

import math
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from faultsim.criteria.names import OWN_SCORES, named
from faultsim.errors import OptionError
from faultsim.library import closest

_GRAMMAR = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=|=>|=<|==|<|>|=)\s*([^@\s]+)\s*(?:@\s*(\S+)\s*)?")
_PERCENTILE = re.compile(r"p(\d{1,2})")
Better = Literal["higher", "lower"]
_SIGNS: dict[str, Better] = {">=": "higher", "<=": "lower"}


class Metric(NamedTuple):
    """What a requirement can be about.

    Attributes:
        better: Which direction is good; it fixes the bound, ``>=`` or ``<=``. ``either``: the task tells.
        unit: ``fraction``, ``loss``, ``score`` (of the task), ``fit`` (failures in 10^9 h) or ``chips``.
        of: The quantity over chips that it is made of; ``None`` for a metric of no chip.
        meaning: One line for the help.
    """

    better: Better | Literal["either"]
    unit: Literal["fraction", "loss", "score", "fit", "chips"]
    of: Literal["accuracy", "drop", "loss", "increase", "mismatch", "score", "score_drop", "critical"] | None
    meaning: str


METRICS: dict[str, Metric] = {
    "accuracy": Metric("higher", "fraction", "accuracy", "accuracy of a random chip"),
    "accuracy_drop": Metric("lower", "fraction", "drop", "accuracy that a random chip loses to the clean model"),
    "loss": Metric("lower", "loss", "loss", "loss of a random chip"),
    "loss_increase": Metric("lower", "loss", "increase", "loss that a random chip adds to the clean model's"),
    "score": Metric("either", "score", "score", "the task's own score of a random chip, such as BLEU"),
    "score_drop": Metric("lower", "score", "score_drop", "by how much a random chip's own score is worse than clean"),
    "mismatch": Metric("lower", "fraction", "mismatch", "inputs a random chip answers unlike the fault-free model"),
    "critical": Metric("lower", "fraction", "critical", "inputs a random chip answers otherwise, all numbers finite"),
    "sdc_fit": Metric("lower", "fit", None, "silent data corruptions of the device in 10^9 h"),
    "nonfinite": Metric("lower", "chips", None, "number of random chips with a NaN or an infinity in an output"),
    "halted": Metric("lower", "fraction", None, "share of the chips that a detected memory error halts or reloads"),
    "clean_accuracy": Metric("higher", "fraction", None, "accuracy of the model as the device stores it, no fault"),
    "clean_score": Metric("either", "score", None, "the task's own score as the device stores the model, no fault"),
    "worst_case_accuracy": Metric("higher", "fraction", None, "accuracy under the worst corruption found"),
    "worst_case_drop": Metric("lower", "fraction", None, "accuracy lost under the worst corruption found"),
    "worst_case_loss": Metric("lower", "loss", None, "loss under the worst corruption found"),
    "worst_case_score": Metric("either", "score", None, "the task's own score under the worst corruption found"),
    "worst_case_score_drop": Metric("lower", "score", None, "by how much that score is worse than clean"),
}


class Criterion(NamedTuple):
    """One requirement, parsed.

    Attributes:
        text: As the user wrote it.
        metric: A key of `METRICS`.
        limit: The bound, in the metric's unit; fractions for accuracies.
        at: ``mean``, ``min``, ``max``, ``p01`` … ``p99``; ``None`` for a metric of no chip.
        source: Where the user wrote it.
        better: Which direction is good.
        own: The score's own name (a key of `names.OWN_SCORES`), where the user called it by that.
    """

    text: str
    metric: str
    limit: float
    at: str | None
    source: str
    better: Better
    own: str | None = None


def parse_criterion(text: str, *, source: str = "--require") -> Criterion:
    """Return the requirement that *text* states.

    Args:
        text: *metric* *bound* *limit* [``@`` *chip*]; the limit is a number, or a percentage for fractions.
        source: Where the text stands, for messages and the report.

    Raises:
        OptionError: If the text is no requirement; the message says what is allowed and what may be meant.

    Examples:
        >>> parse_criterion("accuracy_drop <= 1% @ p95")[1:4]
        ('accuracy_drop', 0.01, 'p95')
    """
    shown = f"{source}: requirement {text[:80]!r}"
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise OptionError(f"{shown} is not <metric><bound><limit>[@<chip>]; write e.g. accuracy_drop<=0.01@p95")
    name, bound, number, at = match.groups()
    key, own = named(name)
    metric = METRICS.get(key)
    if metric is None:
        near = closest(name, [*METRICS, *OWN_SCORES])
        hint = f"did you mean {near!r}? " if near else ""
        raise OptionError(
            f"{shown}: unknown metric {name[:40]!r}, {hint}allowed: {', '.join(METRICS)}, and for score the name that "
            f"the task has for it: {', '.join(OWN_SCORES)}"
        )
    if metric.better == "either":
        better = _SIGNS.get(bound, "lower") if own is None else OWN_SCORES[own].better
        if own is None and bound not in _SIGNS:
            raise OptionError(
                f"{shown}: {bound} cannot bound {name}; write {name}>={number} where higher is better, else "
                f"{name}<={number}"
            )
    else:
        better = metric.better
    if own is not None or metric.better != "either":
        right = ">=" if better == "higher" else "<="
        if bound != right:
            raise OptionError(f"{shown}: {bound} cannot bound {name}: {better} is better; write {name}{right}{number}")
    limit, chip = _limit(number, metric, shown), _at(at, name, metric, better, shown)
    if own and OWN_SCORES[own].logarithm:
        limit = _logarithm(limit, name, key, shown)
    return Criterion(text.strip(), key, limit, chip, source, better, own)


def parse_criteria(texts: Iterable[str], *, source: str = "--require") -> tuple[Criterion, ...]:
    """Return the requirements of all *texts*; one `OptionError` holds every problem, one a line."""
    found: list[Criterion] = []
    problems: list[str] = []
    for text in texts:
        try:
            found.append(parse_criterion(text, source=source))
        except OptionError as error:
            problems.append(str(error))
    if problems:
        raise OptionError("\n".join(problems))
    return tuple(found)


def _limit(number: str, metric: Metric, shown: str) -> float:
    percent = number.endswith("%")
    try:
        limit = float(number.removesuffix("%").replace("_", "x")) / (100 if percent else 1)
    except ValueError:
        raise OptionError(f"{shown}: limit {number[:40]!r} is not a number; write for example 0.01 or 1%") from None
    if percent and metric.unit != "fraction":
        raise OptionError(f"{shown}: limit {number[:40]!r} is a percentage, but this metric is none")
    if metric.unit == "fraction" and not 0 <= limit <= 1:
        meant = limit if not percent and 1 < limit <= 100 else 1.0
        way = f"write {meant:g} % as {meant / 100:g} or {meant:g}%"
        raise OptionError(f"{shown}: limit {number[:40]!r} must be between 0 and 1; {way}")
    if metric.unit == "fraction" and metric.better == "lower" and number == "1":
        raise OptionError(
            f"{shown}: limit {number[:40]!r} is all of it, which nothing exceeds; write 1 % as 0.01 or 1%, or 100% if "
            "it is meant"
        )
    if not math.isfinite(limit) or (metric.unit in ("chips", "fit") and limit < 0):
        raise OptionError(
            f"{shown}: limit {number[:40]!r} is out of range; write a finite number, not negative for counts"
        )
    return limit


def _logarithm(limit: float, name: str, key: str, shown: str) -> float:
    """Return the limit on the logarithm; the order of the chips is the same, the mean is the geometric one."""
    if key.endswith("drop"):
        raise OptionError(f"{shown}: the score is the logarithm of it; write {name.replace('perp', 'log_perp')}")
    if limit <= 0:
        raise OptionError(f"{shown}: limit {limit:g} is out of range; a perplexity is above 0, and 1 at best")
    return math.log(limit)


def _at(at: str | None, name: str, metric: Metric, better: Better, shown: str) -> str | None:
    if metric.of is None:
        if at is not None:
            raise OptionError(f"{shown}: {name} is one figure for all chips, so @{at[:20]} says nothing; leave it out")
        return None
    worst, tail = ("min", "p05") if better == "higher" else ("max", "p95")
    if at is None:
        return "mean"
    if at in ("mean", worst):
        return at
    match = _PERCENTILE.fullmatch(at)
    if match is None or not 1 <= int(match[1]) <= 99:
        raise OptionError(f"{shown}: chip {at[:20]!r} is unknown; allowed: mean, {worst}, p01 to p99 such as {tail}")
    percent = int(match[1])
    lenient = percent > 50 if better == "higher" else percent < 50
    if lenient:
        raise OptionError(
            f"{shown}: {name}@{at} is a figure of the best chips; write @p{100 - percent:02d} for what "
            f"{percent if better == 'higher' else 100 - percent} % of the chips meet"
        )
    return f"p{percent:02d}"
