"""The audit of a bit map: random flips evaluated exactly, and what they say of the map. No map is made here."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from faultsim.engine.screen.bitmap import Flip, SiteMap, shares
from faultsim.engine.sweep.sweep import Sweep
from faultsim.errors import OptionError
from faultsim.rng import generator
from faultsim.stats.allocation import neyman
from faultsim.stats.difference import AuditStratum, difference_estimate
from faultsim.stats.estimate import Estimate

LEAST = 2
"""Flips that each group of bit positions gets at least."""
QUIET = 5e-3
"""Bit positions whose predicted mean is no larger are audited together."""
_CAUTION = 0.05
_ALONE = 8


class BitGroup(NamedTuple):
    """One bit position over all mapped numbers of one width, or several that get too few flips to stand alone.

    Attributes:
        width: Bits of the words.
        bits: Positions, 0 the lowest.
        units: Mapped flips at these positions.
        predicted: Mean of the map, over all stored bits that its flips stand for.
        audited: Flips evaluated.
        estimate: The mean corrected by the audit, with its interval.
    """

    width: int
    bits: tuple[int, ...]
    units: int
    predicted: float
    audited: int
    estimate: Estimate


class Audited(NamedTuple):
    """The evaluated flips of one group.

    Attributes:
        width: Bits of the words.
        bits: Positions, 0 the lowest.
        units: Mapped flips at these positions.
        flips: Those that were evaluated, a simple random sample.
        truth: Share of images that each changes, in [0, 1].
    """

    width: int
    bits: tuple[int, ...]
    units: int
    flips: tuple[Flip, ...]
    truth: tuple[float, ...]


class MapAudit(NamedTuple):
    """What the audit says.

    Attributes:
        asked: Flips that were to be evaluated.
        flips: Flips evaluated; more than were asked for where the groups take more.
        predicted: Mean of the map over all stored bits, in [0, 1].
        total: The mean corrected by the audit, with its interval.
        rank_correlation: Spearman's, between map and truth over the audited flips; None where either is constant.
        groups: By bit position.
        audited: What was evaluated, group by group.
    """

    asked: int
    flips: int
    predicted: float
    total: Estimate
    rank_correlation: float | None
    groups: tuple[BitGroup, ...]
    audited: tuple[Audited, ...]


class _Stratum:
    """The flips of some bit positions over all tensors of one width; `mean` and `spread` are of weighed shares."""

    def __init__(self, sites: Sequence[SiteMap], width: int, bits: Sequence[int]) -> None:
        self.width, self.bits = width, tuple(bits)
        self._members = [i for i, one in enumerate(sites) if len(one.shares) == width]
        self._ends = np.cumsum([sites[i].indices.size for i in self._members])
        self._each = int(self._ends[-1])
        self.units = self._each * len(self.bits)
        weights = _weights(sites)
        parts = [(weights[i], sites[i].shares[list(self.bits)]) for i in self._members]
        self.mean = math.fsum(weight * float(one.sum(dtype=np.float64)) for weight, one in parts) / self.units
        square = math.fsum(w**2 * float(np.square(one, dtype=np.float64).sum()) for w, one in parts) / self.units
        self.stretch = _stretch(sites, self.width)
        self.spread = max(math.sqrt(max(square - self.mean**2, 0.0)), _CAUTION)

    def flip(self, unit: int) -> Flip:
        """Return flip number *unit* of the stratum."""
        bit, element = divmod(unit, self._each)
        at = int(np.searchsorted(self._ends, element, side="right"))
        return Flip(self._members[at], element - (int(self._ends[at - 1]) if at else 0), self.bits[bit])


def _strata(sites: Sequence[SiteMap], flips: int) -> list[_Stratum]:
    """Return the groups: quiet positions of a width together, and so the others that would get few flips."""
    found: list[_Stratum] = []
    alone: list[_Stratum] = []
    for width in sorted({len(one.shares) for one in sites}):
        single = [_Stratum(sites, width, [bit]) for bit in range(width)]
        quiet = [one.bits[0] for one in single if one.mean <= QUIET]
        found += [_Stratum(sites, width, quiet)] if quiet else []
        alone += [one for one in single if one.mean > QUIET]
    weight = sum(one.units * one.spread for one in [*found, *alone])
    for width in sorted({one.width for one in alone}):
        own = [one for one in alone if one.width == width]
        few = [one.bits[0] for one in own if flips * one.units * one.spread < _ALONE * weight]
        found += [_Stratum(sites, width, few)] if few else []
        found += [one for one in own if one.bits[0] not in few]
    return found


def check_flips(units: Mapping[int, int], flips: int) -> None:
    """Refuse an audit that no map could take, before any is made.

    Args:
        units: Mapped flips by bits of the words.
        flips: Flips to evaluate.

    Raises:
        OptionError: If there are too few or too many.
    """
    least, most = sum(min(LEAST, count) for count in units.values()), sum(units.values())
    if not least <= flips <= most:
        raise OptionError(
            f"an audit of {flips} flips is out of range: this map takes {least} to {most}; give a number between them"
        )


def audit(sites: Sequence[SiteMap], sweep: Sweep, *, flips: int, seed: int, level: float = 0.95) -> MapAudit:
    """Evaluate random flips and correct the map's means by them.

    The flips are drawn at random within each group of bit positions, more where the map has more spread
    ([Neyman1934]_): groups and numbers look at the map alone and at no truth. The intervals are over the mapped flips
    and the mapped images. A flip counts as much as it stands for (`SiteMap.weight`): its share is taken as a part of
    the largest weight, so that it stays in [0, 1], and the mean is stretched back.

    Args:
        sites: The map.
        sweep: Evaluates flips on the images of the map.
        flips: Flips to evaluate; `LEAST` for each group where that is more.
        seed: Seed of the draw.
        level: Two-sided confidence of every interval, in (0, 1); each holds by itself.

    Raises:
        OptionError: If there are too few or too many flips, see `check_flips`.

    References:
        .. [Neyman1934] J. Neyman. On the two different aspects of the representative method. JRSS 97(4):558-625, 1934.
    """
    widths: Counter[int] = Counter()
    for site in sites:
        widths[len(site.shares)] += site.shares.size
    check_flips(widths, flips)
    asked, strata = flips, _strata(sites, flips)
    units = [one.units for one in strata]
    flips = max(asked, sum(min(LEAST, count) for count in units))
    counts = neyman(units, [one.spread for one in strata], flips, least=LEAST)
    drawn: list[Flip] = []
    for one, count in zip(strata, counts, strict=True):
        rng = generator(seed, -1, "bitmap", "audit", f"{one.width}.{'.'.join(map(str, one.bits))}")
        drawn += [one.flip(int(unit)) for unit in rng.choice(one.units, count, replace=False)]
    truth = shares(sweep, sites, drawn)
    guess = np.array([_guess(sites, flip) for flip in drawn])
    audited, at = [], 0
    for one, count in zip(strata, counts, strict=True):
        part = slice(at, at + count)
        at += count
        audited.append(Audited(one.width, one.bits, one.units, tuple(drawn[part]), tuple(truth[part].tolist())))
    groups = []
    for one, own in zip(strata, audited, strict=True):
        estimate = mean_of(sites, [own], level=level)
        groups.append(BitGroup(one.width, one.bits, one.units, one.mean * one.stretch, len(own.flips), estimate))
    varied = np.ptp(truth) > 0 and np.ptp(guess) > 0
    return MapAudit(
        asked=asked,
        flips=len(drawn),
        predicted=_stretch(sites) * math.fsum(one.mean * one.units for one in strata) / sum(units),
        total=mean_of(sites, audited, level=level),
        rank_correlation=float(spearmanr(truth, guess).statistic) if varied else None,
        groups=tuple(groups),
        audited=tuple(audited),
    )


def mean_of(
    sites: Sequence[SiteMap],
    audited: Sequence[Audited],
    *,
    level: float,
    without: Collection[tuple[int, int]] = frozenset(),
) -> Estimate:
    """Return the mean share over all flips of some groups, corrected by their audit, with its interval.

    Args:
        sites: The map.
        audited: The groups: one, or all.
        level: Two-sided confidence, in (0, 1).
        without: Bits that are protected, each a number of a site and a position: their flips change nothing. They must
            not have been chosen by looking at the audit.
    """
    strata, weights = [], _weights(sites)
    for group in audited:
        members = [i for i, one in enumerate(sites) if len(one.shares) == group.width]
        open_bits = [(i, bit) for i in members for bit in group.bits if (i, bit) not in without]
        total = math.fsum(weights[i] * float(sites[i].shares[bit].sum(dtype=np.float64)) for i, bit in open_bits)
        pairs = zip(group.flips, group.truth, strict=True)
        found = [
            weights[flip.site] * (truth - _guess(sites, flip))
            for flip, truth in pairs
            if (flip.site, flip.bit) not in without
        ]
        strata.append(
            AuditStratum(
                population=group.units,
                predicted=min(max(total / group.units, 0.0), 1.0),
                audited=len(group.flips),
                gained=math.fsum(max(one, 0.0) for one in found),
                lost=math.fsum(max(-one, 0.0) for one in found),
            )
        )
    stretch = _stretch(sites, *{group.width for group in audited})
    return Estimate(*(min(1.0, stretch * end) for end in difference_estimate(strata, level=level)))


def _weights(sites: Sequence[SiteMap]) -> list[float]:
    """Return the weight of each tensor's flips as a part of the largest one."""
    largest = max(one.weight for one in sites)
    return [one.weight / largest for one in sites]


def _stretch(sites: Sequence[SiteMap], *widths: int) -> float:
    """Return what brings a mean over the mapped flips of weighed shares back to one over stored bits.

    Args:
        sites: The map.
        widths: Words of these widths alone; none: all.
    """
    chosen = [one for one in sites if not widths or len(one.shares) in widths]
    stored = sum(one.stored.site.elements * len(one.shares) for one in chosen)
    return max(one.weight for one in sites) * sum(one.shares.size for one in chosen) / stored


def _guess(sites: Sequence[SiteMap], flip: Flip) -> float:
    return float(sites[flip.site].shares[flip.bit, flip.position])
