"""The corruption set of a device on a model: budgets to constraints, and both to words. No search lives here."""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from faultsim.assessment.setting import Setting
from faultsim.constraints import Global, LpL0, PerTensor, TensorSet, lp_norm
from faultsim.corruption import Stored
from faultsim.formats import IntFormat
from faultsim.results import Budget as BudgetEntry
from faultsim.specs.storage import DigitalStorage, OnDue

_FEW = "the memory's code leaves next to no error to search for"
_EMPTY_BEHIND: dict[OnDue, str] = {
    "halt": f"{_FEW}: it corrects nearly all, or detects them, and the chip then halts and restarts with a good copy",
    "reload": f"{_FEW}: it corrects nearly all, or detects them, and the chip then reloads a good copy",
    "zero_word": _FEW,
    "pass_through": _FEW,
}


class ChipSet(NamedTuple):
    """The set that random corruption and the worst case share.

    Attributes:
        constraint: The set; None where the device gives no useful ball.
        words: The set in words, for the report.
        why_not: Why there is none.
    """

    constraint: TensorSet | None
    words: str
    why_not: str = ""


def chip_set(setting: Setting, names: Collection[str] | None = None) -> ChipSet:
    """Return the corruption set of the device, over all stored sites or over *names* alone.

    Rare upsets (chips drawn given an event) share one global number of words, each off by at most what one event does;
    everything else is an L2 ball with at most n elements for each tensor. Bytes of several codes are in no set: no
    radius measures by how much they move.
    """
    kept = {n: s for n, s in setting.stored.items() if (names is None or n in names) and not s.site.packed}
    if not kept:
        return ChipSet(None, "", "every tensor holds several codes a byte, and no radius measures how they move")
    conditions, options = setting.options.conditions, setting.options
    structured = setting.device.structured(setting.stored, conditions=conditions)
    if structured:
        said = "its faults are whole lanes, lines or regions, which no ball of single numbers stands for"
        return ChipSet(None, "", f"{said} ({', '.join(structured)})")
    rare = setting.device.is_conditional(setting.stored, conditions=conditions)
    chip_wide = setting.device.spec.assess.scope == "global"
    n = setting.device.most_words(kept, confidence=options.confidence, conditions=conditions)
    if n and (rare or chip_wide):
        single = setting.device.most_of_one_event(kept, confidence=options.confidence, conditions=conditions)
        # words differ in width and step: what one event can do to a tensor's words is their unit
        most = {name: eps if eps > 0 else _top_bit(kept[name]) for name, eps in single.items()}
        if all(0 < eps < math.inf for eps in most.values()):
            scale = np.concatenate([np.full(s.site.elements, most[name]) for name, s in kept.items()])
            said = "1 wrong word" if n == 1 else f"{n} wrong words"
            coded = " that the code lets through" if on_due(setting) else ""
            given = f"given an event{coded}: " if rare else ""
            words = f"{given}at most {said} on the chip, each by at most what one event does"
            return ChipSet(Global(tuple(kept), LpL0(math.inf, 1.0, n=n, scale=scale)), words)
    found = setting.device.combined_budget(kept, confidence=options.confidence, p=2, conditions=conditions)
    usable = {n: LpL0(2, b.eps, n=b.n) for n, b in found.items() if 0 < b.eps < math.inf and b.n > 0}
    if not found:
        return ChipSet(None, "", "the device's faults act while the network runs, not in its stored numbers")
    due = on_due(setting)
    if not usable:
        return ChipSet(
            None,
            "",
            _EMPTY_BEHIND[due]
            if due is not None and all(b.n == 0 for b in found.values())
            else "the device's faults give no useful ball on this model (flipped exponent bits, or none)",
        )
    level = next(iter(found.values())).confidence
    if chip_wide and len(usable) > 1:
        eps = math.sqrt(math.fsum(one.eps**2 for one in usable.values()))
        whole = LpL0(2, eps, n=sum(found[name].n for name in usable))
        words = f"whole chip: one L2 radius and element count, from a {level:.0%} bound of each tensor"
        return ChipSet(Global(tuple(usable), whole), words)
    return ChipSet(PerTensor(usable), f"each tensor: L2 radius and element count, each a {level:.0%} bound of its own")


def left_out(setting: Setting) -> list[str]:
    """Say which tensors no set holds, for each of their bytes holds several codes; at most one sentence."""
    names = [name for name, stored in setting.stored.items() if stored.site.packed]
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [
        f"Left out of the worst case and of random corruption in its set, as each byte holds several codes: "
        f"{', '.join(names[:3])}{more}; random chips hit all of their bits."
    ]


def on_due(setting: Setting) -> OnDue | None:
    """Return what follows an error that the memory's code detects and cannot correct, None without a code."""
    storage = setting.device.spec.storage
    return storage.ecc.due if isinstance(storage, DigitalStorage) else None


def budget_entries(setting: Setting) -> tuple[BudgetEntry, ...]:
    """Return every mechanism's budget as the result has it; sets without a useful ball are left out."""
    entries = []
    options = setting.options
    rare = setting.device.is_conditional(setting.stored, conditions=options.conditions)
    p = math.inf if rare else 2
    for b in setting.device.budgets(setting.stored, confidence=options.confidence, p=p, conditions=options.conditions):
        if not math.isfinite(b.eps):
            continue
        single = setting.stored.get(b.scope)
        norm = 0.0 if single is None else lp_norm(single.values.astype(np.float64).reshape(-1), p)
        entries.append(
            BudgetEntry(
                mechanism=b.mechanism,
                scope="per_tensor" if single is not None else b.scope,
                site=b.scope if single is not None else None,
                p=b.p,
                eps=b.eps,
                eps_relative=b.eps / norm if norm > 0 else None,
                n=b.n,
                elements=single.site.elements if single else sum(s.site.elements for s in setting.stored.values()),
                confidence=b.confidence,
                note=b.note,
            )
        )
    return tuple(entries)


def _top_bit(stored: Stored) -> float:
    """Return what the top bit of the tensor's widest step is worth; infinite where the format has no such thing."""
    if not isinstance(stored.format, IntFormat):
        return math.inf
    return float(np.max(stored.format.scale)) * 2.0 ** (stored.format.bits - 1)
