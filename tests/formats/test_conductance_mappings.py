"""Laws of the mappings of a weight to conductances that are not one differential pair."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import DeviceError, OptionError
from faultsim.formats import ConductancePair, absmax
from faultsim.formats.conductance import ConductanceMapping
from faultsim.formats.conductance_many import BitSliced, DualPair
from faultsim.formats.conductance_offset import OffsetColumn, SingleDeviceOffset, reference_block

MAKERS: dict[str, Callable[[Any], ConductanceMapping]] = {
    "pair": lambda top: ConductancePair(0.5, 25.0, top),
    "single": lambda top: SingleDeviceOffset(0.5, 25.0, top),
    "lopsided": lambda top: SingleDeviceOffset(0.5, 25.0, top, w_min=-0.5 * np.asarray(top)),
    "column": lambda top: OffsetColumn(0.5, 25.0, top, block=(2, 1)),
    "dual": lambda top: DualPair(0.5, 25.0, top, pairs=2),
    "three": lambda top: DualPair(0.5, 25.0, top, pairs=3),
    "in turn": lambda top: DualPair(0.5, 25.0, top, pairs=2, significance=(1.0, 4.0)),
    "sliced": lambda top: BitSliced(0.5, 25.0, top, magnitude_bits=7, bits_per_cell=2),
}
ALL = pytest.mark.parametrize("name", MAKERS)


@ALL
@given(
    values=st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6),
    tops=st.lists(st.floats(0.25, 100), min_size=3, max_size=3),
)
def test_what_is_stored_comes_back_from_its_conductances(name: str, values: list[float], tops: list[float]) -> None:
    mapping = MAKERS[name](np.array(tops)[:, None])
    weights = np.array(values, np.float32).reshape(3, 2)
    cells = mapping.to_cells(weights)
    assert cells.shape == (mapping.devices, 3, 2)
    assert cells.dtype == np.float32
    assert cells.min() >= np.float32(0.5)
    assert cells.max() <= np.float32(25.0)
    held = mapping.from_cells(cells)
    # Saturation aside; a slice's code is at most half of its step away.
    low = -0.5 * np.array(tops)[:, None] if name == "lopsided" else -np.array(tops)[:, None]
    inside = np.clip(weights, low, np.array(tops)[:, None])
    step = np.array(tops)[:, None] / 127 / 2 if name == "sliced" else 0.0
    assert np.all(np.abs(held - inside) <= step + 2e-6 * np.array(tops)[:, None])
    np.testing.assert_allclose(mapping.to_cells(held), cells, atol=1e-4)
    again = mapping.from_cells(mapping.to_cells(held))
    np.testing.assert_allclose(again, held, atol=2e-6 * max(tops))


@ALL
def test_a_weight_is_its_linear_combination_of_conductances(name: str) -> None:
    mapping = MAKERS[name](2.0)
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.5, 25, (2, mapping.devices, 3, 2))
    moved = mapping.combine(second) - mapping.combine(first)
    want = np.tensordot(np.array(mapping.coefficients), second - first, axes=1)
    np.testing.assert_allclose(moved, want, rtol=1e-12)
    np.testing.assert_allclose(mapping.weigh(first, 1), np.tensordot(np.array(mapping.coefficients), first, axes=1))
    squares = np.array(mapping.coefficients) ** 2
    np.testing.assert_allclose(mapping.weigh(first, 2), np.tensordot(squares, first, axes=1))
    assert mapping.combine(first.astype(np.float32)).dtype == np.float32


@ALL
def test_a_mapping_has_no_bits(name: str) -> None:
    mapping = MAKERS[name](1.0)
    with pytest.raises(DeviceError, match=f"a {mapping.name} mapping stores no bits"):
        _ = mapping.bits
    with pytest.raises(DeviceError, match="no words to encode"):
        mapping.encode(np.ones(1))
    with pytest.raises(DeviceError, match="no words to decode"):
        mapping.decode(np.ones(1, np.uint64))


def test_equal_mappings_hash_alike_and_others_differ() -> None:
    made = [make(top) for make in MAKERS.values() for top in (1.0, 2.0)]
    again = [make(top) for make in MAKERS.values() for top in (1.0, 2.0)]
    assert made == again
    assert [hash(m) for m in made] == [hash(m) for m in again]
    assert len(set(made)) == len(made)
    assert made[0] != "conductance_pair"


def test_one_device_carries_both_signs_around_the_middle() -> None:
    one = SingleDeviceOffset(10.0, 90.0, w_max=2.0)
    assert float(one.step) == 0.05
    assert float(one.zero_uS) == 50.0
    np.testing.assert_array_equal(one.to_cells(np.array([-5.0, 0.0, 5.0])), [[10.0, 50.0, 90.0]])
    lopsided = SingleDeviceOffset(10.0, 90.0, w_max=3.0, w_min=-1.0)
    assert float(lopsided.zero_uS) == 30.0


def test_a_shared_reference_lies_in_the_middle_and_is_drawn_once_a_block() -> None:
    column = OffsetColumn(0.0, 20.0, 1.0, block=(2, 1))
    np.testing.assert_array_equal(column.to_cells(np.zeros((3, 2)))[1], np.full((3, 2), 10.0))
    np.testing.assert_array_equal(column.groups((3, 2)), [[0, 1], [0, 1], [2, 3]])
    drawn = column.normals(np.random.default_rng(0), (2, 3, 2))
    own, reference = drawn
    np.testing.assert_array_equal(reference[0], reference[1])
    assert np.unique(reference).size == 4
    assert np.unique(own).size == 6
    np.testing.assert_array_equal(own, np.random.default_rng(0).standard_normal((2, 3, 2), np.float32)[0])
    with pytest.raises(OptionError, match="a block over 2 axes does not fit a tensor of 1"):
        column.groups((3,))


def test_a_reference_column_has_a_cell_in_every_row() -> None:
    assert reference_block((8, 3, 3, 3), 0) == (8, 1, 1, 1)
    assert reference_block((5, 8), 1, cols=4) == (1, 4)
    block = reference_block((8, 3, 3, 3), 0, cols=4)
    labels = OffsetColumn(0.0, 1.0, block=block).groups((8, 3, 3, 3))
    assert np.unique(labels).size == 2 * 27
    assert all(np.unique(labels[part]).size == 27 for part in (slice(0, 4), slice(4, 8)))


def test_pairs_in_parallel_hold_the_same_and_pairs_in_turn_fill_up() -> None:
    weights = np.array([0.1, -0.6], np.float32)
    even = DualPair(0.0, 10.0, 1.0, pairs=2).to_cells(weights)
    np.testing.assert_allclose(even, [[1, 0], [0, 6], [1, 0], [0, 6]], rtol=1e-6)
    # aihwkit 1.1.0, DualPairConductanceConverter(f_lst=[1, 3], g_max=10, g_min=0) on [1, 0.1, -0.6]
    turn = DualPair(0.0, 10.0, 1.0, pairs=2, significance=(1.0, 3.0))
    want = np.array([[10, 4, 0], [0, 0, 10], [10, 0, 0], [0, 0, 14 / 3]])
    np.testing.assert_allclose(turn.to_cells(np.array([1.0, 0.1, -0.6])), want, rtol=1e-5)
    assert turn.coefficients == (0.25, -0.25, 0.75, -0.75)


@pytest.mark.parametrize(("bits", "per_cell"), [(7, 1), (7, 2), (7, 4), (8, 8), (3, 2)])
def test_bit_slices_hold_every_code_exactly(bits: int, per_cell: int) -> None:
    top = 2**bits - 1
    codes = np.arange(-top, top + 1).astype(np.float32)
    sliced = BitSliced(1.0, 31.0, w_max=float(top), magnitude_bits=bits, bits_per_cell=per_cell)
    assert sliced.devices == 2 * -(-bits // per_cell)
    cells = sliced.to_cells(codes)
    np.testing.assert_allclose(sliced.from_cells(cells), codes, atol=1e-3)
    digits = (cells - 1.0) / 30.0 * (2**per_cell - 1)
    np.testing.assert_allclose(digits, np.rint(digits), atol=1e-4)
    weights = np.array(sliced.coefficients)[:, None] * np.rint(digits)
    np.testing.assert_array_equal(weights.sum(axis=0), codes)


def test_integer_codes_are_values_too() -> None:
    codes = np.array([-128, -1, 0, 127], np.int8)
    for make in MAKERS.values():
        mapping = make(128.0)
        if isinstance(mapping, OffsetColumn):
            mapping = OffsetColumn(0.5, 25.0, 128.0, block=(4,))
        held = mapping.from_cells(mapping.to_cells(codes))
        low = getattr(mapping, "w_min", -128.0)
        assert np.all(np.abs(held - np.maximum(codes, low)) <= 0.51), mapping.name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SingleDeviceOffset(5.0, 5.0), "g_min < g_max"),
        (lambda: SingleDeviceOffset(0.0, 5.0, 1.0, w_min=0.5), "w_min must be finite and at most 0, got 0.5"),
        (lambda: OffsetColumn(0.0, 5.0, block=()), "extent of at least 1"),
        (lambda: OffsetColumn(0.0, 5.0, block=(0, 1)), "extent of at least 1"),
        (lambda: OffsetColumn(0.0, 5.0, 0.0, block=(1,)), "w_max must be"),
        (lambda: DualPair(0.0, 5.0, pairs=0), "at least 1 pair, got 0"),
        (lambda: DualPair(0.0, 5.0, pairs=2, significance=(1.0,)), "significance needs 2 positive factors"),
        (lambda: DualPair(0.0, 5.0, pairs=1, significance=(0.0,)), "significance needs 1 positive factors"),
        (lambda: BitSliced(0.0, 5.0, magnitude_bits=3, bits_per_cell=4), "got 4 bits a cell and 3 of magnitude"),
        (lambda: BitSliced(0.0, 5.0, magnitude_bits=25), "magnitude_bits <= 24"),
    ],
)
def test_impossible_mappings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


def test_scales_may_vary_over_the_tensor() -> None:
    weights = np.random.default_rng(1).normal(0, 1, (4, 6)).astype(np.float32)
    for make in MAKERS.values():
        mapping = make(absmax(weights, axis=0))
        held = mapping.from_cells(mapping.to_cells(weights))
        half = 0.5 / 127 * absmax(weights, axis=0) if isinstance(mapping, BitSliced) else 0.0
        inside = np.maximum(weights, getattr(mapping, "w_min", -np.inf))
        assert np.all(np.abs(held - inside) <= half + 1e-5), mapping.name
