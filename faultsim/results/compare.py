"""Two results compared: chip by chip where the chips are the same, else as two samples. Only a test claims anything.

The values are in `comparison.py`, limits in `gates.py`; how it is shown lives in `report`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from faultsim.errors import OptionError
from faultsim.results.campaign import TrialRow
from faultsim.results.comparison import Compared, Comparison, Side
from faultsim.results.contract import Result
from faultsim.results.gates import Limit, judge_gates
from faultsim.rng import generator

_Read = Callable[[TrialRow], float | None]


class _Figure(NamedTuple):
    """A mean over chips: how it is called, read from a chip, and which way is good."""

    name: str
    words: str
    fraction: bool
    higher: bool
    read: _Read


def compare(
    first: Result, second: Result, *, names: tuple[str, str] = ("first", "second"), limits: Iterable[Limit] = ()
) -> Comparison:
    """Compare two assessments, figure by figure; every difference is second minus first.

    Chips are the same where seed, device, conditions and tensors under test are; then chip k of one is set against
    chip k of the other, which sees differences that two separate intervals hide. Means over chips are tested.
    What cannot be tested (one clean model, one search for the worst case, a percentile) is shown, and never claimed.

    Args:
        first: The result to start from.
        second: The result that is set against it.
        names: Where they come from.
        limits: How much worse the second may be.

    Raises:
        OptionError: If the two are not of the same figures, or a limit is of a figure that they do not hold.
    """
    _check_alike(first, second)
    because = unpaired_because(first, second)
    level = max(first.level, second.level)
    tested = [one for figure in _figures(first) if (one := _tested(figure, first, second, because is None, level))]
    figures = (*tested, *_untested(first, second))
    gates = judge_gates(limits, figures)
    return Comparison(
        first=_side(first, names[0]),
        second=_side(second, names[1]),
        paired=because is None,
        unpaired_because=because,
        level=level,
        figures=figures,
        gates=gates,
        failed=any(gate.failed for gate in gates),
        main=main_figure(first),
        notes=tuple(_notes(first, second, len(tested), level)),
    )


def main_figure(result: Result) -> str:
    """Return the name of the mean over chips that people know the task by: ``accuracy``, ``score`` or ``loss``."""
    data = result.data
    if data.headline == "score" and data.metric is not None:
        return "score"
    return "loss" if data.headline == "loss" or result.clean.accuracy is None else "accuracy"


def unpaired_because(first: Result, second: Result) -> str | None:
    """Return why the chips of two results are not the same; None where they are."""
    if first.random is None or second.random is None:
        return "one of them drew no chips"
    if not first.random.per_trial or not second.random.per_trial:
        return "one of them keeps no row for each chip"
    if first.seed != second.seed:
        return f"the seeds differ ({first.seed} and {second.seed})"
    if first.device.sha256 != second.device.sha256:
        return "the device profiles differ"
    reruns = first.rerun, second.rerun
    if first.device.conditions != second.device.conditions or (
        reruns[0] is not None and reruns[1] is not None and reruns[0].conditions != reruns[1].conditions
    ):
        return "the operating conditions differ"
    if reruns[0] is not None and reruns[1] is not None and reruns[0].reads != reruns[1].reads:
        return "the noise of a read was drawn in different ways (--reads)"
    if _tensors(first) != _tensors(second):
        return "the tensors under test, or how they are stored, differ"
    if len(set(_rows(first)) & set(_rows(second))) < 2:
        return "they share fewer than 2 trial numbers"
    return None


def _check_alike(first: Result, second: Result) -> None:
    for what in ("task", "score", "loss", "metric"):
        one, other = getattr(first.data, what), getattr(second.data, what)
        if one != other:
            raise OptionError(
                f"the results cannot be compared: the {what} of the first is {one!r}, of the second {other!r}; "
                "assess both for the same task"
            )


def _tensors(result: Result) -> frozenset[tuple[str, int, str]]:
    return frozenset((site.name, site.elements, site.stored_format or site.format) for site in result.sites)


def _rows(result: Result) -> dict[int, TrialRow]:
    return {} if result.random is None else {row.trial: row for row in result.random.per_trial}


def _figures(result: Result) -> list[_Figure]:
    data = result.data

    def critical(row: TrialRow) -> float | None:
        return None if row.outcomes is None else row.outcomes.critical / row.outcomes.samples

    found = [_Figure("accuracy", f"mean {data.score}", True, True, lambda row: row.correct / row.n)]
    if result.clean.accuracy is None:
        found = []
    if data.metric is not None and data.headline == "score":
        higher = data.higher_is_better is not False
        found.append(_Figure("score", f"mean {data.metric}", False, higher, lambda row: row.score))
    found.append(_Figure("loss", f"mean {data.loss}", False, False, lambda row: row.loss))
    found.append(_Figure("mismatch", "mean share of answers changed", True, False, lambda r: r.mismatch / r.n))
    found.append(_Figure("critical", "mean share of silent corruptions", True, False, critical))
    return found


def _tested(figure: _Figure, first: Result, second: Result, paired: bool, level: float) -> Compared | None:
    """Return a mean over chips with its test; None where a chip lacks it or it is not finite."""
    one, other = _rows(first), _rows(second)
    if paired:
        both = sorted(set(one) & set(other))
        one, other = {at: one[at] for at in both}, {at: other[at] for at in both}
    a, b = ([figure.read(rows[at]) for at in sorted(rows)] for rows in (one, other))
    if not a or not b:
        return None
    values = [[value for value in side if value is not None and math.isfinite(value)] for side in (a, b)]
    if len(values[0]) != len(a) or len(values[1]) != len(b):
        return None
    if paired and first.model.sha256 == second.model.sha256 and values[0] == values[1]:
        return _identical(figure, values[0])
    return _test(figure, values[0], values[1], paired=paired, level=level, seed=first.seed)


def _identical(figure: _Figure, values: Sequence[float]) -> Compared:
    """Return the comparison of one model with itself: there is nothing to estimate, the difference is 0."""
    mean, chips = math.fsum(values) / len(values), len(values)
    said = f"{figure.words} is the same on each of the same {chips} chips, of the same model file"
    plain = _plain(figure.name, figure.words, (mean, mean), "", (chips, chips), fraction=figure.fraction,
                   higher=figure.higher)  # fmt: skip
    tested = {"low": 0.0, "high": 0.0, "p_value": 1.0, "test": "sign-flip, paired", "sentence": said}
    return Compared.model_validate(dict(plain) | tested)


def _test(
    figure: _Figure, a: Sequence[float], b: Sequence[float], *, paired: bool, level: float, seed: int
) -> Compared:
    from faultsim.stats.paired import paired_difference, statement
    from faultsim.stats.unpaired import unpaired_difference

    everything = [*a, *b]
    span = 1.0 if figure.fraction else max(max(everything) - min(everything), 1e-300) * (1 + 1e-6)
    rng = generator(seed, -1, "compare", figure.name)

    def shown(value: float) -> str:
        said = f"{100 * value:+.2f} pt" if figure.fraction else f"{value:+.4g}"
        return said.replace("-", "\N{MINUS SIGN}", 1) if said.startswith("-") else said

    if paired:
        found = paired_difference(a, b, rng=rng, level=level, span=span)
        sentence, sizes = statement(found, quantity=figure.words, show=shown), (found.trials, found.trials)
        low, best, high = found.difference
        p_value, claimed = found.p_value, found.claimed
    else:
        apart = unpaired_difference(a, b, rng=rng, level=level, span=span)
        (low, best, high), sizes, p_value, claimed = apart.difference, apart.trials, apart.p_value, apart.claimed
        head = f"no difference in {figure.words} is shown"
        if claimed:
            head = f"the second's {figure.words} is {'higher' if best > 0 else 'lower'}"
        chance = "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"
        sentence = (
            f"{head} between {sizes[0]} chips and {sizes[1]} others: second minus first {shown(best)}, "
            f"{100 * level:g} % interval {shown(low)} to {shown(high)}, {chance} (permutation test)"
        )
    return Compared(
        name=figure.name,
        words=figure.words,
        fraction=figure.fraction,
        higher_is_better=figure.higher,
        first=math.fsum(a) / len(a),
        second=math.fsum(b) / len(b),
        difference=best,
        low=low,
        high=high,
        p_value=p_value,
        trials=sizes,
        test="sign-flip, paired" if paired else "permutation, unpaired",
        claimed=claimed,
        sentence=sentence,
    )


def _untested(first: Result, second: Result) -> list[Compared]:
    """Return the figures that no test here can judge, with why."""
    data = first.data
    higher = data.higher_is_better is not False
    once = "of the exact model on these samples; no chips, so no test"
    searched = "found, not proven: one search of each, so no test"
    sides = (first.clean, second.clean)
    found = [
        _plain("clean", f"{data.score} without faults", _both(sides, "accuracy"), once),
        _plain("clean_score", f"{data.metric or 'score'} without faults", _both(sides, "score"), once,
               fraction=False, higher=higher),
        _plain("clean_loss", f"{data.loss} without faults", _both(sides, "loss"), once, fraction=False, higher=False),
    ]  # fmt: skip
    if first.random is not None and second.random is not None:
        ends = first.random.accuracy.p05, second.random.accuracy.p05
        sizes = first.random.trials, second.random.trials
        found.append(_plain("p05", f"{data.score}, 5th percentile of chips", ends, "a percentile: not tested", sizes))
    if first.worst_case is not None and second.worst_case is not None:
        worst = (first.worst_case, second.worst_case)
        found += [
            _plain("worst_case", f"{data.score}, worst case found", _both(worst, "accuracy"), searched),
            _plain("worst_case_loss", f"{data.loss}, worst case found", _both(worst, "loss"), searched,
                   fraction=False, higher=False),
        ]  # fmt: skip
    return [one for one in found if one.first is not None or one.second is not None]


def _both(sides: tuple[object, object], name: str) -> tuple[float | None, float | None]:
    return getattr(sides[0], name), getattr(sides[1], name)


def _plain(
    name: str,
    words: str,
    values: tuple[float | None, float | None],
    why: str,
    trials: tuple[int, int] = (0, 0),
    *,
    fraction: bool = True,
    higher: bool = True,
) -> Compared:
    first, second = values
    difference = None if first is None or second is None else second - first
    sentence = f"{words}: not finite in both" if difference is None else ""
    if difference is not None:
        apart = f"{100 * difference:+.2f} pt" if fraction else f"{difference:+.4g}"
        sentence = f"{words}: second minus first {apart} ({why})"
    return Compared(
        name=name,
        words=words,
        fraction=fraction,
        higher_is_better=higher,
        first=first,
        second=second,
        difference=difference,
        trials=trials,
        sentence=sentence,
    )


def _side(result: Result, path: str) -> Side:
    return Side(
        path=path,
        model=result.model.path,
        model_sha256=result.model.sha256,
        device=result.device.name,
        conditions=result.device.conditions,
        seed=result.seed,
        trials=0 if result.random is None else result.random.trials,
    )


def _notes(first: Result, second: Result, tests: int, level: float) -> Iterable[str]:
    if first.model.sha256 == second.model.sha256 and first.device.sha256 == second.device.sha256:
        yield "Both are of the same model file on the same device profile."
    if first.data.samples != second.data.samples or first.data.labels != second.data.labels:
        yield (
            f"The data differ ({first.data.samples} samples with {first.data.labels} labels, {second.data.samples} "
            f"with {second.data.labels}): a difference may be theirs."
        )
    sampled = first.random is not None and second.random is not None
    if sampled and first.random.event_probability != second.random.event_probability:  # type: ignore[union-attr]
        yield "Chips are given a fault event, which is not as likely in both."
    if first.device.sha256 != second.device.sha256:
        yield "The devices differ: a difference is of model and device together."
    if tests > 1:
        by_chance = round(1 / (1 - level))
        yield f"{tests} tests, each at its own level: where nothing differs, one in {by_chance} claims by chance."
