"""The figures of a result as rows of text: table, sites, layer kinds. No colour, no printing."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from faultsim.report.words import bar, counted, end_of, interval, pad, percent, plain, points, signed
from faultsim.results import KindResult, RandomResult, Result, SiteResult

_BAR_CELLS = 20


class Row(NamedTuple):
    """One line of the main table; `said` stands where there is no interval."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    said: str = ""


def table(result: Result) -> list[str]:
    """Return the main table: every figure of the run under one heading, with its interval and its change."""
    kind = _headline(result)
    fractions = kind == "accuracy"
    rows = {"accuracy": _accuracy_rows, "loss": _loss_rows, "score": _score_rows}[kind](result)
    clean: float | None = getattr(result.clean, kind)
    headings = {"accuracy": result.data.score, "loss": result.data.loss, "score": result.data.metric or kind}
    heading = plain(headings[kind])
    level = f"{100 * result.level:g}% interval"
    lines = [f"  {pad(heading, 26)}{'value':>9}   {level:<20}{'change':>10}"]
    for row in rows:
        if row.value is None:
            shown, change = "not finite", ""
        else:
            shown = percent(row.value) if fractions else f"{row.value:.4g}"
            change = "" if clean is None or row.label == "clean" else _change(row.value - clean, fractions)
        between = row.said or interval(row.low, row.high, of_fractions=fractions)
        lines.append(f"  {pad(row.label, 26)}{shown:>9}   {between:<20}{change:>10}".rstrip())
    return lines


def sites(result: Result, most: int = 5) -> list[str]:
    """Return the most fragile sites, worst first, as bars of what each alone costs; empty where unknown."""
    harm, unit = _harms(result, result.sites)
    order = sorted(range(len(result.sites)), key=lambda at: -harm[at])[:most]
    rows = [(plain(result.sites[at].name), harm[at]) for at in order if harm[at] > 0]
    return _bars(rows, unit)


def kinds(result: Result) -> list[str]:
    """Return one line for each layer kind, worst first: what it holds and what its worst case costs."""
    harm, unit = _harms(result, result.kinds)
    order = sorted(range(len(result.kinds)), key=lambda at: -harm[at])
    rows = []
    for at in order:
        kind = result.kinds[at]
        holds = f"{counted(kind.sites, 'site')}, {counted(kind.elements, 'number')}"
        cost = _cost(harm[at], unit) if kind.worst_case or kind.random else "not assessed"
        rows.append(f"{pad(plain(kind.kind), 14)}{pad(holds, 30)}{cost:>12}")
    return rows


def fragile_measure(result: Result) -> str:
    """Return what the bars of `sites` and `kinds` measure, in words."""
    parts: Sequence[SiteResult | KindResult] = result.sites or result.kinds
    if any(part.worst_case for part in parts):
        return "worst case of each alone"
    return "mean chip with faults in it alone"


def _headline(result: Result) -> str:
    """Return which figure the table is about; a result without it falls back to the loss."""
    kind = result.data.headline
    known = result.clean.score is not None if kind == "score" else result.clean.accuracy is not None
    return kind if known and kind != "loss" else "loss"


def _accuracy_rows(result: Result) -> Iterable[Row]:
    yield Row("clean", result.clean.accuracy)
    if result.clean_stored is not None:
        yield Row("clean, as stored", result.clean_stored.accuracy)
    if result.random is not None:
        yield from _chips("random chip", result.random)
    if result.random_in_set is not None:
        yield Row("random in the same set", *_mean(result.random_in_set))
    if result.worst_case is not None:
        yield Row("worst case, same budget", result.worst_case.accuracy, said=result.worst_case.found)


def _chips(label: str, random: RandomResult) -> Iterable[Row]:
    figures = random.accuracy
    yield Row(f"{label}, mean", *_mean(random))
    yield Row(f"{label}, 5th pct", figures.p05, figures.p05_low, figures.p05_high)
    yield Row(f"{label}, worst drawn", figures.min, said=f"of {counted(random.trials, 'chip')}")


def _mean(random: RandomResult) -> tuple[float | None, float | None, float | None]:
    return random.accuracy.mean, random.accuracy.low, random.accuracy.high


def _loss_rows(result: Result) -> Iterable[Row]:
    yield Row("clean", result.clean.loss)
    if result.clean_stored is not None:
        yield Row("clean, as stored", result.clean_stored.loss)
    if result.random is not None:
        loss = result.random.loss
        yield Row("random chip, mean", loss.mean, loss.low, loss.high)
        broken = result.random.nonfinite_trials > 0.05 * result.random.trials
        if loss.p95 is not None or loss.p95_low is not None or broken:  # else a file that does not have it
            yield Row("random chip, 95th pct", loss.p95, loss.p95_low, loss.p95_high)
        yield Row("random chip, worst drawn", loss.max, said=f"of {counted(result.random.trials, 'chip')}")
    if result.random_in_set is not None:
        loss = result.random_in_set.loss
        yield Row("random in the same set", loss.mean, loss.low, loss.high)
    if result.worst_case is not None:
        yield Row("worst case, same budget", result.worst_case.loss, said=result.worst_case.found)


def _score_rows(result: Result) -> Iterable[Row]:
    higher = result.data.higher_is_better
    yield Row("clean", result.clean.score)
    if result.clean_stored is not None:
        yield Row("clean, as stored", result.clean_stored.score)
    if result.random is not None and result.random.score is not None:
        scores = result.random.score
        yield Row("random chip, mean", scores.mean, scores.low, scores.high)
        yield Row(f"random chip, {'5th' if higher else '95th'} pct", scores.bad, scores.bad_low, scores.bad_high)
        worst = scores.min if higher else scores.max
        yield Row("random chip, worst drawn", worst, said=f"of {counted(result.random.trials, 'chip')}")
    if result.random_in_set is not None and result.random_in_set.score is not None:
        scores = result.random_in_set.score
        yield Row("random in the same set", scores.mean, scores.low, scores.high)
    if result.worst_case is not None:
        yield Row("worst case, same budget", result.worst_case.score, said=result.worst_case.found)


def _change(difference: float, fractions: bool) -> str:
    return points(difference) if fractions else signed(f"{difference:+.4g}")


def _harms(result: Result, parts: Sequence[SiteResult | KindResult]) -> tuple[list[float], str]:
    """Return the accuracy that each part costs, or the loss where accuracy does not tell, or the own score."""
    scores = [part.worst_case or part.random for part in parts]
    clean = result.table_clean or result.clean_stored or result.clean
    if clean.accuracy is not None and result.data.headline == "accuracy":
        harm = [clean.accuracy - one.accuracy if one and one.accuracy is not None else 0.0 for one in scores]
        if any(value > 0 for value in harm) or clean.loss is None:
            return harm, "pt"
    if clean.loss is None and clean.score is not None:
        sign = 1 if result.data.higher_is_better else -1
        own = [part.random.score if part.random else None for part in parts]
        return [0.0 if score is None else sign * (clean.score - score) for score in own], "score"
    known = [0.0 if one is None or one.loss is None else one.loss - (clean.loss or 0.0) for one in scores]
    return known, "loss"


def _cost(harm: float, unit: str) -> str:
    if unit == "score":
        return f"{signed(f'{-harm:+.3g}')} score"
    return points(-harm) if unit == "pt" else f"{signed(f'{harm:+.3g}')} loss"


def _bars(rows: Sequence[tuple[str, float]], unit: str) -> list[str]:
    top = max((harm for _, harm in rows), default=1.0)
    return [
        f"{pad(end_of(name, 28), 28)} {pad(bar(harm / top, _BAR_CELLS), _BAR_CELLS)}{_cost(harm, unit):>14}"
        for name, harm in rows
    ]
