"""Budgets of a whole chip and of several mechanisms together. One law's, on one tensor, is its own."""

import math
from collections.abc import Sequence
from dataclasses import replace

from faultsim.budget import Budget, poisson_quantile
from faultsim.corruption import Stored
from faultsim.faults.upset_rate import UpsetRate


def global_upsets(name: str, law: UpsetRate, stored: Sequence[Stored], *, p: float, confidence: float) -> Budget:
    """Bound the upsets of a chip: n is the quantile of the number of events, each as large as the largest.

    An upper bound: ``n**(1/p)`` times the largest change of one event; for p = inf that change itself.
    """
    n = poisson_quantile(law.expected_events(stored), confidence, given_event=law.given_event)
    n = min(n, sum(one.site.elements for one in stored))
    struck = replace(law, given_event=n > 0)
    largest = max((struck.budget(one, p=math.inf, confidence=confidence).eps for one in stored), default=0.0)
    eps = largest * (1.0 if p == math.inf else n ** (1 / p)) if n else 0.0
    return Budget(
        mechanism=name,
        scope="global",
        p=p,
        eps=eps,
        n=n,
        confidence=confidence,
        conditional=law.given_event,
        note="radii of tensors with different scales are compared in their own units",
    )


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
