"""Accuracy over the radius or the number of elements, and where it breaks. The search of one set lives in `worst`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faultsim.attacks.ball import Corruptions, size_of
from faultsim.attacks.options import Curve, Search
from faultsim.attacks.prepare import Prepared
from faultsim.attacks.proof import prove, refuted
from faultsim.attacks.worst import Found, chosen, find
from faultsim.constraints import Tensors, TensorSet
from faultsim.engine.objective import NetworkObjective
from faultsim.errors import DeviceError, OptionError
from faultsim.rng import generator
from faultsim.search import BudgetSpentError
from faultsim.search.radius import CriticalRadius, critical_radius

RADIUS_SEARCH = Search(methods=("one-step", "random", "fixed-point"), gradients=12, restarts=0)
"""What each step of the search for a critical radius spends."""
_RANDOMS = 20
_WIDEST = 2.0**12
_EVALUATIONS = 24


@dataclass
class Spent:
    """Gradients and forward passes, added up."""

    gradients: int = 0
    forwards: int = 0

    def add(self, found: Found) -> None:
        """Add what one search took."""
        self.gradients += 0 if found.search is None else found.search.gradients
        self.forwards += found.forwards


class Point(NamedTuple):
    """One value of a curve."""

    value: float
    found: Found


class Radii(NamedTuple):
    """Critical radii of some tensors.

    Attributes:
        name: ``all``, or the layer.
        sites: The tensors.
        worst: For the worst case found.
        random: For the mean random corruption; None where the user stopped before.
        why_not: Why no radius is proven, where a proof was asked for and the graph has none; empty otherwise.
        size: The corruption that breaks the accuracy, as it is deployed, in critical radii; None where none does.
    """

    name: str
    sites: tuple[str, ...]
    worst: CriticalRadius
    random: CriticalRadius | None
    why_not: str = ""
    size: float | None = None


def values_of(curve: Curve) -> tuple[float, ...]:
    """Return the values of a curve, ascending; whole numbers, each once, for *n*."""
    spaced = np.geomspace(curve.start, curve.stop, curve.points)
    if curve.over == "n":
        return tuple(float(n) for n in dict.fromkeys(max(1, round(v)) for v in spaced))
    return tuple(float(f"{value:.10g}") for value in spaced)


def draw_curve(
    prepared: Prepared, unit: Corruptions, curve: Curve, search: Search, *, seed: int, elements: int
) -> list[Point]:
    """Search the set at every value; a smaller set's worst corruption competes in every larger one.

    Args:
        prepared: What the attack stands on.
        unit: The set of radius 1 (in the unit of the values), or the set whose *n* changes.
        curve: The values.
        search: What each value may spend.
        seed: Of everything random.
        elements: Most numbers that *n* can be.

    Raises:
        OptionError: If a value of *n* is more than there are numbers, or a method does not go with a value.
    """
    values = values_of(curve)
    if curve.over == "n" and values[-1] > elements:
        raise OptionError(f"--to is {values[-1]:g}, and at most {elements} numbers can move; give --to {elements}")
    for value in values:  # before the first is searched: what a later one is refused for would lose it
        constraint = at(unit.constraint, curve, value)
        chosen(search, constraint, {name: prepared.setting.stored[name].site.elements for name in constraint.names})
    points: list[Point] = []
    for place, value in enumerate(values):
        prepared.tell("curve", place, len(values))
        known = _known(points[-1].found) if points else ()
        found = find(prepared, at(unit.constraint, curve, value), search, seed=seed, known=known)
        if found.search is None:
            break
        points.append(Point(value, found))
        if found.stopped:
            break
    prepared.tell("curve", len(values), len(values))
    return points


def _known(found: Found) -> tuple[Tensors, ...]:
    """Return what of a smaller set is worth scoring in a larger one, each once."""
    both = {id(one.delta): one.delta for one in (found.worst, found.largest) if one.delta}
    return tuple(both.values())


def at(constraint: TensorSet, curve: Curve, value: float) -> TensorSet:
    """Return the set at one value of a curve."""
    return constraint.scaled(value) if curve.over == "eps" else constraint.limited(int(value))


def radii(
    prepared: Prepared,
    make: Callable[[tuple[str, ...] | None], Corruptions],
    keep: float,
    *,
    start: float,
    per_layer: bool,
    seed: int,
    certify: bool,
    spent: Spent,
    points: Sequence[Point] = (),
    nested: bool = False,
) -> list[Radii]:
    """Return the critical radii of all tensors together and, where asked for, of every layer alone.

    Searched on the search's samples, and judged on those that are scored on; an upper bound of the true radius, as all
    that is found.

    Args:
        prepared: What the attack stands on.
        make: Returns the set of radius 1 over some tensors (all where None).
        keep: The accuracy that must hold.
        start: First radius tried.
        per_layer: Whether layers are searched alone.
        seed: Of everything random.
        certify: Whether to prove a radius too.
        spent: Is told what the searches take.
        points: What a curve found with all tensors: it counts here too.
        nested: Whether the set of a layer is a part of the set of all tensors at the same radius: what breaks the
            accuracy in a layer then counts for all of them too.
    """
    setting = prepared.setting
    groups: list[tuple[str, tuple[str, ...] | None]] = [("all", None)]
    if per_layer:
        layers: dict[str, list[str]] = {}
        for name, one in setting.stored.items():
            layers.setdefault(one.site.layer, []).append(name)
        groups += [(layer, tuple(names)) for layer, names in layers.items()]
    found: list[Radii] = []
    for place, (name, names) in enumerate(groups):
        if prepared.stopped():
            break
        prepared.tell("critical radii", place, len(groups))
        try:
            unit = make(names)
        except (OptionError, DeviceError) as error:  # a device can have no set for one layer alone
            if names is None:
                raise
            prepared.notes.append(f"{name} has no critical radius: {error}")
            continue
        limits = {"start": start, "largest": start * _WIDEST, "smallest": start / _WIDEST, "evaluations": _EVALUATIONS}
        reasons: list[str] = []
        proof = _proven(prepared, unit.constraint, reasons) if certify else None
        seen = [(point.value, point.found.worst.score.accuracy) for point in points if names is None]
        sizes: dict[float, float | None] = {}
        try:
            search = _worst(prepared, unit.constraint, seed, seen, sizes, spent)
            worst = critical_radius(search, keep, rtol=0.02, proven=proof, **limits)  # type: ignore[arg-type]
        except BudgetSpentError:
            break
        try:
            random = critical_radius(_random(prepared, unit.constraint, seed, spent), keep, rtol=0.05, **limits)  # type: ignore[arg-type]
        except BudgetSpentError:
            random = None
        broken = min((value for value, accuracy in seen if not accuracy >= keep), default=math.inf)
        worst = worst._replace(found=min(worst.found, broken))
        for point in points if names is None else ():
            if point.value == worst.found:
                delta = point.found.worst.delta
                sizes[worst.found] = deployed_size(prepared, unit.constraint.scaled(point.value), delta)
        why_not = reasons[-1] if reasons and len(reasons) == len(worst.proofs) else ""
        found.append(
            Radii(
                name,
                unit.constraint.names,
                worst._replace(proofs=()) if why_not else worst,
                random,
                why_not,
                sizes.get(worst.found),
            )
        )
    prepared.tell("critical radii", len(groups), len(groups))
    return [_held_to_found(one) for one in (_at_most_its_layers(found) if nested else found)]


def _held_to_found(one: Radii) -> Radii:
    """Return radii without their proofs, and why, where something that was found in the same set lies beyond one."""
    why_not = refuted(one.worst)
    return one._replace(worst=one.worst._replace(proven=0.0, proofs=()), why_not=why_not) if why_not else one


def _at_most_its_layers(found: list[Radii]) -> list[Radii]:
    """Return radii of which that of all tensors is no larger than that of a layer, and what it does not hold at."""
    if len(found) < 2:
        return found
    whole, *layers = found
    least = min(layers, key=lambda one: one.worst.found)
    radius = least.worst.found
    if not radius < whole.worst.found:
        return found
    holds = max((one.eps for one in whole.worst.evaluations if one.eps < radius), default=0.0)
    worst = whole.worst._replace(found=radius, holds=holds)
    return [whole._replace(worst=worst, size=least.size), *layers]


def deployed_size(prepared: Prepared, constraint: TensorSet, delta: Tensors) -> float | None:
    """Return how large a corruption is as the formats hold it, in radii of the set; None without one."""
    if not delta:
        return None
    setting = prepared.setting
    held = NetworkObjective(setting.model, setting.stored, setting.scorer, constraint).numbers(delta)
    return size_of(constraint, setting.stored, held)


def _worst(
    prepared: Prepared,
    constraint: TensorSet,
    seed: int,
    seen: Sequence[tuple[float, float]],
    sizes: dict[float, float | None],
    spent: Spent,
) -> Callable[[float], float]:
    def accuracy(eps: float) -> float:
        if prepared.stopped():
            raise BudgetSpentError
        known = min((one for value, one in seen if value <= eps), default=math.inf)
        found = find(prepared, constraint.scaled(eps), RADIUS_SEARCH, seed=seed, phase="critical radius", randoms=False)
        spent.add(found)
        sizes[eps] = deployed_size(prepared, constraint.scaled(eps), found.worst.delta)
        return min(found.worst.score.accuracy, known)

    return accuracy


def _proven(prepared: Prepared, constraint: TensorSet, reasons: list[str]) -> Callable[[float], float]:
    def accuracy(eps: float) -> float:
        if prepared.stopped():
            raise BudgetSpentError
        found = prove(prepared, constraint.scaled(eps), True).certificate
        if not found.proven and prepared.stopped():
            raise BudgetSpentError
        if not found.proven:
            reasons.append(found.why_not)
        return found.accuracy_lower if found.proven else 0.0

    return accuracy


def _random(prepared: Prepared, constraint: TensorSet, seed: int, spent: Spent) -> Callable[[float], float]:
    setting = prepared.setting
    shapes = {name: one.site.shape for name, one in setting.stored.items()}

    def accuracy(eps: float) -> float:
        found = []
        whole = constraint.scaled(eps)
        objective = NetworkObjective(setting.model, setting.stored, setting.scorer, whole)
        for trial in range(_RANDOMS):
            if prepared.stopped():
                raise BudgetSpentError
            delta = whole.random(generator(seed, trial, "random_in_set"), shapes)
            spent.forwards += 1
            found.append(objective.score(delta).accuracy)
        return math.fsum(found) / len(found)

    return accuracy
