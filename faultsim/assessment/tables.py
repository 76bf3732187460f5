"""The tables of an assessment: each tensor and each layer kind alone, its worst case and its chips. No files here."""

import math
from collections.abc import Sequence

import numpy as np

from faultsim.assessment.chips import draw_chip
from faultsim.assessment.phases import event_probability
from faultsim.assessment.sets import chip_set
from faultsim.assessment.setting import Setting
from faultsim.constraints import NoMaximiserError, TensorSet
from faultsim.corruption import Stored
from faultsim.engine.evaluate import Progress, Scorer
from faultsim.engine.objective import NetworkObjective
from faultsim.engine.summary import interval, own_score
from faultsim.formats import IntFormat
from faultsim.metrics import Tally
from faultsim.results import KindResult, SiteRandom, SiteResult, SiteWorst


def fill_tables(
    setting: Setting, sites: list[SiteResult], kinds: list[KindResult], tell: Progress, *, with_worst: bool
) -> Tally | None:
    """Fill the tables by site and by kind, a row at a time; return the fault-free chip's tally on their samples."""
    options = setting.options
    if not setting.device.acts_on_numbers:
        return None  # faults that act while the network runs belong to no stored tensor
    part = setting.subset(options.site_samples)
    baseline = None if part is setting.scorer else part.score(setting.fault_free())
    objective = NetworkObjective(setting.model, setting.stored, part)
    grouped: dict[str, list[str]] = {}
    for name, one in setting.stored.items():
        grouped.setdefault(one.site.kind, []).append(name)
    total = len(setting.stored) + len(grouped)
    for position, (name, one) in enumerate(setting.stored.items()):
        tell("sites", position, total)
        worst, random = table_row(setting, part, objective, [name], with_worst=with_worst)
        stored_format = None if one.format.name == one.site.format.name else one.format.name
        sites.append(
            SiteResult(
                name=name,
                kind=one.site.kind,
                role=one.site.role,
                format=one.site.format.name,
                stored_format=stored_format,
                stored_step=_steps(one),
                elements=one.site.elements,
                depth=one.site.depth,
                worst_case=worst,
                random=random,
            )
        )
    for position, (kind, names) in enumerate(grouped.items()):
        tell("sites", len(setting.stored) + position, total)
        worst, random = table_row(setting, part, objective, names, with_worst=with_worst)
        elements = sum(setting.stored[n].site.elements for n in names)
        kinds.append(
            KindResult(
                kind=kind,
                sites=len(names),
                elements=elements,
                worst_case=worst,
                random=random,
            )
        )
    tell("sites", total, total)
    return baseline


def table_row(
    setting: Setting, part: Scorer, objective: NetworkObjective, names: Sequence[str], *, with_worst: bool
) -> tuple[SiteWorst | None, SiteRandom | None]:
    """Return the worst case (one gradient step) and random chips with faults in *names* alone, on *part*."""
    worst = None
    found = chip_set(setting, names) if with_worst else None
    if found is not None and found.constraint is not None:
        worst = _one_step(setting, objective, found.constraint)
    trials = setting.options.site_trials
    if trials == 0:
        return worst, None
    chips = [draw_chip(setting, trial, names) for trial in range(trials)]
    tallies = [part.score(chip.numbers, effects=chip.effects) for chip in chips]
    return worst, _random_row(setting, tallies)


def _one_step(setting: Setting, objective: NetworkObjective, constraint: TensorSet) -> SiteWorst | None:
    gradient = objective.gradient(None, "cross_entropy")
    if not gradient.usable:
        return None
    try:
        delta = constraint.argmax(gradient.grads)
    except NoMaximiserError:
        return None
    score = objective.inside(constraint).score(delta)
    return SiteWorst(
        accuracy=score.accuracy if math.isfinite(score.accuracy) else None,  # no label among these samples: NaN
        loss=score.loss if score.finite else None,
    )


def _random_row(setting: Setting, tallies: Sequence[Tally]) -> SiteRandom:
    mean, low, high = _accuracy(setting, tallies)
    losses = [t.mean_loss for t in tallies]
    scores = [score for t in tallies if (score := own_score(setting.task, t)) is not None]
    finite = all(math.isfinite(x) for x in losses) and not any(t.counts.nonfinite for t in tallies)
    return SiteRandom(
        trials=len(tallies),
        accuracy=mean,
        loss=float(np.mean(losses)) if finite else None,
        score=float(np.mean(scores)) if len(scores) == len(tallies) else None,
        low=low,
        high=high,
    )


def _accuracy(setting: Setting, tallies: Sequence[Tally]) -> tuple[float | None, float | None, float | None]:
    """Return mean accuracy and interval, as wide as the main figure's where each chip has an event; None: no label."""
    if not setting.task.counts_correct or not all(t.counts.n for t in tallies):
        return None, None, None
    rare = event_probability(setting) is not None
    return interval([t.counts.accuracy for t in tallies], setting.options.level, rare=rare)


def _steps(stored: Stored) -> tuple[float, float] | None:
    if not isinstance(stored.format, IntFormat):
        return None
    steps = np.asarray(stored.format.scale, dtype=np.float64)
    return float(steps.min()), float(steps.max())
