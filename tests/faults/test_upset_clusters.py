"""Upsets on a memory map: which cells an event flips, that every stored bit is as likely, and the bounds."""

import itertools
import math
from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from norms import FORMATS, NAMES, check_budgets, check_poisson, check_tight, flips, int8, stored, tensor
from scipy import stats

from faultsim.corruption import Corruption, Stored, Xor
from faultsim.errors import OptionError
from faultsim.faults.upset_rate import UpsetRate
from faultsim.formats import FloatFormat, IntFormat, NumberFormat
from faultsim.memory import Geometry, MemoryMap
from faultsim.rng import generator

ROW = Geometry(word_bits=16, rows=4, row_words=4, interleave=4)
PATTERNS: tuple[Literal["word_cluster", "row", "column"], ...] = ("word_cluster", "row", "column")


def law(pattern: Any = "row", geometry: Geometry = ROW, **fields: Any) -> UpsetRate:
    return UpsetRate(**{"fit_per_mbit": 1e-3, "exposure_h": 1.0, "given_event": True, "pattern": pattern,
                        "geometry": geometry, **fields})  # fmt: skip


def chip() -> list[Stored]:
    return [int8(20, name="b"), tensor(IntFormat(4), 10, "a"), tensor(IntFormat(12), 4, "c")]


def draw(one: UpsetRate, tensors: list[Stored], trial: int = 0) -> dict[str, Any]:
    return one.sample_chip(tensors, lambda name: generator(0, trial, name))


def cells_of(edits: dict[str, Any], memory: MemoryMap) -> list[int]:
    found: list[int] = []
    for name, edit in edits.items():
        assert isinstance(edit, Xor)
        for element, mask in zip(edit.indices, edit.masks, strict=True):
            bits = np.array([b for b in range(16) if int(mask) >> b & 1])
            found += memory.cell(name, int(element), bits).tolist()
    return sorted(found)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_cells_of_an_event_are_neighbours(pattern: Any) -> None:
    tensors = chip()
    memory = MemoryMap(tensors, ROW)
    words = set()
    for trial in range(300):
        cells = np.array(cells_of(draw(law(pattern, multiplicity=(0.0, 0.0, 1.0)), tensors, trial), memory))
        bank, row, column = memory.place(cells)
        word = cells // 16
        words.add(np.unique(word).size)
        assert cells.size <= 3
        assert np.unique(bank).size <= 1
        if pattern == "word_cluster":
            assert np.unique(word).size <= 1
            assert np.ptp(cells) <= 2
        elif pattern == "row":
            assert np.unique(row).size <= 1
            assert np.ptp(np.sort(column)) <= 2
        else:
            assert np.unique(column).size <= 1
            assert np.ptp(row) <= 2
    assert max(words) == (1 if pattern == "word_cluster" else 3)


def test_interleaving_spreads_a_row_event_over_words() -> None:
    tensors = [int8(32)]
    for interleave, words in ((4, 3), (1, 1)):
        shape = Geometry(word_bits=16, rows=4, row_words=4, interleave=interleave)
        memory = MemoryMap(tensors, shape)
        found = [
            np.unique(np.array(cells_of(draw(law("row", shape, multiplicity=(0, 0, 1.0)), tensors, t), memory)) // 16)
            for t in range(200)
        ]
        assert stats.mode([f.size for f in found]).mode == words


@pytest.mark.parametrize("pattern", PATTERNS)
def test_single_upsets_hit_every_stored_bit_alike(pattern: Any) -> None:
    tensors = [int8(3, name="b"), tensor(IntFormat(3), 3, "a"), tensor(IntFormat(12), 1, "c")]
    memory = MemoryMap(tensors, ROW)
    seen = Counter(cell for t in range(4000) for cell in cells_of(draw(law(pattern), tensors, t), memory))
    assert len(seen) == memory.data_bits == 24 + 18 + 24
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4


def test_all_runs_of_a_word_are_equally_likely() -> None:
    tensors = [int8(4)]
    memory = MemoryMap(tensors, ROW)
    one = law("word_cluster", multiplicity=(0.0, 0.0, 0.0, 1.0))
    seen = Counter(tuple(cells_of(draw(one, tensors, t), memory)) for t in range(3000))
    assert len(seen) == 2 * 13
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4


@pytest.mark.parametrize("given_event", [False, True])
def test_the_number_of_events_is_poisson_in_the_stored_bits(given_event: bool) -> None:
    tensors = [int8(4000), tensor(IntFormat(3), 500, "a")]
    bits = 4000 * 8 + 1000 * 3
    one = law("word_cluster", Geometry(), fit_per_mbit=20e15 / bits, given_event=given_event)
    assert one.expected_events(tensors) == pytest.approx(20.0)
    check_poisson([flips(draw(one, tensors, t).values()) for t in range(1500)], 20.0)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_events_do_not_depend_on_the_order_of_the_tensors(pattern: Any) -> None:
    one = law(pattern, multiplicity=(0.5, 0.3, 0.2))
    for trial in range(20):
        assert Corruption(draw(one, chip(), trial)) == Corruption(draw(one, chip()[::-1], trial))
    assert Corruption(draw(one, chip(), 0)) != Corruption(draw(one, chip(), 1))


def test_one_number_a_word_is_the_law_without_a_geometry() -> None:
    one = int8(200)
    shape = Geometry(word_bits=8, rows=512)
    fields: dict[str, Any] = {"fit_per_mbit": 1e-3, "exposure_h": 1.0, "multiplicity": (0.5, 0.25, 0.25)}
    plain, mapped = (UpsetRate(**fields, given_event=True, geometry=g) for g in (None, shape))
    for p, confidence in itertools.product((1, 2, math.inf), (0.5, 0.9, 0.99)):
        a, b = (law.budget(one, p=p, confidence=confidence) for law in (plain, mapped))
        assert a.n == b.n
        assert b.eps == pytest.approx(a.eps, rel=1e-3)
    widths = [
        sorted(Counter(int(m).bit_count() for t in range(800) for m in law.sample(one, generator(0, t)).masks).items())
        for law in (plain, mapped)
    ]
    assert stats.chi2_contingency([[count for _, count in part] for part in widths]).pvalue > 1e-4


def test_rate_zero_is_the_identity() -> None:
    one = law(fit_per_mbit=0.0, given_event=False)
    assert draw(one, chip()) == {}
    assert one.sample(int8(9), generator(0, 0)).indices.size == 0
    budget = one.budget(int8(9), p=2, confidence=0.99)
    assert (budget.n, budget.eps) == (0, 0.0)


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_format_is_struck_within_its_bounds(fmt: NumberFormat, pattern: Any) -> None:
    shape = Geometry(word_bits=32, rows=8, row_words=2, interleave=2)
    check_budgets(law(pattern, shape, multiplicity=(0.6, 0.3, 0.1)), tensor(fmt), trials=80)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("mean", [0.2, 12.0])
def test_the_radius_is_the_quantile(pattern: Any, mean: float) -> None:
    one = tensor(IntFormat(8), 400)
    struck = law(pattern, Geometry(word_bits=64, rows=64, row_words=2, interleave=2), multiplicity=(0.3, 0.3, 0.4),
                 fit_per_mbit=mean * 1e15 / 6400)  # fmt: skip
    check_tight(struck, one)


def test_many_bits_are_looked_at_in_part_and_give_the_same_bound() -> None:
    values = np.random.default_rng(0).integers(-128, 128, 60_000).astype(np.int8)
    large = stored(values, IntFormat(8, dtype="int8"))
    small = stored(values[:20_000], IntFormat(8, dtype="int8"))
    for pattern in PATTERNS:
        one = law(pattern, Geometry(rows=256, row_words=4, interleave=4), multiplicity=(0.5, 0.5))
        a, b = (one.budget(part, p=2, confidence=0.9) for part in (large, small))
        assert a.eps == pytest.approx(b.eps, rel=0.01)
        assert a.n == b.n


def test_floats_bound_the_count_alone() -> None:
    budget = law("row", multiplicity=(0.0, 1.0)).budget(tensor(FloatFormat()), p=2, confidence=0.9)
    assert budget.eps == math.inf
    assert "exact flips" in budget.note


def test_a_row_or_column_needs_a_geometry() -> None:
    with pytest.raises(OptionError, match="pattern row needs a geometry"):
        UpsetRate(fit_per_mbit=1, exposure_h=1, pattern="row")
    with pytest.raises(OptionError, match="unknown pattern 'diagonal'"):
        UpsetRate(fit_per_mbit=1, exposure_h=1, pattern="diagonal")  # type: ignore[arg-type]
