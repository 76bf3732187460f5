"""Draws of a law on one tensor, and tensors of every storage format, for the tests."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim.corruption import Edit, Site, Stored, apply_edit
from faultsim.faults.base import Fault
from faultsim.formats import BinaryFormat, FloatFormat, IntFormat, NumberFormat, ternary
from faultsim.rng import generator

FORMATS: list[NumberFormat] = [
    *(IntFormat(bits, scale=0.25) for bits in (2, 3, 4, 8, 12, 16)),
    *(IntFormat(bits, scale=0.25, encoding="sign_magnitude") for bits in (2, 4, 8, 16)),
    IntFormat(8, signed=False, zero_point=7),
    IntFormat(8, scale=[[0.25], [2.0]]),
    FloatFormat("float32"),
    FloatFormat("bfloat16"),
    BinaryFormat(0.5),
    ternary(0.5),
]
NAMES = [f"{i}-{fmt.name}" for i, fmt in enumerate(FORMATS)]


def tensor(fmt: NumberFormat, columns: int = 60, name: str = "w", seed: int = 0, **fields: Any) -> Stored:
    """A weight of two rows whose words are all equally likely (of floats: normal numbers)."""
    rng = np.random.default_rng(seed)
    if isinstance(fmt, FloatFormat):
        values = fmt.decode(fmt.encode(rng.standard_normal((2, columns)).astype(np.float32)))
    else:
        words = rng.integers(1 << fmt.bits, size=(2, columns)).astype(np.uint64)
        values = fmt.decode(fmt.encode(fmt.decode(words)))
    return stored(values, fmt, name, **fields)


def stored(values: NDArray[Any], fmt: NumberFormat, name: str = "w", **fields: Any) -> Stored:
    site: dict[str, Any] = {"layer": name, "kind": "conv", "role": "weight", "depth": 0, **fields}
    return Stored(Site(name=name, shape=values.shape, format=FloatFormat(), **site), fmt, values)


def int8(elements: int, seed: int = 5, name: str = "w") -> Stored:
    return stored(
        np.random.default_rng(seed).integers(-128, 128, elements).astype(np.int8), IntFormat(8, dtype="int8"), name
    )


def ones(masks: NDArray[np.uint64]) -> int:
    return int(np.bitwise_count(masks).sum())


def flips(edits: Iterable[Edit]) -> int:
    """Bits that edits of flips flip."""
    return sum(ones(edit.masks) for edit in edits)  # type: ignore[union-attr]


class Norms(NamedTuple):
    """Of each draw the norms of what it changes, and the changed elements."""

    one: NDArray[np.float64]
    two: NDArray[np.float64]
    top: NDArray[np.float64]
    count: NDArray[np.int64]


def norms(law: Fault, one: Stored, trials: int) -> Norms:
    found = []
    for trial in range(trials):
        after = apply_edit(law.sample(one, generator(0, trial)), one)
        with np.errstate(invalid="ignore", over="ignore"):  # floats may read as an infinity or a NaN
            size = np.abs(after.astype(np.float64) - one.values)
            size = np.where(np.isnan(size), np.inf, size)
            found.append((size.sum(), np.sqrt((size**2).sum()), size.max(initial=0.0), np.count_nonzero(size)))
    return Norms(*(np.array(column) for column in zip(*found, strict=True)))  # type: ignore[arg-type]


def check_budgets(law: Fault, one: Stored, *, trials: int = 300, confidence: float = 0.9) -> None:
    """Check that the law's bounds hold as often as they claim, within what that many draws can tell."""
    drawn = norms(law, one, trials)
    for p, seen in ((1, drawn.one), (2, drawn.two), (np.inf, drawn.top)):
        budget = law.budget(one, p=p, confidence=confidence)
        for what, inside in (("eps", seen <= budget.eps * (1 + 2e-4)), ("n", drawn.count <= budget.n)):
            kept = int(np.count_nonzero(inside))
            assert stats.binom.cdf(kept, trials, confidence) > 1e-5, (what, p, kept / trials, budget)


def check_tight(law: Fault, one: Stored, *, trials: int = 1200, confidence: float = 0.9, within: float = 0.02) -> None:
    """Check that p = 1 and 2 bounds are the quantiles: the draws' own quantiles bracket them, or come this close."""
    drawn = norms(law, one, trials)
    spread = 4 * np.sqrt(confidence * (1 - confidence) / trials)
    for p, seen in ((1, drawn.one), (2, drawn.two)):
        eps = law.budget(one, p=p, confidence=confidence).eps
        low, high = np.quantile(seen, [confidence - spread, confidence + spread])
        assert low * (1 - within) <= eps <= high * (1 + within), (p, eps, low, high)


def check_poisson(counts: Iterable[int], mean: float) -> None:
    check_counts(counts, stats.poisson(mean))


def check_counts(counts: Iterable[int], want: Any) -> None:
    """Chi-square of whole numbers against a discrete law."""
    seen = np.array(list(counts))
    low, high = int(want.ppf(0.02)), max(int(want.ppf(0.98)), int(want.ppf(0.02)) + 1)
    edges = np.arange(low, high + 1)
    histogram = np.histogram(seen, [-np.inf, *edges, np.inf])[0]
    expected = np.diff([0.0, *want.cdf(edges - 1), 1.0]) * seen.size
    kept = expected > 0
    assert stats.chisquare(histogram[kept], expected[kept]).pvalue > 1e-5
    assert histogram[~kept].sum() == 0
