import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.corruption import Site, Stored, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.formats import BinaryFormat, ConductancePair, FloatFormat, IntFormat, NumberFormat
from faultsim.memory import CHECKS, Geometry, MemoryMap


def tensor(name: str, size: int, bits: int = 8) -> Stored:
    fmt: NumberFormat = BinaryFormat() if bits == 1 else IntFormat(bits, dtype="int64")
    return Stored(Site(name=name, shape=(size,), format=fmt, layer="l", kind="conv", role="weight", depth=0), fmt,
                  np.ones(size, np.float32 if bits == 1 else np.int64))  # fmt: skip


@st.composite
def geometries(draw):
    groups, interleave = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    rows, word_bits = draw(st.integers(1, 5)), draw(st.integers(1, 20))
    row_words = groups * interleave
    return Geometry(
        word_bits=word_bits,
        rows=rows,
        row_words=row_words,
        interleave=interleave,
        page_bits=draw(st.integers(1, 50)),
        tile_rows=draw(st.none() | st.integers(1, rows)),
        tile_columns=draw(st.none() | st.integers(1, row_words * word_bits)),
    )


@st.composite
def maps(draw):
    sizes = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 32)), max_size=4))
    stored = [tensor(f"t{i}", size, bits) for i, (size, bits) in enumerate(sizes)]
    return stored, MemoryMap(stored, draw(geometries()))


def slow_places(stored, geometry):
    """Where every bit lies, one at a time, from the words of the docstring alone."""
    held, word = {}, 0
    for one in sorted(stored, key=lambda one: one.site.name):
        bits, used = one.format.bits, 0
        for element in range(one.values.size):
            if used + bits > geometry.word_bits and used:
                word, used = word + 1, 0
            for bit in range(bits):
                held[word * geometry.word_bits + used + bit] = (one.site.name, element, bit)
            used += bits
            if used >= geometry.word_bits:
                word, used = word - (-used // geometry.word_bits), 0
        word += bool(used)
    return held, word


@given(geometries())
def test_place_and_cells_at_are_inverse_bijections(geometry):
    cells = np.arange(3 * geometry.bank_bits)
    place = geometry.place(cells)
    assert np.array_equal(geometry.cells_at(*place), cells)
    bank, row, column = (part.ravel() for part in np.indices((3, geometry.rows, geometry.columns)))
    assert np.array_equal(np.sort(geometry.cells_at(bank, row, column)), cells)
    assert np.array_equal(geometry.place(geometry.cells_at(bank, row, column)).column, column)


@given(maps())
def test_every_bit_has_its_own_cell_and_every_other_cell_is_padding(drawn):
    stored, memory = drawn
    held, words = slow_places(stored, memory.geometry)
    assert memory.words == words
    assert memory.cells == words * memory.geometry.word_bits
    assert memory.data_bits == len(held)
    owner = memory.owner(np.arange(-3, memory.cells + 70))
    for cell, site, element, bit in zip(range(-3, memory.cells + 70), *owner, strict=True):
        name = memory.names[site] if site >= 0 else None
        assert ((name, element, bit) if name else None) == held.get(cell)
        if name:
            assert memory.cell(name, element, bit) == cell


@given(maps(), st.data())
def test_xor_is_the_parity_of_the_hits_on_each_bit(drawn, data):
    stored, memory = drawn
    hits = data.draw(st.lists(st.integers(-2, memory.cells + 5), max_size=40))
    held, _ = slow_places(stored, memory.geometry)
    expected: dict[str, dict[int, int]] = {}
    for cell in hits:
        if cell in held:
            name, element, bit = held[cell]
            masks = expected.setdefault(name, {})
            masks[element] = masks.get(element, 0) ^ (1 << bit)
    edits = memory.xor(np.array(hits, dtype=np.int64))
    found = {n: dict(zip(e.indices.tolist(), e.masks.tolist(), strict=True)) for n, e in edits.items()}
    clean = {n: {e: m for e, m in sorted(masks.items()) if m} for n, masks in expected.items()}
    assert found == {n: masks for n, masks in clean.items() if masks}
    assert all(list(masks) == sorted(masks) for masks in found.values())


@given(maps(), st.data())
def test_stuck_forces_the_bits_that_were_given_first(drawn, data):
    stored, memory = drawn
    hits = data.draw(st.lists(st.tuples(st.integers(-2, memory.cells + 5), st.booleans()), max_size=40))
    edits = memory.stuck(np.array([c for c, _ in hits], dtype=np.int64), np.array([o for _, o in hits], dtype=bool))
    first = {}
    for cell, one in hits:
        first.setdefault(cell, one)
    held, _ = slow_places(stored, memory.geometry)
    want = {held[cell]: one for cell, one in first.items() if cell in held}
    got = {}
    for name, edit in edits.items():
        for element, mask, bits in zip(edit.indices, edit.masks, edit.bits, strict=True):
            assert not int(bits) & ~int(mask)
            for bit in range(64):
                if int(mask) >> bit & 1:
                    got[name, int(element), bit] = bool(int(bits) >> bit & 1)
    assert got == want


@given(maps())
def test_regions_hold_exactly_the_data_that_lies_in_them(drawn):
    stored, memory = drawn
    geometry = memory.geometry
    held = np.array(sorted(slow_places(stored, geometry)[0]), dtype=np.int64)
    bank, row, column = memory.place(held)
    for b in range(memory.banks_used + 1):
        assert np.array_equal(memory.bank_cells(b), held[bank == b])
        for r in range(geometry.rows):
            assert np.array_equal(memory.row_cells(b, r), held[(bank == b) & (row == r)])
        for c in range(geometry.columns):
            assert np.array_equal(memory.column_cells(b, c), held[(bank == b) & (column == c)])
    down, along = geometry.bank_tiles
    height, width = geometry.tile_shape
    tile = (bank * down + row // height) * along + column // width
    for t in range(down * along * (memory.banks_used + 1)):
        assert np.array_equal(memory.tile_cells(t), held[tile == t])
    for page in range(memory.cells // geometry.page_bits + 1):
        assert np.array_equal(memory.page_cells(page), held[held // geometry.page_bits == page])
    words = np.arange(memory.words + 1)
    assert np.array_equal(memory.word_cells(words), held)
    assert np.array_equal(memory.word_cells(words[::2]), held[memory.word_of(held) % 2 == 0])


@given(maps(), st.sampled_from(["word_cluster", "row", "column"]), st.data())
def test_neighbours_run_along_the_word_the_row_or_the_column(drawn, pattern, data):
    _, memory = drawn
    if memory.cells == 0:
        assert memory.neighbours([], [], pattern).cells.size == 0
        return
    geometry = memory.geometry
    events = data.draw(st.lists(st.tuples(st.integers(0, memory.cells - 1), st.integers(0, 9)), max_size=6))
    runs = memory.neighbours([s for s, _ in events], np.array([n for _, n in events], dtype=np.int64), pattern)
    for number, (start, size) in enumerate(events):
        bank, row, column = (int(part) for part in memory.place(start))
        if pattern == "word_cluster":
            word, bit = divmod(start, geometry.word_bits)
            size = min(size, geometry.word_bits)
            bit = min(bit, geometry.word_bits - size)
            want = [word * geometry.word_bits + bit + i for i in range(size)]
        elif pattern == "row":
            want = [int(memory.cells_at(bank, row, column + i)) for i in range(size)]
        else:
            want = [int(memory.cells_at(bank, row + i, column)) for i in range(size)]
        assert runs.cells[runs.events == number].tolist() == [cell for cell in want if cell >= 0]
    assert np.all(np.diff(runs.events) >= 0)


def test_a_row_cluster_crosses_into_other_words_where_they_are_interleaved():
    memory = MemoryMap([tensor("w", 64)], Geometry(word_bits=32, row_words=4, interleave=4))
    runs = memory.neighbours(memory.cell("w", [0], [7]), [4], "row")
    assert memory.word_of(runs.cells).tolist() == [0, 1, 2, 3]
    assert memory.bit_in_word(runs.cells).tolist() == [7, 7, 7, 7]
    edit = memory.xor(runs.cells)["w"]
    assert edit.indices.tolist() == [0, 4, 8, 12]
    assert edit.masks.tolist() == [128] * 4


def test_the_layout_does_not_depend_on_the_order_and_check_bits_come_last():
    stored = [tensor("b", 5), tensor("a", 3, 32), tensor(CHECKS, 4), tensor("Z", 1)]
    memory = MemoryMap(stored, Geometry())
    assert memory.names == ("Z", "a", "b", CHECKS)
    assert memory.names == MemoryMap(stored[::-1], Geometry()).names
    without = MemoryMap([one for one in stored if one.site.name != CHECKS], Geometry())
    assert memory.data_words == without.data_words == without.words == 4
    assert memory.words == 5
    assert np.array_equal(memory.cell("b", 3, [0, 7]), without.cell("b", 3, [0, 7]))


def test_an_edit_from_cells_changes_the_tensor():
    stored = tensor("w", 4)
    edit = MemoryMap([stored], Geometry()).xor([8, 9, 24, 24])["w"]
    assert apply_edit(edit, stored).tolist() == [1, 1 ^ 3, 1, 1]


def test_wide_elements_take_whole_words():
    fmt = FloatFormat("float32")
    wide = Stored(Site(name="w", shape=(2,), format=fmt, layer="", kind="conv", role="weight", depth=0), fmt,
                  np.zeros(2, np.float32))  # fmt: skip
    memory = MemoryMap([wide], Geometry(word_bits=12))
    assert memory.words == 6
    assert memory.cell("w", 1, [0, 31]).tolist() == [36, 67]
    assert memory.owner([35, 67, 68]).bit.tolist() == [-1, 31, -1]


def test_a_network_of_twenty_layers_is_hit_thousands_of_times_in_milliseconds():
    memory = MemoryMap([tensor(f"w{i}", 13400) for i in range(20)], Geometry(row_words=8, interleave=4))
    start = np.random.default_rng(0).integers(memory.cells, size=4000)
    best = np.inf
    for _ in range(5):
        clock = time.perf_counter()
        memory.xor(memory.neighbours(start, np.full(4000, 3), "row").cells)
        best = min(best, time.perf_counter() - clock)
    assert best < 0.1  # about 5 ms; the margin is for a loaded machine


def test_a_memory_of_nothing_has_no_cells():
    memory = MemoryMap([], Geometry())
    assert (memory.cells, memory.words, memory.banks_used) == (0, 0, 0)
    assert memory.xor([0, 1]) == {}
    assert memory.owner([[0]]).site.tolist() == [[-1]]
    assert memory.bank_cells(0).size == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"word_bits": 0}, "word_bits must be between 1 and 4096, got 0"),
        ({"word_bits": 8.5}, "word_bits must be a whole number, got 8.5"),
        ({"rows": 0}, "rows must be between 1"),
        ({"row_words": 3, "interleave": 2}, "interleave must divide row_words, got 2 words of a row of 3"),
        ({"rows": 4, "tile_rows": 5}, "tile_rows must be between 1 and 4"),
        ({"tile_columns": 65}, "tile_columns must be between 1 and 64"),
        ({"page_bits": -1}, "page_bits must be between 1"),
    ],
)
def test_geometries_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Geometry(**options)


def test_what_is_not_in_the_memory_is_refused():
    memory = MemoryMap([tensor("w", 4)], Geometry())
    with pytest.raises(OptionError, match="tensor v is not in this memory; it holds w"):
        memory.cell("v", 0, 0)
    with pytest.raises(OptionError, match="tensor w has 4 elements, got number 4 to 4"):
        memory.cell("w", 4, 0)
    with pytest.raises(OptionError, match="tensor w has 8 bits, got number -1 to 8"):
        memory.cell("w", 0, [-1, 8])
    with pytest.raises(OptionError, match="row numbers must be between 0 and 511, got 512"):
        memory.row_cells(0, 512)
    with pytest.raises(OptionError, match="bank numbers must be at least 0, got -1"):
        memory.bank_cells(-1)
    with pytest.raises(OptionError, match="unknown pattern 'diagonal'; use word_cluster, row or column"):
        memory.neighbours([0], [1], "diagonal")
    with pytest.raises(OptionError, match="tensor w is in the memory twice"):
        MemoryMap([tensor("w", 4), tensor("v", 1), tensor("w", 2)], Geometry())


def test_conductances_have_no_place_in_a_memory_of_bits():
    pair = ConductancePair(0.0, 25.0)
    with pytest.raises(DeviceError, match="stores no bits"):
        MemoryMap([tensor("w", 4)._replace(format=pair)], Geometry())
