"""What the page says of an assessment, as values for the templates: tables, assumptions. No markup, no drawing."""

import shlex
from collections import Counter
from pathlib import PurePath
from typing import Any, NamedTuple

from faultsim.report.chips import chip_lines
from faultsim.report.figures import _cost, _harms, fragile_measure
from faultsim.report.html.answer import answer
from faultsim.report.html.bundle import Bundle
from faultsim.report.html.headline import Headline, headline, rows, worst_chip
from faultsim.report.html.view_attack import attack_view, bitmap_view
from faultsim.report.html.view_more import campaign_view, harden_view, sweep_view
from faultsim.report.html.view_probe import probe_view
from faultsim.report.verdict import next_command
from faultsim.report.words import counted, interval, points, signed
from faultsim.results import Assumption, KindResult, Result, SiteResult
from faultsim.results.injection import InjectionResult

_UNSURE = ("secondary", "recalled", "illustrative")
_MOST_SITES = 200


class Part(NamedTuple):
    """One row of the table of tensors or kinds; `share` from 0 to 1 is the length of its bar."""

    name: str
    kind: str
    holds: str
    stored: str
    depth: int | None
    worst: str
    random: str
    cost: str
    share: float


def view(bundle: Bundle) -> dict[str, Any]:
    """Return everything that the templates name."""
    found: dict[str, Any] = {
        "result": bundle.result,
        "harden": None if bundle.harden is None else harden_view(bundle.harden),
        "sweep": None if bundle.sweep is None else sweep_view(bundle.sweep),
        "campaign": None if bundle.campaign is None else campaign_view(bundle.campaign),
        "attack": None if bundle.attack is None else attack_view(bundle.attack),
        "probe": None if bundle.probe is None else probe_view(bundle.probe),
        "bitmap": None if bundle.bitmap is None else bitmap_view(bundle.bitmap),
        "after_hardening": bundle.hardening_alone,
    }
    main = bundle.main
    device = main.storage if isinstance(main, InjectionResult) else getattr(main, "device", None)
    found["of_other"] = _of_others(bundle)
    found |= {"model": PurePath(main.model.path).name or main.model.path, "device": device, "main": main}
    assumptions = () if device is None else device.assumptions
    found |= {"assumptions": sorted(assumptions, key=_trust_order), "trust": _trust(assumptions)}
    found["unsure"] = any(_weakest(one) in _UNSURE for one in assumptions)
    found["rests"] = bool(assumptions) or bundle.result is not None or hasattr(main, "agreement")
    found["version"] = main.provenance.versions.get("faultsim-nn") or main.provenance.versions.get("faultsim", "")
    found["answer"] = answer(bundle)
    if bundle.result is None:
        return found | {"next": None}
    result = bundle.result
    of = headline(result)
    return found | {
        "next": next_command(result),
        "rows": main_table(result, of),
        "facts": _facts(result),
        "sites": _parts(result, result.sites),
        "kinds": _parts(result, result.kinds),
        "measure": fragile_measure(result),
        "worst": _worst(result, of, bundle.path),
        "heading": of.name,
    }


def _of_others(bundle: Bundle) -> dict[str, str]:
    """Return what each part of the page is of, where that is another model or device than the page's own."""
    main = bundle.main
    found = {}
    for name in ("sweep", "campaign", "attack", "probe", "bitmap"):
        part = getattr(bundle, name)
        if part is None or part is main:
            continue
        device, own = getattr(part, "device", None), getattr(main, "device", None)
        other = part.model.sha256 != main.model.sha256
        if other or (device is not None and own is not None and device.sha256 != own.sha256):
            where = f" on {device.name}" if device is not None else ""
            found[name] = f"{PurePath(part.model.path).name or part.model.path}{where}"
    return found


def main_table(result: Result, of: Headline) -> list[dict[str, str]]:
    """Return the main table, every figure as text: its label, value, interval and change."""
    clean = of.of(result.clean)
    found = []
    for row in rows(result):
        change = ""
        if row.value is not None and clean is not None and row.label != "clean":
            change = points(row.value - clean) if of.fraction else signed(f"{row.value - clean:+.4g}")
        between = row.said or interval(row.low, row.high, of_fractions=of.fraction)
        tone = "bad" if row.label.startswith("worst") else ""
        found.append(
            {"label": row.label, "value": of.shown(row.value), "between": between, "change": change, "tone": tone}
        )
    return found


def _facts(result: Result) -> list[tuple[str, str]]:
    """Return what the terminal says below its table, as pairs."""
    if result.random is None:
        return []
    found: list[tuple[str, str]] = []
    for line in chip_lines(result, result.random, 10_000):
        label, text = line[:15].strip(), line[15:]
        if label or not found:
            found.append((label or "stopped", text))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}; {text}")
    return found


def _parts(result: Result, parts: tuple[SiteResult, ...] | tuple[KindResult, ...]) -> list[Part]:
    """Return one row a part, the worst first."""
    harm, unit = _harms(result, parts)
    of = headline(result)
    top = max(harm, default=0.0)
    order = sorted(range(len(parts)), key=lambda at: -harm[at])[:_MOST_SITES]
    found = []
    for at in order:
        part = parts[at]
        numbers = counted(part.elements, "number")
        found.append(
            Part(
                name=part.name if isinstance(part, SiteResult) else part.kind,
                kind=part.kind,
                holds=numbers if isinstance(part, SiteResult) else f"{counted(part.sites, 'site')}, {numbers}",
                stored=(part.stored_format or part.format) if isinstance(part, SiteResult) else "",
                depth=part.depth if isinstance(part, SiteResult) else None,
                worst=_shown(part.worst_case, of),
                random=_shown(part.random, of),
                cost=_cost(harm[at], unit) if part.worst_case or part.random else "not assessed",
                share=max(harm[at], 0.0) / top if top > 0 else 0.0,
            )
        )
    return found


def _shown(part: object, of: Headline) -> str:
    value: float | None = getattr(part, of.kind, None)
    if part is None or not hasattr(part, of.kind):
        return ""
    shown = of.shown(value)
    low, high = getattr(part, "low", None), getattr(part, "high", None)
    between = interval(low, high, of_fractions=True) if of.fraction else ""
    trials = getattr(part, "trials", None)
    return f"{shown} {between}{f', n = {trials}' if trials else ''}".strip()


def _worst(result: Result, of: Headline, path: str | None) -> dict[str, Any] | None:
    """Return the worst chip drawn and the command that draws it again."""
    random = result.random
    row = None if random is None else worst_chip(random, of)
    if row is None:
        return None
    command = None
    if result.rerun is not None and path is not None:
        command = f"faultsim replay {shlex.quote(path)} --trial {row.trial} -o broken.onnx"
    return {"row": row, "value": of.shown(of.of_chip(row)), "command": command}


def _weakest(one: Assumption) -> str:
    return one.rests_on or one.status


def _trust_order(one: Assumption) -> tuple[int, str]:
    """Sort what is least certain first."""
    status = _weakest(one)
    return -(_UNSURE.index(status) if status in _UNSURE else -1), one.mechanism or ""


def _trust(assumptions: tuple[Assumption, ...]) -> str:
    counts = Counter(map(_weakest, assumptions))
    return ", ".join(f"{number} {status}" for status, number in counts.most_common())
