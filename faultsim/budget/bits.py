"""Budgets of stored bits that flip: bit error rates, SECDED, single-event upsets.

References:
    .. [MATH] The table of budgets in the design notes, §4, rows "bit error rate", "SECDED", "FIT / SEU".
    .. [Hamming1950] R. W. Hamming. Error detecting and error correcting codes. BSTJ 29:147-160, 1950: SECDED.
    .. [Hoeffding1956] W. Hoeffding. On the distribution of the number of successes in independent trials.
       Annals of Mathematical Statistics 27:713-721, 1956: equal probabilities have the heaviest tails.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from faultsim.budget.base import Budget, check_confidence, check_norm, check_rate
from faultsim.budget.compound import compound_quantile, poisson_quantile
from faultsim.budget.largest import largest_change, largest_jump
from faultsim.budget.words import flip_moments
from faultsim.formats import FloatFormat, IntFormat, NumberFormat, Values

_TOGETHER = 1e-4
"""Rate above which flips that meet in a word count: below it they are less than a ten-thousandth of a radius."""

_FOLLOWED = 1 << 18
"""Changes of one event each that a quantile of the largest is taken over."""

TOGETHER_NOTE = "as if the largest flips of a word added up: an upper bound"
FLOAT_NOTE = "a flipped exponent bit has no useful ball: only n is bounded, use exact flips"


def stored_bits(fmt: NumberFormat, values: Values) -> NDArray[np.bool_]:
    """Return the stored bits of *values*, shape ``(elements, bits)``, least significant first."""
    words = fmt.encode(values).reshape(-1, 1)
    place = np.arange(fmt.bits, dtype=np.uint64)
    return ((words >> place) & np.uint64(1)).astype(np.bool_)


def flip_sizes(fmt: NumberFormat, values: Values) -> NDArray[np.float64]:
    """Return what each flip changes: ``|decode(word ^ 1 << bit) - value|`` in value units.

    Args:
        fmt: The storage format.
        values: The tensor, already rounded to the format, any shape of k elements.

    Returns:
        Shape ``(k, bits)``, or ``(1, bits)`` where all elements share their sizes (two's complement and
        offset binary with one scale: ``scale * 2**bit``). All infinite for floats: their flips have no
        useful ball.
    """
    if isinstance(fmt, FloatFormat):
        return np.full((1, fmt.bits), np.inf)
    if isinstance(fmt, IntFormat) and fmt.encoding != "sign_magnitude" and isinstance(fmt.scale, float):
        return np.array([[math.ldexp(fmt.scale, bit) for bit in range(fmt.bits)]])
    return _changes(fmt, values, [1 << bit for bit in range(fmt.bits)])


def bit_errors(
    *,
    mechanism: str,
    scope: str,
    sizes: NDArray[np.float64],
    rates: ArrayLike,
    elements: int,
    p: float,
    confidence: float,
    tensor: tuple[NumberFormat, Values] | None = None,
) -> Budget:
    """Bound independent bit flips: [MATH]_ "bit error rate", with the compound-Poisson quantile throughout.

    - n is the binomial quantile over elements with any flip. Where rates differ their mean is used, which
      has the heavier tail ([Hoeffding1956]_).
    - p = 2: ``eps**2`` is the quantile of ``sum Poisson(rate) size**2``; its mean is ``k b s^2 (4^B - 1) /
      3``.
    - p = 1: the quantile of ``sum Poisson(rate) size``; its mean is ``k b s (2^B - 1)``.
    - p = 1, 2 with *tensor*: that quantile, moved and stretched to the exact mean and variance with several flips in
      a word (`flip_moments`); without, their cross terms of order b² are left out, which reads high.
    - p = inf with *tensor*: the quantile of the largest change (`largest_change`). Without, or where words have rates
      of their own: the largest flip ``s 2^(B-1)``; where a word with m flips is likelier than ``1 - confidence``, the
      sum of the m largest, an upper bound.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        sizes: Change of each flip, shape ``(elements, bits)`` or ``(1, bits)``, value units (see
            `flip_sizes`).
        rates: Probability that each stored bit is wrong, broadcastable to ``(elements, bits)``.
        elements: Elements of the tensor, k.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.
        tensor: Format and values of the tensor, for what several flips of a word do together.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    bits = sizes.shape[1]
    each = np.atleast_2d(np.asarray(rates, dtype=np.float64))
    with np.errstate(divide="ignore"):  # a rate of 1 has the logarithm -inf and touches surely
        spared = np.sum(np.log1p(-np.broadcast_to(each, (each.shape[0], bits))), axis=1)
    touched = float(np.mean(-np.expm1(spared)))
    n = int(stats.binom.ppf(confidence, elements, touched)) if elements else 0
    eps, note = 0.0, ""
    if n and not np.all(np.isfinite(sizes)):
        eps, note = math.inf, FLOAT_NOTE
    elif n and p == math.inf:
        closed = None
        if tensor is not None and isinstance(tensor[0], IntFormat):
            closed = largest_change(tensor[0], tensor[1], each, confidence=confidence)
        if closed is None:
            most = _flips_in_a_word(float(np.max(each)), bits, elements, confidence)  # of the worst word: a bound
            closed = float(np.sort(sizes, axis=1)[:, bits - most :].sum(axis=1).max())
            note = TOGETHER_NOTE if most > 1 else ""
        eps = closed
    elif n:
        total = each if each.shape[0] == sizes.shape[0] == elements else each.mean(axis=0, keepdims=True)
        repeats = elements / max(total.shape[0], sizes.shape[0])
        weight = np.broadcast_to(total, (total.shape[0], bits)) * repeats
        found = compound_quantile(sizes**p, weight, confidence)
        if found > 0 and tensor is not None and isinstance(tensor[0], IntFormat) and each.max() > _TOGETHER:
            apart = float(np.sum(weight * sizes**p)), float(np.sum(weight * sizes ** (2 * p)))
            exact = flip_moments(tensor[0], tensor[1], each, p=int(p))
            found = max(exact.mean + (found - apart[0]) * math.sqrt(exact.variance / apart[1]), 0.0)
        eps = found ** (1 / p)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=n, confidence=confidence, note=note)


def secded_word_failure(ber: float, *, word_bits: int = 72) -> float:
    """Return the probability that a SECDED word holds two or more wrong bits and cannot be corrected.

    ``1 - (1-b)^W - W b (1-b)^(W-1)``, [Hamming1950]_; about ``W(W-1)/2 b**2``.

    Args:
        ber: Raw probability per stored bit, 0 to 1.
        word_bits: Data and check bits of a word, 72 for 64 data bits.
    """
    check_rate("ber", ber)
    return float(stats.binom.sf(1, word_bits, ber))


def secded_ber(ber: float, *, word_bits: int = 72) -> float:
    """Return the bit error rate that is left after SECDED: bits of words with two or more errors.

    ``b (1 - (1-b)^(W-1))``, about ``(W-1) b**2`` (71 b² at W = 72, [MATH]_). Three errors that the decoder
    takes for one, and "corrects" into a fourth, are not counted: a share of b³.

    Args:
        ber: Raw probability per stored bit, 0 to 1.
        word_bits: Data and check bits of a word.
    """
    check_rate("ber", ber)
    return 0.0 if ber == 0 else float(ber * -math.expm1((word_bits - 1) * math.log1p(-ber))) if ber < 1 else 1.0


def upsets(
    *,
    mechanism: str,
    scope: str,
    fmt: NumberFormat,
    values: Values,
    events_per_bit: float,
    multiplicity: Sequence[float],
    conditional: bool,
    p: float,
    confidence: float,
) -> Budget:
    """Bound single-event upsets: [MATH]_ "FIT / SEU rate", each event a run of adjacent bits in one element.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        fmt: The storage format, ``B`` bits.
        values: The tensor, already rounded to the format.
        events_per_bit: Expected events per stored bit over the exposure, at least 0.
        multiplicity: ``P(size = 1, 2, ...)``, adding up to 1.
        conditional: Whether to bound what happens given at least one event in this tensor.
        p: 1, 2 or ``math.inf``: the largest change of any one event, of elements evenly where they are many. The radii
            of 1 and 2 are never below it.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If p or confidence is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    bits, elements = fmt.bits, values.size
    mean = events_per_bit * bits * elements
    n = min(elements, poisson_quantile(mean, confidence, given_event=conditional))
    eps, note = 0.0, ""
    if n and isinstance(fmt, FloatFormat):
        eps, note = math.inf, FLOAT_NOTE
    elif n:
        masks, shares = _run_masks(bits, multiplicity)
        sizes = _changes(fmt, values, masks)
        rates = np.asarray(shares)[None, :] * (events_per_bit * bits)
        rows = np.linspace(0, elements - 1, min(elements, -(-_FOLLOWED // len(masks)))).astype(np.int64)
        each = np.broadcast_to(rates * (elements / rows.size), (rows.size, len(masks)))
        eps = largest_jump(sizes[rows].ravel(), each.ravel(), confidence=confidence, given_event=conditional)
        if p != math.inf:  # on the grid of wide words' squares small jumps are lost, but the sum is no less than one
            eps = max(eps, compound_quantile(sizes**p, rates, confidence, given_event=conditional) ** (1 / p))
    return Budget(
        mechanism=mechanism,
        scope=scope,
        p=p,
        eps=eps,
        n=n,
        confidence=confidence,
        conditional=conditional,
        note=note,
    )


def largest_upset(fmt: NumberFormat, values: Values, multiplicity: Sequence[float]) -> float:
    """Return the largest change that an event can make in an element, whatever its chance; infinite for floats."""
    if isinstance(fmt, FloatFormat):
        return math.inf
    return float(_changes(fmt, values, _run_masks(fmt.bits, multiplicity)[0]).max(initial=0.0))


def _run_masks(bits: int, multiplicity: Sequence[float]) -> tuple[list[int], list[float]]:
    """Return every run of adjacent bits that an event can flip, and its share of all events."""
    masks: list[int] = []
    shares: list[float] = []
    for size, share in enumerate(multiplicity, start=1):
        run = min(size, bits)
        for start in range(bits - run + 1):
            if share > 0:
                masks.append(((1 << run) - 1) << start)
                shares.append(share / (bits - run + 1))
    return masks, shares


def _changes(fmt: NumberFormat, values: Values, masks: Sequence[int]) -> NDArray[np.float64]:
    """Return ``|decode(word ^ mask) - value|``, shape (elements, masks)."""
    words = fmt.encode(values)
    whole = fmt.decode(words).astype(np.float64)
    columns = [np.abs(fmt.decode(words ^ np.uint64(m)).astype(np.float64) - whole).ravel() for m in masks]
    return np.stack(columns, axis=1)


def _flips_in_a_word(ber: float, bits: int, elements: int, confidence: float) -> int:
    """Return the most flips that any word of *elements* has, at *confidence* (at least 1)."""
    for most in range(1, bits):
        worse = float(stats.binom.sf(most, bits, ber))
        if elements * math.log1p(-worse) >= math.log(confidence) if worse < 1 else False:
            return most
    return bits
