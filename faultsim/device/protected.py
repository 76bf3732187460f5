"""Laws as a model meets them behind its memory's code, for budgets. Chips are drawn through the code itself.

References:
    .. [MATH] The table of budgets in the design notes, §4, row "SECDED over 72 bits".
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim import rng
from faultsim.budget import Budget, flip_sizes
from faultsim.budget.base import check_confidence, check_norm
from faultsim.budget.bits import FLOAT_NOTE
from faultsim.corruption import Stored
from faultsim.device.laws import Law
from faultsim.device.meetings import event_bound, tells_more
from faultsim.device.words import Bits, Floats, Ints, Left, Words, changes_of, masks_of, sum_quantile, tail, words_of
from faultsim.faults import BitFlip, UpsetRate, VoltageBitErrors
from faultsim.memory import Code, OnDue, residual_ber, residual_of_cluster, word_outcomes
from faultsim.memory.residual import errors_given, fewest_errors

_DRAWS = 16_000
_ENOUGH = 400
"""Wrong words that are enough of the draws; else as many are drawn again, up to `_ROUNDS` times."""
_ROUNDS = 8
_SOME = 100

_LARGEST_NOTE = "the largest change of a word with as many flips as are likely: an upper bound"


def bound(law: Law, stored: Stored, code: Code | None, *, p: float, confidence: float) -> Budget:
    """Return the budget of one law on one tensor, behind *code* where the memory has one.

    Independent errors leave wrong words, each with several wrong bits; a rare event leaves what its silent cases leave,
    and nothing where it has none; of more events also those count that meet in one word (`faultsim.device.meetings`).
    Any other law is bounded as if there were no code, which can only be too much.
    """
    if code is None:
        found = law.fault.budget(stored, p=p, confidence=confidence)
    elif isinstance(law.fault, BitFlip | VoltageBitErrors):
        found = _of_words(law.fault, stored, code, p=p, confidence=confidence)
    elif isinstance(law.fault, UpsetRate):
        found = _of_events(law.fault, stored, code, p=p, confidence=confidence)
    else:
        found = law.fault.budget(stored, p=p, confidence=confidence)
        found = replace(found, note="; ".join(part for part in (found.note, "as if there were no code") if part))
    return replace(found, mechanism=law.id)


def behind(law: UpsetRate, code: Code) -> UpsetRate | None:
    """Return the law of the events that leave wrong data without an alarm, None where the code lets none through."""
    interleave = 1 if law.geometry is None else law.geometry.interleave
    left = residual_of_cluster(code, law.multiplicity, law.pattern, interleave=interleave)
    if left.silent == 0:
        return None
    shares = np.asarray(left.wrong_bits[1:])
    return replace(
        law,
        fit_per_mbit=law.fit_per_mbit * left.silent,
        multiplicity=tuple(float(share) for share in shares / shares.sum()),
    )


def _of_events(law: UpsetRate, stored: Stored, code: Code, *, p: float, confidence: float) -> Budget:
    if tells_more(law, [stored], code, confidence=confidence):
        found = event_bound(law, [stored], code, p=p, confidence=confidence)
        return Budget(
            mechanism=law.kind, scope=stored.site.name, p=p, eps=found.eps, n=found.n, confidence=confidence,
            conditional=law.given_event, note=found.note,
        )  # fmt: skip
    thinned = behind(law, code)
    if thinned is None:
        return Budget(
            mechanism=law.kind, scope=stored.site.name, p=p, eps=0.0, n=0, confidence=confidence,
            conditional=law.given_event, note="the code lets no single event through",
        )  # fmt: skip
    alone = thinned.budget(stored, p=p, confidence=confidence)
    return replace(alone, note="of events that the code lets through") if law.given_event else alone


def _of_words(law: BitFlip | VoltageBitErrors, stored: Stored, code: Code, *, p: float, confidence: float) -> Budget:
    """Bound independent errors: a sum over the wrong words, which are drawn from the tensor's own.

    - n is the quantile of the sum of their wrong elements, p = 1, 2 that of their changes to the power p.
    - p = inf is the quantile of the largest change of an element.
    """
    check_norm(p)
    check_confidence(confidence)
    if isinstance(law, BitFlip):
        one = zero = law.ber
    else:  # a failing cell is wrong where it holds what it does not read
        one, zero = law.ber() * (1 - law.p_flip_0to1), law.ber() * law.p_flip_0to1
    words, most = words_of(stored, code, max(one, zero), confidence)
    data = np.concatenate([words.written, code.encode(words.written)], axis=1)
    rates = np.where(data, one, zero)
    rates[:, : code.data_bits][~words.used] = 0.0
    left = _left_wrong(code, words.written, rates, most)
    found = Budget(mechanism=law.kind, scope=stored.site.name, p=p, eps=0.0, n=0, confidence=confidence)
    if not left.row.size:
        rate = float(rates.mean()) if rates.size and code.scheme in ("chipkill", "reed_solomon") else 0.0
        if words.total * word_outcomes(code, rate).silent <= -math.log(confidence):
            return found
        ber = residual_ber(code, rate)  # words so rare among those with as many wrong symbols that none was drawn
        return BitFlip(ber=ber).budget(stored, p=p, confidence=confidence)
    masks = masks_of(words, left)
    n = min(stored.values.size, round(sum_quantile((masks != 0).sum(axis=1), left.chance, words.total, confidence)))
    if n == 0:
        return found
    if not np.all(np.isfinite(flip_sizes(stored.format, stored.values))):
        return replace(found, n=n, eps=math.inf, note=FLOAT_NOTE)
    if p == math.inf:
        largest = _largest(stored, words, left, masks, confidence, code.on_due)
        return replace(found, n=n, eps=largest, note=_LARGEST_NOTE)
    changed = np.sum(changes_of(stored, words, left, masks) ** p, axis=1)
    return replace(found, n=n, eps=sum_quantile(changed, left.chance, words.total, confidence) ** (1 / p))


def _left_wrong(code: Code, written: Bits, rates: Floats, most: int) -> Left:
    """Return what the decoder leaves of errors at these *rates*, shape (words, bits) and data first, as draws.

    Draws are stratified by the number of raw errors of a word, up to *most*, so that rare words have theirs: a word
    by its probability of so many, then their places from its last bit to its first, exactly. Where all words are
    alike the chances add up to those of `word_outcomes`.
    """
    ways = np.zeros((len(rates), code.bits + 1, most + 1))  # P(k errors in the first bits)
    ways[:, 0, 0] = 1
    for bit, rate in enumerate(rates.T):
        ways[:, bit + 1] = ways[:, bit] * (1 - rate)[:, None]
        ways[:, bit + 1, 1:] += ways[:, bit, :-1] * rate[:, None]
    strata = ways[:, -1].mean(axis=0) if len(rates) else np.zeros(most + 1)
    ks = np.array([k for k in range(fewest_errors(code), most + 1) if strata[k] > 0], dtype=np.int64)
    sizes = 32 + np.ceil(_DRAWS * np.sqrt(strata[ks]) / max(np.sqrt(strata[ks]).sum(), 1e-300)).astype(np.int64)
    draw = rng.generator(0, -1, "left wrong", code.scheme, f"{code.data_bits} {code.check_bits} {code.symbol_bits}")
    empty = np.zeros(0, dtype=np.int64)
    found = [Left(empty, np.zeros((0, code.data_bits), dtype=np.bool_), empty.astype(np.bool_), empty.astype(float))]
    rounds = 0
    while ks.size and rounds < _ROUNDS and sum(part.row.size for part in found) < _ENOUGH:
        rounds += 1
        row = np.concatenate([empty, *(_spread(draw, ways[:, -1, k], n) for k, n in zip(ks, sizes, strict=True))])
        errors = errors_given(draw, ways, rates, row, np.repeat(ks, sizes))
        seen = code.decode(errors[:, : code.data_bits], errors[:, code.data_bits :], written[row])
        kept = seen.residual.any(axis=1)
        chance = np.repeat(strata[ks] / sizes, sizes)
        found.append(Left(row[kept], seen.residual[kept], seen.detected[kept], chance[kept]))
    left = Left(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    chance = left.chance / max(rounds, 1)
    silent = float(chance[~left.lost].sum())
    if silent and np.ptp(rates) == 0:
        chance[~left.lost] *= word_outcomes(code, float(rates[0, 0])).silent / silent
    return left._replace(chance=chance)


def _spread(draw: np.random.Generator, weights: Floats, size: int) -> Ints:
    """Return *size* rows in proportion to *weights*, evenly spread."""
    edges = np.cumsum(weights)
    at = (np.arange(size) + draw.random()) * (edges[-1] / size)
    rows: Ints = np.minimum(np.searchsorted(edges, at, side="right"), len(weights) - 1)
    return rows


def _largest(
    stored: Stored, words: Words, left: Left, masks: NDArray[np.uint64], confidence: float, on_due: OnDue
) -> float:
    """Return the quantile of the largest change of an element: of the words as drawn, where enough change more.

    Else of elements with m flips: what m flips change as drawn, how many have m as if at random places of a word.
    """
    bits, width = stored.format.bits, words.used.shape[1]
    sizes = np.sort(flip_sizes(stored.format, stored.values), axis=1)[:, ::-1]
    changed, flips = changes_of(stored, words, left, masks), np.bitwise_count(masks)
    drawn, higher = tail(changed.max(axis=1), left.chance * words.total, confidence)
    if higher >= _SOME // 4:
        return drawn
    heights, weights = [np.zeros(0)], [np.zeros(0)]
    known = ~left.lost | (on_due != "zero_word")
    if not known.all():
        zeros = stored.format.decode(np.zeros(stored.values.shape, dtype=np.uint64)).astype(np.float64)
        top = float(np.abs(zeros - stored.values).max() if bits <= width else sizes.sum(axis=1).max())
        heights, weights = [np.array([top])], [left.chance[~known].sum(keepdims=True)]
    chance = np.bincount(left.wrong[known].sum(axis=1), left.chance[known])
    for m in range(1, min(bits, width) + 1):
        odds = stats.hypergeom.pmf(m, width, min(bits, width), np.arange(chance.size))
        rate = float(chance @ odds) * words.elements.shape[1]
        row, slot = np.nonzero((flips == m) & known[:, None])
        share = left.chance[row] if row.size >= _SOME else np.ones(1)
        heights.append(changed[row, slot] if row.size >= _SOME else sizes[:, :m].sum(axis=1).max(keepdims=True))
        weights.append(share * (rate / share.sum()))
    return tail(np.concatenate(heights), np.concatenate(weights) * words.total, confidence)[0]
