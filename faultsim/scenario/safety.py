"""The safety factor of a case: by how much its chip's budget can grow before the worst case breaks the model."""

import math

from faultsim.assessment.sets import chip_set
from faultsim.assessment.setting import make_setting
from faultsim.data.spec import DataSet
from faultsim.engine.evaluate import Progress
from faultsim.engine.objective import NetworkObjective
from faultsim.errors import OptionError
from faultsim.model import Model
from faultsim.results import Judgement
from faultsim.scenario.case import Case
from faultsim.scenario.requirement import Asked, SafetyFactor
from faultsim.search import FixedPoint, OneStep, worst_case
from faultsim.search.radius import critical_radius

EVALUATIONS = 12
RTOL = 0.05


def judge_factor(
    case: Case,
    asked: Asked,
    *,
    torch_device: str,
    tell: Progress,
    model: Model | None = None,
    data: DataSet | None = None,
) -> Judgement:
    """Judge a safety factor: how many times the radius of the chip's own budget the model holds.

    The first factor tried is the asked one, so the verdict does not hang on the rest of the search. As every worst
    case it is found, not proven: the true factor is at most what is found to hold.

    Args:
        case: The case; its options' search may spend ``search_gradients`` at each factor.
        asked: The requirement.
        torch_device: Where gradients are computed.
        tell: Told of every factor.
        model: Judged in place of the case's own.
        data: Samples in place of the case's own.

    Raises:
        FaultsimError: If model, device or data cannot be used, if the device gives no set, or if the task counts no
            correct answers.
    """
    wanted = asked.factor
    if wanted is None:
        raise OptionError(f"requirement {asked.text!r} is no safety factor")
    setting = make_setting(
        model or case.model,
        case.device,
        case.data if data is None else data,
        case.options,
        torch_device=torch_device,
    )
    where = f"{asked.source}: requirement {asked.text!r} cannot be judged"
    if not setting.task.counts_correct:
        raise OptionError(f"{where}: the task counts no correct answers; require loss_increase or score_drop instead")
    found = chip_set(setting)
    if found.constraint is None:
        raise OptionError(f"{where}: {found.why_not}; require something of random chips")
    constraint, options = found.constraint, case.options
    objective = NetworkObjective(setting.model, setting.stored, setting.subset(options.search_samples))
    clean = objective.score(None).accuracy
    level = wanted.accuracy if wanted.accuracy is not None else max(clean - wanted.drop, 0.0)
    if clean < level:
        said = f"the model has {clean:.2%} without any fault, {level:.2%} must hold"
        return _judgement(asked, wanted, 0.0, False, said)
    count = 0

    def accuracy(factor: float) -> float:
        nonlocal count
        tell("safety factor", count, EVALUATIONS)
        count += 1
        grown = constraint.scaled(factor)
        worst = worst_case(
            objective.inside(grown),
            grown,
            methods=(OneStep(), FixedPoint()),
            budget_gradients=options.search_gradients,
            budget_forwards=4 * options.search_gradients,
            restarts=0,
            seed=options.seed,
        )
        return worst.least_accurate.score.accuracy

    limit = wanted.limit
    radius = critical_radius(
        accuracy,
        level,
        start=limit,
        rtol=RTOL,
        largest=8 * limit,
        smallest=limit / 64,
        evaluations=EVALUATIONS,
    )
    tell("safety factor", EVALUATIONS, EVALUATIONS)
    if math.isinf(radius.found):
        said = f"{level:.2%} holds at {radius.holds:.3g} times the budget, the most that was tried"
    elif radius.holds == 0:
        said = f"{level:.2%} breaks at {radius.found:.3g} times the budget, the least that was tried"
    else:
        said = f"{level:.2%} holds at {radius.holds:.3g} times the budget and breaks at {radius.found:.3g}"
    return _judgement(asked, wanted, radius.holds, radius.holds >= limit, said)


def _judgement(asked: Asked, wanted: SafetyFactor, value: float, passed: bool, said: str) -> Judgement:
    return Judgement(
        text=asked.text,
        source=asked.source,
        metric="safety_factor",
        at=None,
        limit=wanted.limit,
        value=value,
        low=None,
        high=None,
        passed=passed,
        explanation=f"worst case (found, not proven): {said}; {wanted.limit:g} asked",
    )
