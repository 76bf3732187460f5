"""Intervals for proportions: how many of the trials did it. Means and quantiles live in their own files."""

import math

from scipy.special import betaincinv, ndtri

from faultsim.stats.estimate import Estimate, check_counts, check_level


def wilson(passed: int, trials: int, *, level: float = 0.95) -> Estimate:
    """Estimate a proportion with Wilson's score interval, [Wilson1927]_ eq. 3, without continuity correction.

    Its coverage is close to the level on average, not guaranteed for each proportion (`clopper_pearson` is).
    It stays in [0, 1] and keeps its width at ``passed == 0`` and ``passed == trials``, where ±z·sigma has
    none.

    Args:
        passed: Trials that did it, ``0 <= passed <= trials``.
        trials: Trials, at least 1.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.

    Returns:
        ``Estimate(low, best, high)``, fractions in [0, 1]; `best` is ``passed / trials``.

    Raises:
        ValueError: If the counts or the level are out of range.

    Examples:
        >>> [round(end, 4) for end in wilson(8, 10)]
        [0.4902, 0.8, 0.9433]

    References:
        .. [Wilson1927] E. B. Wilson. JASA 22(158):209-212, 1927.
    """
    check_counts(passed, trials)
    check_level(level)
    share = passed / trials
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials * trials))) / (1 + z2 / trials)
    low = 0.0 if passed == 0 else max(0.0, centre - half)
    high = 1.0 if passed == trials else min(1.0, centre + half)
    return Estimate(low, share, high)


def clopper_pearson(passed: int, trials: int, *, level: float = 0.95) -> Estimate:
    """Estimate a proportion with the exact interval, [ClopperPearson1934]_: it covers at least the level.

    It is wider than `wilson`: the guarantee holds for every proportion and every number of trials.

    Args:
        passed: Trials that did it, ``0 <= passed <= trials``.
        trials: Trials, at least 1.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.

    Returns:
        ``Estimate(low, best, high)``, fractions in [0, 1]; `best` is ``passed / trials``.

    Raises:
        ValueError: If the counts or the level are out of range.

    Examples:
        >>> [round(end, 4) for end in clopper_pearson(8, 10)]
        [0.4439, 0.8, 0.9748]
        >>> round(clopper_pearson(0, 100).high, 4)
        0.0362

    References:
        .. [ClopperPearson1934] C. J. Clopper, E. S. Pearson. Biometrika 26(4):404-413, 1934.
    """
    check_counts(passed, trials)
    check_level(level)
    tail = (1 - level) / 2
    low = 0.0 if passed == 0 else float(betaincinv(passed, trials - passed + 1, tail))
    high = 1.0 if passed == trials else float(betaincinv(passed + 1, trials - passed, 1 - tail))
    return Estimate(low, passed / trials, high)


def yield_estimate(passed: int, trials: int, *, level: float = 0.95) -> Estimate:
    """Estimate the fraction of faulty chips that still meet the spec.

    A *trial* is one sampled chip scored on the whole data set. Images are not trials: all
    images on one chip share its faults. Wilson's score interval, [Wilson1927]_ eq. 3, stays
    in [0, 1] and stays honest at ``passed == trials``, where +-z*sigma has zero width.

    Args:
        passed: Chips at or above the required accuracy, ``0 <= passed <= trials``.
        trials: Chips sampled, at least 1.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.

    Returns:
        ``Estimate(low, best, high)``, fractions in [0, 1].

    Raises:
        ValueError: If the counts or the level are out of range.

    Examples:
        >>> f"{yield_estimate(30, 30).low:.1%}"        # 30 of 30 passing proves little
        '88.6%'

    References:
        .. [Wilson1927] E. B. Wilson. JASA 22(158):209-212, 1927.
    """
    return wilson(passed, trials, level=level)
