"""`worst_case`: runs the searches on one network under one set and keeps the worst of everything tried."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from faultsim.constraints import NoMaximiserError, Tensors, TensorSet
from faultsim.errors import OptionError
from faultsim.rng import generator
from faultsim.search.fixed_point import FixedPoint
from faultsim.search.greedy import Greedy
from faultsim.search.objective import Objective, Score
from faultsim.search.one_step import OneStep
from faultsim.search.probe import BudgetSpentError, Candidate, Method, Probe, TraceRow
from faultsim.search.projected_gradient import ProjectedGradient
from faultsim.search.random_points import RandomPoints
from faultsim.search.swap import Swap
from faultsim.search.vertices import Vertices

_SPARSE = 0.25  # part of the elements that may move, up to which a set is searched element by element
_FEW = 4096  # elements up to which all corners of a set with p = 1 are tried
_FALLEN = 0.03  # accuracy lost above which the samples nearest to the edge are wrong already
_BROKEN = 0.2  # accuracy lost above which the margin leads to more errors than their smooth count does by itself
_FIRST = 10  # gradients that the methods named first get before the rest is shared out


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The worst corruptions found; found, not proven: a lower bound of the damage.

    Attributes:
        delta: The corruption of the largest finite loss, one array per tensor; zero where nothing raised it.
        score: What the network does under it.
        method: The search that proposed it, ``"none"`` where nothing raised the loss.
        least_accurate: The candidate of the lowest accuracy, which may have non-finite outputs.
        clean: The score without a corruption.
        indicator: The first-order loss change of the worst corruption, eps·‖h‖_q; NaN where the gradient is
            not finite.
        gradients: Gradients taken.
        forwards: Forward passes scored, the clean one included.
        nonfinite: Candidates that made an output non-finite: an outcome of its own, never the largest loss.
        trace: One row per candidate scored, in order.
        missed: Searches that had too few gradients left for all their random starts.
    """

    delta: Tensors
    score: Score
    method: str
    least_accurate: Candidate
    clean: Score
    indicator: float
    gradients: int
    forwards: int
    nonfinite: int
    trace: tuple[TraceRow, ...]
    missed: tuple[str, ...] = ()


def worst_case(
    objective: Objective,
    constraint: TensorSet,
    *,
    methods: Sequence[Method] | None = None,
    budget_gradients: int = 60,
    budget_forwards: int | None = None,
    restarts: int = 2,
    seed: int = 0,
) -> WorstCase:
    """Search the set for the corruptions that do the most damage, and report the worst of everything tried.

    The searches only propose: every candidate is projected into the set and scored here. What comes back is a
    lower bound; the one-step attack, the random points and every step of every search compete for it.

    Args:
        objective: The network with its data.
        constraint: The set of corruptions.
        methods: The searches, in order; ``None`` for `methods_for` of the set.
        budget_gradients: Most gradients of all searches together, at least 1.
        budget_forwards: Most forward passes of all searches together, at least 1; ``None`` for no limit.
        restarts: Random starts of each search that has one, at least 0.
        seed: Seed of the random starts; the same seed gives the same result.

    Returns:
        The worst case found.

    Raises:
        OptionError: If a budget or the number of restarts is out of its range.
        ConstraintError: If the constraint names a tensor that the objective has no gradient for.
    """
    for name, given, least in (
        ("budget_gradients", budget_gradients, 1),
        ("budget_forwards", 1 if budget_forwards is None else budget_forwards, 1),
        ("restarts", restarts, 0),
    ):
        if given < least:
            raise OptionError(f"{name} is {given}, it must be at least {least}; raise it or leave it out")
    probe = Probe(objective, constraint, forwards=budget_forwards)
    clean = probe.gradient(None, "cross_entropy")
    chosen = methods_for(constraint, probe.layout.elements) if methods is None else tuple(methods)
    for position, method in enumerate(chosen):
        behind = [one for one in chosen[position + 1 :] if methods is not None or _suits(one, probe)]
        if methods is None and not _suits(method, probe):
            continue
        share = _share(method, behind, first=position == _first(chosen), left=budget_gradients - probe.gradients)
        probe.begin(method.name, generator(seed, -1, "search", str(position), method.name), share)
        try:
            method.search(probe, restarts)
        except (BudgetSpentError, NoMaximiserError):  # nothing left to spend, or nothing that can move
            continue
    return WorstCase(
        delta=probe.worst.delta,
        score=probe.worst.score,
        method=probe.worst.method,
        least_accurate=probe.least_accurate,
        clean=probe.clean,
        indicator=constraint.indicator(clean.grads) if clean.usable else math.nan,
        gradients=probe.gradients,
        forwards=probe.forwards,
        nonfinite=probe.nonfinite,
        trace=tuple(probe.trace),
        missed=tuple(probe.missed),
    )


def _first(chosen: Sequence[Method]) -> int | None:
    """Return the place of the first ascent."""
    return next((place for place, method in enumerate(chosen) if isinstance(method, FixedPoint)), None)


def _share(method: Method, behind: Sequence[Method], *, first: bool, left: int) -> int:
    """Return how many gradients a search may take of those that are left.

    All alike, but the ascents come before the others: the first one has half of everything, up to what it needs, and
    the next ones share the rest, up to what they need. What one does not take is left to those behind it.
    """
    even = math.ceil(left / (len(behind) + 1))
    if not _ascends(method):
        return even
    part = left // 2 if first else math.ceil(left / (sum(map(_ascends, behind)) + 1))
    return max(even, min(part, _FIRST))


def _ascends(method: Method) -> bool:
    return isinstance(method, FixedPoint) and method.start in ("clean", "least_accurate")


def _suits(method: Method, probe: Probe) -> bool:
    """Say whether a search is of use still.

    The edge decides the accuracy only while it has hardly fallen. Where much has fallen, the smooth count of errors
    goes on from what the margin found instead of from the clean network.
    """
    fallen = probe.clean.accuracy - probe.least_accurate.score.accuracy
    if isinstance(method, FixedPoint) and method.loss == "errors" and _ascends(method):
        return (fallen > _BROKEN) == (method.start == "least_accurate")
    return getattr(method, "loss", None) != "edge" or not fallen > _FALLEN


def methods_for(constraint: TensorSet, elements: int) -> tuple[Method, ...]:
    """Return the searches that suit a set.

    One-step, random points and fixed-point ascent always, of the loss and of what lowers the accuracy. Corners for
    p = 1; greedy and swap where at most a quarter of the elements can move, for projected gradient fails there;
    projected gradient for the rest.

    Args:
        constraint: The set.
        elements: Number of elements of all its tensors.
    """
    always: tuple[Method, ...] = (
        OneStep(),
        RandomPoints(),
        FixedPoint(wide=True),
        FixedPoint(loss="errors", wide=True),
        FixedPoint(loss="edge", wide=True),
        FixedPoint(loss="margin", wide=True),
        FixedPoint(loss="errors", start="least_accurate", wide=True),
        FixedPoint(start="least_accurate", wide=True),
    )
    blocks = constraint.blocks
    if all(block.constraint.p == 1 for block in blocks):
        return (*always, Vertices(candidates=None if elements <= _FEW else 128))
    limits = [block.constraint.n for block in blocks]
    if all(n is not None for n in limits) and sum(n or 0 for n in limits) <= _SPARSE * elements:
        return (*always, Greedy(), Swap(), Swap(loss="errors"), FixedPoint(start="random"))
    return (
        *always,
        FixedPoint(loss="errors", start="worst", wide=True),
        FixedPoint(start="random"),
        ProjectedGradient(loss="edge"),
        ProjectedGradient(loss="errors"),
        FixedPoint(start="worst", wide=True),
    )
