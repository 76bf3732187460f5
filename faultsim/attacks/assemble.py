"""From what an attack found to its result. Nothing is computed here but intervals."""

import math
from collections.abc import Sequence

from faultsim.assessment.assemble import agreement_entry, data_info, device_info, model_info, provenance, score_of
from faultsim.attacks.ball import Corruptions
from faultsim.attacks.cells import FoundCells
from faultsim.attacks.curve import Point, Radii
from faultsim.attacks.options import Cells, Curve
from faultsim.attacks.prepare import Prepared, finite
from faultsim.attacks.probing import Measured, Part
from faultsim.attacks.proof import ROUNDOFF, Proof
from faultsim.attacks.worst import Found, Scored
from faultsim.engine.summary import interval
from faultsim.results.attack import (
    AttackCells,
    AttackCurve,
    AttackMethod,
    AttackPoint,
    AttackResult,
    AttackScore,
    AttackSet,
    CellsPoint,
    ChangedCell,
    CriticalRadiusResult,
    Proven,
    RandomBand,
)
from faultsim.results.probing import ProbeCell, ProbePart
from faultsim.search import Score
from faultsim.search.radius import safety_factor


def frame(prepared: Prepared, *, seconds: float, command: str) -> AttackResult:
    """Return a result with what every attack has."""
    setting = prepared.setting
    return AttackResult(
        model=model_info(setting),
        device=None if prepared.device is None else device_info(setting),
        data=data_info(setting, lossless=prepared.clean.lossless),
        searched_on=prepared.searched_on,
        separate=prepared.separate,
        seed=setting.options.seed,
        level=setting.options.level,
        clean=score_of(setting, prepared.clean),
        agreement=agreement_entry(setting),
        stopped="interrupted: this is the best until then" if prepared.stopped() else None,
        notes=tuple(prepared.notes),
        provenance=provenance(setting, {}, seconds, command),
    )


def score_entry(prepared: Prepared, found: Scored, clean: Score) -> AttackScore:
    """Return what one corruption does."""
    score = found.score
    return AttackScore(
        accuracy=score.accuracy if prepared.counted else None,
        loss=score.loss if score.nonfinite == 0 else None,
        loss_change=score.loss - clean.loss if score.nonfinite == 0 else None,
        nonfinite=score.nonfinite,
        method=found.method,
    )


def set_entry(prepared: Prepared, corruptions: Corruptions) -> AttackSet:
    """Return the set."""
    blocks = corruptions.constraint.blocks
    balls = [block.constraint for block in blocks]
    same = {name: len({getattr(one, name) for one in balls}) == 1 for name in ("p", "eps", "n")}
    stored = prepared.setting.stored
    return AttackSet(
        words=corruptions.words,
        p=balls[0].p if same["p"] else None,
        eps=corruptions.eps if corruptions.eps is not None else balls[0].eps if same["eps"] else None,
        n=balls[0].n if same["n"] else None,
        budgets=len(blocks),
        elements=sum(stored[name].site.elements for name in corruptions.constraint.names),
        pinned=corruptions.pinned,
    )


def band(prepared: Prepared, scores: Sequence[Score]) -> RandomBand | None:
    """Return the figures of random corruptions; None without any."""
    if not scores:
        return None
    losses = [score.loss for score in scores if score.finite]
    mean, low, high = (
        interval([s.accuracy for s in scores], prepared.setting.options.level)
        if prepared.counted
        else (None, None, None)
    )
    return RandomBand(
        trials=len(scores),
        mean=mean,
        low=low,
        high=high,
        min=min(s.accuracy for s in scores) if prepared.counted else None,
        loss_mean=math.fsum(losses) / len(losses) if len(losses) == len(scores) else None,
        loss_max=max(losses, default=None),
        nonfinite=len(scores) - len(losses),
    )


def methods_entry(prepared: Prepared, found: Found) -> tuple[AttackMethod, ...]:
    """Return what each search came to, in the order in which they ran."""
    trace = () if found.search is None else found.search.trace
    rows = []
    for name in dict.fromkeys(row.method for row in trace):
        own = [row for row in trace if row.method == name]
        losses = [row.loss for row in own if row.nonfinite == 0 and math.isfinite(row.loss)]
        accuracy = min(row.accuracy for row in own) if prepared.counted else None
        rows.append(AttackMethod(name=name, candidates=len(own), loss=max(losses, default=None), accuracy=accuracy))
    return tuple(rows)


def proof_entry(proof: Proof) -> Proven:
    """Return the certificate."""
    found = proof.certificate
    return Proven(
        proven=found.proven,
        why_not=found.why_not,
        loss_change=found.loss_increase_upper if found.proven else None,
        accuracy=found.accuracy_lower if found.proven else None,
        roundoff=ROUNDOFF if found.proven else None,
        seconds=round(proof.seconds, 3),
    )


def curve_entry(
    prepared: Prepared,
    curve: Curve,
    unit: str,
    points: Sequence[Point],
    keep: float | None,
    found: Sequence[Radii],
    device: float | None,
) -> AttackCurve:
    """Return a curve; *device* is the asked or the device's radius in the unit of the curve, None without one."""
    rows = tuple(
        AttackPoint(
            value=value,
            random=band(prepared, one.randoms),
            worst=score_entry(prepared, one.worst, one.clean),
            largest=score_entry(prepared, one.largest, one.clean),
            first_order=None if one.first_order is None else finite(one.first_order.worst),
            first_order_random=None if one.first_order is None else one.first_order.best_random,
            forecast_log10_trials=None if one.first_order is None else one.first_order.log10_trials,
            gradients=0 if one.search is None else one.search.gradients,
            forwards=one.forwards,
        )
        for value, one in points
    )
    entries = tuple(_radius(one, device) for one in found)
    return AttackCurve(over=curve.over, unit=unit, points=rows, keep=keep, radii=entries)


def _radius(found: Radii, device: float | None) -> CriticalRadiusResult:
    worst = finite(found.worst.found)
    random = None if found.random is None else finite(found.random.found)
    return CriticalRadiusResult(
        name=found.name,
        sites=len(found.sites),
        proven=found.worst.proven if found.worst.proofs else None,
        holds=found.worst.holds,
        worst=worst,
        random=random,
        random_over_worst=None if worst is None or random is None else random / worst,
        safety_factor=None if worst is None or not device else safety_factor(worst, device),
    )


def cells_entry(found: FoundCells, cells: Cells) -> AttackCells:
    """Return what the search for cells came to."""
    return AttackCells(
        what=cells.what,
        asked=cells.count,
        aim=found.aim,
        limits=found.limits,
        until_accuracy=cells.until_accuracy,
        reached=found.reached,
        needed=None if found.best is None else found.best.changed.cells,
        clean_aimed=found.clean_aimed.accuracy,
        clean_kept=found.clean_aimed.kept,
        nonfinite=found.nonfinite,
        spent=found.spent,
        points=tuple(
            CellsPoint(
                cells=one.changed.cells,
                method=one.changed.method,
                searched_accuracy=one.changed.judged.accuracy,
                aimed_accuracy=one.judged.accuracy,
                kept=one.judged.kept,
                accuracy=one.score.accuracy,
                loss=one.score.loss if one.score.nonfinite == 0 else None,
                nonfinite=one.score.nonfinite,
                gradients=one.gradients,
                forwards=one.forwards,
            )
            for one in found.sizes
        ),
        changed=tuple(
            ChangedCell(
                site=one.pick.site, element=one.pick.element, low_bit=one.low_bit, before=one.before, after=one.after
            )
            for one in found.cells
        ),
    )


def probe_entries(prepared: Prepared, measured: Sequence[Measured]) -> tuple[ProbePart, ...]:
    """Return the parts with everything that was done to them, in the order in which they came."""
    level, stored = prepared.setting.options.level, prepared.setting.stored
    grouped: dict[Part, list[ProbeCell]] = {}
    for one in measured:
        mean, low, high = one.accuracy(level)
        drawn = one.mode != "gradient"
        grouped.setdefault(one.part, []).append(
            ProbeCell(
                mode=one.mode,  # type: ignore[arg-type]  # checked by the options
                strength=one.strength,
                draws=len(one.accuracies),
                accuracy=mean if prepared.counted else None,
                low=low if drawn and prepared.counted else None,
                high=high if drawn and prepared.counted else None,
                loss=one.loss,
            )
        )
    return tuple(
        ProbePart(
            group=part.group,  # type: ignore[arg-type]  # of probing.parts_of
            name=part.name,
            sites=len(part.sites),
            elements=sum(stored[name].site.elements for name in part.sites),
            depth=part.depth,
            cells=tuple(cells),
        )
        for part, cells in grouped.items()
    )
