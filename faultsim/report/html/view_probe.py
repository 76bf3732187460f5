"""What the page says of a probe, as words and values for the templates. No markup, no drawing."""

from typing import Any

from faultsim.report.words import counted, percent
from faultsim.results.probing import ProbeCell, ProbePart, ProbeResult

_MOST_PARTS = 200
_MODES = {"gradient": "gradient", "random": "random", "weights": "weights removed", "units": "units removed"}


def probe_words(found: ProbeResult) -> tuple[str, str]:
    """Return the answer of a probe: the part that suffers most, and from what."""
    clean = f"{_shown(found.clean.accuracy, found.clean.loss)} without faults"
    every = [(one, cell) for one in found.parts for cell in one.cells if one.group != "position"]
    known = [(one, cell) for one, cell in every if cell.accuracy is not None]
    if not known:
        return "Nothing was probed that has an accuracy.", f"{clean}."
    part, cell = min(known, key=lambda pair: pair[1].accuracy or 0.0)
    what = f"{_MODES[cell.mode]} at strength {cell.strength:g}"
    said = f"Most fragile: {part.name} ({part.group}); {what} leaves {_shown(cell.accuracy, cell.loss)}."
    return said, f"{clean[:1].upper()}{clean[1:]}; {_facts(found)}"


def probe_view(found: ProbeResult) -> dict[str, Any]:
    """Return one table for each way to group the tensors: a row a part, a column a corruption."""
    groups = list(dict.fromkeys(one.group for one in found.parts))
    return {
        "result": found,
        "heading": found.data.score,
        "facts": _facts(found),
        "tables": [_table(group, [one for one in found.parts if one.group == group]) for group in groups],
    }


def _table(group: str, parts: list[ProbePart]) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    columns = list(dict.fromkeys(_key(cell) for one in parts for cell in one.cells))
    rows = []
    for one in parts[:_MOST_PARTS]:
        held = {_key(cell): _shown(cell.accuracy, cell.loss) for cell in one.cells}
        rows.append((f"{one.name} ({counted(one.elements, 'number')})", *(held.get(key, "") for key in columns)))
    return group, ("part", *columns), rows


def _key(cell: ProbeCell) -> str:
    return f"{_MODES[cell.mode]} {cell.strength:g}"


def _facts(found: ProbeResult) -> str:
    drawn = f"{counted(found.draws, 'draw')} of each random corruption"
    return f"{counted(found.samples, 'sample')}, {drawn}; strengths: {found.normalisation}."


def _shown(accuracy: float | None, loss: float | None) -> str:
    if accuracy is not None:
        return percent(accuracy)
    return "not finite" if loss is None else f"{loss:.4g}"
