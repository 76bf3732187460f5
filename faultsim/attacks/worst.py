"""The worst corruption of one set: searched on some samples, scored on others, beside random ones. No files here."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from numpy.typing import NDArray

from faultsim.attacks.exhaustive import Exhaustive
from faultsim.attacks.first_order import FirstOrder, first_order
from faultsim.attacks.options import Search, one_of
from faultsim.attacks.prepare import Prepared
from faultsim.attacks.watched import WatchedObjective
from faultsim.certify import Certificate, NotCertifiedError, certify, is_coarse
from faultsim.constraints import Tensors, TensorSet
from faultsim.engine.objective import NetworkObjective
from faultsim.metrics import Classification, GoldenAgreement
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

QUICK = 2_000_000
"""Samples times numbers under test up to which a certificate is sought without being asked for."""
GRADIENTS = 60
"""Most gradients of one set, where none are asked for."""
_HELD = 1 << 25
"""Effects of a tensor's numbers, sample by sample, that a certificate holds at a time (256 MiB), a few times over."""
_SLACK = 1e-4
"""What a loss computed in float32 may be off by, in nats."""
ROUNDOFF = 2.0**-24
"""Unit roundoff that certificates cover: that of float32."""


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


class Proof(NamedTuple):
    """A certificate, or why there is none, and what it took."""

    certificate: Certificate
    seconds: float


def prove(prepared: Prepared, constraint: TensorSet, asked: bool | None) -> Proof:
    """Bound loss and accuracy over the whole set on the samples scored on, where that is asked for or quick."""
    started = time.perf_counter()
    why = _no_proof(prepared, constraint, asked)
    if why:
        return Proof(Certificate(why_not=why), 0.0)
    setting = prepared.setting
    prepared.tell("certificate", 0, 1)
    largest = max((setting.stored[name].site.elements for name in constraint.names), default=1)
    found = certify(
        setting.model,
        setting.stored,
        constraint,
        _parts(prepared, max(1, _HELD // max(largest, 1))),
        output=setting.output.name,
        probabilities=setting.output.is_probability,
        roundoff=ROUNDOFF,
    )
    prepared.tell("certificate", 1, 1)
    return Proof(found, time.perf_counter() - started)


def _parts(prepared: Prepared, most: int) -> Iterator[tuple[dict[str, Any], NDArray[Any]]]:
    """Yield inputs and labels of at most so many samples at a time, where the graph takes a part of a batch.

    Raises:
        NotCertifiedError: If the user stops.
    """
    scorer = prepared.setting.scorer
    model = prepared.setting.model
    parted = not model.fixed_batch and all(spec.batch_axis == 0 for spec in model.inputs)
    for batch in scorer.batches():
        labels = scorer.batch_labels(batch)
        for low in range(0, len(labels), most) if parted else (0,):
            if prepared.stopped():
                raise NotCertifiedError("the run was stopped before")
            part = slice(low, low + most) if parted else slice(None)
            yield {name: array[part] for name, array in batch.inputs.items()}, labels[part]


def held_to(found: Found, proof: Proof) -> Proof:
    """Return a proof, or none where something that was found in the same set lies beyond it.

    That cannot be: it would be an error of the bounds, which are then not to be believed.
    """
    bound = proof.certificate
    met = (found.clean, found.worst.score, found.largest.score)
    rise = math.inf if any(not one.finite for one in met) else max(one.loss for one in met) - found.clean.loss
    beyond = (
        rise > bound.loss_increase_upper + _SLACK or min(one.accuracy for one in met) < bound.accuracy_lower - _SLACK
    )
    if not bound.proven or not beyond:
        return proof
    why = "the search found more than the bounds allow, so they do not hold here; please report the model"
    return Proof(Certificate(why_not=why), proof.seconds)


def _no_proof(prepared: Prepared, constraint: TensorSet, asked: bool | None) -> str:
    setting = prepared.setting
    task = setting.task.inner if isinstance(setting.task, GoldenAgreement) else setting.task
    if asked is False:
        return "no certificate was asked for"
    if prepared.stopped():
        return "the run was stopped before"
    if not isinstance(task, Classification) or task.top_k != 1:
        return f"bounds are known for top-1 classification, and the task is {task.name}"
    if setting.output.scale != 1 or setting.output.zero_point != 0:
        return "the scored output holds integer codes; bounds are known for logits"
    coarse = next((n for n in constraint.names if is_coarse(setting.stored[n].format)), None)
    if coarse is not None:
        kind = setting.stored[coarse].format.name
        return f"{coarse} is stored as {kind}: a corrupted number is rounded to a code, and no bound is known for that"
    size = len(setting.data) * sum(setting.stored[name].site.elements for name in constraint.names)
    if asked is None and size > QUICK:
        return "not tried, as it takes long on so many numbers and samples; ask with --certify (and --limit)"
    return ""


def _best(candidates: list[Scored]) -> tuple[Scored, Scored]:
    worst = min(candidates, key=lambda one: severity(one.score))
    largest = max(candidates, key=lambda one: one.score.value("cross_entropy"))
    return worst, largest


def severity(score: Score) -> tuple[float, float]:
    """Sorts the worst first: by accuracy, then by loss; outputs that are not finite count as the largest loss."""
    accuracy = score.accuracy if math.isfinite(score.accuracy) else 0.0
    return accuracy, -score.loss if math.isfinite(score.loss) and score.finite else -math.inf
