"""The value of a metric in a result, with its interval. No requirement is parsed or decided here."""

from collections.abc import Sequence

from faultsim.criteria.names import is_score
from faultsim.criteria.parse import METRICS, Criterion
from faultsim.criteria.percentile import Measured, percentile
from faultsim.errors import OptionError
from faultsim.results import RandomResult, Result, Scores
from faultsim.stats import t_interval

__all__ = ["Measured", "measure"]

_NO_ACCURACY = "the task has no accuracy"


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
    if name == "halted":
        halted = _random(criterion, result).halted
        if halted is None:
            raise _impossible(criterion, "the result does not say which chips a detected error halts")
        return Measured(halted.share, halted.low, halted.high)
    if name == "sdc_fit":
        fit = _random(criterion, result).sdc_fit
        if fit is None:
            raise _impossible(criterion, "the device gives no rate of fault events that each chip was drawn given")
        return Measured(fit.value, fit.low, fit.high)
    if name == "clean_accuracy":
        return _exact(_known((result.clean_stored or result.clean).accuracy, criterion, _NO_ACCURACY))
    if name == "clean_score":
        _higher(criterion, result)
        return _exact((result.clean_stored or result.clean).score)
    return _worst_case(criterion, result)


def _worst_case(criterion: Criterion, result: Result) -> Measured:
    """Measure on the worst case found: the true one is at least as bad, so one end is open."""
    name, worst = criterion.metric, result.worst_case
    if worst is None:
        raise _impossible(criterion, "no worst case was searched for")
    if name == "worst_case_loss":
        return Measured(worst.loss, worst.loss, None)
    if name in ("worst_case_score", "worst_case_score_drop"):
        higher = _higher(criterion, result)
        if name == "worst_case_score":
            return Measured(worst.score, *((None, worst.score) if higher else (worst.score, None)))
        lost = _drops(Measured(worst.score, None, None), _clean_score(criterion, result), higher=higher).value
        return Measured(lost, lost, None)
    accuracy = _known(worst.accuracy, criterion, _NO_ACCURACY)
    if name == "worst_case_accuracy":
        return Measured(accuracy, None, accuracy)
    clean = _known(result.clean.accuracy, criterion, _NO_ACCURACY)
    drop = round(clean - accuracy, 12)  # 0.93 - 0.92 is above 0.01
    return Measured(drop, drop, None)


def _over_chips(criterion: Criterion, quantity: str, result: Result) -> Measured:
    """Measure on the chip's own quantity, then turn it into a drop or an increase against the clean model."""
    random = _random(criterion, result)
    at = criterion.at or "mean"
    if quantity == "drop":
        clean = _known(result.clean.accuracy, criterion, _NO_ACCURACY)
        return _drops(_accuracy(random, _mirrored(at), result.level, criterion), clean, higher=True)
    if quantity in ("score", "score_drop"):
        higher = _higher(criterion, result)
        scores = _known_scores(random, criterion)
        if quantity == "score":
            return _score(random, scores, at, result.level, criterion, higher=higher)
        own = _score(random, scores, _mirrored(at) if higher else at, result.level, criterion, higher=higher)
        return _drops(own, _clean_score(criterion, result), higher=higher)
    if quantity == "accuracy":
        return _accuracy(random, at, result.level, criterion)
    if quantity == "mismatch":
        return _mismatch(random, at, result.level, criterion)
    if quantity == "critical":
        return _critical(random, at, result.level, criterion)
    measured = _loss(random, at, result.level, criterion)
    if quantity == "loss":
        return measured
    clean = _known(result.clean.loss, criterion, "the clean model's loss is not finite")
    return Measured(*(None if end is None else round(end - clean, 12) for end in measured))


def _accuracy(random: RandomResult, at: str, level: float, criterion: Criterion) -> Measured:
    figures = random.accuracy
    if at == "mean":
        return Measured(_known(figures.mean, criterion, _NO_ACCURACY), figures.low, figures.high)
    if at == "min":
        return _exact(_known(figures.min, criterion, _NO_ACCURACY))
    if at == "p05" and figures.p05 is not None:
        return Measured(figures.p05, figures.p05_low, figures.p05_high)
    return _percentile([row.correct / row.n for row in random.per_trial], at, level, criterion, higher=True)


def _mismatch(random: RandomResult, at: str, level: float, criterion: Criterion) -> Measured:
    if at == "mean":
        return Measured(*random.mismatch_rate.model_dump(include={"mean", "low", "high"}).values())
    return _rates([row.mismatch / row.n for row in random.per_trial], at, level, criterion)


def _critical(random: RandomResult, at: str, level: float, criterion: Criterion) -> Measured:
    if random.outcomes is None:
        raise _impossible(criterion, "the result holds no outcomes")
    if at == "mean":
        share = random.outcomes.critical
        return Measured(share.share, share.low, share.high)
    known = [row.outcomes for row in random.per_trial if row.outcomes is not None]
    return _rates([one.critical / one.samples for one in known], at, level, criterion)


def _rates(rates: Sequence[float], at: str, level: float, criterion: Criterion) -> Measured:
    if at == "max" and rates:
        return _exact(max(rates))
    return _percentile(rates, at, level, criterion)


def _score(
    random: RandomResult, scores: Scores, at: str, level: float, criterion: Criterion, *, higher: bool
) -> Measured:
    if at == "mean":
        return _open_where_flat(Measured(scores.mean, scores.low, scores.high))
    if at in ("min", "max"):
        return _exact(scores.min if at == "min" else scores.max)
    if at == ("p05" if higher else "p95"):
        return Measured(scores.bad, scores.bad_low, scores.bad_high)
    return _percentile([row.score for row in random.per_trial], at, level, criterion, higher=higher)


def _loss(random: RandomResult, at: str, level: float, criterion: Criterion) -> Measured:
    figures = random.loss
    losses = [row.loss for row in random.per_trial]
    if at == "max":
        return _exact(figures.max)
    if at == "p95" and figures.p95 is not None:
        return Measured(figures.p95, figures.p95_low, figures.p95_high)
    if at == "mean":
        known = [loss for loss in losses if loss is not None]
        if figures.low is not None or figures.mean is None or len(known) < max(2, len(losses)):
            return _open_where_flat(Measured(figures.mean, figures.low, figures.high))
        low, _, high = t_interval(known, level=level)
        return _open_where_flat(Measured(figures.mean, low, high))
    return _percentile(losses, at, level, criterion)


def _open_where_flat(measured: Measured) -> Measured:
    """Open both ends of a t interval without width: chips that are all alike bound no loss and no score."""
    return _exact(measured.value) if measured.low == measured.high else measured


def _percentile(
    values: Sequence[float | None], at: str, level: float, criterion: Criterion, *, higher: bool = False
) -> Measured:
    if not values:
        raise _impossible(criterion, "the result holds no row per chip")
    return percentile(values, int(at[1:]) / 100, level=level, higher_is_better=higher)


def _mirrored(at: str) -> str:
    """Return the chip of a drop in the figure itself: what is the 95th percentile of one is the 5th of the other."""
    return {"mean": "mean", "max": "min"}.get(at) or f"p{100 - int(at[1:]):02d}"


def _drops(measured: Measured, clean: float, *, higher: bool) -> Measured:
    """Return by how much a figure is worse than *clean*; 12 decimals, since 0.93 - 0.92 is above 0.01."""
    value, low, high = measured
    ends = (value, high, low) if higher else measured
    sign = 1 if higher else -1
    return Measured(*(None if end is None else round(sign * (clean - end), 12) for end in ends))


def _higher(criterion: Criterion, result: Result) -> bool:
    """Return whether a higher own score is better, which the requirement must agree with."""
    higher = result.data.higher_is_better
    if higher is None:
        raise _impossible(criterion, "the score of the task is its accuracy")
    if criterion.own is not None and not is_score(criterion.own, result.data.metric):
        raise _impossible(criterion, f"the score of the task is its {result.data.metric}")
    if METRICS[criterion.metric].better == "either" and (criterion.better == "higher") != higher:
        way, sign = ("higher", ">=") if higher else ("lower", "<=")
        raise _impossible(criterion, f"of {result.data.metric} {way} is better ({sign})")
    return higher


def _clean_score(criterion: Criterion, result: Result) -> float:
    return _known(result.clean.score, criterion, "the clean model's score is not finite")


def _known_scores(random: RandomResult, criterion: Criterion) -> Scores:
    if random.score is None:
        raise _impossible(criterion, "the result holds no score of the chips")
    return random.score


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
