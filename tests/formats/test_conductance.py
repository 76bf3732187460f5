"""Laws of the conductance pair and of scales read off a tensor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import DeviceError, OptionError
from faultsim.formats import ConductancePair, absmax


@given(
    values=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20),
    g_min=st.floats(0, 10),
    w_max=st.floats(1, 100),
)
def test_weights_come_back_from_their_conductances(values: list[float], g_min: float, w_max: float) -> None:
    pair = ConductancePair(g_min, 25.0, w_max)
    weights = np.array(values, np.float32)
    g = pair.to_conductances(weights)
    assert np.all(np.minimum(g.g_plus, g.g_minus) == np.float32(g_min))
    np.testing.assert_allclose(pair.from_conductances(*g), weights, atol=1e-5 * w_max)


def test_weights_beyond_the_range_saturate() -> None:
    pair = ConductancePair(0.0, 40.0, 0.5)
    np.testing.assert_array_equal(pair.to_conductances(np.array([2.0])).g_plus, [40.0])


def test_a_pair_has_no_bits() -> None:
    pair = ConductancePair(0.0, 40.0)
    with pytest.raises(DeviceError, match="stores no bits"):
        _ = pair.bits
    with pytest.raises(DeviceError, match="no words to encode"):
        pair.encode(np.ones(1))
    with pytest.raises(DeviceError, match="no words to decode"):
        pair.decode(np.ones(1, np.uint64))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((5.0, 5.0, 1.0), "g_min < g_max"),
        ((-1.0, 5.0, 1.0), "0 <= g_min"),
        ((0.0, 5.0, 0.0), "w_max must be"),
    ],
)
def test_impossible_pairs_are_refused(args: tuple[float, float, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ConductancePair(*args)


def test_equal_pairs_hash_alike() -> None:
    one, two = ConductancePair(0, 25, [[1.0], [2.0]]), ConductancePair(0, 25, [[1.0], [2.0]])
    assert one == two
    assert hash(one) == hash(two)
    assert one != ConductancePair(0, 25, 1.0)


def test_scales_are_per_tensor_channel_or_tile() -> None:
    values = np.array([[1.0, -2.0, 3.0], [0.0, 0.0, -7.0]])
    assert absmax(values) == 7.0
    np.testing.assert_array_equal(absmax(values, axis=0), [[3.0], [7.0]])
    np.testing.assert_array_equal(absmax(values, tile=(2, 1)), [[2, 2, 3], [1, 1, 7]])
    np.testing.assert_array_equal(absmax(values, tile=(99, 99)), np.full((2, 3), 7.0))
    assert absmax(np.zeros(3)) == 1.0
    kernel = np.arange(24.0).reshape(2, 3, 2, 2)
    assert absmax(kernel, tile=(4, 1)).shape == kernel.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": 0, "tile": (1, 1)}, "not both"),
        ({"axis": 5}, "channel axis 5"),
        ({"tile": (0, 1)}, "at least one row"),
    ],
)
def test_scales_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        absmax(np.ones((2, 2)), **options)  # type: ignore[arg-type]
