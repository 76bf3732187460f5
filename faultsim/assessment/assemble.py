"""From what the phases found to the result contract: provenance, assumptions, notes. Nothing is computed here."""

import math
import os
import platform
from collections import Counter
from collections.abc import Iterable
from importlib import metadata

from faultsim.assessment.assumptions import assumptions, operating_point
from faultsim.assessment.left_out import fault_free, untold
from faultsim.assessment.phases import Worst, event_probability
from faultsim.assessment.sets import budget_entries
from faultsim.assessment.setting import Setting, parameters
from faultsim.corruption import Stored
from faultsim.device.digital import clamped
from faultsim.device.storage import over_capacity
from faultsim.engine.inference.memory import not_held_inside
from faultsim.engine.summary import own_score
from faultsim.formats import ConductancePair
from faultsim.inference import ActivationLaw
from faultsim.metrics import Tally
from faultsim.results import (
    Agreement,
    DataInfo,
    DeviceInfo,
    KindResult,
    ModelInfo,
    NotSimulated,
    Provenance,
    RandomResult,
    Rerun,
    Result,
    Score,
    SiteResult,
)

_PACKAGES = ("faultsim-nn", "torch", "onnx", "onnxruntime", "numpy")


def assemble(
    setting: Setting,
    *,
    clean: Tally,
    clean_stored: Tally | None,
    table_clean: Tally | None,
    random: RandomResult | None,
    random_in_set: RandomResult | None,
    worst: Worst | None,
    sites: tuple[SiteResult, ...],
    kinds: tuple[KindResult, ...],
    notes: Iterable[str],
    agreement: Agreement | None,
    phases: dict[str, float],
    wall_s: float,
    command: str,
) -> Result:
    """Return the result of an assessment, without a verdict."""
    return Result(
        model=model_info(setting),
        device=device_info(setting),
        data=data_info(setting, lossless=clean.lossless),
        seed=setting.options.seed,
        level=setting.options.level,
        clean=score_of(setting, clean),
        clean_stored=None if clean_stored is None else score_of(setting, clean_stored, setting.stored.values()),
        table_clean=None if table_clean is None else score_of(setting, table_clean),
        budget=budget_entries(setting),
        random=random,
        random_in_set=random_in_set,
        worst_case=None if worst is None else worst.case,
        sites=sites,
        kinds=kinds,
        agreement=agreement,
        not_simulated=_not_simulated(setting),
        notes=tuple(notes),
        rerun=rerun_info(setting),
        provenance=provenance(setting, phases, wall_s, command),
    )


def rerun_info(setting: Setting) -> Rerun:
    """Return what it takes to draw and score a chip of this assessment again."""
    options = setting.options
    given = {} if options.conditions is None else {k: v for k, v in vars(options.conditions).items() if v is not None}
    return Rerun(
        device=str(setting.device.path),
        sites=tuple(setting.stored),
        conditions=given,
        reads=options.reads,
        data=setting.given_data,
        preprocess=None if options.preprocess is None else str(options.preprocess),
        limit=options.limit,
        input_shape=options.input_shape,
        batch_axis=options.batch_axis,
        task=options.task,
        output=options.output,
        batch_size=options.batch_size,
    )


def model_info(setting: Setting) -> ModelInfo:
    """Return the deployed graph."""
    model = setting.model
    whole = model.select()
    by_count = Counter(site.format.name for site in model.select(("weight",)) or model.sites)
    return ModelInfo(
        path=str(model.path) if model.path else model.name,
        sha256=model.sha256,
        sites=len(whole),
        parameters=sum(site.elements for site in whole),
        tested_sites=len(setting.stored),
        tested_parameters=parameters(setting.stored),
        opset=max(model.opset, 1),
        formats=tuple(name for name, _ in by_count.most_common()),
    )


def device_info(setting: Setting) -> DeviceInfo:
    """Return the chip, with everything that its figures rest on."""
    device = setting.device
    return DeviceInfo(
        name=device.name,
        sha256=device.sha256,
        summary=device.spec.title,
        conditions=operating_point(setting),
        assumptions=tuple(assumptions(setting)),
    )


def data_info(setting: Setting, *, lossless: bool = False) -> DataInfo:
    """Return the samples, and what is measured on them; *lossless* where the task turned out to have no loss."""
    task = setting.task
    own = task.headline != "accuracy"
    return DataInfo(
        source=setting.data.source,
        samples=len(setting.data),
        labels="golden" if setting.golden_labels else "given",
        task=task.name,
        score=task.share,
        loss="none" if lossless else task.loss_name,
        headline=task.headline,
        metric=task.metric if own else None,
        higher_is_better=task.higher_is_better if own else None,
        predictions="classes" if task.discrete else "values",
    )


def score_of(setting: Setting, tally: Tally, stored: Iterable[Stored] = ()) -> Score:
    """Return accuracy, loss and own score of one exact model, with the formats of *stored*, the most common first."""
    formats = Counter(one.format.name for one in stored)
    counted = setting.task.counts_correct and tally.counts.n > 0
    finite = tally.counts.nonfinite == 0 and math.isfinite(tally.mean_loss)
    said = [] if setting.task.counts_correct else ["the task counts no correct answers"]
    if not tally.counts.n:
        said.append("none of these samples has a label")
    elif tally.counts.nonfinite:
        said.append(f"{tally.counts.nonfinite} samples have outputs that are not finite")
    elif not finite:
        said.append("the task has no loss" if tally.lossless else "the loss is not finite")
    return Score(
        accuracy=tally.counts.accuracy if counted else None,
        loss=tally.mean_loss if finite else None,
        score=own_score(setting.task, tally),
        formats=tuple(name for name, _ in formats.most_common()),
        note="; ".join(said) or None,
    )


def provenance(setting: Setting, phases: dict[str, float], wall_s: float, command: str) -> Provenance:
    """Return what is needed to get the same numbers again; *wall_s* and *phases* are seconds."""
    threads = setting.options.threads or "default"
    runtimes = " and ".join(dict.fromkeys((setting.scorer.runner.runtime, "torch")))
    return Provenance(
        versions=_versions(),
        hardware=f"{platform.machine()}, {os.cpu_count()} CPUs, {threads} threads, "
        f"{runtimes} on {setting.model.device.type}",
        command=command,
        wall_s=round(wall_s, 3),
        phases_s=phases,
    )


def _not_simulated(setting: Setting) -> tuple[NotSimulated, ...]:
    said = [NotSimulated(what=f"{one.id} ({one.target})", why=one.reason) for one in setting.device.not_simulated()]
    said += [NotSimulated(what="simplified", why=text) for text in setting.device.approximations()]
    return tuple(said)


def agreement_entry(setting: Setting) -> Agreement | None:
    """Return the check against the reference runtime, None where none could run the graph."""
    found = setting.agreement
    if found.max_abs_difference is None or found.tolerance is None:
        return None
    return Agreement(
        runtime=found.runtime,
        samples=found.samples,
        max_abs_difference=found.max_abs_difference,
        tolerance=found.tolerance,
    )


def notes(setting: Setting, worst: Worst | None, random: RandomResult | None, *, tables: bool) -> list[str]:
    """Return what a careful reader must know beside the numbers; of the tables where they have rows."""
    options, spec = setting.options, setting.device.spec
    said = [*setting.notes(), *clamped(spec, setting.device.conditions(options.conditions))]
    said += [full] if (full := over_capacity(spec, setting.stored)) else []
    if setting.agreement.max_abs_difference is None:
        said.append(f"The execution could not be checked: {setting.agreement.runtime.removeprefix('not checked: ')}.")
    elif setting.agreement.differing:
        said.append(
            f"{setting.agreement.differing:.2%} of the outputs differ from {setting.agreement.runtime} by more than "
            "one step: quantized values on a rounding edge."
        )
    if setting.agreement.max_abs_difference is not None and setting.agreement.unchecked:
        said.append(f"No reference ran these ops, so they are not checked: {', '.join(setting.agreement.unchecked)}.")
    if any(n.op_type.startswith("Dynamic") for n in setting.model.program.nodes()):
        said.append("The graph quantizes with scales of its whole batch: another --batch-size gives another result.")
    if not setting.task.discrete:
        tolerance = "; --task regression@0.1 allows a deviation of 0.1" if setting.task.name == "regression" else ""
        said.append(f"Predictions are values: any change of one counts as changed{tolerance}.")
    drawn = None if random is None else random.accuracy.min
    if worst is not None and drawn is not None and worst.case.accuracy is not None and drawn < worst.case.accuracy:
        said.append(
            "A chip that was drawn did more damage than the worst case found: it lies outside the set, or the search "
            "was too short (--search-gradients)."
        )
    if worst is not None and setting.task.headline == "score":
        said.append("The worst case is the one of the largest loss; its score is shown, a lower one may exist.")
    if setting.golden_labels:
        said.append(
            "No labels: accuracy is agreement with the clean model's own answers. It tells how often faults change an "
            "answer, not how often an answer is right."
        )
    searched, tabled = (len(setting.subset(n).data) for n in (options.search_samples, options.site_samples))
    if worst is not None and searched < len(setting.data):
        said.append(
            f"The search saw {searched} evenly spaced samples; what it found is scored on all {len(setting.data)}."
        )
    chips = f"{options.site_trials} chip{'s' if options.site_trials > 1 else ''}" if options.site_trials else ""
    figures = [part for part in ("one gradient step" if worst is not None else "", chips) if part]
    if figures and tables:
        samples = f"{tabled} evenly spaced samples" if tabled < len(setting.data) else f"all {tabled} samples"
        said.append(f"Tables by site and kind: {', '.join((samples, *figures))}.")
    if chips and tables and event_probability(setting) is not None:
        said.append("Chips in the tables by site and kind are given an event in that part.")
    if any(isinstance(s.format, ConductancePair) and s.site.quantizer is not None for s in setting.stored.values()):
        said.append(
            "The graph rounds its float weights itself (QONNX Quant, QuantizeLinear): analog noise passes through that "
            "rounding here and is shown too small."
        )
    said += untold(setting)
    fit = setting.device.fit(setting.stored, conditions=options.conditions)
    if fit is not None and event_probability(setting) is None:
        said.append(
            f"No SDC FIT: chips meet several of the device's {fit:.3g} FIT within the exposure, and P(SDC | event) is "
            "that of one; shorten --exposure."
        )
    said += _running(setting, searched=worst is not None)
    said += fault_free(setting)
    if setting.model.fallbacks:
        said.append(f"Without gradients (NumPy fallback): {', '.join(sorted(setting.model.fallbacks))}.")
    return said


def _running(setting: Setting, *, searched: bool) -> list[str]:
    """Return what to know of faults that act while the network runs."""
    device, options, said = setting.device, setting.options, []
    reads, conditions = options.reads == "inference", options.conditions
    effects = device.effects(setting.stored, 0, 0, reads=reads, conditions=conditions)
    acting = [one.mechanism for one in effects]
    if acting and searched:
        said.append(
            f"{', '.join(acting)}: in the drawn chips alone; random corruption in the set and the worst case are of "
            "stored numbers."
        )
    if any(isinstance(one.law, ActivationLaw) for one in effects) and (inner := not_held_inside(setting.model)):
        said.append(f"Activations made inside these nodes are neither upset nor rounded: {', '.join(inner)}.")
    ranges = setting.scorer.runner.calibration
    if acting and ranges is not None and ranges.uncovered:
        names = ", ".join(f"{one.layer} ({one.op})" for one in ranges.uncovered)
        said.append(f"Left out of what acts while the network runs: {names}.")
    if options.reads == "chip" and device.has_read_noise():
        said.append(
            "Noise of a read is drawn once a chip: the same mean as anew at every inference (--reads inference; in a "
            "scenario reads: inference of its sampling), and a slightly wider spread over chips."
        )
    return said


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
