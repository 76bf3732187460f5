"""A sample has changed where any bit has, for every type that activations have."""

import ml_dtypes
import numpy as np
import pytest

from faultsim.engine.sweep.rows import differs

FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2)


@pytest.mark.parametrize("dtype", FLOATS)
def test_zeros_of_either_sign_differ(dtype):
    one = np.array([[0.0, 1.0], [2.0, 0.0]], dtype)
    other = np.array([[-0.0, 1.0], [2.0, 0.0]], dtype)
    assert differs(one, other).tolist() == [True, False]
    assert differs(one[:, 0], other[:, 0]).tolist() == [True, False]  # a channel: a view that is not contiguous


@pytest.mark.parametrize("dtype", [*FLOATS, np.int8, np.int64, np.bool_])
def test_a_sample_differs_where_one_number_does(dtype):
    one = np.zeros((3, 2, 2), dtype)
    other = one.copy()
    other[1, 0, 1] = 1
    assert differs(one, other).tolist() == [False, True, False]
    assert not differs(one, one).any()
