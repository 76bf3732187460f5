"""Budgets of a whole chip and of several mechanisms together. One law's, on one tensor, is its own."""

import math
from collections.abc import Sequence
from dataclasses import replace

from faultsim.budget import Budget, poisson_quantile
from faultsim.budget.bits import largest_upset
from faultsim.corruption import Stored
from faultsim.device.laws import Law
from faultsim.device.meetings import event_bound, tells_more
from faultsim.device.protected import behind, bound
from faultsim.faults import BitFlipCount, Fault, RowHammer, UpsetRate
from faultsim.memory import Code

_SURELY = 1 - 1e-11
"""Of all events given one: the largest that an event can do, unless it is rarer than that."""
_SCALES = "radii of tensors with different scales are compared in their own units"


def global_upsets(
    name: str, law: UpsetRate, stored: Sequence[Stored], code: Code | None, *, p: float, confidence: float
) -> Budget:
    """Bound the upsets of a chip: n is the most wrong words, each off by as much as the largest.

    An upper bound: ``n**(1/p)`` times the largest change of one word; for p = inf that change itself. Behind *code*
    it is of the events that the code lets through, and nothing where it lets none through; where events are so many
    that they meet in words, of words that are drawn with theirs.
    """
    if code is not None and tells_more(law, stored, code, confidence=confidence):
        found = event_bound(law, stored, code, p=p, confidence=confidence)
        return Budget(
            mechanism=name, scope="global", p=p, eps=found.eps, n=found.n, confidence=confidence,
            conditional=law.given_event, note=f"{_SCALES}; {found.note}",
        )  # fmt: skip
    seen = law if code is None else behind(law, code)
    n = 0 if seen is None else min(_struck(seen, stored, confidence), sum(one.site.elements for one in stored))
    struck = replace(seen or law, given_event=n > 0)
    largest = max((_most(struck, one) for one in stored), default=0.0) if n else 0.0
    eps = largest * (1.0 if p == math.inf else n ** (1 / p))
    return Budget(
        mechanism=name,
        scope="global",
        p=p,
        eps=eps,
        n=n,
        confidence=confidence,
        conditional=law.given_event,
        note=_SCALES,
    )


def most_words(laws: Sequence[Law], stored: Sequence[Stored], code: Code | None, *, confidence: float) -> int | None:
    """Return the most wrong words of a chip at *confidence*; None where a law's faults are not countable.

    Behind *code*: of the upsets that it lets through; known numbers of flips count as if there were no code.
    """
    level = 1 - (1 - confidence) / max(len(laws), 1)
    found = [_words(law.fault, stored, level, code) for law in laws]
    if not found or None in found:
        return None
    return min(sum(n for n in found if n is not None), sum(one.site.elements for one in stored))


def most_of_one(law: Law, stored: Stored, code: Code | None, *, confidence: float) -> float:
    """Return what one event does to a word of *stored* at most, value units; of other laws, their p = inf radius.

    That radius also of events behind *code* that go wrong together, or by an alarm that lets them pass.
    """
    if not isinstance(law.fault, UpsetRate) or (
        code is not None and tells_more(law.fault, [stored], code, confidence=confidence)
    ):
        return bound(law, stored, code, p=math.inf, confidence=confidence).eps
    seen = law.fault if code is None else behind(law.fault, code)
    return 0.0 if seen is None or seen.events_per_bit == 0 else _most(replace(seen, given_event=True), stored)


def _most(struck: UpsetRate, stored: Stored) -> float:
    if struck.geometry is None:
        return largest_upset(stored.format, stored.values, struck.multiplicity)
    return struck.budget(stored, p=math.inf, confidence=_SURELY).eps


def _words(fault: Fault, stored: Sequence[Stored], confidence: float, code: Code | None) -> int | None:
    if isinstance(fault, UpsetRate):
        if code is not None and tells_more(fault, stored, code, confidence=confidence):
            return event_bound(fault, stored, code, p=math.inf, confidence=confidence).n
        seen = fault if code is None else behind(fault, code)
        return 0 if seen is None else _struck(seen, stored, confidence)
    if isinstance(fault, RowHammer):
        return fault.n_flips
    return fault.n if isinstance(fault, BitFlipCount) else None


def _struck(law: UpsetRate, stored: Sequence[Stored], confidence: float) -> int:
    """Return the most words that events hit: with a geometry the bits of one event may lie in words of their own."""
    events = poisson_quantile(law.expected_events(stored), confidence, given_event=law.given_event)
    return events * (1 if law.geometry is None else len(law.multiplicity))


def combine(bounds: Sequence[Budget], stored: Stored, *, confidence: float) -> Budget:
    """Return the set that holds the sum of what several hold: radii add (Minkowski), and so do counts."""
    if len(bounds) == 1:
        return bounds[0]
    notes = dict.fromkeys(bound.note for bound in bounds if bound.note)
    return Budget(
        mechanism="all",
        scope=stored.site.name,
        p=bounds[0].p,
        eps=math.fsum(bound.eps for bound in bounds),
        n=min(stored.site.elements, sum(bound.n for bound in bounds)),
        confidence=confidence,
        conditional=all(bound.conditional for bound in bounds),
        note="; ".join(notes),
    )
