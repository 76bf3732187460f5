"""The worst corruption of one set: searched on some samples, scored on others, beside random ones. No files here."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from faultsim.attacks.exhaustive import Exhaustive
from faultsim.attacks.first_order import FirstOrder, first_order
from faultsim.attacks.options import Search, one_of
from faultsim.attacks.prepare import Prepared
from faultsim.attacks.watched import WatchedObjective
from faultsim.constraints import Tensors, TensorSet
from faultsim.engine.objective import NetworkObjective
from faultsim.rng import generator
from faultsim.search import (
    BudgetSpentError,
    FixedPoint,
    Greedy,
    Method,
    OneStep,
    ProjectedGradient,
    RandomPoints,
    Score,
    Swap,
    Vertices,
    WorstCase,
    methods_for,
    worst_case,
)

GRADIENTS = 60
"""Most gradients of one set, where none are asked for."""


class Scored(NamedTuple):
    """A corruption on the samples that are scored on, and what proposed it."""

    score: Score
    method: str
    delta: Tensors


@dataclass(frozen=True, eq=False)
class Found:
    """What the search of one set came to.

    Attributes:
        clean: The fault-free model, on the samples scored on.
        worst: The lowest accuracy found, among equals the largest loss.
        largest: The largest finite loss found.
        randoms: Random corruptions of the set, on the samples scored on.
        search: The search itself, on its own samples; None where it was stopped before it began.
        forwards: Forward passes, those that scored on the other samples included.
        first_order: What the gradient forecasts; None where it is not finite, or the user stopped before.
        stopped: Whether the user ended it.
    """

    clean: Score
    worst: Scored
    largest: Scored
    randoms: tuple[Score, ...]
    search: WorstCase | None
    forwards: int
    first_order: FirstOrder | None
    stopped: bool


def find(
    prepared: Prepared,
    constraint: TensorSet,
    search: Search,
    *,
    seed: int,
    phase: str = "worst case",
    known: tuple[Tensors, ...] = (),
    randoms: bool = True,
) -> Found:
    """Search a set, score what was found on the evaluation samples, and put random corruptions beside it.

    Args:
        prepared: What the attack stands on.
        constraint: The set.
        search: What may be spent.
        seed: Of everything random.
        phase: What progress is told as.
        known: Corruptions in the set that compete as well.
        randoms: Whether random corruptions are drawn.
    """
    setting, stopped = prepared.setting, prepared.stopped
    whole = NetworkObjective(setting.model, setting.stored, setting.scorer, constraint)
    clean = whole.score(None)
    nothing = Scored(clean, "none", {})
    candidates: list[Scored] = [nothing]
    drawn: list[Score] = []
    shapes = {name: one.site.shape for name, one in setting.stored.items()}
    for trial in range(search.randoms if randoms else 0):
        if stopped():
            break
        prepared.tell("random in the set", trial, search.randoms)
        delta = constraint.random(generator(seed, trial, "random_in_set"), shapes)
        score = whole.score(delta)
        drawn.append(score)
        candidates.append(Scored(score, f"random trial {trial}", delta))
        candidates = [nothing, *_best(candidates)]  # each delta is as large as the model
    most = search.most_gradients(GRADIENTS)
    objective = NetworkObjective(setting.model, setting.stored, prepared.search, constraint)
    watched = WatchedObjective(objective, stopped, prepared.tell, phase, most)
    result: WorstCase | None = None
    with suppress(BudgetSpentError):
        result = worst_case(
            watched,
            constraint,
            methods=chosen(search, constraint, _sizes(prepared, constraint)),
            budget_gradients=most,
            budget_forwards=search.forwards,
            restarts=search.starts,
            seed=seed,
        )
    expected = None
    if result is not None:
        least = result.least_accurate
        proposed = [
            Scored(result.score, result.method, result.delta),
            Scored(least.score, least.method, least.delta),
        ]
        if least.delta is result.delta:
            proposed.pop()
        for one in proposed:
            candidates.append(one if prepared.whole else one._replace(score=whole.score(one.delta)))
        expected = first_order(constraint, objective.gradient(None, "cross_entropy"), search.randoms)
    for delta in known:
        candidates.append(Scored(whole.score(delta), "from a smaller set", delta))
    worst, largest = _best(candidates)
    prepared.tell(phase, most, most)
    forwards = whole.forwards + objective.forwards
    return Found(clean, worst, largest, tuple(drawn), result, forwards, expected, stopped())


def chosen(search: Search, constraint: TensorSet, sizes: Mapping[str, int]) -> tuple[Method, ...] | None:
    """Return the searches of the asked names and objective; None for those that suit the set, where none is asked for.

    Args:
        search: What was asked for.
        constraint: The set.
        sizes: Elements of each tensor.

    Raises:
        OptionError: If the set has too many corners for ``exhaustive``.
    """
    if search.methods:
        found = [method for name in dict.fromkeys(search.methods) for method in _named(name)]
        for method in found:
            if isinstance(method, Exhaustive):
                method.check(constraint, sizes)
    elif search.objective == "both":
        return None
    else:
        found = list(methods_for(constraint, sum(sizes[name] for name in constraint.names)))
    if search.objective == "both":
        return tuple(found)
    loss = "margin" if search.objective == "margin" else "cross_entropy"
    kept = {m.name: m for m in (replace(one, loss=loss) if hasattr(one, "loss") else one for one in found)}  # type: ignore[type-var]
    return tuple(kept.values())


def _named(name: str) -> tuple[Method, ...]:
    known: dict[str, tuple[Method, ...]] = {
        "one-step": (OneStep(), OneStep(loss="margin")),
        "random": (RandomPoints(),),
        "fixed-point": tuple(
            FixedPoint(loss=loss, wide=True) for loss in ("cross_entropy", "errors", "edge", "margin")
        ),
        "pgd": tuple(ProjectedGradient(loss=loss) for loss in ("cross_entropy", "margin", "edge", "errors")),
        "greedy": (Greedy(), Greedy(loss="margin")),
        "swap": (Swap(), Swap(loss="errors"), Swap(loss="margin")),
        "vertices": (Vertices(), Vertices(loss="margin")),
        "exhaustive": (Exhaustive(),),
    }
    one_of("--method", name, tuple(known))
    return known[name]


def _sizes(prepared: Prepared, constraint: TensorSet) -> dict[str, int]:
    return {name: prepared.setting.stored[name].site.elements for name in constraint.names}


def _best(candidates: list[Scored]) -> tuple[Scored, Scored]:
    worst = min(candidates, key=lambda one: severity(one.score))
    largest = max(candidates, key=lambda one: one.score.value("cross_entropy"))
    return worst, largest


def severity(score: Score) -> tuple[float, float]:
    """Sorts the worst first: by accuracy, then by loss; outputs that are not finite count as the largest loss."""
    accuracy = score.accuracy if math.isfinite(score.accuracy) else 0.0
    return accuracy, -score.loss if math.isfinite(score.loss) and score.finite else -math.inf
