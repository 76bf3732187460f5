"""Curves and changed cells of an attack as rows of text. No colour rules, no printing, nothing computed."""

from collections.abc import Iterable

from faultsim.report.words import block, counted, interval, pad, percent, plain
from faultsim.results.attack import (
    AttackCells,
    AttackCurve,
    AttackPoint,
    AttackResult,
    ChangedCell,
    CriticalRadiusResult,
)

Line = tuple[str, str]  # text, rich style
_BAR = 20
_MOST_CELLS, _MOST_RADII = 12, 12


def number(value: float) -> str:
    """Return a loss or a radius with four significant digits."""
    return f"{value:.4g}"


def curve_lines(result: AttackResult, width: int) -> Iterable[Line]:
    """Yield the rows of a curve, then its critical radii."""
    curve = result.curve
    if curve is None:
        return
    counted_right = any(point.worst.accuracy is not None for point in curve.points)
    heading = f"{curve.over} in {plain(curve.unit)}" if curve.over == "eps" else "n, numbers that move"
    yield heading, "bold"
    if counted_right:
        yield f"{'':>10}{'worst':>9}{'random':>9}  {'interval':<16}accuracy: {'█'} worst, {'·'} random", "bold"
        for point in curve.points:
            yield _accuracy_row(point), ""
        yield "", ""
    yield (
        f"{'loss':>10}{'largest':>11}{'random':>11}  {'to first order: worst':<21}{'best random':>12}{'half in':>12}",
        "bold",
    )
    for point in curve.points:
        yield _loss_row(point), ""
    yield from ((text, "") for text in block("", [_theorem(curve)], width, indent=2))
    if curve.radii:
        yield "", ""
        yield from _radii(curve, width)


def _accuracy_row(point: AttackPoint) -> str:
    worst, random = point.worst.accuracy or 0.0, point.random
    full = round(_BAR * worst)
    mean = 0.0 if random is None or random.mean is None else random.mean
    bar = "█" * full + "·" * max(round(_BAR * mean) - full, 0)
    shown = "" if random is None or random.mean is None else percent(random.mean)
    between = "" if random is None else interval(random.low, random.high, of_fractions=True)
    return f"{number(point.value):>10}{percent(worst):>9}{shown:>9}  {between:<16}{bar}".rstrip()


def _loss_row(point: AttackPoint) -> str:
    random = None if point.random is None else point.random.loss_mean
    half = "" if point.forecast_log10_trials is None else f"10^{point.forecast_log10_trials:,.0f}"
    return (
        f"{number(point.value):>10}{_or_dash(point.largest.loss):>11}{_or_dash(random):>11}"
        f"  {_plus(point.first_order):<21}{_plus(point.first_order_random):>12}{half:>12}"
    ).rstrip()


def _theorem(curve: AttackCurve) -> str:
    trials = next((point.random.trials for point in curve.points if point.random is not None), 0)
    return (
        f"First order is theorem 1: what the worst, and the best of {trials} random trials, add to the loss, and the "
        "trials for an even chance of half of the worst. Curvature is left out: it lets both grow at large radii."
    )


def _radii(curve: AttackCurve, width: int) -> Iterable[Line]:
    keep = "" if curve.keep is None else percent(curve.keep)
    yield f"critical radius: accuracy falls below {keep}", "bold"
    proven = any(one.proven is not None for one in curve.radii)
    between = "[proven, found]" if proven else "found, not proven"
    yield f"{'':<26}{between:>20}{'random':>11}{'random/worst':>14}{'safety':>9}", "bold"
    ranked = sorted(curve.radii, key=lambda one: (one.name != "all", one.worst if one.worst is not None else 1e300))
    for one in ranked[:_MOST_RADII]:
        yield _radius_row(one), ""
    if len(ranked) > _MOST_RADII:
        yield f"  and {len(ranked) - _MOST_RADII} more, in result.json", ""
    said = "eps* is the smallest radius found to break it; safety is eps* over the asked or the device's radius"
    yield from ((text, "") for text in block("", [said], width, indent=2))


def _radius_row(one: CriticalRadiusResult) -> str:
    worst = f"> {number(one.holds or 0.0)}" if one.worst is None else number(one.worst)
    shown = worst if one.proven is None else f"[{number(one.proven)}, {worst}]"
    ratio = "" if one.random_over_worst is None else f"{one.random_over_worst:.3g} x"
    safety = "" if one.safety_factor is None else f"{one.safety_factor:.3g} x"
    random = "none found" if one.random is None else number(one.random)
    return f"{pad(plain(one.name), 26)}{shown:>20}{random:>11}{ratio:>14}{safety:>9}".rstrip()


def cell_lines(result: AttackResult, width: int) -> Iterable[Line]:
    """Yield what each further cell does, its cost, and the cells of the corruption that is handed on."""
    cells = result.cells
    if cells is None:
        return
    aimed = "" if cells.clean_kept is None else f"; spared samples {percent(cells.clean_kept)}"
    yield f"{'changed':>8}{'aimed at':>10}{'spared':>9}{'all':>9}{'loss':>12}{'gradients':>11}{'forwards':>10}", "bold"
    clean = "" if result.clean.accuracy is None else percent(result.clean.accuracy)
    loss = "" if result.clean.loss is None else number(result.clean.loss)
    kept = "" if cells.clean_kept is None else percent(cells.clean_kept)
    yield f"{0:>8}{percent(cells.clean_aimed):>10}{kept:>9}{clean:>9}{loss:>12}", ""
    for one in cells.points:
        spared = "" if one.kept is None else percent(one.kept)
        shown = "not finite" if one.loss is None else number(one.loss)
        yield (
            (
                f"{one.cells:>8}{percent(one.aimed_accuracy):>10}{spared:>9}{percent(one.accuracy):>9}{shown:>12}"
                f"{one.gradients:>11,}{one.forwards:>10,}"
            ),
            "",
        )
    yield from ((text, "") for text in block("", [_verdict(cells, result)], width, indent=2))
    if aimed and cells.clean_kept is not None:
        yield from ((text, "") for text in block("", ["spared: accuracy of all other samples"], width, indent=2))
    if cells.changed:
        yield "", ""
        yield f"{'cells of the worst':<44}{'element':>9}{'bit':>5}{'before':>11}{'after':>11}", "bold"
        for cell in cells.changed[:_MOST_CELLS]:
            yield _cell_row(cell), ""
        if len(cells.changed) > _MOST_CELLS:
            yield f"  and {len(cells.changed) - _MOST_CELLS} more, in result.json", ""


def _verdict(cells: AttackCells, result: AttackResult) -> str:
    name = {"bits": "flipped bit", "levels": "confused level", "stuck": "stuck cell"}[cells.what]
    if cells.needed is None:
        end = "; the budget was used up: raise --forwards or --gradients" if cells.spent else "; found, not proven"
        return f"no {name} of up to {cells.asked:,} was seen to do any damage{end}"
    changed = counted(cells.needed, name)
    last = next(one for one in cells.points if one.cells == cells.needed)
    each = f"{last.forwards / cells.needed:,.0f} forward passes and {last.gradients / cells.needed:.1f} gradients each"
    if cells.until_accuracy is None:
        tried = max(one.cells for one in cells.points)
        fewer = f"; the budget ended before {cells.asked:,}" if cells.spent and tried < cells.asked else ""
        return f"the worst found: {changed}, {each}; found, not proven{fewer}"
    if cells.reached:
        return f"{changed} reach {percent(cells.until_accuracy)}, {each}; fewer may do: found, not proven"
    end = "; the budget was used up: raise --forwards or --gradients" if cells.spent else ""
    return f"{percent(cells.until_accuracy)} not reached, {percent(last.aimed_accuracy)} with {changed}{end}"


def _cell_row(cell: ChangedCell) -> str:
    before, after = ("not finite" if one is None else number(one) for one in (cell.before, cell.after))
    return f"  {pad(plain(cell.site), 42)}{cell.element:>9}{cell.low_bit:>5}{before:>11}{after:>11}"


def _or_dash(value: float | None) -> str:
    return "not finite" if value is None else number(value)


def _plus(value: float | None) -> str:
    return "" if value is None else f"+{value:.3g}"
