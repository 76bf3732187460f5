"""Budgets of words whose cells are misread independently: stuck bits, confused levels of multi-level cells.

References:
    .. [MATH] The table of budgets in the design notes, §4, rows "bit error rate" and "multi-level cell confusion".
    .. [Hoeffding1956] W. Hoeffding. On the distribution of the number of successes in independent trials.
       Annals of Mathematical Statistics 27:713-721, 1956: equal probabilities have the heaviest tails.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim.budget.base import Budget, check_confidence, check_norm
from faultsim.budget.bits import FLOAT_NOTE
from faultsim.budget.compound import compound_quantile
from faultsim.budget.mixture import mixture_quantile
from faultsim.formats import BinaryFormat, IntFormat, NumberFormat, Values

Floats = NDArray[np.float64]

_ENUMERATED = 8
"""Widest word, in bits, of which every misreading is enumerated."""
_RARE = 0.05
"""Probability of a wrong word below which a Poisson number of wrong words has a spread at most 3 % wider."""
_GROUPS = 512
"""Most groups of equal words that are kept apart."""


class Words(NamedTuple):
    """The distinct words of a tensor, one entry each, ``(words, step, count)``; step is one code in value units."""

    words: NDArray[np.uint64]
    steps: Floats
    counts: Floats


def cell_errors(
    *,
    mechanism: str,
    scope: str,
    fmt: NumberFormat,
    values: Values,
    cells: Sequence[Floats],
    p: float,
    confidence: float,
) -> Budget:
    """Bound words whose cells are misread, each by itself, with a probability that depends on what it holds.

    - n is the binomial quantile of changed words at their mean probability ([Hoeffding1956]_).
    - Words of up to 8 bits: every misreading of every stored word is enumerated, so that several wrong cells of
      one word count as what they read. p = inf is the exact quantile of the largest change.
    - Wider words: single wrong cells as they are, and for p = 2 the cross term of two in one word by the triangle
      inequality. p = inf is the quantile of the largest single change; where m wrong cells in a word are likelier
      than ``1 - confidence``, the sum of the m largest.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        fmt: The storage format, B bits.
        values: The tensor, already rounded to the format, k elements.
        cells: Of each cell, least significant bits first, the probabilities ``[stored, read]`` of its bit patterns:
            square, ``2**bits`` wide; the widths add up to B.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    elements = values.size
    held = _distinct(fmt, values)
    eps, note = 0.0, ""
    if fmt.bits <= _ENUMERATED and not math.isinf(float(held.steps.max(initial=0.0))):
        law = _enumerate(fmt, cells)
        wrong = 1 - law[:, 0][held.words.astype(np.int64)]
    else:
        law = None
        wrong = 1 - np.prod(_right(held.words, cells), axis=0)
    n = int(stats.binom.ppf(confidence, elements, min(1.0, _mean(wrong, held.counts)))) if elements else 0
    if n and law is None and math.isinf(float(held.steps.max())):
        eps, note = math.inf, FLOAT_NOTE
    elif n and law is not None:
        eps = _enumerated_radius(law, held, wrong, p, confidence)
    elif n:
        eps = _wide_radius(fmt, held, cells, p, confidence)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=n, confidence=confidence, note=note)


def _distinct(fmt: NumberFormat, values: Values) -> Words:
    """Return the distinct pairs of word and step; an infinite step where the format has no useful ball."""
    words = fmt.encode(values).reshape(-1)
    if isinstance(fmt, IntFormat | BinaryFormat):
        steps = np.broadcast_to(np.asarray(fmt.scale, dtype=np.float64), np.shape(values)).reshape(-1)
    else:
        steps = np.full(words.size, math.inf)
    levels, which = np.unique(steps, return_inverse=True)
    order = np.lexsort((words, which))
    words, which = words[order], which.reshape(-1)[order]
    fresh = np.ones(words.size, dtype=np.bool_)
    fresh[1:] = (words[1:] != words[:-1]) | (which[1:] != which[:-1])
    first = np.flatnonzero(fresh)
    counts = np.diff(np.append(first, words.size)).astype(np.float64)
    return Words(words[first], levels[which[first]] if levels.size else np.empty(0), counts)


def _mean(shares: Floats, counts: Floats) -> float:
    return float(shares @ counts / counts.sum()) if counts.size else 0.0


def _patterns(words: NDArray[np.uint64], cells: Sequence[Floats]) -> list[tuple[int, NDArray[np.int64]]]:
    """Return of each cell its lowest bit and what it holds in each word."""
    found, low = [], 0
    for cell in cells:
        found.append((low, ((words >> np.uint64(low)) & np.uint64(cell.shape[0] - 1)).astype(np.int64)))
        low += cell.shape[0].bit_length() - 1
    return found


def _right(words: NDArray[np.uint64], cells: Sequence[Floats]) -> list[Floats]:
    """Return of each cell the probability that it reads right, one per word."""
    return [cell[at, at] for cell, (_, at) in zip(cells, _patterns(words, cells), strict=True)]


def _codes(fmt: NumberFormat, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    if isinstance(fmt, IntFormat):
        return fmt.codes(words)
    return 2 * (words & np.uint64(1)).astype(np.int64) - 1


def _enumerate(fmt: NumberFormat, cells: Sequence[Floats]) -> Floats:
    """Return the probability that a word's code changes by d, shape (words, largest change + 1)."""
    every = np.arange(1 << fmt.bits, dtype=np.uint64)
    reads = np.ones((every.size, every.size))
    for cell, (_, at) in zip(cells, _patterns(every, cells), strict=True):
        reads *= cell[at[:, None], at[None, :]]
    codes = _codes(fmt, every)
    change = np.abs(codes[None, :] - codes[:, None])
    width = int(change.max()) + 1
    flat = (np.arange(every.size)[:, None] * width + change).reshape(-1)
    shares: Floats = np.bincount(flat, reads.reshape(-1), every.size * width).astype(np.float64)
    return shares.reshape(every.size, width)


def _enumerated_radius(law: Floats, held: Words, wrong: Floats, p: float, confidence: float) -> float:
    rows = law[held.words.astype(np.int64)]
    change = np.arange(law.shape[1], dtype=np.float64)
    # no norm is less than the largest change, whose quantile no grid blurs
    least = _largest(rows, held, confidence)
    if p == math.inf:
        return least
    if float(wrong.max()) <= _RARE or held.words.size > _GROUPS:
        levels, which = np.unique(held.steps, return_inverse=True)
        rates = np.zeros((levels.size, change.size))
        np.add.at(rates, which, rows * held.counts[:, None])
        jumps = (levels[:, None] * change) ** p
        return max(float(compound_quantile(jumps[:, 1:], rates[:, 1:], confidence) ** (1 / p)), least)
    jumps = (held.steps[:, None] * change) ** p
    return max(float(mixture_quantile(jumps[:, 1:], rows[:, 1:], held.counts, confidence) ** (1 / p)), least)


def _largest(rows: Floats, held: Words, confidence: float) -> float:
    """Return the smallest possible change that all words stay within with *confidence*."""
    beyond = np.cumsum(rows[:, ::-1], axis=1)[:, ::-1]  # P(change >= d)
    beyond = np.minimum(np.concatenate([beyond, np.zeros((rows.shape[0], 1))], axis=1), 1.0)
    possible = np.unique(np.unique(held.steps)[:, None] * np.arange(rows.shape[1]))
    low, high = 0, possible.size - 1
    at = np.arange(rows.shape[0])
    while low < high:
        middle = (low + high) // 2
        most = np.floor(possible[middle] / held.steps * (1 + 1e-12)).astype(np.int64)
        tail = beyond[at, np.minimum(most + 1, rows.shape[1])]
        with np.errstate(divide="ignore"):
            inside = float(held.counts @ np.log1p(-tail))
        low, high = (low, middle) if inside >= math.log(confidence) else (middle + 1, high)
    return float(possible[low])


def _wide_radius(fmt: NumberFormat, held: Words, cells: Sequence[Floats], p: float, confidence: float) -> float:
    at = _patterns(held.words, cells)
    singles = [_single(fmt, held, cell, *place) for cell, place in zip(cells, at, strict=True)]
    sizes = np.concatenate([s for s, _ in singles])
    rates = np.concatenate([r for _, r in singles])
    elements = float(held.counts.sum())
    if p == 1:
        return compound_quantile(sizes, rates, confidence)
    if p == 2:
        pairs = [_cross(a, b, elements) for a, b in itertools.combinations([_coarse(*s) for s in singles], 2)]
        jumps = np.concatenate([sizes**2, *(j for j, _ in pairs)])
        return math.sqrt(compound_quantile(jumps, np.concatenate([rates, *(r for _, r in pairs)]), confidence))
    error = float(rates.sum()) / elements / len(cells)
    most = 1
    while most < len(cells) and elements * float(stats.binom.sf(most, len(cells), min(error, 1.0))) > 1 - confidence:
        most += 1
    if most > 1:
        return float(np.sort([s.max(initial=0.0) for s, _ in singles])[-most:].sum())
    order = np.argsort(sizes)[::-1]
    above = np.cumsum(rates[order])
    kept = np.flatnonzero(above > -math.log(confidence))
    return float(sizes[order[kept[0]]]) if kept.size else 0.0


def _single(fmt: NumberFormat, held: Words, cell: Floats, low: int, at: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the distinct changes that one wrong cell makes, and how many of each are expected."""
    before = _codes(fmt, held.words)
    cleared = held.words & ~np.uint64((cell.shape[0] - 1) << low)
    found: dict[float, float] = {}
    for pattern in range(cell.shape[0]):
        after = _codes(fmt, cleared | np.uint64(pattern << low))
        sizes = np.abs(after - before) * held.steps
        rates = cell[at, pattern] * held.counts
        distinct, which = np.unique(sizes, return_inverse=True)
        for size, rate in zip(distinct, np.bincount(which.reshape(-1), rates), strict=True):
            if size > 0 and rate > 0:
                found[float(size)] = found.get(float(size), 0.0) + float(rate)
    return np.array(list(found)), np.array(list(found.values()))


def _coarse(sizes: Floats, rates: Floats, most: int = 64) -> tuple[Floats, Floats]:
    """Return at most *most* sizes, rounded up, with the same total rate."""
    if sizes.size <= most:
        return sizes, rates
    order = np.argsort(sizes)
    parts = np.array_split(order, most)
    return np.array([sizes[part].max() for part in parts]), np.array([rates[part].sum() for part in parts])


def _cross(a: tuple[Floats, Floats], b: tuple[Floats, Floats], elements: float) -> tuple[Floats, Floats]:
    """Return the jumps ``2 |a| |b|`` of words where two cells are wrong, and how many are expected."""
    jumps = 2 * a[0][:, None] * b[0]
    return jumps.reshape(-1), (a[1][:, None] * b[1] / elements).reshape(-1)
