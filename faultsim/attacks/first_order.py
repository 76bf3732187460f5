"""What the gradient alone forecasts of a set: worst case, best random trial, trials to see half. No search lives here.

References:
    .. [Sun2021] Sun, Zhang et al. AAAI 2021, arXiv 2006.05620, theorem 1.
"""

import math
from typing import NamedTuple

import numpy as np

from faultsim.assessment.phases import forecast
from faultsim.constraints import TensorSet, expected_best_share
from faultsim.search import Gradient


class FirstOrder(NamedTuple):
    """Forecasts to first order: real losses curve, so that random noise catches up at a large radius.

    Attributes:
        worst: Loss change of the worst corruption.
        best_random: Expected loss change of the best of so many random ones; None where theorem 1 does not say.
        log10_trials: log10 of the random trials for an even chance of half of the worst; None likewise.
    """

    worst: float
    best_random: float | None
    log10_trials: float | None


def first_order(constraint: TensorSet, gradient: Gradient, trials: int) -> FirstOrder | None:
    """Return the forecasts; None where the gradient is not finite.

    Args:
        constraint: The set.
        gradient: The gradient of the loss without corruption.
        trials: Random trials that are forecast, at least 1.
    """
    if not gradient.usable:
        return None
    worst = constraint.indicator(gradient.grads)
    log10 = forecast(constraint, gradient)
    best = None
    if log10 is not None:  # one sphere whose random share varies as much as that of all blocks together
        variance = 0.0
        for block in constraint.blocks:
            parts = [np.asarray(gradient.grads[name], dtype=np.float64).reshape(-1) for name in block.names]
            size = sum(part.size for part in parts)
            variance += block.constraint.eps**2 * math.fsum(float(part @ part) for part in parts) / size
        best = worst * expected_best_share(max(round(worst**2 / variance), 2), trials)
    return FirstOrder(worst, best, log10)
