"""Budgets of whole cells that go wrong: stuck devices, confused levels of multi-level cells.

References:
    .. [MATH] The table of budgets in the design notes, §4, rows "stuck cells" and "multi-level cell
       confusion".
    .. [Chen2015] C.-Y. Chen et al. RRAM defect modeling and failure analysis. IEEE Trans. Computers
       64:180-190, 2015: cells stuck at the low (LRS) or high (HRS) resistance.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim.budget.base import Budget, check_confidence, check_norm, check_rate
from faultsim.budget.compound import compound_quantile
from faultsim.budget.events import Event, rare_events
from faultsim.budget.largest import largest_of
from faultsim.budget.mixture import mixture_quantile
from faultsim.errors import OptionError
from faultsim.formats import ConductancePair, Values
from faultsim.formats.conductance import ConductanceMapping

_FEW = 512
"""Elements, of those that differ, up to which each has its own characteristic function."""


def stuck_pair(
    *,
    mechanism: str,
    scope: str,
    pair: ConductancePair,
    values: Values,
    p_lrs: float,
    p_hrs: float,
    p: float,
    confidence: float,
) -> Budget:
    """Bound stuck devices of differential pairs: [MATH]_ "stuck cells", over the 3 x 3 states.

    A device stuck at LRS holds g_max, one stuck at HRS g_min ([Chen2015]_); an idle device stuck at HRS
    changes nothing. p = 2 and p = 1 are the quantiles of the sum over independent weights; p = inf is the exact
    quantile of the largest change.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        pair: The mapping to conductances.
        values: The tensor, k elements, value units.
        p_lrs: Probability that a device is stuck at g_max.
        p_hrs: Probability that a device is stuck at g_min; together at most 1.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If an argument is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    check_stuck(p_lrs, p_hrs)
    sizes, shares = _pair_states(pair, values, p_lrs, p_hrs)
    elements = sizes.shape[0]
    touched = float(((sizes > 0) * shares).sum(axis=1).mean()) if elements else 0.0
    n = int(stats.binom.ppf(confidence, elements, min(touched, 1.0))) if elements else 0
    eps = 0.0
    if n and p == math.inf:
        eps = largest_of(sizes, shares, confidence=confidence)
    elif n:
        eps = _of_states(sizes**p, shares, confidence) ** (1 / p)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=n, confidence=confidence)


def stuck_devices(
    *,
    mechanism: str,
    scope: str,
    mapping: ConductanceMapping,
    values: Values,
    p_lrs: float,
    p_hrs: float,
    p: float,
    confidence: float,
) -> Budget:
    """Bound stuck devices of any mapping: each failed device is a jump by ``c (g_stuck - g)``.

    For the differential pair `stuck_pair` sums over the states of both devices at once; here jumps of one
    weight are taken one by one, and p = 2 is rescaled to the exact mean of the squares. p = inf counts as
    many failed devices of one weight as are likely at *confidence*. A shared reference device is one jump
    of its whole block.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        mapping: The mapping to conductances.
        values: The tensor, k elements, value units.
        p_lrs: Probability that a device is stuck at g_max.
        p_hrs: Probability that a device is stuck at g_min; together at most 1.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If an argument is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    check_stuck(p_lrs, p_hrs)
    cells = mapping.to_cells(values).astype(np.float64)
    elements = int(np.size(values))
    factors = np.reshape(mapping.coefficients, (-1, *(1,) * (cells.ndim - 1))) * mapping.step
    high, low = (
        np.reshape(factors * (level - cells), (mapping.devices, -1)) for level in (mapping.g_max_uS, mapping.g_min_uS)
    )
    mean = p_lrs * high + p_hrs * low
    square = float(np.sum(mean.sum(axis=0) ** 2) + np.sum(p_lrs * high**2 + p_hrs * low**2 - mean**2))
    groups = mapping.groups(np.shape(values))
    own = slice(None) if groups is None else slice(None, -1)
    events = []
    for jumps, rate in ((high, p_lrs), (low, p_hrs)):
        events.append(_jumps(np.abs(jumps[own]).ravel(), None, p, rate))
        if groups is not None:
            events.append(_jumps(np.abs(jumps[-1]), groups.ravel(), p, rate))
    bound = rare_events(
        mechanism=mechanism,
        scope=scope,
        events=events,
        elements=elements,
        expected_square=square,
        p=p,
        confidence=confidence,
    )
    if p == math.inf and bound.n:
        ups = np.maximum(high * (p_lrs > 0), low * (p_hrs > 0))
        downs = np.maximum(-high * (p_lrs > 0), -low * (p_hrs > 0))
        eps = max(largest_together(side, p_lrs + p_hrs, elements, confidence) for side in (ups, downs))
        return replace(bound, eps=eps)
    return bound


def level_confusion(
    *,
    mechanism: str,
    scope: str,
    scale: float,
    bits: int,
    bits_per_cell: int,
    cell_error: float,
    elements: int,
    p: float,
    confidence: float,
) -> Budget:
    """Bound confusions of neighbouring levels in multi-level cells: [MATH]_ "multi-level cell confusion".

    A weight of *bits* lies in ``ceil(bits / bits_per_cell)`` cells, binary coded; one level off in cell j
    changes ``scale * 2**(bits_per_cell * j)``. p = inf is that of the top cell; p = 1, 2 are
    compound-Poisson quantiles.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        scale: Value of one code step, positive.
        bits: Bits of a weight.
        bits_per_cell: Bits of a cell, at least 1.
        cell_error: Probability that a cell reads one level off, 0 to 1.
        elements: Weights, k.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If an argument is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    check_rate("cell_error", cell_error)
    if not 1 <= bits_per_cell <= bits:
        raise OptionError(f"bits_per_cell must be between 1 and {bits}, got {bits_per_cell}")
    cells = -(-bits // bits_per_cell)
    touched = -math.expm1(cells * math.log1p(-cell_error)) if cell_error < 1 else 1.0
    n = int(stats.binom.ppf(confidence, elements, touched)) if elements else 0
    sizes = scale * 2.0 ** (bits_per_cell * np.arange(cells))
    eps = 0.0
    if n and p == math.inf:
        eps = float(sizes[-1])
    elif n:
        eps = compound_quantile(sizes**p, elements * cell_error, confidence) ** (1 / p)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=n, confidence=confidence)


def check_stuck(p_lrs: float, p_hrs: float) -> None:
    """Raise `OptionError` unless both are probabilities that add up to at most 1."""
    check_rate("p_lrs", p_lrs)
    check_rate("p_hrs", p_hrs)
    if p_lrs + p_hrs > 1:
        raise OptionError(f"p_lrs and p_hrs must add up to at most 1, got {p_lrs + p_hrs:g}")


def _of_states(sizes: NDArray[np.float64], shares: NDArray[np.float64], confidence: float) -> float:
    """Return the quantile of a sum over elements that are each in one of few states.

    By Fourier inversion where few elements differ; of many, the compound-Poisson quantile, drawn in to their variance.

    Args:
        sizes: What each element adds in each state, shape ``(elements, states)``.
        shares: Probability of each state, shape ``(states,)``.
        confidence: Quantile, strictly between 0 and 1.
    """
    rows, counts = np.unique(sizes, axis=0, return_counts=True)
    if len(rows) <= _FEW:
        return mixture_quantile(rows, shares, counts, confidence)
    found = compound_quantile(sizes, shares[None, :], confidence)
    means = sizes @ shares
    wide = float(np.sum(sizes**2 @ shares))
    narrow = wide - float(np.sum(means**2))
    mean = float(means.sum())
    return max(mean + (found - mean) * math.sqrt(max(narrow, 0.0) / wide), 0.0) if wide > 0 else found


def _jumps(sizes: NDArray[np.float64], groups: NDArray[np.int64] | None, p: float, rate: float) -> Event:
    """Return the events of single devices, one a size, or one a group of sizes."""
    power = 1.0 if p == math.inf else p
    if groups is None:
        return Event(sizes**power, (sizes > 0).astype(np.float64), rate)
    touched = np.asarray(np.bincount(groups, sizes > 0), np.float64)
    if p == math.inf:
        largest = np.zeros(touched.size)
        np.maximum.at(largest, groups, sizes)
        return Event(largest, touched, rate)
    return Event(np.asarray(np.bincount(groups, sizes**power), np.float64), touched, rate)


def largest_together(jumps: NDArray[np.float64], rate: float, places: int, confidence: float) -> float:
    """Return the largest sum of jumps upwards by as many failures of one weight as are likely.

    Args:
        jumps: What the failure of each device does to each weight, ``(devices, elements)``; below 0 counts as 0.
        rate: Probability that a device fails.
        places: Independent places that several failures can meet at.
        confidence: Quantile over chips, strictly between 0 and 1.
    """
    devices = jumps.shape[0]
    most = devices
    for count in range(1, devices):
        more = float(stats.binom.sf(count, devices, rate))
        if places * math.log1p(-min(more, 1 - 1e-16)) >= math.log(confidence):
            most = count
            break
    worst = np.sort(np.maximum(jumps, 0.0), axis=0)[-most:].sum(axis=0)
    return float(worst.max(initial=0.0))


def _pair_states(
    pair: ConductancePair, values: Values, p_lrs: float, p_hrs: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``|change|`` (k, 9), and the probability of each state (9)."""
    top = np.broadcast_to(np.asarray(pair.w_max), np.shape(values)).ravel()
    main = np.minimum(np.abs(np.asarray(values, np.float64)).ravel(), top) / top
    fine = 1 - p_lrs - p_hrs
    columns, shares = [], []
    for main_now, main_share in ((main, fine), (1.0, p_lrs), (0.0, p_hrs)):
        for idle_now, idle_share in ((0.0, fine), (1.0, p_lrs), (0.0, p_hrs)):
            columns.append(np.abs(main_now - idle_now - main) * top)
            shares.append(main_share * idle_share)
    return np.stack(columns, axis=1), np.array(shares)
