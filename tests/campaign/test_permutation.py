"""`Permutation`: each unit once, any part alone, every order about as likely."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from faultsim.campaign.permutation import Permutation
from faultsim.errors import OptionError


@settings(max_examples=30)
@given(size=st.integers(1, 20_000), seed=st.integers(0, 2**32))
def test_every_unit_comes_exactly_once(size: int, seed: int) -> None:
    units = Permutation(size, seed, "a")(np.arange(size))
    assert np.array_equal(np.sort(units), np.arange(size))


@given(size=st.integers(1, 2**62), positions=st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_a_part_of_the_order_is_the_same_drawn_alone(size: int, positions: list[int]) -> None:
    order = Permutation(size, 3, "a")
    asked = np.array([one % size for one in positions])
    units = order(asked)
    assert [int(order(asked[i : i + 1])[0]) for i in range(len(asked))] == units.tolist()
    assert units.min() >= 0
    assert units.max() < size


@pytest.mark.parametrize("size", [7, 5000])
def test_each_unit_is_as_likely_to_be_the_first(size: int) -> None:
    """Chi-square over 20 groups of units, 4000 seeds; the seeds are fixed, so that this is no gamble."""
    firsts = [int(Permutation(size, seed, "a")(np.array([0]))[0]) for seed in range(4000)]
    counts = np.bincount(np.array(firsts) * min(size, 20) // size, minlength=min(size, 20))
    edges = np.ceil(np.arange(min(size, 20) + 1) * size / min(size, 20))
    assert chisquare(counts, 4000 * np.diff(edges) / size).pvalue > 1e-3


def test_orders_of_other_seeds_and_names_are_others() -> None:
    orders = [Permutation(100_000, *key)(np.arange(50)).tolist() for key in ((0, "a"), (1, "a"), (0, "b"))]
    assert len({tuple(one) for one in orders}) == 3


def test_neighbouring_positions_are_not_correlated() -> None:
    units = Permutation(1 << 20, 0, "a")(np.arange(20_000)).astype(float)
    assert abs(np.corrcoef(units[:-1], units[1:])[0, 1]) < 0.03


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        Permutation(10, 0, "a")(np.array([10]))
    with pytest.raises(OptionError, match="population of 0 faults"):
        Permutation(0, 0, "a")
