"""Budgets of deltas that are skewed, or that share a device. No device knowledge lives here.

References:
    .. [Satterthwaite1946] F. E. Satterthwaite. An approximate distribution of estimates of variance
       components. Biometrics Bulletin 2:110-114, 1946.
    .. [Mathai1992] A. M. Mathai, S. B. Provost. Quadratic Forms in Random Variables. Dekker, 1992, ch. 3:
       ``E[aᵀa] = tr Σ + mᵀm``, ``Var[aᵀa] = 2 tr Σ² + 4 mᵀΣm`` for a normal; fourth cumulants add.
    .. [Sidak1967] Z. Šidák. Rectangular confidence regions for the means of multivariate normal
       distributions. JASA 62:626-633, 1967: dependent normals leave a box no more often than independent ones.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from faultsim.budget.base import Budget, check_confidence, check_norm
from faultsim.budget.dense import scaled_chi_square
from faultsim.budget.heavy import radius_where, square_quantile
from faultsim.budget.skewed import Array, Skewed

_HEAVY = 0.5
"""Spread that skewness adds to a sum of squares, in means, above which two moments do not tell its quantile."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


class Shared(NamedTuple):
    """An error that all elements of a group have in common, beside their own.

    Attributes:
        group: Number of each element's group, from 0, the tensor's shape.
        loading: What one standard deviation of the common error does to the element, value units.
        skew: Third central moment of the common error in its standard deviations, broadcastable.
    """

    group: NDArray[np.int64]
    loading: Array
    skew: Array | float = 0.0


def dependent(
    *,
    mechanism: str,
    scope: str,
    mean: ArrayLike,
    var: ArrayLike,
    third: ArrayLike = 0.0,
    shared: Shared | None = None,
    p: float,
    confidence: float,
    note: str = "",
) -> Budget:
    """Bound a dense delta whose elements are skewed or share an error.

    - p = 2: ``|a|²`` by its exact mean and by the variance of a quadratic form with fourth cumulants
      ([Mathai1992]_), as a scaled chi-square ([Satterthwaite1946]_). Where skewness alone spreads it by more than half
      its mean, a few elements dominate, and the quantile is that of the sum itself (`square_quantile`).
    - p = 1: mean plus z standard deviations of ``sum |a_i|``; the shared part by quadrature.
    - p = inf: as if independent, which is no less ([Sidak1967]_).

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        mean: Mean per element, value units, the tensor's shape.
        var: Variance of the element's own error.
        third: Third central moment of the element's own error.
        shared: The error that elements have in common.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.
        note: For the budget.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    arrays = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (mean, var, third)))
    m, v, k = (a.ravel() for a in arrays)
    if shared is None:
        shared = Shared(np.zeros(arrays[0].shape, np.int64), np.zeros(arrays[0].shape))
    load, bend = (np.broadcast_to(a, arrays[0].shape).ravel() for a in (shared.loading, shared.skew))
    common = _Common(shared.group.ravel(), load, Skewed.fit(np.zeros_like(m), np.ones_like(m), bend))
    moved = int(np.count_nonzero((v > 0) | (m != 0) | (load != 0)))
    eps = 0.0
    if moved and p == 2:
        eps = math.sqrt(_square(m, v, k, common, confidence))
    elif moved and p == 1:
        eps = _sum(m, v, k, common, confidence)
    elif moved:
        eps = _largest(m, v, k, common, confidence)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=moved, confidence=confidence, note=note)


class _Common(NamedTuple):
    """The shared error, element by element: its group, loading, and standard distribution."""

    label: NDArray[np.int64]
    load: Array
    standard: Skewed

    def nodes(self) -> tuple[Array, Array]:
        """Return nodes and weights of a quadrature over it: one at the middle where there is none."""
        return (_NODES, _WEIGHTS / _WEIGHTS.sum()) if self.load.any() else (np.zeros(1), np.ones(1))

    def by_group(self, values: Array) -> Array:
        """Return the sums of *values* over the groups."""
        return np.asarray(np.bincount(self.label, values), np.float64)


def _square(m: Array, v: Array, k: Array, common: _Common, confidence: float) -> float:
    load, fourth = common.load, Skewed.fit(m, v, k).fourth_cumulant()
    variance = float(np.sum(2 * v**2 + 4 * m**2 * v + 4 * v * load**2))
    size = np.maximum(common.by_group(np.ones_like(m)), 1.0)
    bend, heavy = (common.by_group(a) / size for a in (common.standard.third(), common.standard.fourth_cumulant()))
    squares, products = common.by_group(load**2), common.by_group(load * m)
    variance += float(np.sum(2 * squares**2 + 4 * products**2))
    beyond = float(np.sum(fourth + 4 * m * k)) + float(np.sum(heavy * squares**2 + 4 * bend * squares * products))
    mean = float(np.sum(m**2 + v + load**2))
    if not math.sqrt(max(beyond, 0.0)) <= _HEAVY * mean:
        return square_quantile(_parts(m, v, k, common, squares, products, bend), confidence)
    return scaled_chi_square(mean, variance + beyond, confidence)


def _parts(m: Array, v: Array, k: Array, common: _Common, squares: Array, products: Array, bend: Array) -> Skewed:
    """Return independent parts with the same sum of squares: the elements' own, and one for each shared error.

    The shared error moves its group along the loading; what the means do along it is taken there. The product of the
    two errors, of mean 0, is left out.
    """
    norm = np.sqrt(squares)
    along = np.divide(products, norm, out=np.zeros_like(norm), where=norm > 0)
    unit = np.divide(common.load, norm[common.label], out=np.zeros_like(m), where=norm[common.label] > 0)
    every = ((m - along[common.label] * unit, along), (v, squares), (k, bend * norm**3))
    return Skewed.fit(*(np.concatenate(both) for both in every))


def _sum(m: Array, v: Array, k: Array, common: _Common, confidence: float) -> float:
    nodes, weights = common.nodes()
    own, sums = 0.0, []
    for node, weight in zip(nodes, weights, strict=True):
        mean = m + common.load * common.standard.at(float(node))
        magnitude = Skewed.fit(mean, v, k).mean_magnitude()
        own += weight * float(np.sum(np.maximum(mean**2 + v - magnitude**2, 0.0)))
        sums.append(common.by_group(magnitude))
    totals = np.array(sums)
    centre = weights @ totals
    spread = float(np.sum(weights @ (totals - centre) ** 2))
    return max(0.0, float(centre.sum()) + float(stats.norm.ppf(confidence)) * math.sqrt(own + spread))


def _largest(m: Array, v: Array, k: Array, common: _Common, confidence: float) -> float:
    nodes, weights = common.nodes()
    at_nodes = [Skewed.fit(m + common.load * common.standard.at(float(node)), v, k) for node in nodes]

    def excess(radius: float) -> float:
        outside = np.sum([w * a.outside(radius) for w, a in zip(weights, at_nodes, strict=True)], axis=0)
        return float(np.sum(np.log1p(-np.minimum(outside, 1 - 1e-16)))) - math.log(confidence)

    return radius_where(excess, float(np.max(np.abs(m) + 12 * np.sqrt(v + common.load**2))))
