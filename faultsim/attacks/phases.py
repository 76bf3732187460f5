"""The kinds of attack, from what was asked to a result: one set, a curve over sets, cells. No search lives here."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from faultsim.attacks.assemble import (
    band,
    cells_entry,
    curve_entry,
    frame,
    methods_entry,
    proof_entry,
    score_entry,
    set_entry,
)
from faultsim.attacks.ball import Corruptions, asked, corruptions, size_of
from faultsim.attacks.cells import FoundCells, find_cells, numbers_of
from faultsim.attacks.curve import Point, Spent, at, deployed_size, draw_curve, radii, values_of
from faultsim.attacks.options import Ball, Cells, Curve, Search
from faultsim.attacks.prepare import Prepared, finite
from faultsim.attacks.proof import held_to, prove
from faultsim.attacks.worst import GRADIENTS, Found, find
from faultsim.constraints import TensorSet
from faultsim.engine.objective import NetworkObjective
from faultsim.errors import OptionError
from faultsim.results.attack import AttackResult
from faultsim.search import ProjectedGradient
from faultsim.search.projected_gradient import LEAST_STEPS

Numbers = Callable[[], Any]
"""Makes the numbers of the worst chip, by site."""
_DROP = 0.05  # accuracy that a critical radius costs where no accuracy to keep is given
_ROUNDED = 1e-3  # by how much more than the radius a rounded corruption may reach before it is worth a note


class StoppedEarlyError(Exception):
    """The user stopped before there was anything to show."""


def one_set(prepared: Prepared, ball: Ball | None, search: Search) -> tuple[AttackResult, Numbers | None]:
    """Search one set.

    Raises:
        StoppedEarlyError: If nothing was found before the user stopped.
    """
    setting = prepared.setting
    over = corruptions(setting, ball)
    found = find(prepared, over.constraint, search, seed=setting.options.seed)
    if found.search is None and not found.randoms:
        raise StoppedEarlyError
    proof = held_to(found, prove(prepared, over.constraint, search.certify))
    objective = NetworkObjective(setting.model, setting.stored, setting.scorer, over.constraint)
    size = size_of(over.constraint, setting.stored, objective.numbers(found.worst.delta)) if found.worst.delta else None
    result = frame(prepared, seconds=0.0, command="").model_copy(
        update={
            "set": set_entry(prepared, over),
            "worst": score_entry(prepared, found.worst, found.clean),
            "largest": score_entry(prepared, found.largest, found.clean),
            "deployed_size": size,
            "random": band(prepared, found.randoms),
            "methods": methods_entry(prepared, found),
            "indicator": None if found.first_order is None else finite(found.first_order.worst),
            "forecast_log10_trials": None if found.first_order is None else found.first_order.log10_trials,
            "certificate": proof_entry(proof),
            "gradients": 0 if found.search is None else found.search.gradients,
            "forwards": found.forwards,
        }
    )
    if found.worst.score.nonfinite:
        bad = found.worst.score.nonfinite
        prepared.notes.append(f"The worst corruption makes outputs of {bad} samples non-finite; they count as wrong.")
    prepared.notes.extend(_rounded(_tried_size(prepared, over.constraint, found)))
    prepared.notes.extend(_missed([found], search))
    return result, lambda: objective.numbers(found.worst.delta)


def over_curve(prepared: Prepared, ball: Ball | None, curve: Curve, search: Search) -> AttackResult:
    """Search at every value of a curve, then for the radius at which the accuracy breaks.

    Raises:
        OptionError: If the accuracy to keep is above the clean one, or more numbers are to move than there are.
        StoppedEarlyError: If nothing was found before the user stopped.
    """
    setting = prepared.setting
    if ball is not None and curve.over == "n":
        ball = replace(ball, n=None)
    elements = [one.site.elements for one in setting.stored.values()]
    most = max(elements) if ball is not None and ball.scope == "tensor" else sum(elements)
    keep = None
    if not prepared.counted and (curve.keep is not None or curve.per_layer):
        name = "--keep" if curve.keep is not None else "--per-layer"
        raise OptionError(
            f"{name} is of critical radii, at which an accuracy breaks, and the task {setting.task.name} counts no "
            "correct answers; leave it out"
        )
    if curve.over == "eps" and prepared.counted:
        clean = prepared.clean.counts.accuracy
        keep = curve.keep if curve.keep is not None else max(clean - _DROP, 0.0)
        if keep > clean:
            raise OptionError(f"--keep is {keep:g}, and the model without faults has {clean:.4g}; give less")

    def make(names: tuple[str, ...] | None) -> Corruptions:
        if ball is None:
            return corruptions(setting, None, names)
        kept = {name: one for name, one in setting.stored.items() if names is None or name in names}
        n = ball.n
        if names is not None and n is not None:  # a layer can have fewer numbers than the whole
            there = [one.site.elements for one in kept.values()]
            n = min(n, sum(there) if ball.scope == "global" else max(there))
        return asked(kept, replace(ball, eps=1.0 if curve.over == "eps" else ball.eps, n=n))

    unit = make(None)
    points = draw_curve(prepared, unit, curve, search, seed=setting.options.seed, elements=most)
    if not points:
        raise StoppedEarlyError
    found, spent = [], Spent()
    for point in points:
        spent.add(point.found)
    if keep is not None:
        middle = values_of(curve)[curve.points // 2]
        prove_too = search.certify is True
        seed = setting.options.seed
        found = radii(
            prepared,
            make,
            keep,
            start=middle,
            per_layer=curve.per_layer,
            seed=seed,
            certify=prove_too,
            spent=spent,
            points=points,
            nested=ball is not None and not (ball.relative == "norm" and ball.scope == "global"),
        )
        why_not = next((one.why_not for one in found if one.why_not), "")
        if why_not:
            prepared.notes.append(f"No radius is proven: {why_not}.")
        outside = any(one.size is not None and one.size > 1 + _ROUNDED for one in found)
        bound = "they are no upper bounds where rounding leaves the set" if outside else "they are upper bounds"
        prepared.notes.append(
            f"Critical radii are searched on {prepared.searched_on}, and the accuracy is judged on those of --data; "
            f"{bound} of the true ones."
        )
    prepared.notes.extend(_rounded_points(prepared, unit, curve, points))
    prepared.notes.extend(_missed([point.found for point in points], search))
    for one in found:
        if one.size is not None and one.size > 1 + _ROUNDED:
            prepared.notes.append(
                f"Rounded to the stored numbers the corruption at the critical radius of {one.name} is "
                f"{_larger(one.size)} it: what breaks the accuracy lies outside of the set."
            )
    own = 1.0 if ball is None else ball.eps
    said = "numbers" if curve.over == "n" else "radii of the device" if ball is None else _unit(ball)
    entry = curve_entry(prepared, curve, said, points, keep, found, own if curve.over == "eps" else None)
    cost = {"gradients": spent.gradients, "forwards": spent.forwards}
    varies = ball is not None and curve.over == "eps"
    whole = unit._replace(words=unit.words.replace("eps = 1", "eps varies")) if varies else unit
    if curve.over == "n":
        whole = unit._replace(words=f"{unit.words}, n varies")
    held = set_entry(prepared, whole).model_copy(update={"eps" if curve.over == "eps" else "n": None})
    entries = {"set": held, "curve": entry}
    return frame(prepared, seconds=0.0, command="").model_copy(update={**entries, **cost})


def worst_few_cells(prepared: Prepared, cells: Cells, search: Search) -> tuple[AttackResult, Numbers | None]:
    """Search flipped bits, confused levels or stuck cells.

    Raises:
        StoppedEarlyError: If nothing was found before the user stopped.
    """
    setting = prepared.setting
    found = find_cells(prepared, cells, search, seed=setting.options.seed)
    best = found.best
    if found.stopped and best is None:
        raise StoppedEarlyError
    prepared.notes.extend(_few(found, cells))
    bad = max((one.score.nonfinite for one in found.sizes), default=0)
    if cells.finite_only and bad:  # judged on the search's samples of the class that is aimed at
        prepared.notes.append(
            f"Outputs that are not finite are forbidden on the samples that the search aims at; of the others up to "
            f"{bad} have one and count as wrong."
        )
    result = frame(prepared, seconds=0.0, command="").model_copy(
        update={"cells": cells_entry(found, cells), "gradients": found.gradients, "forwards": found.forwards}
    )
    return result, None if best is None else lambda: numbers_of(setting.stored, best.changed)


def _few(found: FoundCells, cells: Cells) -> list[str]:
    """Return why fewer cells were found than asked for, where the user did not end the search."""
    most = max((one.changed.cells for one in found.sizes), default=0)
    if found.best is None and found.spent:
        return ["The budget ended before any change was seen to do damage; raise --forwards or --gradients."]
    if found.best is None:
        return ["No change of the allowed cells did any damage."]
    if found.limits and most < cells.count and not (found.spent or found.stopped or found.reached):
        asked = f"Of the {cells.count} cells asked for"
        return [f"{asked} the search found no more than {most} that the limits allow together."]
    return []


def _missed(found: Sequence[Found], search: Search) -> list[str]:
    """Return that searches which were asked for by name had no gradients left for their random starts."""
    if "pgd" not in search.methods or not any(one.search is not None and one.search.missed for one in found):
        return []
    shared = search.most_gradients(GRADIENTS)
    return [
        f"pgd made fewer random starts than the {search.starts} of --restarts: each of its searches takes "
        f"{ProjectedGradient().steps} gradients first and at least {LEAST_STEPS} for every start, and --gradients "
        f"{shared} is shared out among all searches."
    ]


def _tried_size(prepared: Prepared, constraint: TensorSet, found: Found) -> float | None:
    """Return how large the worst corruption is as it is deployed, or the search's own where none did any damage."""
    delta = found.worst.delta or ({} if found.search is None else found.search.delta)
    return deployed_size(prepared, constraint, delta)


def _rounded(size: float | None, where: str = "") -> list[str]:
    """Return what a reader must know of a corruption that is so many radii large as it is deployed."""
    if size is not None and size > 1 + _ROUNDED:
        return [
            f"Rounded to the stored numbers the worst corruption{where} is {_larger(size)} eps: the format holds "
            "nothing between."
        ]
    if size == 0:
        return [f"The set{where} is finer than the stored numbers: every corruption tried rounds to no change."]
    return []


def _larger(size: float) -> str:
    """Return by how much a corruption of more than a radius is larger: to a tenth of a percent below two radii."""
    return f"{100 * (size - 1):.1f} % larger than" if size < 2 else f"{size:.3g} times as large as"


def _rounded_points(prepared: Prepared, unit: Corruptions, curve: Curve, points: Sequence[Point]) -> list[str]:
    """Return the same of a curve: the point that leaves its set by most, and the last one that rounds to nothing."""
    sizes: list[tuple[float, float]] = []
    for value, one in points:
        size = _tried_size(prepared, at(unit.constraint, curve, value), one)
        if size is not None:
            sizes.append((size, value))
    most = max(sizes, default=(1.0, 0.0))
    none = max(((size, value) for size, value in sizes if size == 0), default=(1.0, 0.0))
    told = dict.fromkeys((most, none))
    return [note for size, value in told if value for note in _rounded(size, f" at {curve.over} = {value:g}")]


def _unit(ball: Ball) -> str:
    return {"none": "units of the weights", "rms": "tensor RMS", "norm": "parts of the norm"}[ball.relative]
