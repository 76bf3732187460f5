"""From what the phases found to `HardenResult`. Nothing is computed on a model here."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from faultsim.data.spec import DataSet
from faultsim.device import Device
from faultsim.harden import batchnorm, compare
from faultsim.harden.curve import Point, Trained
from faultsim.harden.export import Exported
from faultsim.harden.hardening import Hardening
from faultsim.harden.losses import Loss
from faultsim.harden.precision import slow_note
from faultsim.harden.prepare import Prepared
from faultsim.harden.radii import Radii
from faultsim.harden.strength import Tried
from faultsim.results import Agreement, Result
from faultsim.results.hardening import CurvePoint, HardenResult, StrengthTried, TrainingInfo

ASKED = ("search", "search_part", "alpha", "virtual_steps", "validation", "held_out", "tolerance", "blend", "chips",
         "radii", "radius_samples", "radius_gradients", "quantize")  # fmt: skip
"""Options that stand in the result as they were given, beside those of the training."""
SEEN = 0.03
"""Accuracy by which the original's own training samples stand out from others, beyond two standard errors."""


def assemble(
    ready: Prepared,
    options: Hardening,
    exported: Exported,
    trained: Trained,
    loss: Loss,
    tried: list[Tried],
    before: Result,
    after: Result,
    radii: Radii,
    *,
    floats: Result | None,
    said: Sequence[str],
    spent: float,
    target: Path,
) -> HardenResult:
    """Return the result; whether it helped is judged here, and the file named where it did."""
    rows = (*compare.compared(before, after, floats), *radii.compared)
    gain = compare.paired(before, after)
    counted = before.clean.accuracy is not None
    searched = min(len(ready.test), options.radius_samples) if options.radii else len(ready.test)
    found = compare.verdict(
        rows,
        tolerance=options.tolerance,
        gain=gain if counted else compare.paired_loss(before, after),
        tail_shown=compare.tail_rose(before, after, loss=not counted),
        tail_fell=compare.tail_rose(after, before, loss=not counted),
        least=1.0 / searched,
    )
    return HardenResult(
        seed=options.training.seed,
        tolerance=options.tolerance,
        helped=found.helped,
        sentence=found.sentence,
        hardened=str(target) if found.helped else None,
        hardened_sha256=exported.model.sha256 if found.helped else None,
        changed=exported.changed,
        agreement=_agreement(exported),
        compared=rows,
        paired=gain,
        radii=radii.radii,
        training=_training(ready, options, trained, loss, tried, spent),
        before=before,
        after=after,
        notes=(
            *_quantized(ready, floats),
            *said,
            *ready.shared,
            *_notes(ready, options, exported, trained, before),
        ),
    )


def settings(value: Any) -> str:
    """Return a loss and its knobs as text; a device is named and not spelt out."""
    if isinstance(value, Device):
        return value.name
    if isinstance(value, tuple):
        return ", ".join(settings(one) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(f"{one.name}={settings(getattr(value, one.name))}" for one in fields(value))
        return f"{getattr(value, 'kind', type(value).__name__.lower())}({inner})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _training(
    ready: Prepared, options: Hardening, trained: Trained, loss: Loss, tried: list[Tried], spent: float
) -> TrainingInfo:
    rms = ready.trainable.rms(ready.trainable.leaves())
    live = batchnorm.live(ready.setting.model)
    return TrainingInfo(
        recipe=ready.recipe.name,
        why=ready.recipe.why,
        loss=loss.kind,
        settings=settings(loss),
        strength=loss.strength,
        strengths=tuple(StrengthTried(strength=one.strength, score=one.score) for one in tried),
        options={
            **asdict(options.training),
            "batch_size": ready.batch_size,
            "lr": options.training.largest_rate(rms),
            "precision": ready.trainable.precision,
            **{name: getattr(options, name) for name in ASKED},
            **{name: _source(getattr(options, name)) for name in ("validation_data", "test_data")},
        },
        towards=ready.target.towards,
        batch_norm=options.batch_norm if live else "none",
        scales=options.scales,
        train_samples=len(ready.train),
        validation_samples=len(ready.setting.data),
        test_samples=len(ready.test),
        steps=trained.steps,
        planned=trained.planned,
        best_step=trained.best.step,
        part=trained.part,
        seconds=round(spent, 3),
        stopped=trained.stopped,
        trained=tuple(ready.trainable.parameters),
        frozen=dict(ready.trainable.frozen),
        curve=tuple(_point(point) for point in trained.curve),
    )


def _source(data: str | Path | DataSet | None) -> str | None:
    """Return where samples that were given come from."""
    return None if data is None else str(data) if isinstance(data, str | Path) else data.source


def _point(point: Point) -> CurvePoint:
    return CurvePoint(
        step=point.step,
        epoch=point.epoch,
        train_loss=point.train_loss,
        loss=point.loss,
        accuracy=None if math.isnan(point.accuracy) else point.accuracy,
        score=point.score,
        lr=point.lr,
        seconds=round(point.seconds, 3),
    )


def _agreement(exported: Exported) -> Agreement | None:
    found = exported.agreement
    if found.max_abs_difference is None or found.tolerance is None or found.samples < 1:
        return None
    return Agreement(
        runtime=found.runtime,
        samples=found.samples,
        max_abs_difference=found.max_abs_difference,
        tolerance=found.tolerance,
    )


def _quantized(ready: Prepared, floats: Result | None) -> list[str]:
    """Say what the model was before it was quantized, and what that cost."""
    if floats is None or ready.floats is None or ready.quantized is None:
        return []
    figures = "; ".join(f"{row.name} {compare.said(row, row.before)}" for row in compare.compared(floats, floats))
    done = [
        f"Before is the plainly quantized model: {ready.quantized.said}.",
        f"The float original, {ready.floats.name}, on the same chips: {figures}.",
    ]
    if ready.quantized.floats:
        done.append(f"Weights that stayed float: {', '.join(ready.quantized.floats)}.")
    return done


def _seen(ready: Prepared, before: Result) -> str | None:
    """Say so where the original does much better on the validation samples than on those of the test."""
    known, other = ready.validator.clean, before.clean.accuracy
    if not ready.validator.counts or other is None:
        return None
    one, two = len(ready.setting.data), len(ready.test)
    pooled = (one * known + two * other) / (one + two)
    error = math.sqrt(pooled * (1 - pooled) * (1 / one + 1 / two))
    if known - other < SEEN + 2 * error:
        return None
    return (
        f"The original scores {known:.1%} on the validation samples and {other:.1%} on the test samples: it was "
        "probably trained on the former, where every change costs it; give --validation-data that it has not seen."
    )


def _notes(ready: Prepared, options: Hardening, exported: Exported, trained: Trained, before: Result) -> list[str]:
    said = []
    if trained.best.step == 0 and trained.found == 0:
        said.append("No step of the training was better on the validation samples: the numbers are the original's.")
    elif trained.best.step == 0 and trained.late:
        said.append(
            f"Step {trained.found} was better on the validation samples, but costs too much clean accuracy there, and "
            "no time was left to try more of the way back: the numbers are the original's; give a longer --time-budget."
        )
    elif trained.best.step == 0:
        said.append(
            f"Step {trained.found} was better on the validation samples, but nothing that was tried on the way to it "
            "both spared the clean accuracy there and was still better: the numbers are the original's."
        )
    if trained.skipped:
        said.append(
            f"{trained.skipped} of {trained.steps} steps had a loss or gradient that is not finite, "
            "and trained nothing."
        )
    if trained.dropped:
        said.append(
            f"{trained.dropped} chips drawn in the training had a loss or gradient that is not finite, "
            "and were left out of it."
        )
    if ready.trainable.model.fallbacks:
        ops = ", ".join(sorted(ready.trainable.model.fallbacks))
        said.append(f"No gradient passes these ops, and what lies before them alone was not trained: {ops}.")
    slow = slow_note(options.training.precision, ready.trainable.model.device.type)
    if slow is not None:
        said.append(slow)
    if exported.agreement.max_abs_difference is None:
        said.append(f"The written file: {exported.agreement.runtime}.")
    if ready.setting.device.acts_at_inference(reads=options.assess.reads == "inference"):
        said.append(
            "The device also acts while the network runs; that is in both assessments and not in the training losses."
        )
    if before.data.labels == "golden":
        said.append("No labels to judge by: accuracy is agreement with the original's own answers, before and after.")
    if ready.target.towards == "clean":
        said.append("Trained towards the original's outputs: accuracy cannot rise beyond it by more than chance.")
    if options.scales == "learn" and not ready.trainable.scales:
        said.append("No scale was learned: no integer weight has one of its own in the file.")
    gap = _seen(ready, before)
    if gap is not None:
        said.append(gap)
    if options.test_data is None:
        said.append(f"Both assessments are of {len(ready.test)} samples held out of the data that were given.")
    return said
