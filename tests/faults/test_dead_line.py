"""Where broken word lines and bit lines lie in a tensor."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faultsim.corruption import Site, Stored
from faultsim.faults.dead_line import DeadLine
from faultsim.formats import ConductancePair, FloatFormat
from faultsim.formats.conductance import ConductanceMapping
from faultsim.formats.conductance_offset import SingleDeviceOffset
from faultsim.rng import generator


def lines_of(law: DeadLine, shape: tuple[int, ...], mapping: ConductanceMapping, axis: int = 0) -> NDArray[Any]:
    """Weights of a chip with the law that all were 0.5."""
    values = np.full(shape, 0.5, np.float32)
    site = Site(
        name="w", shape=shape, format=FloatFormat(), layer="w", kind="conv", role="weight", depth=0, channel_axis=axis
    )
    stored = Stored(site, mapping, values)
    return np.asarray(values + law.sample(stored, generator(0, 0)).delta)


PAIR = ConductancePair(0.0, 10.0, 1.0)


def test_an_open_word_line_silences_one_input_in_one_tile() -> None:
    weights = lines_of(DeadLine(p=0.2, rows=4, cols=3, line="word"), (7, 20), PAIR)
    assert np.all(np.isin(weights, (0.0, 0.5)))
    for outputs in (slice(0, 3), slice(3, 6), slice(6, 7)):
        part = weights[outputs]
        assert np.all(part == part[:1])  # the same inputs are dead for all outputs of a tile
    assert not np.array_equal(weights[0], weights[3])


def test_an_open_bit_line_silences_one_output_over_one_tile_of_inputs() -> None:
    weights = lines_of(DeadLine(p=0.2, rows=5, cols=3), (30, 12), PAIR)
    for inputs in (slice(0, 5), slice(5, 10), slice(10, 12)):
        assert np.all(weights[:, inputs] == weights[:, inputs][:, :1])
    dead = np.mean(weights[:, [0, 5, 10]] == 0)
    assert dead == pytest.approx(0.2, abs=0.12)  # the plus line alone: positive weights have an idle minus


def test_a_shorted_line_conducts_fully() -> None:
    plus = lines_of(DeadLine(p=1.0, rows=5, cols=3, effect="short"), (4, 12), PAIR)
    np.testing.assert_array_equal(plus, 0.0)  # both lines of every pair
    one = lines_of(DeadLine(p=1.0, rows=5, cols=3, effect="short"), (4, 12), SingleDeviceOffset(0.0, 10.0, 1.0))
    np.testing.assert_array_equal(one, 1.0)
    off = lines_of(DeadLine(p=1.0, rows=5, cols=3), (4, 12), SingleDeviceOffset(0.0, 10.0, 1.0))
    np.testing.assert_array_equal(off, -1.0)
    half = lines_of(DeadLine(p=0.3, rows=50, cols=3, effect="short"), (40, 12), PAIR)
    assert {0.0, 0.5, 1.0, -0.5} >= set(np.unique(half).tolist())
    assert {1.0, -0.5} <= set(np.unique(half).tolist())


def test_a_convolution_lies_in_rows_of_channels_and_kernel() -> None:
    weights = lines_of(DeadLine(p=0.3, rows=9, cols=99), (10, 4, 3, 3), PAIR)
    assert np.all(weights == weights[:, :, :1, :1])  # 9 rows are one input channel
    turned = lines_of(DeadLine(p=0.3, rows=9, cols=99), (4, 3, 3, 10), PAIR, axis=3)
    assert np.all(turned == turned[:, :1, :1])
    vector = lines_of(DeadLine(p=0.3, rows=9, cols=99, line="word"), (40,), PAIR)
    assert np.unique(vector).size == 1
