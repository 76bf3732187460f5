"""Dead units of a memory: which cells they take, brute force on tiny memories, and exact bounds."""

import math
from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from norms import FORMATS, NAMES, check_budgets, check_counts, int8, norms, ones, stored, tensor
from numpy.typing import NDArray
from scipy import stats

from faultsim.corruption import Corruption, Stored, Stuck, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.dead_region import DeadRegion, Unit
from faultsim.formats import FloatFormat, IntFormat, NumberFormat
from faultsim.memory import Geometry, MemoryMap
from faultsim.rng import generator

TINY = Geometry(word_bits=16, rows=4, row_words=2, interleave=2, tile_rows=2, tile_columns=8)
UNITS: tuple[Unit, ...] = ("word", "row", "column", "bank", "tile")


def chip() -> list[Stored]:
    return [int8(20, name="b"), tensor(IntFormat(4), 9, "a"), tensor(IntFormat(3), 5, "c")]


def draw(law: DeadRegion, tensors: list[Stored], trial: int = 0) -> dict[str, Any]:
    return law.sample_chip(tensors, lambda name: generator(0, trial, name))


def stuck_cells(edits: dict[str, Any], memory: MemoryMap, tensors: list[Stored]) -> set[int]:
    bits = {one.site.name: one.format.bits for one in tensors}
    found = set()
    for name, edit in edits.items():
        assert isinstance(edit, Stuck)
        for element, mask in zip(edit.indices, edit.masks, strict=True):
            held = [bit for bit in range(bits[name]) if int(mask) >> bit & 1]
            found |= set(memory.cell(name, int(element), np.array(held)).tolist())
    return found


def unit_of(unit: Unit, memory: MemoryMap, cell: int) -> int:
    shape = memory.geometry
    bank, row, column = (int(part) for part in memory.place(cell))
    tall, wide = shape.tile_shape
    return {
        "word": cell // shape.word_bits,
        "row": bank * shape.rows + row,
        "column": bank * shape.columns + column,
        "bank": bank,
        "tile": bank * 8 + row // tall * 4 + column // wide,
    }[unit]


@pytest.mark.parametrize("unit", UNITS)
def test_a_dead_unit_takes_all_of_its_cells_and_no_other(unit: Unit) -> None:
    tensors = chip()
    memory = MemoryMap(tensors, TINY)
    held = [c for c in range(memory.cells) if memory.owner(c).site >= 0]
    seen: Counter[int] = Counter()
    total = DeadRegion(unit=unit, count=1, geometry=TINY).units(memory)
    for trial in range(min(40 * total, 900)):
        dead = stuck_cells(draw(DeadRegion(unit=unit, count=1, geometry=TINY), tensors, trial), memory, tensors)
        numbers = {unit_of(unit, memory, cell) for cell in dead}
        assert len(numbers) == 1  # a unit that holds nothing is none
        assert dead == {cell for cell in held if unit_of(unit, memory, cell) in numbers}
        seen.update(numbers)
    assert set(seen) == {unit_of(unit, memory, cell) for cell in held}
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("reads", ["zero", "one", "random"])
def test_dead_cells_read_what_they_are_asked_to(unit: Unit, reads: Literal["zero", "one", "random"]) -> None:
    tensors = [int8(4000)]
    law = DeadRegion(unit=unit, count=1, geometry=Geometry(word_bits=64, rows=64, row_words=8), reads=reads)
    edit = draw(law, tensors)["w"]
    share = {"zero": 0.0, "one": 1.0, "random": 0.5}[reads]
    assert stats.binomtest(ones(edit.bits), ones(edit.masks), share).pvalue > 1e-4


@pytest.mark.parametrize("unit", ["word", "row", "column"])
def test_dead_units_are_binomial(unit: Unit) -> None:
    tensors = [int8(2048)]
    shape = Geometry(word_bits=32, rows=64, row_words=8)
    memory = MemoryMap(tensors, shape)
    law = DeadRegion(unit=unit, p=0.05, geometry=shape)
    size = {"word": 32, "row": 256, "column": 64}[unit]
    counts = []
    for trial in range(800):
        found = ones(draw(law, tensors, trial).get("w", law.sample(int8(0), generator(0, 0))).masks)
        assert found % size == 0
        counts.append(found // size)
    check_counts(counts, stats.binom(law.units(memory), 0.05))


def test_units_do_not_depend_on_the_order_of_the_tensors() -> None:
    law = DeadRegion(unit="word", p=0.3, geometry=TINY, reads="random")
    assert Corruption(draw(law, chip())) == Corruption(draw(law, chip()[::-1]))
    assert Corruption(draw(law, chip(), 0)) != Corruption(draw(law, chip(), 1))


@pytest.mark.parametrize("law", [DeadRegion(unit="row", p=0.0), DeadRegion(unit="tile", count=0)])
def test_no_dead_unit_changes_nothing(law: DeadRegion) -> None:
    one = int8(100)
    assert draw(law, [one]) == {}
    assert law.sample(one, generator(0, 0)).indices.size == 0
    budget = law.budget(one, p=2, confidence=0.99)
    assert (budget.n, budget.eps, budget.note) == (0, 0.0, "")


def outcomes(law: DeadRegion, one: Stored) -> NDArray[np.float64]:
    """Brute force: what each single unit of the tensor's memory does, as rows (n, sum, sum of squares, largest)."""
    memory = MemoryMap([one], law.geometry)
    found = []
    every = np.arange(one.values.size)[:, None], np.arange(one.format.bits)
    cells = memory.cell("w", *every).reshape(-1)
    numbers = np.array([unit_of(law.unit, memory, int(cell)) for cell in cells])
    assert law.units(memory) == np.unique(numbers).size
    for unit in np.unique(numbers):
        edits = memory.stuck(cells[numbers == unit], law.reads == "one")
        after = apply_edit(edits["w"], one) if "w" in edits else one.values
        delta = np.abs(after.astype(np.float64) - one.values)
        found.append((np.count_nonzero(delta), delta.sum(), (delta**2).sum(), delta.max()))
    return np.array(found)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("reads", ["zero", "one"])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_the_bound_of_one_dead_unit_is_the_quantile(unit: Unit, reads: Any, confidence: float) -> None:
    one = int8(37)
    law = DeadRegion(unit=unit, count=1, geometry=TINY, reads=reads)
    each = outcomes(law, one)
    for p, column, power in ((1, 1, 1.0), (2, 2, 0.5), (math.inf, 3, 1.0)):
        budget = law.budget(one, p=p, confidence=confidence)
        want = np.quantile(each[:, column], confidence, method="inverted_cdf") ** power
        assert budget.eps == pytest.approx(want, rel=2e-3, abs=1e-6)
        assert budget.n == np.quantile(each[:, 0], confidence, method="inverted_cdf")


@pytest.mark.parametrize("unit", ["word", "row"])
def test_bounds_of_several_units_are_exact_where_they_share_no_number(unit: Unit) -> None:
    one = int8(64)
    law = DeadRegion(unit=unit, p=0.15, geometry=TINY)
    seen = norms(law, one, 4000)
    for p, found in ((1, seen.one), (2, seen.two)):
        eps = law.budget(one, p=p, confidence=0.9).eps
        low, high = np.quantile(found, [0.88, 0.92])
        assert low * 0.98 <= eps <= high * 1.02


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
@pytest.mark.parametrize("unit", UNITS)
def test_every_format_dies_within_its_bounds(fmt: NumberFormat, unit: Unit) -> None:
    law = DeadRegion(unit=unit, p=0.1, geometry=TINY, reads="random")
    check_budgets(law, tensor(fmt, 20), trials=60)


def test_floats_that_lose_bits_have_a_ball_and_those_that_gain_some_have_none() -> None:
    one = tensor(FloatFormat())
    budget = DeadRegion(unit="row", count=1, geometry=TINY, reads="one").budget(one, p=2, confidence=0.9)
    assert (budget.n, budget.eps) == (1, math.inf)
    assert "structured fault" in budget.note
    law = DeadRegion(unit="bank", count=2, geometry=TINY, reads="zero")
    assert law.budget(one, p=2, confidence=0.9).eps < np.linalg.norm(one.values)
    check_budgets(law, one, trials=100)


def test_budgets_grow_with_the_units() -> None:
    one = int8(200)
    found = [DeadRegion(unit="word", count=c, geometry=TINY).budget(one, p=2, confidence=0.95) for c in range(0, 60, 6)]
    assert [b.n for b in found] == sorted(b.n for b in found)
    assert [b.eps for b in found] == sorted(b.eps for b in found)
    assert found[-1].eps <= np.linalg.norm(one.values.astype(float))


def test_tiles_have_a_size_of_their_own() -> None:
    one = stored(np.ones(256, np.int8), IntFormat(8, dtype="int8"))
    law = DeadRegion(unit="tile", count=1, geometry=Geometry(word_bits=64, rows=8, row_words=4), tile_rows=2)
    assert ones(draw(law, [one])["w"].masks) == 2 * 256
    narrow = DeadRegion(
        unit="tile", count=1, geometry=Geometry(word_bits=64, rows=8, row_words=4), tile_rows=2, tile_columns=64
    )
    assert ones(draw(narrow, [one])["w"].masks) == 2 * 64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unit": "line", "p": 0.1}, "word, row, column, bank or tile, got 'line'"),
        ({"unit": "row", "p": 0.1, "reads": "two"}, "zero, one or random, got 'two'"),
        ({"unit": "row"}, "exactly one of p and count"),
        ({"unit": "row", "p": 0.1, "count": 1}, "exactly one of p and count"),
        ({"unit": "row", "p": 1.5}, r"p must be between 0 and 1, got 1\.5"),
        ({"unit": "row", "count": -1}, "at least 0, got -1"),
        ({"unit": "row", "count": 1.5}, r"at least 0, got 1\.5"),
        ({"unit": "row", "count": 1, "tile_rows": 2}, "size of the unit tile"),
        ({"unit": "tile", "count": 1, "tile_rows": 9999}, "tile_rows must be between 1 and 512, got 9999"),
    ],
)
def test_impossible_regions_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        DeadRegion(**fields)


PART = Geometry(word_bits=64, rows=512, row_words=8, tile_rows=64, tile_columns=512)


@pytest.mark.parametrize("unit", UNITS)
def test_one_dead_unit_of_those_that_hold_the_model_hits_every_die(unit: Unit) -> None:
    law = DeadRegion(unit=unit, count=1, geometry=PART)
    one = stored(np.full(8, -1, np.int8), IntFormat(8, dtype="int8"))  # one word of a bank of 4,096
    assert law.units(MemoryMap([one], PART)) == (64 if unit == "column" else 1)
    assert all(law.sample(one, generator(0, trial)).indices.size for trial in range(20))
    assert law.budget(one, p=1, confidence=0.5).n == (1 if unit == "column" else 8)


@pytest.mark.parametrize("width", [4, 16, 24, 64])
@pytest.mark.parametrize(("row_words", "interleave", "tall"), [(1, 1, 2), (6, 2, 1), (6, 3, 3)])
@pytest.mark.parametrize("unit", ["column", "tile"])
def test_units_in_use_are_those_of_the_stored_cells(
    unit: Unit, row_words: int, interleave: int, tall: int, width: int
) -> None:
    shape = Geometry(
        word_bits=width, rows=4, row_words=row_words, interleave=interleave, tile_rows=tall, tile_columns=3
    )
    rng = np.random.default_rng(width)
    for _ in range(12):
        sizes = rng.integers(0, 60, 3)
        tensors = [int8(int(sizes[0]), name="b"), tensor(IntFormat(3), int(sizes[1]), "a"), int8(0, name="c")]
        tensors.append(tensor(IntFormat(22), int(sizes[2]), "d"))
        memory = MemoryMap(tensors, shape)
        cells = np.arange(memory.cells)
        law = DeadRegion(unit=unit, p=0.5, geometry=shape)
        wanted = np.unique(law._unit_of(memory, cells[memory.owner(cells).site >= 0]))
        np.testing.assert_array_equal(law._used(memory), wanted)


def test_more_dead_units_than_there_are_is_an_error() -> None:
    with pytest.raises(DeviceError, match="2 dead banks do not fit: the model takes 1"):
        draw(DeadRegion(unit="bank", count=2), [int8(10)])
