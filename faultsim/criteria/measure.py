"""The value of a metric in a result, with its interval. No requirement is parsed or decided here."""

from typing import NamedTuple

from faultsim.criteria.parse import METRICS, Criterion
from faultsim.errors import OptionError
from faultsim.results import RandomResult, Result
from faultsim.stats import quantile_estimate, t_interval

_FAR = 1e300  # stands for a non-finite loss among the order statistics


class Measured(NamedTuple):
    """A value with its interval: ``None`` for a value that is not finite, and an end that is open."""

    value: float | None
    low: float | None
    high: float | None


def measure(criterion: Criterion, result: Result) -> Measured:
    """Return what the criterion is about: drops and increases are against the clean model as deployed.

    Raises:
        OptionError: If the result does not hold it.
    """
    metric = METRICS[criterion.metric]
    if metric.of is not None:
        return _over_chips(criterion, metric.of, result)
    name = criterion.metric
    if name == "nonfinite":
        return _exact(float(_random(criterion, result).nonfinite_trials))
    if name == "clean_accuracy":
        accuracy = (result.clean_stored or result.clean).accuracy
        return _exact(_known(accuracy, criterion, "the task has no accuracy"))
    worst = result.worst_case
    if worst is None:
        raise _impossible(criterion, "no worst case was searched for")
    if name == "worst_case_loss":
        return Measured(worst.loss, worst.loss, None)
    accuracy = _known(worst.accuracy, criterion, "the task has no accuracy")
    if name == "worst_case_accuracy":
        return Measured(accuracy, None, accuracy)
    clean = _known(result.clean.accuracy, criterion, "the task has no accuracy")
    drop = round(clean - accuracy, 12)  # 0.93 - 0.92 is above 0.01
    return Measured(drop, drop, None)


def _over_chips(criterion: Criterion, quantity: str, result: Result) -> Measured:
    """Measure on the chip's own quantity, then turn it into a drop or an increase against the clean model."""
    random = _random(criterion, result)
    at = criterion.at or "mean"
    if quantity == "drop":
        clean = _known(result.clean.accuracy, criterion, "the task has no accuracy")
        mirrored = {"mean": "mean", "max": "min"}.get(at) or f"p{100 - int(at[1:]):02d}"
        value, low, high = _accuracy(random, mirrored, result.level, criterion)
        return Measured(*(None if end is None else round(clean - end, 12) for end in (value, high, low)))
    if quantity == "accuracy":
        return _accuracy(random, at, result.level, criterion)
    if quantity == "mismatch":
        return _mismatch(random, at, result.level, criterion)
    measured = _loss(random, at, result.level, criterion)
    if quantity == "loss":
        return measured
    clean = _known(result.clean.loss, criterion, "the clean model's loss is not finite")
    return Measured(*(None if end is None else round(end - clean, 12) for end in measured))


def _accuracy(random: RandomResult, at: str, level: float, criterion: Criterion) -> Measured:
    figures = random.accuracy
    if at == "mean":
        return Measured(_known(figures.mean, criterion, "the task has no accuracy"), figures.low, figures.high)
    if at == "min":
        return _exact(_known(figures.min, criterion, "the task has no accuracy"))
    if at == "p05" and figures.p05 is not None:
        return Measured(figures.p05, figures.p05_low, figures.p05_high)
    return _percentile([row.correct / row.n for row in random.per_trial], at, level, criterion)


def _mismatch(random: RandomResult, at: str, level: float, criterion: Criterion) -> Measured:
    if at == "mean":
        return Measured(*random.mismatch_rate.model_dump(include={"mean", "low", "high"}).values())
    rates = [row.mismatch / row.n for row in random.per_trial]
    if at == "max":
        return _exact(max(rates)) if rates else _percentile(rates, at, level, criterion)
    return _percentile(rates, at, level, criterion)


def _loss(random: RandomResult, at: str, level: float, criterion: Criterion) -> Measured:
    figures = random.loss
    losses = [row.loss for row in random.per_trial]
    if at == "max":
        return _exact(figures.max)
    if at == "mean":
        known = [loss for loss in losses if loss is not None]
        if figures.low is not None or figures.mean is None or len(known) < max(2, len(losses)):
            return Measured(figures.mean, figures.low, figures.high)
        low, _, high = t_interval(known, level=level)
        return Measured(figures.mean, low, high)
    return _percentile([_FAR if loss is None else loss for loss in losses], at, level, criterion)


def _percentile(values: list[float], at: str, level: float, criterion: Criterion) -> Measured:
    if not values:
        raise _impossible(criterion, "the result holds no row per chip")
    found = quantile_estimate(values, int(at[1:]) / 100, level=level)
    low = None if found.low_open or found.low >= _FAR else found.low
    high = None if found.high_open or found.high >= _FAR else found.high
    return Measured(None if found.best >= _FAR else found.best, low, high)


def _exact(value: float | None) -> Measured:
    return Measured(value, None, None)


def _random(criterion: Criterion, result: Result) -> RandomResult:
    if result.random is None:
        raise _impossible(criterion, "no random chips were drawn")
    return result.random


def _known(value: float | None, criterion: Criterion, why: str) -> float:
    if value is None:
        raise _impossible(criterion, why)
    return value


def _impossible(criterion: Criterion, why: str) -> OptionError:
    return OptionError(f"{criterion.source}: requirement {criterion.text!r} cannot be judged: {why}; drop or change it")
