"""Budgets of rare events that each move many weights, and of rare and dense mechanisms together.

References:
    .. [MATH] The design notes, §4: line failures are structured faults, bounded here by compound Poisson sums
       over the lines.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_confidence, check_norm, check_rate
from faultsim.budget.compound import compound_quantile

Array = NDArray[np.float64]


class Event(NamedTuple):
    """What each possible event does to the tensor by itself, arrays over the events.

    Attributes:
        sums: ``sum |delta|**p`` of each event (its largest ``|delta|`` for p = inf).
        touched: How many elements it moves.
        rate: Probability that it happens, 0 to 1.
    """

    sums: Array
    touched: Array
    rate: float


def rare_events(
    *,
    mechanism: str,
    scope: str,
    events: Sequence[Event],
    elements: int,
    expected_square: float | None = None,
    p: float,
    confidence: float,
) -> Budget:
    """Bound independent rare events: compound-Poisson quantiles of what they move, [MATH]_.

    Poisson in place of Bernoulli counts makes the bounds a little wider; p = inf is the largest delta of
    any one event.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        events: Kinds of events.
        elements: Elements of the tensor.
        expected_square: ``E[sum delta²]`` where two events that meet do not simply add; it rescales p = 2.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If an argument is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    for event in events:
        check_rate("rate", event.rate)
    rates = np.concatenate([np.full(event.sums.size, event.rate) for event in events] or [np.zeros(0)])
    sums = np.concatenate([event.sums.ravel() for event in events] or [np.zeros(0)])
    touched = np.concatenate([event.touched.ravel() for event in events] or [np.zeros(0)])
    n = min(elements, math.ceil(compound_quantile(touched, rates, confidence) * (1 - 1e-9)))
    eps = 0.0
    if n and p == math.inf:
        eps = float(sums[rates > 0].max(initial=0.0))
    elif n:
        total = compound_quantile(sums, rates, confidence)
        alone = float(sums @ rates)
        if expected_square is not None and p == 2 and alone > 0:
            total *= expected_square / alone
        eps = total ** (1 / p)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=n, confidence=confidence)


def together(
    *, mechanism: str, scope: str, parts: Sequence[tuple[Budget, Budget]], elements: int, square: float | None = None
) -> Budget:
    """Bound the sum of independent mechanisms, dense or rare, from bounds of each.

    p = 1 and 2: the medians of ``sum |a|**p`` add, and what the quantiles exceed them by adds in squares,
    as for independent sums. p = inf: the radii add (the triangle inequality).

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        parts: Of each mechanism the budget at the wanted confidence and at one half; at least one.
        elements: Elements of the tensor.
        square: For p = 2 the expected ``sum |a|²`` of all together, where it is known: the parts' cross terms.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    p, confidence = parts[0][0].p, parts[0][0].confidence
    n = min(elements, sum(wanted.n for wanted, _ in parts))
    if p == math.inf:
        eps = sum(wanted.eps for wanted, _ in parts)
    else:
        centre = sum(half.eps**p for _, half in parts)
        beyond = math.sqrt(sum((wanted.eps**p - half.eps**p) ** 2 for wanted, half in parts))
        eps = (max(centre, square or 0.0) + math.copysign(beyond, confidence - 0.5)) ** (1 / p)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=n, confidence=confidence)
