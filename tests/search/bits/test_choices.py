"""What an option does to a number is what the edit does to it, in every stored format."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.corruption import Site, Stored, Stuck, Xor, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import LevelConfusion
from faultsim.formats import (
    BitSliced,
    ConductancePair,
    DualPair,
    IntFormat,
    NumberFormat,
    OffsetColumn,
    SingleDeviceOffset,
    parse_format,
    quantize_symmetric,
    reference_block,
)
from faultsim.search.bits import BitFlips, Choices, Levels, StuckDevices, StuckWords
from tests.search.bits.nets import stored_as

NAMES = [
    "int2", "int3", "int4", "int8", "int16", "uint4", "uint8", "int8_sign_magnitude", "int8_offset_binary", "fixed8.4",
    "fixed16.8", "ternary", "binary", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float64",
]  # fmt: skip


def stored_in(name: str, seed: int = 0, count: int = 12) -> Stored:
    values = np.random.default_rng(seed).normal(scale=3.0, size=(3, count // 3))
    return stored_as("w", values, parse_format(name))


def random_taken(choices: Choices, rng: np.random.Generator) -> dict[int, tuple[int, ...]]:
    """One option of some cells of some elements."""
    taken = {}
    for element in rng.choice(choices.elements, 4, replace=False).tolist():
        cells = rng.permutation(np.unique(choices.cell_of))[: rng.integers(1, 4)]
        taken[element] = tuple(int(rng.choice(np.flatnonzero(choices.cell_of == cell))) for cell in cells)
    return taken


def check_against_the_edit(choices: Choices, seed: int, atol: float = 0.0) -> None:
    rng = np.random.default_rng(seed)
    taken = random_taken(choices, rng)
    elements = np.arange(choices.elements)
    table = choices.table(elements, taken)
    with np.errstate(all="ignore"):
        now = apply_edit(choices.edit(taken), choices.stored).reshape(-1)
        np.testing.assert_allclose(table.held, now, rtol=1e-6, atol=atol)
        for element in rng.choice(choices.elements, 3, replace=False).tolist():
            for option in range(choices.options):
                cell = choices.cell_of[option]
                rest = tuple(o for o in taken.get(element, ()) if choices.cell_of[o] != cell)
                wider = {**taken, element: (*rest, option)}
                after = apply_edit(choices.edit(wider), choices.stored).reshape(-1)
                np.testing.assert_allclose(table.values[element, option], after[element], rtol=1e-6, atol=atol)
                others = elements != element
                np.testing.assert_array_equal(after[others], now[others])


@given(st.sampled_from(NAMES), st.integers(0, 10**6))
def test_a_flip_does_what_its_edit_does_and_costs_one_bit(name, seed):
    choices = BitFlips(stored_in(name, seed))
    check_against_the_edit(choices, seed)
    elements = np.arange(choices.elements)
    table = choices.table(elements, {})
    assert table.able.all()
    words = choices.stored.format.encode(choices.stored.values.reshape(-1))
    for option in range(choices.options):
        flipped = words ^ np.uint64(1 << option)
        with np.errstate(invalid="ignore"):
            after = choices.stored.format.decode(flipped).astype(float)
        np.testing.assert_array_equal(table.values[:, option], after)
        np.testing.assert_array_equal(table.to_one[:, option], (words >> np.uint64(option)) & np.uint64(1) == 0)


@given(st.sampled_from([n for n in NAMES if n != "binary"]), st.integers(1, 5), st.integers(0, 10**6), st.data())
def test_levels_and_stuck_cells_do_what_their_edits_do(name, per_cell, seed, data):
    stored = stored_in(name, seed)
    code = data.draw(st.sampled_from(["binary", "gray"]))
    reach = data.draw(st.sampled_from(["neighbour", "any"]))
    at = data.draw(st.sampled_from(["low", "high", "either"]))
    check_against_the_edit(Levels(stored, per_cell, cell_code=code, reach=reach), seed)
    check_against_the_edit(StuckWords(stored, at, bits_per_cell=per_cell, cell_code=code), seed)


def test_a_taken_flip_cannot_be_taken_again_and_flips_of_one_word_add_up():
    choices = BitFlips(stored_as("w", np.array([-8.0]), IntFormat(8)))
    table = choices.table(np.array([0]), {0: (7,)})
    assert table.held.tolist() == [120.0]
    assert table.able[0].tolist() == [True] * 7 + [False]
    edit = choices.edit({0: (7, 0)})
    assert isinstance(edit, Xor)
    assert edit.masks.tolist() == [0b10000001]


@pytest.mark.parametrize("code", ["binary", "gray"])
def test_neighbouring_levels_are_those_of_the_law_of_confusion(code):
    """`LevelConfusion` with hardly overlapping levels confuses a cell with its neighbours alone."""
    stored = stored_as("w", np.arange(-8.0, 8.0), IntFormat(4))
    law = LevelConfusion(levels=tuple((i / 3, 0.12) for i in range(4)), bits_per_cell=2, cell_code=code)
    likely = [cell > 1e-4 for cell in law.cells(4)]
    choices = Levels(stored, 2, cell_code=code)
    words = stored.format.encode(stored.values)
    found = choices.patterns(words)
    for cell in range(2):
        low, mask = np.uint64(2 * cell), np.uint64(3)
        options = np.flatnonzero(choices.cell_of == cell)
        for row, word in enumerate(words):
            held = int((word >> low) & mask)
            reached = {int((found[row, o] >> low) & mask) for o in options} - {held}
            assert reached == set(np.flatnonzero(likely[cell][held]).tolist()) - {held}


@pytest.mark.parametrize("code", ["binary", "gray"])
def test_any_other_level_is_reached_once(code):
    stored = stored_as("w", np.arange(-16.0, 16.0), IntFormat(5))
    choices = Levels(stored, 3, cell_code=code, reach="any")
    assert choices.options == 7 + 3
    words = stored.format.encode(stored.values)
    for row, word in enumerate(words.tolist()):
        for cell, width in ((0, 3), (1, 2)):
            options = np.flatnonzero(choices.cell_of == cell)
            put = {int(choices.patterns(words)[row, o]) >> (3 * cell) for o in options}
            assert put == set(range(1 << width)) - {(word >> (3 * cell)) & ((1 << width) - 1)}


def test_a_cell_stuck_at_what_it_holds_is_no_option():
    choices = StuckWords(stored_as("w", np.array([5.0]), IntFormat(4)), "high")
    table = choices.table(np.array([0]), {})
    assert table.able[0].tolist() == [False, True, False, True]
    edit = choices.edit({0: (1, 3)})
    assert isinstance(edit, Stuck)
    assert (edit.masks.tolist(), edit.bits.tolist()) == ([0b1010], [0b1010])


@pytest.mark.parametrize(
    "mapping",
    [
        ConductancePair(1.0, 25.0, w_max=2.0),
        SingleDeviceOffset(5.0, 50.0, w_max=2.0),
        OffsetColumn(5.0, 50.0, w_max=2.0, block=reference_block((3, 4), 0)),
        DualPair(0.0, 10.0, w_max=2.0),
    ],
    ids=lambda m: m.name,
)
def test_a_stuck_device_changes_the_weight_as_its_conductances_say(mapping):
    values = np.random.default_rng(0).uniform(-2, 2, (3, 4)).astype(np.float32)
    site = Site(name="w", shape=(3, 4), format=parse_format("float32"), layer="l", kind="gemm", role="weight", depth=0)
    choices = StuckDevices(Stored(site, mapping, values))
    check_against_the_edit(choices, 1, 1e-6)
    shared = mapping.groups((3, 4)) is not None
    assert choices.options == 2 * (mapping.devices - shared)
    table = choices.table(np.arange(12), {})
    for option, cell in enumerate(choices.cell_of):
        for element in range(12):
            cells = mapping.to_cells(values)
            cells.reshape(mapping.devices, -1)[cell, element] = (mapping.g_min_uS, mapping.g_max_uS)[option % 2]
            after = mapping.from_cells(cells).reshape(-1)[element]
            change = after - mapping.from_cells(mapping.to_cells(values)).reshape(-1)[element]
            assert table.values[element, option] - table.held[element] == pytest.approx(change, abs=1e-5)


def test_formats_by_channel_decode_in_their_place():
    values = np.random.default_rng(0).normal(size=(4, 3)) * np.array([[0.1], [1], [10], [100]])
    form = quantize_symmetric(values, 8, axis=0)
    check_against_the_edit(BitFlips(stored_as("w", values, form)), 3)


def test_bits_can_be_chosen_from_either_end():
    stored = stored_in("int8")
    assert BitFlips(stored, [-1, 0]).low_bit.tolist() == [0, 7]
    with pytest.raises(OptionError, match="bit 8 is out of range: w is stored as int8; give 0 to 7, or -8 to -1"):
        BitFlips(stored, [8])
    with pytest.raises(OptionError, match="no bit of w is left to flip"):
        BitFlips(stored, [])


def test_options_out_of_range_are_refused():
    stored = stored_in("int8")
    with pytest.raises(OptionError, match="bits_per_cell must be between 1 and 8, got 9"):
        Levels(stored, 9)
    with pytest.raises(OptionError, match="cell_code must be binary or gray, got 'grey'"):
        Levels(stored, cell_code="grey")
    with pytest.raises(OptionError, match="cell_code must be binary or gray, got 'grey'"):
        StuckWords(stored, cell_code="grey")
    with pytest.raises(OptionError, match="reach must be neighbour or any, got 'far'"):
        Levels(stored, reach="far")
    with pytest.raises(OptionError, match="cells can be stuck low, high or either, got 'open'"):
        StuckWords(stored, "open")
    with pytest.raises(OptionError, match="w is stored as int8, no conductances; use StuckWords"):
        StuckDevices(stored)
    pair: NumberFormat = ConductancePair(1.0, 25.0)
    with pytest.raises(DeviceError, match="stores no bits"):
        BitFlips(Stored(stored.site, pair, stored.values))


def test_bit_slices_are_conductances_too():
    values = np.random.default_rng(0).uniform(-1, 1, (2, 3)).astype(np.float32)
    site = Site(name="w", shape=(2, 3), format=parse_format("float32"), layer="l", kind="gemm", role="weight", depth=0)
    mapping = BitSliced(0.0, 10.0, w_max=1.0, magnitude_bits=6)
    choices = StuckDevices(Stored(site, mapping, values), "high")
    assert choices.options == mapping.devices
    check_against_the_edit(choices, 2, 1e-6)


def test_a_signalling_nan_that_is_held_warns_of_nothing():
    """1.25 · 2^127 with the lowest bit of its exponent flipped."""
    choices = BitFlips(stored_as("w", np.full((1, 1), 1.25 * 2.0**127), parse_format("float32")))
    option = int(np.flatnonzero(choices.low_bit == 23)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = choices.table(np.array([0]), {0: (option,)})
    assert np.isnan(table.held).all()
