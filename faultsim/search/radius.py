"""The critical radius: how large a corruption has to be before accuracy falls to a level. No search lives here.

`worst` is any callable that gives the accuracy of the worst corruption found at a radius, `proven` one that gives an
accuracy that is certain. Both are read as monotone: a corruption that is in the set at one radius is in it at every
larger one, so the lowest accuracy found so far holds from there on, and a proof holds for every smaller radius.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from faultsim.errors import OptionError

Accuracy = Callable[[float], float]


class Evaluation(NamedTuple):
    """One call of a search: the radius, and the accuracy that it gave."""

    eps: float
    accuracy: float


class CriticalRadius(NamedTuple):
    """Between which radii the worst accuracy falls below a level.

    Attributes:
        proven: The largest radius tried at which the level is certain to hold; 0 where nothing is proven.
        holds: The largest radius tried below `found`: no corruption that breaks the level was found there, which
            proves nothing.
        found: The smallest radius at which a corruption breaks the level; infinite where none was found up to the
            largest radius tried.
        level: The level, a fraction.
        evaluations: What the search gave, in the order of the calls.
        proofs: What the certificate gave, in the order of the calls.
    """

    proven: float
    holds: float
    found: float
    level: float
    evaluations: tuple[Evaluation, ...]
    proofs: tuple[Evaluation, ...] = ()

    @property
    def bracket(self) -> tuple[float, float]:
        """The true radius lies in here: ``(proven, found)``."""
        return self.proven, self.found

    def envelope(self) -> tuple[Evaluation, ...]:
        """The evaluations by radius, each with the lowest accuracy found at it or at a smaller one."""
        lowest, rows = math.inf, []
        for eps, accuracy in sorted(self.evaluations):
            lowest = min(lowest, accuracy)
            rows.append(Evaluation(eps, lowest))
        return tuple(rows)


def critical_radius(
    worst: Accuracy,
    level: float,
    *,
    start: float,
    rtol: float = 0.01,
    largest: float = math.inf,
    smallest: float = 0.0,
    evaluations: int = 40,
    proven: Accuracy | None = None,
) -> CriticalRadius:
    """Find the smallest radius at which the worst accuracy found is below a level.

    The radius is doubled or halved until the level lies between two radii, then bisected geometrically. As a search
    finds a lower bound of the damage only, `found` is an upper bound of the true critical radius; `proven` is a
    lower one.

    Args:
        worst: Accuracy of the worst corruption found at a radius, a fraction; NaN counts as broken. It is called for
            radii above 0, and should be deterministic.
        level: The accuracy that must hold, a fraction: broken where the accuracy is strictly below.
        start: The first radius tried, above 0.
        rtol: Width of the bracket over `found` at which the search ends, strictly between 0 and 1.
        largest: No radius above is tried.
        smallest: No radius below is tried; where even this one is broken, `holds` is 0.
        evaluations: Most calls of *worst*, at least 1, and as many of *proven*.
        proven: Accuracy that is certain at a radius, such as ``certify(…).accuracy_lower``; None for no proof.

    Returns:
        The bracket and every evaluation.

    Raises:
        OptionError: If an argument is out of its range.

    Examples:
        >>> found = critical_radius(lambda eps: 1.0 if eps < 0.3 else 0.5, 0.95, start=1.0, rtol=0.001)
        >>> round(found.found, 3), found.holds < 0.3 <= found.found
        (0.3, True)
    """
    _check(level, start, rtol, largest, smallest, evaluations)
    calls: list[Evaluation] = []

    def holds(eps: float) -> bool:
        calls.append(Evaluation(eps, worst(eps)))
        return calls[-1].accuracy >= level  # false for NaN

    low, high = _bisect(holds, start=start, rtol=rtol, largest=largest, smallest=smallest, most=evaluations)
    proofs: list[Evaluation] = []
    sure = 0.0
    if proven is not None:

        def certain(eps: float) -> bool:
            proofs.append(Evaluation(eps, proven(eps)))
            return proofs[-1].accuracy >= level

        end = min(high, largest)
        first = end if math.isfinite(end) else max(low, start)
        least = max(smallest, first * 2.0**-evaluations)
        sure, _ = _bisect(certain, start=first, rtol=rtol, largest=end, smallest=least, most=evaluations)
    return CriticalRadius(sure, low, high, level, tuple(calls), tuple(proofs))


def safety_factor(critical: float, device: float) -> float:
    """Return how many times the device's radius the critical one is: eps* / eps_device, dimensionless.

    Below 1 the device's own corruptions can break the level. A device of radius 0 has an infinite factor.

    Args:
        critical: A critical radius, at least 0: `CriticalRadius.proven` for a factor that is certain, `found` for one
            that no search has undercut.
        device: The device's radius in the same unit, at least 0.

    Raises:
        OptionError: If one of them is negative or NaN.

    Examples:
        >>> safety_factor(0.3, 0.1).__round__(6)
        3.0
    """
    for name, value in (("critical", critical), ("device", device)):
        if not value >= 0 or (name == "device" and math.isinf(value)):
            raise OptionError(
                f"{name} is {value}, it must be a radius of at least 0, the device finite; give both in the same unit"
            )
    if device == 0:
        return math.inf
    return critical / device


def _bisect(
    holds: Callable[[float], bool], *, start: float, rtol: float, largest: float, smallest: float, most: int
) -> tuple[float, float]:
    """Return a radius at which it holds (0 for none) and a larger one at which it does not (infinite for none)."""
    low, high = 0.0, math.inf
    eps = min(max(start, smallest), largest)
    for _ in range(most):
        if holds(eps):
            low = eps
            if eps >= largest:
                break
        else:
            high = eps
            if eps <= smallest:
                break
        if low and math.isfinite(high):
            if high - low <= rtol * high:
                break
            eps = math.sqrt(low) * math.sqrt(high)
        else:
            eps = min(2 * eps, largest) if low else max(eps / 2, smallest)
        if eps == 0 or math.isinf(eps):
            break
    return low, high


def _check(level: float, start: float, rtol: float, largest: float, smallest: float, evaluations: int) -> None:
    if not 0 <= level <= 1:
        raise OptionError(f"level is {level}, it must be an accuracy from 0 to 1; give a fraction, not points")
    if not (0 < start < math.inf):
        raise OptionError(f"start is {start}, it must be a finite radius above 0; give one near the device's")
    if not 0 < rtol < 1:
        raise OptionError(f"rtol is {rtol}, it must lie strictly between 0 and 1; 0.01 ends within a percent")
    if not 0 <= smallest <= largest or largest <= 0:
        raise OptionError(
            f"smallest is {smallest} and largest {largest}, they must be radii with 0 <= smallest <= largest and "
            "largest above 0; give them in the unit of the set"
        )
    if evaluations < 1:
        raise OptionError(f"evaluations is {evaluations}, it must be at least 1; raise it or leave it out")
