"""A percentile over chips of which some have no finite value: those are the worst. No result is read here."""

from collections.abc import Iterable
from typing import NamedTuple

from faultsim.stats import quantile_estimate

_FAR = 1e300  # stands for a value that is not finite among the order statistics


class Measured(NamedTuple):
    """A value with its interval: ``None`` for a value that is not finite, and an end that is open."""

    value: float | None
    low: float | None
    high: float | None


def percentile(values: Iterable[float | None], share: float, *, level: float, higher_is_better: bool) -> Measured:
    """Return a percentile with an interval between two of the values seen.

    Args:
        values: One a chip, any unit, at least one; ``None`` is not finite and worse than any number.
        share: Which percentile, dimensionless, in (0, 1).
        level: Two-sided confidence, in (0, 1).
        higher_is_better: Whether the chips without a value belong at the lower end.
    """
    far = -_FAR if higher_is_better else _FAR
    found = quantile_estimate([far if value is None else value for value in values], share, level=level)
    low = None if found.low_open or abs(found.low) >= _FAR else found.low
    high = None if found.high_open or abs(found.high) >= _FAR else found.high
    return Measured(None if abs(found.best) >= _FAR else found.best, low, high)
