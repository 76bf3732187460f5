"""Laws of the comparison: what is the same differs by nothing, one rounding is allowed, one more is not."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faultsim.model.tolerance import LEAST, ROUNDING, difference, is_text

F = np.float32
NARROW = {"float16": np.float16, **{k: getattr(ml_dtypes, k) for k in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}}
DTYPES = [np.float32, np.float64, np.int8, np.uint16, np.int64, np.bool_, np.complex64]


@given(st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0))))
def test_an_array_agrees_with_itself(array):
    found = difference(array, array.copy())
    assert found.worst == 0
    assert found.beyond == 0
    assert found.worst <= found.allowed


@given(hnp.arrays(np.float32, (2, 3)), st.floats(1e-3, 1), st.integers(0, 5))
def test_more_than_the_tolerance_is_seen_wherever_it_is(array, part, place):
    array = np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=-1.0).clip(-1e6, 1e6)
    moved = array.astype(np.float64)
    moved.reshape(-1)[place] += 2 * part * max(np.abs(array).max(), 1e-6)
    assert difference(moved, array, relative=part).worst > difference(moved, array, relative=part).allowed
    assert difference(moved, array, relative=3 * part).worst <= difference(moved, array, relative=3 * part).allowed


@pytest.mark.parametrize("name", NARROW)
def test_neighbours_of_a_narrow_type_are_one_rounding_apart(name):
    words = np.arange(2 ** (8 * np.dtype(NARROW[name]).itemsize - 1), dtype=f"u{np.dtype(NARROW[name]).itemsize}")
    every = words.view(NARROW[name])  # all numbers from 0 up
    with np.errstate(invalid="ignore"):
        finite = every[np.isfinite(every.astype(np.float64))]
    for a, b in ((finite[:-1], finite[1:]), (finite[1:], finite[:-1])):
        found = difference(a, b, relative=0.0, rounding=ROUNDING[name], step=LEAST[name])
        assert found.worst <= found.allowed
        assert found.beyond == 0
    apart = difference(finite[:-3], finite[3:], relative=0.0, rounding=ROUNDING[name], step=LEAST[name])
    assert apart.beyond > 0.9


def test_what_is_not_finite_agrees_with_itself_alone():
    special = np.array([np.nan, np.inf, -np.inf, 1.0], F)
    assert difference(special, special).worst == 0
    for other in (0.0, 1e30, np.nan, -np.inf):
        found = difference(np.array([np.inf, 1], F), np.array([other, 1], F))
        assert found.worst == np.inf
        assert found.beyond == 0.5


def test_another_shape_differs_by_infinity():
    assert difference(np.ones(3), np.ones((3, 1))) == (np.inf, 0.0, 1.0)


def test_a_mask_says_nothing_of_the_size_of_the_others():
    masked = np.array([1.0, -1e9, -3.4e38, -np.inf], F)
    off = np.array([1.1, -1e9, -3.4e38, -np.inf], F)
    found = difference(off, masked)
    assert found.worst > found.allowed
    only = np.full(3, -3.4e38, F)
    assert difference(only * F(0.99999), only).worst <= difference(only * F(0.99999), only).allowed


def test_integers_have_a_step_or_must_be_equal():
    a, b = np.array([1, 5], np.int8), np.array([2, 5], np.int8)
    assert difference(a, b).worst > difference(a, b).allowed
    assert difference(a, b, step=1.0).worst <= difference(a, b, step=1.0).allowed
    four = np.array([1, 5], ml_dtypes.int4)
    assert difference(four, b.astype(ml_dtypes.int4)) == (1.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(np.array(["a"]), True), (np.array(["a"], object), True), (None, True), ({}, True), (np.ones(1), False)],
)
def test_text_has_no_numbers(value, text):
    assert is_text(value) is text
