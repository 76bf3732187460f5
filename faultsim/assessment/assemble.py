"""From what the phases found to the result contract: provenance, assumptions, notes. Nothing is computed here."""

import math
import os
import platform
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from pydantic import BaseModel

from faultsim.assessment.phases import Worst
from faultsim.assessment.sets import budget_entries
from faultsim.assessment.setting import Setting, parameters
from faultsim.corruption import Stored
from faultsim.formats import ConductancePair
from faultsim.metrics import Tally
from faultsim.results import (
    Agreement,
    Assumption,
    DataInfo,
    DeviceInfo,
    KindResult,
    ModelInfo,
    NotSimulated,
    Provenance,
    RandomResult,
    Result,
    Score,
    SiteResult,
)
from faultsim.specs.quantity import Quantity

_CONDITIONS = {
    "assess.exposure": "exposure_h",
    "environment.flux_factor": "flux_factor",
    "environment.v": "v",
    "environment.v_norm": "v_norm",
}
"""What a run's own conditions take the place of."""

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
    model, options = setting.model, setting.options
    whole = model.select()
    by_count = Counter(site.format.name for site in model.select(("weight",)) or model.sites)
    return Result(
        model=ModelInfo(
            path=str(model.path) if model.path else model.name,
            sha256=model.sha256,
            sites=len(whole),
            parameters=sum(site.elements for site in whole),
            tested_sites=len(setting.stored),
            tested_parameters=parameters(setting.stored),
            opset=max(model.opset, 1),
            formats=tuple(name for name, _ in by_count.most_common()),
        ),
        device=_device(setting),
        data=DataInfo(
            source=setting.data.source,
            samples=len(setting.data),
            labels="golden" if setting.golden_labels else "given",
            task=setting.task.name,
            **_measures(setting),
        ),
        seed=options.seed,
        level=options.level,
        clean=_score(setting, clean),
        clean_stored=None if clean_stored is None else _score(setting, clean_stored, setting.stored.values()),
        table_clean=None if table_clean is None else _score(setting, table_clean),
        budget=budget_entries(setting),
        random=random,
        random_in_set=random_in_set,
        worst_case=None if worst is None else worst.case,
        sites=sites,
        kinds=kinds,
        agreement=agreement,
        not_simulated=_not_simulated(setting),
        notes=tuple(notes),
        provenance=Provenance(
            versions=_versions(),
            hardware=f"{platform.machine()}, {os.cpu_count()} CPUs, {options.threads or 'default'} threads, "
            f"{setting.scorer.runner.runtime} and torch on {model.device.type}",
            command=command,
            wall_s=round(wall_s, 3),
            phases_s=phases,
        ),
    )


def _measures(setting: Setting) -> dict[str, Any]:
    """Return what `accuracy` and `loss` hold for the task, and which of them it is known by."""
    task, metric = setting.task, setting.task.metric
    if "perplexity" in metric:
        share = "agreement of tokens" if setting.golden_labels else "token accuracy"
        return {"score": share, "loss": "log perplexity (nats)", "headline": "loss"}
    if not task.counts_correct:
        return {"score": "accuracy", "loss": metric if metric != "BLEU" else "loss", "headline": "loss"}
    return {"score": metric, "loss": "cross-entropy (nats)", "headline": "accuracy"}


def _score(setting: Setting, tally: Tally, stored: Iterable[Stored] = ()) -> Score:
    formats = Counter(one.format.name for one in stored)
    counted = setting.task.counts_correct
    finite = tally.counts.nonfinite == 0 and math.isfinite(tally.mean_loss)
    said = [] if counted else ["the task counts no correct answers"]
    if not finite:
        said.append(f"{tally.counts.nonfinite} samples have outputs that are not finite")
    return Score(
        accuracy=tally.counts.accuracy if counted else None,
        loss=tally.mean_loss if finite else None,
        formats=tuple(name for name, _ in formats.most_common()),
        note="; ".join(said) or None,
    )


def _device(setting: Setting) -> DeviceInfo:
    device = setting.device
    return DeviceInfo(
        name=device.name,
        sha256=device.sha256,
        summary=device.spec.title,
        conditions=_conditions(setting),
        assumptions=tuple(_assumptions(setting)),
    )


def _conditions(setting: Setting) -> str | None:
    device = setting.device
    found = device.conditions(setting.options.conditions)
    said = []
    if device.spec.storage.domain == "analog" and found.t_s is not None:
        said.append(f"t = {_duration(found.t_s)}")
    if device.spec.storage.domain == "digital":
        laws = {m.model for m in device.spec.mechanisms if m.enabled}
        if "bit_error_rate" in laws and found.v_norm is not None:
            said.append(f"V/Vmin = {found.v_norm:g}")
        if "upset_rate" in laws and found.exposure_h is not None:
            said.append(f"exposure {found.exposure_h:g} h, flux × {found.flux_factor:g}")
    return ", ".join(said) or None


def _duration(seconds: float) -> str:
    for unit, size in (("year", 31536000), ("day", 86400), ("hour", 3600)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds:g} s"


def _assumptions(setting: Setting) -> Iterable[Assumption]:
    spec = setting.device.spec
    cites = {key: source.cite for key, source in spec.sources.items()}
    for label, part in (("storage", spec.storage), ("environment", spec.environment), ("assess", spec.assess)):
        for name, quantity in _quantities(part):
            given = getattr(setting.options.conditions, _CONDITIONS.get(f"{label}.{name}", ""), None)
            if given is None:
                yield _assumption(None, f"{label}.{name}", quantity, cites)
            else:
                yield Assumption(parameter=f"{label}.{name}", value=f"{_short(given)} {quantity.unit}", status="given")
    for mechanism in spec.mechanisms:
        if mechanism.enabled and isinstance(getattr(mechanism, "params", None), BaseModel):
            for name, quantity in _quantities(mechanism.params):
                yield _assumption(mechanism.id, name, quantity, cites)


def _quantities(part: Any, prefix: str = "") -> Iterable[tuple[str, Quantity[Any, Any]]]:
    if isinstance(part, Quantity):
        yield prefix.rstrip("."), part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _quantities(getattr(part, name), f"{prefix}{name}.")
    elif isinstance(part, tuple | list):
        for position, one in enumerate(part):
            yield from _quantities(one, f"{prefix.rstrip('.')}[{position}].")


def _assumption(mechanism: str | None, name: str, q: Quantity[Any, Any], cites: dict[str, str]) -> Assumption:
    return Assumption(
        mechanism=mechanism,
        parameter=name,
        value=f"{_short(q.value)} {q.unit}",
        status=q.status,
        rests_on=q.rests_on,
        source=cites.get(q.source or ""),
    )


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    return str(value)


def _not_simulated(setting: Setting) -> tuple[NotSimulated, ...]:
    said = [NotSimulated(what=f"{one.id} ({one.target})", why=one.reason) for one in setting.device.not_simulated()]
    said += [NotSimulated(what="simplified", why=text) for text in setting.device.approximations()]
    return tuple(said)


def event_probability(setting: Setting) -> float | None:
    """Return the probability of an event where chips are drawn given one, else None."""
    conditions = setting.options.conditions
    if not setting.device.is_conditional(setting.stored, conditions=conditions):
        return None
    return setting.device.event_probability(setting.stored, conditions=conditions)


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


def notes(setting: Setting, worst: Worst | None, random: RandomResult | None) -> list[str]:
    """Return what a careful reader must know beside the numbers."""
    said = list(setting.data.notes)
    options = setting.options
    if setting.agreement.max_abs_difference is None:
        said.append(f"The execution could not be checked: {setting.agreement.runtime.removeprefix('not checked: ')}.")
    elif setting.agreement.differing:
        said.append(
            f"{setting.agreement.differing:.2%} of the outputs differ from {setting.agreement.runtime} by more than "
            "one step: quantized values on a rounding edge."
        )
    if any(n.op_type.startswith("Dynamic") for n in setting.model.program.nodes()):
        said.append("The graph quantizes with scales of its whole batch: another --batch-size gives another result.")
    if setting.task.metric == "BLEU":
        said.append("BLEU itself is not in this report yet: see the answers that differ from the fault-free chip's.")
    drawn = None if random is None else random.accuracy.min
    if worst is not None and drawn is not None and worst.case.accuracy is not None and drawn < worst.case.accuracy:
        said.append(
            "A chip that was drawn did more damage than the worst case found: it lies outside the set, or the search "
            "was too short (--search-gradients)."
        )
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
    if figures:
        samples = f"{tabled} evenly spaced samples" if tabled < len(setting.data) else f"all {tabled} samples"
        said.append(f"Tables by site and kind: {', '.join((samples, *figures))}.")
    if options.site_trials and event_probability(setting) is not None:
        said.append("Chips in the tables by site and kind are given an event in that part.")
    if any(isinstance(s.format, ConductancePair) and s.site.quantizer is not None for s in setting.stored.values()):
        said.append(
            "The graph rounds its float weights itself (QONNX Quant, QuantizeLinear): analog noise passes through that "
            "rounding here and is shown too small."
        )
    if setting.model.fallbacks:
        said.append(f"Without gradients (NumPy fallback): {', '.join(sorted(setting.model.fallbacks))}.")
    return said


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
