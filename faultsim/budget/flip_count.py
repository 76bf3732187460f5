"""The budget of a known number of flipped bits, uniform over a tensor. Error rates are in `faultsim.budget.bits`.

References:
    .. [Hoeffding1963] W. Hoeffding. Probability inequalities for sums of bounded random variables. JASA 58:13-30,
       1963, theorem 4: sums drawn without replacement have lighter tails than with it.
    .. [Shao2000] Q.-M. Shao. A comparison theorem on moment inequalities between negatively associated and
       independent random variables. J. Theoretical Probability 13:343-356, 2000.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim.budget.base import Budget, check_confidence, check_norm
from faultsim.budget.bits import FLOAT_NOTE, flip_sizes, stored_bits
from faultsim.budget.mixture import mixture_quantile
from faultsim.formats import IntFormat, NumberFormat, Values

Floats = NDArray[np.float64]


def flip_count(
    *,
    mechanism: str,
    scope: str,
    fmt: NumberFormat,
    values: Values,
    flips: int,
    p: float,
    confidence: float,
) -> Budget:
    """Bound exactly *flips* distinct flipped bits, uniform over the N = k B stored bits of a tensor.

    - n is at most *flips*; where bits are many for the words, the binomial quantile of words that are hit: hits are
      negatively associated, so the independent law is no narrower ([Shao2000]_).
    - p = 1, 2: the quantile of a sum of *flips* draws with replacement, which is no narrower than without
      ([Hoeffding1963]_); for p = 2 with the cross terms ``±2 |a| |b|`` of two flips in one word. Never below the
      quantile of the largest single flip.
    - p = inf: the quantile of the largest single flip; where m flips in a word are likelier than ``1 -
      confidence``, the sum of the m largest.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        fmt: The storage format, B bits.
        values: The tensor, already rounded to the format, k elements.
        flips: Flipped bits, 0 to N.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    elements, bits = values.size, fmt.bits
    total = elements * bits
    flips = min(flips, total)
    touched = float(stats.hypergeom.sf(0, total, bits, flips)) if total else 0.0
    n = 0
    if flips:
        # below the mean the independent law would promise too little: one flip always hits a word
        n = min(flips, max(int(stats.binom.ppf(confidence, elements, touched)), math.ceil(elements * touched - 1e-9)))
    eps, note = 0.0, ""
    sizes = flip_sizes(fmt, values)
    if n and not np.all(np.isfinite(sizes)):
        eps, note = math.inf, FLOAT_NOTE
    elif n and p == math.inf:
        eps = _largest(sizes, elements, flips, confidence)
    elif n:
        # the squares of wide words are lost on the grid of the widest, but the sum is no less than its largest part
        single = _single(sizes, elements, flips, confidence)
        eps = max(_radius(fmt, values, sizes, flips, p, confidence), single)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=n, confidence=confidence, note=note)


def _largest(sizes: Floats, elements: int, flips: int, confidence: float) -> float:
    bits = sizes.shape[1]
    total = elements * bits
    most = 1
    while most < bits and elements * float(stats.hypergeom.sf(most, total, bits, flips)) > (1 - confidence) / 2:
        most += 1
    if most > 1:
        return float(np.sort(sizes, axis=1)[:, bits - most :].sum(axis=1).max())
    several = elements * float(stats.hypergeom.sf(1, total, bits, flips))
    return _single(sizes, elements, flips, confidence + several)


def _single(sizes: Floats, elements: int, flips: int, confidence: float) -> float:
    """Return the quantile of the largest of the flips, each by itself."""
    total, repeats = elements * sizes.shape[1], elements // sizes.shape[0]
    heights, counts = np.unique(sizes, return_counts=True)
    larger = total - repeats * np.cumsum(counts)  # bits whose flip is larger than each height
    inside = stats.hypergeom.pmf(0, total, larger, flips)
    return float(heights[np.flatnonzero(inside >= min(confidence, 1.0) - 1e-12)[0]])


def _radius(fmt: NumberFormat, values: Values, sizes: Floats, flips: int, p: float, confidence: float) -> float:
    bits, elements = fmt.bits, values.size
    heights, counts = np.unique(sizes**p, return_counts=True)
    rows, shares, times = [heights], [counts / sizes.size], [float(flips)]
    together = flips * (flips - 1) / (elements * bits * (elements * bits - 1)) if elements * bits > 1 else 0.0
    paired = together * elements * bits * (bits - 1) / 2
    if p == 2 and paired <= 0.1 * (1 - confidence):
        confidence += paired
    elif p == 2:
        alike = _alike(fmt, values)
        size = sizes.max(axis=0)
        for a, b in itertools.combinations(range(bits), 2):
            cross = 2 * size[a] * size[b]
            rows.append(np.array([cross, -cross]))
            shares.append(together * np.array([alike[a, b], 1 - alike[a, b]]))
            times.append(float(elements))
    width = max(row.size for row in rows)
    padded = [np.pad(row, (0, width - row.size)) for row in rows]
    odds = [np.pad(share, (0, width - share.size)) for share in shares]
    return float(mixture_quantile(np.stack(padded), np.stack(odds), times, confidence) ** (1 / p))


def _alike(fmt: NumberFormat, values: Values) -> Floats:
    """Return for each two bits the share of words in which their flips move the value the same way.

    1 where that is not known (sign and magnitude): an upper bound of the cross term.
    """
    if not isinstance(fmt, IntFormat) or fmt.encoding == "sign_magnitude":
        return np.ones((fmt.bits, fmt.bits))
    up = 1.0 - 2.0 * stored_bits(fmt, values)
    if fmt.signed and fmt.encoding == "twos_complement":
        up[:, -1] *= -1
    shares: Floats = (1 + up.T @ up / up.shape[0]) / 2
    return shares
