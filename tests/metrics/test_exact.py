"""The exact sum is `math.fsum`, whatever the order and the split."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.metrics import ExactSum
from faultsim.metrics.exact import total

VALUES = st.lists(st.floats(allow_nan=False, allow_infinity=False, max_value=1e300, min_value=-1e300), max_size=40)


@given(values=VALUES, cut=st.integers(0, 40))
def test_it_equals_fsum_and_merges_in_any_order(values, cut):
    whole = ExactSum.of(values)
    assert whole.value == math.fsum(values)
    assert ExactSum.of(values[cut:]) + ExactSum.of(values[:cut]) == whole
    assert total([ExactSum.of([one]) for one in reversed(values)]) == whole


def test_denormals_and_long_arrays_are_exact():
    tiny = 5e-324
    assert ExactSum.of([tiny] * 3 + [1.0, -1.0]).value == 3 * tiny
    values = np.random.default_rng(0).lognormal(sigma=9, size=100_000)
    assert ExactSum.of(values).value == math.fsum(values)


def test_a_sum_beyond_the_largest_number_is_infinite():
    largest = [1e308] * 2
    assert ExactSum.of(largest).value == math.inf
    assert ExactSum.of([-one for one in largest]).value == -math.inf
    assert (ExactSum.of(largest) + ExactSum.of([-1e308])).value == 1e308


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="was given a value that is not finite; count such samples apart"):
        ExactSum.of([1.0, bad])
