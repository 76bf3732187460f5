"""Means and variances over chips: of devices, of weights, and the radii that they give in closed form. No law here."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget
from faultsim.budget.dense import gaussian
from faultsim.budget.dependent import Shared, dependent
from faultsim.budget.pairs import Pair, largest_of_pairs
from faultsim.formats.conductance import ConductanceMapping


class Moments(NamedTuple):
    """Means and variances over chips of the same quantities, uS and uS², float64, ``(devices, *shape)``.

    `programmed` is weighted by the conductance itself, ``E[g²]/E[g]``: relative noise acts there. `third` is
    the third central moment, uS³, of laws that are far from symmetric; the others leave it as it is. `clipped`
    says that the conductances were stopped at 0 already: the next clip must not count the same tail again.
    """

    target: NDArray[np.float64]
    programmed: NDArray[np.float64]
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    gain: float | NDArray[np.float64] = 1.0
    third: float | NDArray[np.float64] = 0.0
    channel_axis: int = 0
    clipped: bool = False


class ValueMoments(NamedTuple):
    """Mean and standard deviation over chips of each weight's delta, value units, the tensor's shape."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def of_weights(moments: Moments, mapping: ConductanceMapping) -> ValueMoments:
    """Return the moments of the weights' deltas, value units."""
    mean = moments.gain * mapping.combine(moments.mean) - mapping.combine(moments.target)
    std = moments.gain * np.sqrt(mapping.weigh(moments.var, 2))
    return ValueMoments(mean * mapping.step, std * mapping.step)


def closed_bound(
    moments: Moments,
    mapping: ConductanceMapping,
    *,
    stops: bool,
    mechanism: str,
    scope: str,
    p: float,
    confidence: float,
) -> Budget:
    """Bound the delta of one tensor whose devices have these moments.

    Normals (`faultsim.budget.gaussian`); where devices are skewed or shared, `dependent`; the largest error of pairs
    that stop at 0, `largest_of_pairs`. Exact for one law that adds a spread.

    Args:
        moments: Of the devices as a read finds them.
        mapping: From the tensor's values to devices.
        stops: Whether what the last law left is a normal that stops at 0.
        mechanism: Name for the budget.
        scope: Name for the budget.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile over chips, strictly between 0 and 1.
    """
    shape = moments.target.shape[1:]
    groups = mapping.groups(shape)
    mean, std = of_weights(moments, mapping)
    if groups is None and not np.any(moments.third):
        found = gaussian(
            mechanism=mechanism, scope=scope, sigma=std, mean=mean, elements=mean.size, p=p, confidence=confidence
        )
        if p == np.inf and mapping.devices == 2 and found.eps > 0 and stops:
            pair, aim = _pairs(moments, mapping)
            return replace(found, eps=largest_of_pairs(pair, aim, confidence=confidence, near=found.eps))
        return found
    scale = moments.gain * mapping.step
    own = moments.var.copy()
    third = np.broadcast_to(moments.third, own.shape).copy()
    shared = None
    if groups is not None:
        std_ref = np.sqrt(moments.var[-1])
        skew = np.divide(third[-1], std_ref**3, out=np.zeros_like(std_ref), where=std_ref > 0)
        shared = Shared(groups, scale * mapping.coefficients[-1] * std_ref, skew)
        own[-1] = third[-1] = 0.0
    return dependent(
        mechanism=mechanism,
        scope=scope,
        mean=mean,
        var=mapping.weigh(own, 2) * scale**2,
        third=mapping.weigh(third, 3) * scale**3,
        shared=shared,
        p=p,
        confidence=confidence,
    )


def _pairs(moments: Moments, mapping: ConductanceMapping) -> tuple[Pair, NDArray[np.float64]]:
    """Return both devices of each weight, and the values without error."""
    shape = moments.mean.shape
    factors = np.reshape(mapping.coefficients, (-1, *(1,) * (len(shape) - 1))) * mapping.step * moments.gain
    aim = (
        mapping.combine(moments.target) - moments.gain * mapping.combine(np.zeros_like(moments.target))
    ) * mapping.step
    mean, var, worth = (np.broadcast_to(a, shape).reshape(2, -1) for a in (moments.mean, moments.var, factors))
    return Pair(mean, var, worth), np.broadcast_to(aim, shape[1:]).ravel()
