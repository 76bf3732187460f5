"""A sweep as lines of text: one row a value of the condition, with its band. Figures live beside."""

from pathlib import Path

from faultsim.report.words import pad, percent, plain, wrapped
from faultsim.results import RandomResult, SweepResult

_BAR_CELLS = 16


def lines(result: SweepResult) -> list[str]:
    """Return the sweep as text, at most 80 columns: mean and interval over chips, 5th percentile, worst chip, a bar."""
    fractions = result.data.headline == "accuracy" and result.clean.accuracy is not None
    score = plain(result.data.score if fractions else result.data.loss)
    clean = result.clean.accuracy if fractions else result.clean.loss
    said = [
        *wrapped(
            f"{plain(Path(result.model.path).name)} on {plain(result.device.name)}: {plain(result.device.summary)}",
            "  ",
        ),
        f"{result.trials} chips at each value, {result.data.samples} samples, seed {result.seed}",
        f"{score}: clean {_shown(clean, fractions)}"
        + (f", as stored {_shown(_stored(result, fractions), fractions)}" if result.clean_stored is not None else ""),
        "",
        f"  {pad(result.over, 14)}{'mean':>8}  {f'{100 * result.level:g}% interval':<19}{_low_word(fractions):>8}"
        f"{'worst':>8}" + ("  P(event)  SDC FIT" if _rare(result) else ""),
    ]
    worst = _span(result, fractions)
    for point in result.points:
        mean, low, high, edge, least = _figures(point.random, fractions)
        between = "" if low is None or high is None else f"{_shown(low, fractions)} … {_shown(high, fractions)}"
        bar = _events(point.random) if _rare(result) else "" if mean is None else _bar(mean, worst)
        said.append(
            f"  {pad(point.label, 14)}{_shown(mean, fractions):>8}  {between:<19}{_shown(edge, fractions):>8}"
            f"{_shown(least, fractions):>8} {bar}".rstrip()
        )
    said += [""] if result.notes else []
    for note in result.notes:
        said += wrapped(f"note: {plain(note)}", "      ")
    return said


def _rare(result: SweepResult) -> bool:
    return any(point.random.event_probability is not None for point in result.points)


def _events(random: RandomResult) -> str:
    """Return what of a rare event there is to say beside what it does: how likely it is, and its FIT."""
    share = "" if random.event_probability is None else f"{random.event_probability:.2g}"
    fit = "" if random.sdc_fit is None else f"{random.sdc_fit.value:.3g}"
    return f"{share:>9}{fit:>9}"


def _stored(result: SweepResult, fractions: bool) -> float | None:
    if result.clean_stored is None:
        return None
    return result.clean_stored.accuracy if fractions else result.clean_stored.loss


def _low_word(fractions: bool) -> str:
    return "p05" if fractions else "p95"


def _figures(
    random: RandomResult, fractions: bool
) -> tuple[float | None, float | None, float | None, float | None, float | None]:
    if fractions:
        found = random.accuracy
        return found.mean, found.low, found.high, found.p05, found.min
    loss = random.loss
    return loss.mean, loss.low, loss.high, loss.p95, loss.max


def _span(result: SweepResult, fractions: bool) -> float:
    if fractions:
        return 1.0
    means = [point.random.loss.mean for point in result.points if point.random.loss.mean is not None]
    return max(means, default=1.0) or 1.0


def _bar(mean: float, span: float) -> str:
    cells = round(_BAR_CELLS * max(0.0, min(1.0, mean / span)))
    return "█" * cells


def _shown(value: float | None, fractions: bool) -> str:
    if value is None:
        return "-"
    return percent(value) if fractions else f"{value:.4g}"
