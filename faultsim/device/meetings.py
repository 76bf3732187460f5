"""What upsets at a rate leave behind a code where several meet in one word, or an alarm lets them pass. No law here.

References:
    .. [MATH] The table of budgets in the design notes, §4, row "SECDED over 72 bits": two errors in one word are
       ``71 b**2`` of all bits, which no single event tells.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from faultsim import rng
from faultsim.budget import compound_quantile, flip_sizes
from faultsim.budget.base import check_confidence, check_norm
from faultsim.budget.bits import FLOAT_NOTE
from faultsim.corruption import Stored
from faultsim.device.words import Bits, Floats, Ints, Left, changes_of, masks_of, tail, words_of
from faultsim.faults import UpsetRate
from faultsim.memory import Code, residual_of_cluster

_DRAWS = 16_000
_MOST = 64
"""Most events of one word that are drawn."""
_NEGLIGIBLE = 0.01
"""Share of the risk ``1 - confidence`` below which words with several events are left out."""
_NOTE = "of drawn words with one or several events"


class Found(NamedTuple):
    """The most wrong numbers, their radius in value units, and how it came about."""

    n: int
    eps: float
    note: str


class _Draws(NamedTuple):
    """Words of a tensor that events leave wrong.

    Attributes:
        wrong: Wrong numbers of each, shape (draws,).
        changes: What they are off by, shape (draws, numbers of a word).
        rate: Such words that a chip expects, shape (draws,).
    """

    wrong: Ints
    changes: Floats
    rate: Floats


def tells_more(law: UpsetRate, stored: Sequence[Stored], code: Code, *, confidence: float) -> bool:
    """Whether chips go wrong by more than single events that the code takes for none.

    That is where two events meet in a word on more than a hundredth of the chips that *confidence* leaves out, or where
    the machine works on with what the code reports. Chips given an event expect too few for the first.
    """
    if law.events_per_bit == 0:
        return False
    if code.on_due in ("pass_through", "zero_word") and _reported(law, code):
        return True
    if law.given_event:
        return False
    mean = law.events_per_bit * code.bits * float(_pieces(law)[1].sum())
    words = sum(math.ceil(one.values.size * one.format.bits / code.data_bits) for one in stored)
    return words * float(stats.poisson.sf(1, mean)) > _NEGLIGIBLE * (1 - confidence)


def event_bound(law: UpsetRate, stored: Sequence[Stored], code: Code, *, p: float, confidence: float) -> Found:
    """Bound what the upsets of all of *stored* leave behind *code*: quantiles over words that are drawn with theirs.

    A word has a Poisson number of events, each at a random place of its data and check bits. With a law that is given
    an event: what one event leaves that leaves something. Where one event hits several words, they are taken to go
    wrong each by itself and all together, and the larger bound counts.

    Args:
        law: The events; their rate must be above 0.
        stored: The tensors, at least one.
        code: The memory's code.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile over chips, strictly between 0 and 1.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    parts = [_left_by(law, one, code, confidence) for one in stored]
    rate = np.concatenate([part.rate for part in parts])
    together = 1 if law.given_event else _together(law)

    def quantile(sizes: Floats) -> float:
        if law.given_event:
            order = np.argsort(sizes)
            share = np.cumsum(rate[order]) / rate.sum()
            at = min(int(np.searchsorted(share, confidence - 1e-12)), sizes.size - 1)
            return float(sizes[order][at])
        return max(k * compound_quantile(sizes, rate / k, confidence) for k in {1, together})

    wrong = np.concatenate([part.wrong for part in parts]).astype(np.float64)
    n = min(sum(one.values.size for one in stored), round(quantile(wrong))) if wrong.size else 0
    if n == 0:
        return Found(0, 0.0, "the code lets next to no event through")
    if not all(np.all(np.isfinite(flip_sizes(one.format, one.values))) for one in stored):
        return Found(n, math.inf, FLOAT_NOTE)
    if p == math.inf:
        largest = np.concatenate([part.changes.max(axis=1, initial=0.0) for part in parts])
        return Found(n, quantile(largest) if law.given_event else tail(largest, rate, confidence)[0], _NOTE)
    moved = np.concatenate([np.sum(part.changes**p, axis=1) for part in parts])
    return Found(n, quantile(moved) ** (1 / p), _NOTE)


def _left_by(law: UpsetRate, stored: Stored, code: Code, confidence: float) -> _Draws:
    """Return the words of a tensor that are wrong behind the decoder, drawn by their number of events."""
    words, _ = words_of(stored, code, 0.0, confidence)
    lengths, factors = _pieces(law)
    mean = law.events_per_bit * code.bits * float(factors.sum())
    most = 1
    while not law.given_event and most < _MOST and words.total * stats.poisson.sf(most, mean) > 1e-3 * (1 - confidence):
        most += 1
    ks = np.arange(1, most + 1)
    chance = np.full(1, mean) if law.given_event else stats.poisson.pmf(ks, mean)
    sizes = 32 + np.ceil(_DRAWS * np.sqrt(chance) / max(float(np.sqrt(chance).sum()), 1e-300)).astype(np.int64)
    if not len(words.used):
        sizes[:] = 0
    draw = rng.generator(0, -1, "events in words", f"{code.scheme} {code.data_bits} {code.check_bits}")
    row = draw.integers(max(len(words.used), 1), size=int(sizes.sum()))
    number = np.repeat(ks, sizes)
    errors = np.zeros((row.size, code.bits), dtype=np.bool_)
    unit = stored.format.bits if law.geometry is None else code.data_bits
    for event in range(most):
        _strike(errors, np.flatnonzero(number > event), draw, lengths, factors / factors.sum(), code, unit)
    errors[:, : code.data_bits] &= words.used[row]
    seen = code.decode(errors[:, : code.data_bits], errors[:, code.data_bits :], words.written[row])
    kept = seen.residual.any(axis=1)
    rate = np.repeat(words.total * chance / np.maximum(sizes, 1), sizes)[kept]
    left = Left(row[kept], seen.residual[kept], seen.detected[kept], rate)
    masks = masks_of(words, left)
    return _Draws(np.count_nonzero(masks, axis=1), changes_of(stored, words, left, masks), rate)


def _strike(
    errors: Bits, at: Ints, draw: np.random.Generator, lengths: Ints, shares: Floats, code: Code, unit: int
) -> None:
    """Let one event flip a run of bits in each of the rows *at*: of a word's data within *unit* bits, or its checks."""
    size = lengths[draw.choice(lengths.size, size=at.size, p=shares)]
    place, inside = draw.integers(code.bits, size=at.size), draw.random(at.size)
    checks = place >= code.data_bits
    begin = np.where(checks, code.data_bits, place // unit * unit)
    room = np.where(checks, code.bits, np.minimum(begin + unit, code.data_bits)) - begin
    size = np.minimum(size, room)
    start = np.where(size == 1, place, begin + (inside * (room - size + 1)).astype(np.int64))
    for step in range(int(size.max(initial=0))):
        longer = size > step
        errors[at[longer], start[longer] + step] ^= True


def _pieces(law: UpsetRate) -> tuple[Ints, Floats]:
    """Return the runs that an event leaves in single words: bits of each, and how many of them an event has."""
    found: dict[int, float] = {}
    lanes = 1 if law.geometry is None or law.pattern != "row" else law.geometry.interleave
    for size, share in enumerate(np.asarray(law.multiplicity) / sum(law.multiplicity), start=1):
        words = size if law.pattern == "column" else min(size, lanes)
        long, more = divmod(size, words)
        for length, count in ((long, words - more), (long + 1, more)):
            if share * count > 0:
                found[length] = found.get(length, 0.0) + float(share) * count
    return np.array(list(found), dtype=np.int64), np.array(list(found.values()))


def _together(law: UpsetRate) -> int:
    """Return the most words that one event hits."""
    if law.pattern == "word_cluster" or law.geometry is None:
        return 1
    most = len(law.multiplicity)
    return most if law.pattern == "column" else min(most, law.geometry.interleave + 1)


def _reported(law: UpsetRate, code: Code) -> bool:
    """Whether the code reports single events."""
    interleave = 1 if law.geometry is None else law.geometry.interleave
    return residual_of_cluster(code, law.multiplicity, law.pattern, interleave=interleave).detected > 0
