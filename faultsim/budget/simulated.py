"""`quantile_of`: the quantile of a norm from simulated chips, where no closed form is known. Nothing is drawn here.

References:
    .. [Pearson1895] K. Pearson. Contributions to the mathematical theory of evolution, II. Phil. Trans. Royal Society A
       186:343-414, 1895: type III, the gamma distribution with a mean, a variance and a skewness of its own.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim.budget.base import check_confidence

_ENOUGH = 200
"""Norms beyond a quantile from which the sample tells it as well as the law."""


def quantile_of(norms: NDArray[np.floating], confidence: float) -> float:
    """Return a quantile of the law that some norms are drawn from: their own, or [Pearson1895]_'s type III.

    Where fewer than 200 norms lie beyond it, the sample's own quantile is noisier than that of the law with its
    moments: with 256 norms, that of 99 % lies between two of the largest three.

    Args:
        norms: At least 8, each at least 0, finite.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If confidence is out of range.
    """
    check_confidence(confidence)
    values = np.asarray(norms, dtype=np.float64)
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread == 0:
        return mean
    if min(confidence, 1 - confidence) * values.size >= _ENOUGH:
        return float(np.quantile(values, confidence))
    skew = float(np.mean(((values - mean) / spread) ** 3))
    return max(float(stats.pearson3.ppf(confidence, skew, mean, spread)), 0.0)
