"""A probe as a heat map: one row a part, one column a corruption, the darker the more it costs. Nothing is computed."""

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from faultsim.report.words import block, counted, end_of, pad, plain
from faultsim.results.probing import ProbeCell, ProbePart, ProbeResult

Line = tuple[str, str]  # text, rich style
_SHADES = " ░▒▓█"
_EDGES = (0.01, 0.05, 0.2, 0.5)
_NAME, _CELL, _MOST = 24, 7, 40
_WORDS = {"gradient": "grad", "random": "rand", "weights": "wgt", "units": "unit"}
_FULL = {
    "gradient": "grad: along the gradient",
    "random": "rand: random direction",
    "weights": "wgt: weights set to 0",
    "units": "unit: whole units set to 0",
}
_TITLES = {
    "kind": "by kind of layer, worst first",
    "position": "by position, worst first",
    "layer": "by layer, worst first",
}


def probe_lines(result: ProbeResult, width: int) -> list[Iterable[Line]]:
    """Return what was probed, the heat map of each group of parts, and the intervals."""
    found: list[Iterable[Line]] = [_about(result, width)]
    columns = list(dict.fromkeys((cell.mode, cell.strength) for part in result.parts for cell in part.cells))
    for group, title in _TITLES.items():
        parts = [part for part in result.parts if part.group == group]
        if parts:
            found.append(_heat(result, title, parts, columns, width))
    found += [_legend(result), _ranking(result)]
    return found


def shade(cost: float) -> str:
    """Return the character for an accuracy lost: the darker the more.

    Examples:
        >>> shade(0.0), shade(0.02), shade(0.9)
        (' ', '░', '█')
    """
    return _SHADES[sum(cost > edge for edge in _EDGES)]


def _about(result: ProbeResult, width: int) -> Iterable[Line]:
    source = "drawn inputs" if result.data.source == "drawn" else plain(PurePath(result.data.source).name)
    clean = result.clean
    share = "" if clean.accuracy is None else f"; clean accuracy {100 * clean.accuracy:.2f}%"
    nats = "" if clean.loss is None else f", loss {clean.loss:.4g}"
    found = block(
        "scored on", [f"{counted(result.samples, 'sample')} of {source}; seed {result.seed}{share}{nats}"], width
    )
    found += block("normalised", [plain(result.normalisation)], width)
    if result.stopped is not None:
        found += block("stopped", [result.stopped], width)
    return [(text, "") for text in found]


def _heat(
    result: ProbeResult, title: str, parts: Sequence[ProbePart], columns: Sequence[tuple[str, float]], width: int
) -> Iterable[Line]:
    counts = result.clean.accuracy is not None
    unit = "points of accuracy lost" if counts else "loss added"
    yield f"{title} ({unit})", "bold"
    most = max((width - _NAME) // _CELL, 1)
    ranked = sorted(parts, key=lambda part: -_harm(result, part))
    for begin in range(0, len(columns), most):  # what the terminal is too narrow for stands below
        shown = columns[begin : begin + most]
        yield " " * _NAME + "".join(f"{_WORDS[mode]:>{_CELL}}" for mode, _ in shown), "bold"
        yield " " * _NAME + "".join(f"{strength:>{_CELL}g}" for _, strength in shown), ""
        for part in ranked[:_MOST]:
            cells: dict[tuple[str, float], ProbeCell] = {(cell.mode, cell.strength): cell for cell in part.cells}
            figures = "".join(_cell(result, cells.get(one)) for one in shown)
            yield pad(end_of(plain(part.name), _NAME - 1), _NAME) + figures, ""
    if len(ranked) > _MOST:
        yield f"  and {len(ranked) - _MOST} more, in result.json", ""


def _cell(result: ProbeResult, cell: ProbeCell | None) -> str:
    if cell is None:
        return " " * _CELL
    lost = _lost(result, cell)
    if lost is None:
        return f"{'inf':>{_CELL}}"
    if result.clean.accuracy is None:
        return f"{lost:>{_CELL}.2g}"
    return f"{100 * lost:>{_CELL - 1}.1f}{shade(lost)}"


def _lost(result: ProbeResult, cell: ProbeCell) -> float | None:
    """Return the accuracy that is lost, or the loss that is added where answers are not counted."""
    if result.clean.accuracy is not None and cell.accuracy is not None:
        return result.clean.accuracy - cell.accuracy
    if cell.loss is None or result.clean.loss is None:
        return None
    return cell.loss - result.clean.loss


def _harm(result: ProbeResult, part: ProbePart) -> float:
    """Return what a part is ranked by: the mean over all that was done to it; outputs not finite rank first."""
    lost = [_lost(result, cell) for cell in part.cells]
    known = [one for one in lost if one is not None]
    return float("inf") if len(known) < len(lost) else sum(known) / max(len(known), 1)


def _legend(result: ProbeResult) -> Iterable[Line]:
    modes = dict.fromkeys(cell.mode for part in result.parts for cell in part.cells)
    steps = "  ".join(f"{mark} > {100 * edge:g} pt" for mark, edge in zip(_SHADES[1:], _EDGES, strict=True))
    yield from ((text, "") for text in block("", ["; ".join(_FULL[mode] for mode in modes)], 80, indent=0))
    if result.clean.accuracy is not None:
        yield steps, ""


def _ranking(result: ProbeResult) -> Iterable[Line]:
    """Yield the most fragile layers under each corruption at its largest strength, with intervals over draws."""
    layers = [part for part in result.parts if part.group == "layer"]
    modes = dict.fromkeys(cell.mode for part in layers for cell in part.cells)
    if len(layers) < 2 or result.clean.accuracy is None:
        return
    yield f"most fragile layers, accuracy left, {100 * result.level:g}% interval over {result.draws} draws", "bold"
    for mode in modes:
        strongest = max(cell.strength for part in layers for cell in part.cells if cell.mode == mode)
        rows = [
            (cell, part) for part in layers for cell in part.cells if (cell.mode, cell.strength) == (mode, strongest)
        ]
        rows.sort(key=lambda row: (row[0].accuracy if row[0].accuracy is not None else 0.0, row[1].depth))
        for place, (cell, part) in enumerate(rows[:3]):
            label = f"{_WORDS[mode]} {strongest:g}" if place == 0 else ""
            between = "" if cell.low is None or cell.high is None else f"[{100 * cell.low:.2f}, {100 * cell.high:.2f}]"
            left = f"{100 * (cell.accuracy or 0.0):>8.2f}%"
            yield f"  {label:<12}{pad(end_of(plain(part.name), 32), 32)}{left}   {between}".rstrip(), ""
