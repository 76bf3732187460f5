"""Quantiles that the structured laws share, against laws that can be enumerated."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from faultsim.budget.confusion import cell_errors
from faultsim.budget.mixture import mixture_quantile
from faultsim.budget.regions import Regions, region_failures
from faultsim.errors import OptionError
from faultsim.formats import IntFormat

NAMES = {"mechanism": "m", "scope": "w"}


@given(n=st.integers(1, 400), share=st.floats(0.001, 0.999), confidence=st.floats(0.05, 0.999))
@settings(max_examples=60, deadline=None)
def test_equal_jumps_are_binomial(n: int, share: float, confidence: float) -> None:
    found = mixture_quantile([[2.0]], [[share]], [n], confidence)
    want = 2 * stats.binom.ppf(confidence, n, share)
    near = 2 * stats.binom.ppf([confidence - 1e-7, confidence + 1e-7], n, share)  # at a step either side is right
    assert near[0] * (1 - 1e-4) <= found <= max(near[1], want) * (1 + 1e-3) + 2 * n / 2**15


def test_a_sum_of_groups_is_what_enumeration_gives() -> None:
    sizes, shares, counts = [[1.0, 5.0], [-1.0, 2.0]], [[0.3, 0.1], [0.2, 0.5]], [3, 2]
    chances: dict[float, float] = {}
    draws = [[(1.0, 0.3), (5.0, 0.1), (0.0, 0.6)]] * 3 + [[(-1.0, 0.2), (2.0, 0.5), (0.0, 0.3)]] * 2
    for parts in itertools.product(*draws):
        total = max(sum(size for size, _ in parts), 0.0)
        chances[total] = chances.get(total, 0.0) + math.prod(share for _, share in parts)
    heights = sorted(chances)
    reached = np.cumsum([chances[height] for height in heights])
    for confidence in (0.3, 0.6, 0.9, 0.99):
        want = heights[int(np.flatnonzero(reached >= confidence)[0])]
        assert mixture_quantile(sizes, shares, counts, confidence) == pytest.approx(want, abs=2e-3)


def test_small_jumps_beside_very_wide_ones_are_not_lost() -> None:
    """As the words of float32: what flips as a rule is small, and one bit in 32 is 1e38."""
    for confidence in (0.3, 0.5, 0.9):
        found = mixture_quantile([[1.0, 1e30]], [[0.4, 0.01]], [5], confidence)
        spared = 0.99**5
        want = float(stats.binom.ppf(confidence / spared, 5, 0.4 / 0.99))
        assert found == pytest.approx(want, rel=1e-3)
    assert mixture_quantile([[1.0, 1e30]], [[0.4, 0.01]], [5], 0.99) == pytest.approx(1e30, rel=1e-3)
    assert mixture_quantile([[1.0, 1e30]], [[0.0001, 0.0001]], [5], 0.9) == 0.0
    three = mixture_quantile([[1.0, 1e12, 1e30]], [[0.4, 0.01, 0.01]], [5], 0.6)
    assert three == pytest.approx(float(stats.binom.ppf(0.6 / 0.98**5, 5, 0.4 / 0.98)), rel=1e-3)


def test_nothing_to_add_is_nothing() -> None:
    assert mixture_quantile([[1.0]], [[0.0]], [9], 0.9) == 0.0
    assert mixture_quantile([[0.0]], [[0.5]], [9], 0.9) == 0.0
    assert mixture_quantile([[3.0]], [[1.0]], [4], 0.9) == 12.0
    with pytest.raises(OptionError, match="confidence must lie strictly"):
        mixture_quantile([[1.0]], [[0.5]], [9], 1.0)


def exact(sizes: np.ndarray, weight: np.ndarray, confidence: float, fold: object) -> float:
    """Enumerate which of a few regions fail, each by itself."""
    outcomes = []
    for failed in itertools.product((False, True), repeat=sizes.size):
        mask = np.array(failed)
        chance = float(np.prod(np.where(mask, weight, 1 - weight)))
        outcomes.append((float(fold(sizes[mask], initial=0.0)), chance))  # type: ignore[operator]
    outcomes.sort()
    reached = np.cumsum([chance for _, chance in outcomes])
    return outcomes[int(np.flatnonzero(reached >= confidence - 1e-12)[0])][0]


@pytest.mark.parametrize("confidence", [0.4, 0.7, 0.9, 0.99])
def test_independent_regions_are_bounded_exactly(confidence: float) -> None:
    touched = np.array([1.0, 4.0, 2.0, 7.0, 3.0])
    moved = np.array([9.0, 1.0, 30.0, 4.0, 0.5])
    weight = np.array([0.1, 0.3, 0.02, 0.2, 0.5])
    for p, fold in ((1.0, np.sum), (2.0, np.sum), (math.inf, np.max)):
        bound = region_failures(
            **NAMES,  # type: ignore[arg-type]
            regions=Regions(touched, moved, weight),
            elements=17,
            independent=True,
            p=p,
            confidence=confidence,
        )
        want = exact(moved, weight, confidence, fold)
        assert bound.eps == pytest.approx(math.sqrt(want) if p == 2 else want, rel=2e-3)
        assert bound.n == exact(touched, weight, confidence, np.sum)


def test_shared_elements_add_up_and_a_bound_on_the_overlap_helps() -> None:
    count, size = np.ones(400), np.full(400, 4.0)
    regions = Regions(count, size, np.full(400, 0.05))
    found = [
        region_failures(
            **NAMES,
            regions=regions,
            elements=400,
            overlap=overlap,
            p=2,
            confidence=0.9,  # type: ignore[arg-type]
        ).eps
        for overlap in (1.0, 3.0, 8.0, math.inf)
    ]
    assert found == sorted(found)
    assert found[1] == pytest.approx(found[0] * math.sqrt(3))
    failures = stats.poisson.ppf(0.9, 20)
    assert found[0] == pytest.approx(math.sqrt(4 * failures), rel=1e-3)
    assert found[3] == pytest.approx(2 * failures, rel=1e-3)


def test_small_failures_are_not_lost_beside_rare_large_ones() -> None:
    regions = Regions(np.array([1.0, 1e6]), np.array([1.0, 1e12]), np.array([0.9, 0.1]))
    bound = region_failures(
        **NAMES,
        regions=regions,
        elements=10**7,
        given_event=True,
        p=2,
        confidence=0.5,  # type: ignore[arg-type]
    )
    assert bound.n >= 1
    assert bound.eps >= 1


def test_a_misread_word_is_bounded_by_what_enumeration_gives() -> None:
    fmt = IntFormat(4)
    values = np.array([3.0, -8.0, 5.0])
    cell = np.array([[0.9, 0.1], [0.2, 0.8]])
    words = fmt.encode(values)
    chances: dict[tuple[float, ...], float] = {}
    for after in itertools.product(range(16), repeat=3):
        chance = 1.0
        for before, now in zip(words, after, strict=True):
            for bit in range(4):
                chance *= cell[int(before) >> bit & 1, now >> bit & 1]
        change = np.abs(fmt.decode(np.array(after, np.uint64)) - values)
        key = (float(change.sum()), float(np.linalg.norm(change)), float(change.max()))
        chances[key] = chances.get(key, 0.0) + chance
    for at, p in enumerate((1, 2, math.inf)):
        order = sorted(chances, key=lambda key: key[at])
        reached = np.cumsum([chances[key] for key in order])
        for confidence in (0.3, 0.8, 0.95):
            want = order[int(np.flatnonzero(reached >= confidence)[0])][at]
            bound = cell_errors(
                **NAMES,
                fmt=fmt,
                values=values,
                cells=[cell] * 4,
                p=p,
                confidence=confidence,  # type: ignore[arg-type]
            )
            assert bound.eps == pytest.approx(want, rel=2e-3)
