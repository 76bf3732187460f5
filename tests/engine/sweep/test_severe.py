"""The faults of a proof reach far: in every type that stored numbers have."""

import ml_dtypes
import numpy as np
import pytest

from faultsim.engine.sweep.proof import severe

FLOATS = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
INTEGERS = (np.int8, np.uint8, np.int32)
NARROW = (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_grow_beyond_their_spread_and_near_the_largest(dtype):
    numbers = np.linspace(-1, 1, 10).astype(dtype)
    several, single = severe(numbers)
    assert several.values.dtype == single.values.dtype == numbers.dtype
    assert len(several.indices) == 3
    assert np.abs(several.values.astype(np.float64)).max() > 5
    assert {-1.0, 1.0} == set(np.sign(several.values.astype(np.float64)))
    assert single.values.astype(np.float64)[0] * 4 == pytest.approx(float(ml_dtypes.finfo(dtype).max))


@pytest.mark.parametrize("dtype", [*INTEGERS, *NARROW])
def test_codes_lose_their_second_bit_and_then_their_top_bit(dtype):
    info = ml_dtypes.iinfo(dtype)
    codes = np.arange(int(info.min), int(info.max) + 1, max(2 ** (info.bits - 6), 1)).astype(dtype)
    several, single = severe(codes)
    before = codes[several.indices].astype(np.int64)
    steps = np.abs(several.values.astype(np.int64) - before)
    assert set(steps) == {2 ** (info.bits - 2)}
    step = abs(int(single.values.astype(np.int64)[0]) - int(codes[single.indices].astype(np.int64)[0]))
    assert step == 2 ** (info.bits - 1)
    assert info.min <= several.values.astype(np.int64).min() <= several.values.astype(np.int64).max() <= info.max


@pytest.mark.parametrize("numbers", [np.zeros(0, np.float32), np.array([True]), np.array(["a"])])
def test_there_are_none_for_what_is_no_number(numbers):
    assert severe(numbers) == []
