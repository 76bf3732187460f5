"""The phases of an assessment: random chips, random corruption in the set, worst case, tables. No files here."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.chips import dense_chips, draw_chip
from faultsim.assessment.record import Recorder
from faultsim.assessment.sets import ChipSet, on_due
from faultsim.assessment.setting import Setting
from faultsim.assessment.swept import is_sparse, swept_chips
from faultsim.constraints import Tensors, TensorSet, dual_norm, log10_trials_for_even_chance
from faultsim.engine.beside import beside
from faultsim.engine.evaluate import Progress
from faultsim.engine.objective import NetworkObjective
from faultsim.engine.summary import own_score, row, summarise
from faultsim.metrics import Tally
from faultsim.results import RandomResult, TrialRow, WorstCase
from faultsim.rng import generator
from faultsim.search import (
    FixedPoint,
    Gradient,
    Greedy,
    Method,
    OneStep,
    RandomPoints,
    Vertices,
    methods_for,
    worst_case,
)
from faultsim.search import WorstCase as Found
from faultsim.search.objective import Score

MOST_FORWARDS = 200
"""Most forward passes of the worst-case search."""

_Origin = Tally | TrialRow | Tensors


def random_chips(setting: Setting, rows: list[TrialRow], progress: Progress, recorder: Recorder | None = None) -> None:
    """Draw and score the chips, appending a row each: what is in *rows* stays when the caller is interrupted."""
    trials = range(len(rows), setting.options.trials)
    wanted = recorder is not None and recorder.row(0) is not None
    progress("chips", len(rows), setting.options.trials)
    for one in (swept_chips if is_sparse(setting) else dense_chips)(setting, trials, outcomes=wanted):
        if recorder is not None:
            recorder.add(one.row, one.drawn, setting.stored, one.outcomes)
        rows.append(one.row)
        progress("chips", len(rows), setting.options.trials)


def has_fit(setting: Setting) -> bool:
    """Whether the device's faults are events with a rate, so that there is an SDC FIT."""
    conditions = setting.options.conditions
    rare = setting.device.is_conditional(setting.stored, conditions=conditions)
    return rare and setting.device.fit(setting.stored, conditions=conditions) is not None


def event_probability(setting: Setting) -> float | None:
    """Return the probability of an event where chips are drawn given one, else None."""
    conditions = setting.options.conditions
    if not setting.device.is_conditional(setting.stored, conditions=conditions):
        return None
    return setting.device.event_probability(setting.stored, conditions=conditions)


def summary(
    setting: Setting, rows: Sequence[TrialRow], stopped: str | None = None, *, constraint: str | None = None
) -> RandomResult:
    """Return the figures over drawn chips, or over random corruptions of the set that *constraint* says in words."""
    options, task = setting.options, setting.task
    probability = None if constraint else event_probability(setting)
    return summarise(
        rows,
        level=options.level,
        scored=task.counts_correct,
        higher_is_better=None if task.headline == "accuracy" else task.higher_is_better,
        event_probability=probability,
        device_fit=None if probability is None else setting.device.fit(setting.stored, conditions=options.conditions),
        constraint=constraint,
        stopped=stopped,
        on_due=on_due(setting),
    )


def random_in_set(setting: Setting, found: ChipSet, rows: list[TrialRow], progress: Progress) -> None:
    """Draw and score random corruptions of the set (the closed-form solver on a normal direction)."""
    constraint, trials = found.constraint, setting.options.trials
    if constraint is None or len(rows) >= trials:
        return
    objective = NetworkObjective(setting.model, setting.stored, setting.scorer, constraint)
    shapes = {name: one.site.shape for name, one in setting.stored.items()}

    def numbers(trial: int) -> Mapping[str, NDArray[Any]]:
        return objective.numbers(constraint.random(generator(setting.options.seed, trial, "random_in_set"), shapes))

    def scored(trial: int) -> TrialRow:
        return row(trial, way.scorer.score(numbers(trial)), setting.task)

    way = beside(setting.scorer, numbers(0), (), trials)
    progress("random in the set", len(rows), trials)
    for one in way.each(scored, range(len(rows), trials)):
        rows.append(one)
        progress("random in the set", len(rows), trials)


class Worst(NamedTuple):
    """The worst case as the result has it, and the search's objective for the tables."""

    case: WorstCase
    nonfinite: int


def find_worst(
    setting: Setting,
    found: ChipSet,
    fault_free: Tally,
    in_set: Sequence[TrialRow],
    chips: Sequence[TrialRow],
    progress: Progress,
) -> Worst | None:
    """Search the set on the search samples, score the best candidates on all data, keep the worst.

    Args:
        setting: What the assessment stands on.
        found: The set.
        fault_free: The chip without faults, which is in every set, on all data.
        in_set: The random corruptions of the set, on all data: the worst case is no better than any of them.
        chips: The chips drawn, on all data: those that lie in the set take part as well.
        progress: Told of every gradient.

    Returns:
        None where the device gives no set.

    Raises:
        FaultsimError: If no gradient reaches the stored tensors.
    """
    if found.constraint is None:
        return None
    options = setting.options
    part = setting.subset(options.search_samples)
    network = NetworkObjective(setting.model, setting.stored, part, found.constraint)
    objective = _Counted(network, progress, options.search_gradients)
    result = worst_case(
        objective,
        found.constraint,
        methods=_methods(setting, found.constraint),
        budget_gradients=options.search_gradients,
        budget_forwards=MOST_FORWARDS,
        seed=options.seed,
    )
    counted = setting.task.counts_correct
    known: list[tuple[Score, str, _Origin]] = [(_of_tally(fault_free, counted=counted), "none", fault_free)]
    known += [(_of_row(one, counted=counted), f"random_in_set {one.trial}", one) for one in in_set]
    whole = NetworkObjective(setting.model, setting.stored, setting.scorer, found.constraint)
    if part is setting.scorer:
        least = result.least_accurate
        known += [(result.score, result.method, result.delta), (least.score, least.method, least.delta)]
    else:
        known += [(whole.score(one), name, one) for one, name in _proposals(result)]
    score, method, origin = min(known, key=lambda item: _severity(item[0]))
    for chip in sorted(chips, key=lambda one: _severity(_of_row(one, counted=counted))):
        drawn = _of_row(chip, counted=counted)
        if _severity(drawn) >= _severity(score):
            break
        if _lies_in(setting, found.constraint, chip.trial):
            score, method, origin = drawn, f"drawn_chip {chip.trial}", chip
            break
    own = _own_score(setting, whole, score, origin)
    case = WorstCase(
        accuracy=score.accuracy if counted else None,
        loss=score.loss if score.finite else None,
        score=own,
        method=method,
        gradients=result.gradients,
        forwards=result.forwards + whole.forwards,
        indicator=result.indicator if math.isfinite(result.indicator) else None,
        constraint=found.words,
        forecast_log10_trials=forecast(found.constraint, objective.gradient(None, "cross_entropy")),
        note=_null_note(score, counted=counted, indicator=result.indicator),
    )
    progress("worst case", options.search_gradients, options.search_gradients)
    return Worst(case, score.nonfinite)


def _lies_in(setting: Setting, constraint: TensorSet, trial: int) -> bool:
    """Whether all that is wrong with a drawn chip is a corruption of the set; what acts while it runs never is."""
    drawn = draw_chip(setting, trial)
    if drawn.acts:
        return False
    delta = {
        name: numbers.astype(np.float64) - setting.stored[name].values
        for name, numbers in drawn.numbers.items()
        if not np.array_equal(numbers, setting.stored[name].values)
    }
    if not set(delta) <= set(constraint.names) or not all(np.isfinite(d).all() for d in delta.values()):
        return False
    filled = {name: delta.get(name, np.zeros(setting.stored[name].site.shape)) for name in constraint.names}
    return constraint.contains(filled, 1e-6)


def _methods(setting: Setting, constraint: TensorSet) -> tuple[Method, ...]:
    """One step, random points and fixed-point ascent; where few elements can move, greedy and swap as well."""
    elements = sum(one.site.elements for one in setting.stored.values())
    suited = methods_for(constraint, elements)
    if any(isinstance(method, Greedy | Vertices) for method in suited):
        return suited
    return OneStep(), RandomPoints(), FixedPoint(), FixedPoint(loss="margin")


def forecast(constraint: TensorSet, gradient: Gradient) -> float | None:
    """Return log10 of the chips that random testing needs for an even chance of half of the first-order worst case.

    For one L2 ball this is Theorem 1 (arXiv 2006.05620, eq. 9). Several balls, or a limit on the elements, have the
    random share's exact variance put in its place: k is that of the sphere whose share varies as much,
    ``k = (Σ ε‖top_n(g)‖)² / Σ (ε²‖g‖²/k_i)``. None for other norms, and where fewer than 30 elements move: the share is
    far from normal there.

    Args:
        constraint: The set.
        gradient: The gradient at the fault-free chip.
    """
    if not gradient.usable:
        return None
    reach, variance = 0.0, 0.0
    for block in constraint.blocks:
        flat = np.concatenate([np.asarray(gradient.grads[name], dtype=np.float64).reshape(-1) for name in block.names])
        ball = block.constraint
        n = ball.limit(flat.size)
        if ball.p != 2 or ball.scale is not None or n < min(30, flat.size):
            return None
        reach += ball.eps * dual_norm(flat, p=2, n=n)
        variance += ball.eps**2 * float(flat @ flat) / flat.size
    if variance <= 0:
        return None
    effective = round(reach**2 / variance)
    return log10_trials_for_even_chance(0.5, effective) if effective > 1 else None


def _own_score(setting: Setting, whole: NetworkObjective, score: Score, origin: _Origin) -> float | None:
    """Return the task's own score of the worst case; the search knows the loss and the accuracy alone."""
    if isinstance(origin, TrialRow):
        return origin.score
    if isinstance(origin, Tally):
        return own_score(setting.task, origin)
    if setting.task.headline == "loss":
        return score.loss if score.finite else None
    if setting.task.headline == "accuracy":
        return None
    whole.forwards += 1
    return own_score(setting.task, setting.scorer.score(whole.numbers(origin)))


def _proposals(result: Found) -> list[tuple[Tensors, str]]:
    """Return the corruptions of the largest loss and of the lowest accuracy, once where they are the same."""
    least = result.least_accurate
    both = [(result.delta, result.method), (least.delta, least.method)]
    return both[:1] if least.delta is result.delta else both


def _of_tally(tally: Tally, *, counted: bool) -> Score:
    counts = tally.counts
    return Score(tally.mean_loss, 0.0, counts.accuracy if counted else math.nan, counts.nonfinite)


def _of_row(row: TrialRow, *, counted: bool) -> Score:
    loss = math.inf if row.loss is None else row.loss
    return Score(loss, 0.0, row.correct / row.n if counted else math.nan, row.nonfinite)


def _severity(score: Score) -> tuple[float, float]:
    accuracy = score.accuracy if math.isfinite(score.accuracy) else 0.0
    return accuracy, -score.loss if math.isfinite(score.loss) else -math.inf


def _null_note(score: Score, *, counted: bool, indicator: float) -> str | None:
    said = []
    if not counted:
        said.append("the task counts no correct answers")
    if not score.finite:
        said.append(f"{score.nonfinite} samples have outputs that are not finite")
    if not math.isfinite(indicator):
        said.append("the gradient is not finite")
    return "; ".join(said) or None


class _Counted(NetworkObjective):
    """An objective that reports every gradient."""

    def __init__(self, inner: NetworkObjective, progress: Progress, total: int) -> None:
        super().__init__(inner.model, inner.stored, inner.scorer, inner.within)
        self._progress = progress
        self._total = total

    def gradient(self, delta: Mapping[str, NDArray[np.float64]] | None, loss: Any) -> Any:
        self._progress("worst case", min(self.gradients, self._total), self._total)
        return super().gradient(delta, loss)
