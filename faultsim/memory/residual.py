"""What a code leaves of known errors: of single clusters, and of independent bit errors. No tensor lives here.

References:
    .. [MATH] The table of budgets in the design notes, §4, row "SECDED over 72 bits": b' = 71 b^2.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim import rng
from faultsim.errors import OptionError
from faultsim.memory.code import Bits, Code
from faultsim.memory.layout import Ints, Pattern
from faultsim.memory.weights import RADIUS, patterns

_DRAWS = 100_000
_CHUNK_BITS = 1 << 22


class Clusters(NamedTuple):
    """What becomes of one cluster; the three probabilities add up to 1.

    Attributes:
        corrected: No alarm, and all data right.
        detected: An alarm in any of the words hit.
        silent: No alarm, and wrong data.
        wrong_bits: ``P(k wrong data bits | silent)`` at position k, over all words hit; empty where nothing is.
    """

    corrected: float
    detected: float
    silent: float
    wrong_bits: tuple[float, ...]


class Outcomes(NamedTuple):
    """What becomes of a code word; the rest to 1 had no error.

    Attributes:
        corrected: Probability that it has errors, raises no alarm and its data are right.
        detected: Probability of an alarm.
        silent: Probability of wrong data without an alarm.
    """

    corrected: float
    detected: float
    silent: float


class _Fates(NamedTuple):
    """Of a word: the probability of silent and of detected errors, and the expected wrong data bits in each."""

    silent: float
    detected: float
    silent_wrong: float
    detected_wrong: float


def residual_of_cluster(
    code: Code, multiplicity: Sequence[float], pattern: Pattern = "word_cluster", *, interleave: int = 1
) -> Clusters:
    """Return what a code makes of one event that upsets neighbouring cells, by enumeration of all its places.

    Here check bits lie beside the data bits, which come first, and every place of the run is equally likely, as
    with check bits on the same row; a longer run than there are cells is cut.

    - ``word_cluster``: adjacent bits of one code word.
    - ``row``: adjacent columns in a group of *interleave* words whose bits alternate; runs across groups are not
      counted. With ``interleave=1`` this is ``word_cluster``.
    - ``column``: one bit in each of as many words as the event has cells, at the same place in all.

    Args:
        code: The code. Its `on_due` has no part in this.
        multiplicity: ``P(size = 1, 2, ...)`` of an event, adding up to 1.
        pattern: Along what the cells are neighbours.
        interleave: Code words whose bits alternate along the row, at least 1; for ``row`` alone.

    Raises:
        OptionError: If the shares do not add up to 1, the pattern is unknown or *interleave* is below 1.

    Examples:
        >>> from faultsim.memory import make_code
        >>> residual_of_cluster(make_code("secded", 64), [0.0, 1.0]).detected
        1.0
        >>> residual_of_cluster(make_code("secded", 64), [0.0, 1.0], "row", interleave=2).corrected
        1.0
    """
    if len(multiplicity) == 0 or min(multiplicity) < 0 or abs(sum(multiplicity) - 1) > 1e-6:
        raise OptionError(f"multiplicity must be probabilities that add up to 1, got {tuple(multiplicity)}")
    if pattern not in ("word_cluster", "row", "column"):
        raise OptionError(f"unknown pattern {pattern!r}; use word_cluster, row or column")
    if interleave < 1:
        raise OptionError(f"interleave must be at least 1, got {interleave}")
    lanes = interleave if pattern == "row" else 1
    total = {"corrected": 0.0, "detected": 0.0}
    wrong = np.zeros(1)
    for size, share in enumerate(multiplicity, start=1):
        if share == 0:
            continue
        run, copies = (1, size) if pattern == "column" else (min(size, lanes * code.bits), 1)
        detected, bits = _places(code, run, lanes)
        weight = share / (sum(multiplicity) * detected.size)
        total["detected"] += weight * np.count_nonzero(detected)
        counts = np.bincount(bits[~detected] * copies) * weight
        total["corrected"] += float(counts[0]) if counts.size else 0.0
        wrong = np.pad(wrong, (0, max(counts.size - wrong.size, 0)))
        wrong[1 : counts.size] += counts[1:]
    silent = float(wrong.sum())
    shares = tuple(float(part) / silent for part in wrong) if silent else ()
    return Clusters(float(total["corrected"]), float(total["detected"]), silent, shares)


def residual_ber(code: Code, ber: float, *, ones: float = 0.5) -> float:
    """Return the expected wrong data bits per data bit behind the decoder, of independent errors in all bits.

    Exact at every rate for none, parity, sec, secded and dec (see `faultsim.memory.weights.patterns`). For
    chipkill and reed_solomon the patterns of few bits are enumerated, those of more are sampled with a fixed
    generator: a percent or so where such words are common, worse where a silent one is rare among them.

    [MATH]_'s ``71 b**2`` for the (72,64) SECDED code is the leading term with ``on_due="pass_through"``: a word
    with two wrong bits is left as it is, and each of its bits then shares it with any of 71 others. A machine that
    halts or reloads there hands on none of these; what is left begins with three errors that the decoder takes
    for one, about ``1851 b**3``. With ``zero_word`` a lost word has as many wrong bits as it had ones.

    Args:
        code: The code.
        ber: Raw probability per stored bit, data and check bits alike, 0 to 1.
        ones: Share of ones among the written data bits, 0 to 1; for ``zero_word`` alone.

    Raises:
        OptionError: If a rate is out of range.

    Examples:
        >>> from faultsim.memory import make_code
        >>> f"{residual_ber(make_code('secded', 64, on_due='pass_through'), 1e-6):.3e}"
        '7.100e-11'
        >>> f"{residual_ber(make_code('secded', 64), 1e-6):.3e}"
        '1.851e-15'
    """
    _check_share("ber", ber)
    _check_share("ones", ones)
    if code.scheme == "none":
        return ber
    _, detected, silent_wrong, detected_wrong = _expected(code, ber)
    if code.on_due == "pass_through":
        return (silent_wrong + detected_wrong) / code.data_bits
    lost = detected * ones * code.data_bits if code.on_due == "zero_word" else 0.0
    return (silent_wrong + lost) / code.data_bits


def word_outcomes(code: Code, ber: float) -> Outcomes:
    """Return what becomes of a code word under independent errors: see `residual_ber` for how exact it is.

    Args:
        code: The code. Its `on_due` has no part in this.
        ber: Raw probability per stored bit, 0 to 1.

    Raises:
        OptionError: If the rate is out of range.
    """
    _check_share("ber", ber)
    touched = -math.expm1(code.bits * math.log1p(-ber)) if ber < 1 else 1.0
    if code.scheme == "none":
        return Outcomes(0.0, 0.0, touched)
    silent, detected, _, _ = _expected(code, ber)
    return Outcomes(max(touched - detected - silent, 0.0), detected, silent)


def fewest_errors(code: Code) -> int:
    """Return the fewest raw errors in a word that may leave wrong data in what the machine hands on."""
    restarts = code.on_due in ("halt", "reload")
    if code.scheme == "none":
        return 1
    if code.scheme in RADIUS:
        silent = patterns(code.scheme, code.data_bits, code.check_bits, code.symbol_bits).silent
        least = next((k for k, count in enumerate(silent) if count), code.bits + 1)
        return least if restarts else RADIUS[code.scheme] + 1
    spared, least = _symbols(code)
    return least if restarts else spared + 1


def errors_given(
    draw: np.random.Generator, ways: NDArray[np.float64], rates: NDArray[np.float64], row: Ints, k: Ints
) -> Bits:
    """Return errors of some *rows* of words given that each has *k*, drawn from the last bit to the first.

    *rates* are of shape (words, bits); *ways* are the probabilities of so many errors in the first bits, one more.
    """
    still, errors = k.copy(), np.zeros((row.size, rates.shape[1]), dtype=np.bool_)
    at = np.arange(row.size)  # draws with errors left
    for bit in range(rates.shape[1] - 1, -1, -1):
        at = draw.permutation(at)
        of, left = row[at], still[at]
        odds = rates[of, bit] * ways[of, bit, left - 1] / ways[of, bit + 1, left]
        edges = np.floor(np.cumsum(odds) + draw.random())  # so many as the odds add up to: less noise than coins
        here = (np.diff(edges, prepend=0) > 0) | (odds > 1 - 1e-9)
        errors[at, bit] = here
        still[at] -= here
        at = at[still[at] > 0]
    return errors


def _symbols(code: Code) -> tuple[int, int]:
    """Return how many wrong symbols are always corrected, and how many it takes to look like so many."""
    checks = code.check_bits // code.symbol_bits
    return (checks // 2, checks + 1 - checks // 2) if code.scheme == "reed_solomon" else (1, 3)


def _places(code: Code, run: int, lanes: int) -> tuple[Bits, Ints]:
    """Return whether each place of a run raises an alarm, and how many data bits it leaves wrong."""
    open_code = replace(code, on_due="pass_through")
    starts = np.arange(lanes * code.bits - run + 1, dtype=np.int64)
    alarm, wrong = np.zeros(starts.size, dtype=np.bool_), np.zeros(starts.size, dtype=np.int64)
    column = starts[:, None] + np.arange(run, dtype=np.int64)
    words, row = np.unique(starts[:, None] * lanes + column % lanes, return_inverse=True)
    errors = np.zeros((words.size, code.bits), dtype=np.bool_)
    errors[row.reshape(column.shape), column // lanes] = True
    seen = open_code.decode(errors[:, : code.data_bits], errors[:, code.data_bits :])
    np.logical_or.at(alarm, words // lanes, seen.detected)
    np.add.at(wrong, words // lanes, np.count_nonzero(seen.residual, axis=1))
    return alarm, wrong


def _expected(code: Code, ber: float) -> _Fates:
    """Return P(silent), P(detected), and the expected wrong data bits of a word in either case, as they are."""
    key = (code.scheme, code.data_bits, code.check_bits, code.symbol_bits)
    n = code.bits
    if code.scheme in RADIUS:
        chance = [ber**k * (1 - ber) ** (n - k) for k in range(n + 1)]
        found = patterns(*key)
        return _Fates(
            *(
                math.fsum(float(count) * c for count, c in zip(part, chance, strict=True))
                for part in (found.silent, found.detected, found.silent_wrong, found.detected_wrong)
            )
        )
    open_code = replace(code, on_due="pass_through")
    if n * ber > 2:
        return _tally(open_code, lambda r, size: r.random((size, n)) < ber, f"rate {ber!r}")
    spared, least = _symbols(code)
    chance = [math.comb(n, k) * ber**k * (1 - ber) ** (n - k) for k in range(n + 1)]
    total = np.zeros(4)
    for k in range(spared + 1, n + 1):  # *least* wrong symbols can look like *spared* ones: none is silent before
        if k > least and sum(chance[k:]) <= 1e-5 * sum(chance[least:]):
            break
        total += chance[k] * np.array(_with_errors(open_code, k))
    return _Fates(*total.tolist())


@functools.cache
def _with_errors(code: Code, k: int) -> _Fates:
    """Return the same given *k* wrong bits: over all such patterns where they are few, else over a fixed draw."""
    n = code.bits
    if math.comb(n, k) > _DRAWS:
        return _tally(code, lambda r, size: _subsets(r, size, n, k), f"errors {k}")
    places = np.array(list(combinations(range(n), k)), dtype=np.int64)
    errors = np.zeros((len(places), n), dtype=np.bool_)
    errors[np.arange(len(places))[:, None], places] = True
    return _mean(code, iter([errors]))


def _subsets(draw: np.random.Generator, size: int, n: int, k: int) -> Bits:
    """Return *size* patterns of *k* wrong bits out of *n*, all equally likely, shape (size, n)."""
    errors = np.zeros((size, n), dtype=np.bool_)
    errors[:, :k] = True
    return draw.permuted(errors, axis=1)


def _tally(code: Code, errors: Callable[[np.random.Generator, int], Bits], name: str) -> _Fates:
    """Return the means over words drawn by a generator that depends on the code and *name* alone."""
    sizes = f"{code.data_bits} {code.check_bits} {code.symbol_bits}"
    draw = rng.generator(0, -1, "residual", code.scheme, sizes, name)
    step = max(_CHUNK_BITS // code.bits, 1)
    return _mean(code, (errors(draw, min(step, _DRAWS - start)) for start in range(0, _DRAWS, step)))


def _mean(code: Code, parts: Iterator[NDArray[np.bool_]]) -> _Fates:
    """Return the means of silent, detected, and the wrong data bits in either, over words with these errors."""
    total, words = np.zeros(4), 0
    for errors in parts:
        seen = code.decode(errors[:, : code.data_bits], errors[:, code.data_bits :])
        wrong = np.count_nonzero(seen.residual, axis=1)
        total += [seen.silent.sum(), seen.detected.sum(), wrong[seen.silent].sum(), wrong[seen.detected].sum()]
        words += len(errors)
    return _Fates(*(total / words).tolist())


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise OptionError(f"{name} must be between 0 and 1, got {value!r}")
