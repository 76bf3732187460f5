"""RowHammer: a fixed set of one-way cells, the page limit, and bounds that hold."""

import math
from typing import Any

import numpy as np
import pytest
from norms import FORMATS, NAMES, check_budgets, check_counts, check_tight, flips, int8, stored, tensor
from scipy import stats

from faultsim.corruption import Corruption, Stored, Xor, apply_edit
from faultsim.errors import OptionError
from faultsim.faults.effects import bits_at
from faultsim.faults.rowhammer import RowHammer
from faultsim.formats import FloatFormat, IntFormat, NumberFormat
from faultsim.memory import Geometry, MemoryMap
from faultsim.rng import generator

SMALL = Geometry(page_bits=512)


def chip() -> list[Stored]:
    return [int8(300, name="b"), tensor(IntFormat(4), 90, "a"), tensor(IntFormat(12), 50, "c")]


def die(trial: int) -> Any:
    return lambda name: generator(0, trial, name)


def test_the_flippable_cells_are_a_share_of_all_and_half_go_each_way() -> None:
    tensors = chip()
    law = RowHammer(n_flips=5, flippable_fraction=0.02, geometry=SMALL)
    found = [law.flippable(tensors, die(t)) for t in range(600)]
    bits = MemoryMap(tensors, SMALL).data_bits
    check_counts([f.cells.size for f in found], stats.binom(bits, 0.02))
    assert stats.binomtest(sum(int(f.to_one.sum()) for f in found), sum(f.cells.size for f in found)).pvalue > 1e-4
    for one in found:
        np.testing.assert_array_equal(one.pages, one.cells // 512)
        assert np.all(np.diff(one.cells) > 0)


@pytest.mark.parametrize("most", [1, 2, 50])
def test_flips_are_of_the_set_go_its_way_and_respect_the_page(most: int) -> None:
    tensors = chip()
    by_name = {one.site.name: one for one in tensors}
    memory = MemoryMap(tensors, SMALL)
    law = RowHammer(n_flips=12, flippable_fraction=0.05, max_flips_per_page=most, geometry=SMALL)
    for trial in range(100):
        able = law.eligible(tensors, law.flippable(tensors, die(trial)))
        edits = law.sample_chip(tensors, die(trial))
        hit = []
        for name, edit in edits.items():
            assert isinstance(edit, Xor)
            for element, mask in zip(edit.indices, edit.masks, strict=True):
                bits = np.array([b for b in range(16) if int(mask) >> b & 1])
                hit += memory.cell(name, int(element), bits).tolist()
        cells = np.array(sorted(hit), dtype=np.int64)
        at = np.searchsorted(able.cells, cells)
        np.testing.assert_array_equal(able.cells[at], cells)
        np.testing.assert_array_equal(bits_at(memory, by_name, cells), ~able.to_one[at])  # only the way it can go
        pages = np.unique(able.pages, return_counts=True)[1]
        assert np.bincount(cells // 512).max(initial=0) <= most
        assert cells.size == min(12, int(np.minimum(pages, most).sum()))


def test_a_die_is_the_same_for_every_attack_and_for_the_adversary() -> None:
    tensors = chip()
    few, many = (RowHammer(n_flips=n, flippable_fraction=0.05, geometry=SMALL) for n in (1, 9))
    for one, two in zip(few.flippable(tensors, die(3)), many.flippable(tensors[::-1], die(3)), strict=True):
        np.testing.assert_array_equal(one, two)
    assert Corruption(many.sample_chip(tensors, die(3))) == Corruption(many.sample_chip(tensors[::-1], die(3)))
    assert Corruption(many.sample_chip(tensors, die(3))) != Corruption(many.sample_chip(tensors, die(4)))


def test_a_cell_never_flips_back() -> None:
    tensors = [int8(300)]
    law = RowHammer(n_flips=10**6, flippable_fraction=0.1, max_flips_per_page=10**6, geometry=SMALL)
    edit = law.sample(tensors[0], generator(0, 0))
    again = tensors[0]._replace(values=apply_edit(edit, tensors[0]))
    assert flips([edit]) > 50
    assert law.sample(again, generator(0, 0)).indices.size == 0


def test_only_ones_can_be_lost_where_all_bits_are_one() -> None:
    full = stored(np.full(400, -1, np.int8), IntFormat(8, dtype="int8"))
    law = RowHammer(n_flips=10**6, flippable_fraction=0.05, max_flips_per_page=10**6)
    die_set = law.flippable([full], die(0))
    assert law.eligible([full], die_set).cells.size == np.count_nonzero(~die_set.to_one)


@pytest.mark.parametrize("law", [
    RowHammer(n_flips=0, flippable_fraction=0.5), RowHammer(n_flips=5, flippable_fraction=0.0),
])  # fmt: skip
def test_nothing_to_flip_changes_nothing(law: RowHammer) -> None:
    one = int8(300)
    assert law.sample_chip([one], die(0)) == {}
    assert law.sample(one, generator(0, 0)).indices.size == 0
    budget = law.budget(one, p=2, confidence=0.99)
    assert (budget.n, budget.eps) == (0, 0.0)


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
def test_every_format_is_hammered_within_its_bounds(fmt: NumberFormat) -> None:
    law = RowHammer(n_flips=4, flippable_fraction=0.05, max_flips_per_page=2, geometry=SMALL)
    check_budgets(law, tensor(fmt), trials=100)


def test_the_radius_is_the_quantile_where_flips_or_cells_run_out() -> None:
    one = tensor(IntFormat(8), 600)
    check_tight(RowHammer(n_flips=20, flippable_fraction=0.1, geometry=Geometry(page_bits=64)), one)
    check_tight(RowHammer(n_flips=9999, flippable_fraction=0.004, max_flips_per_page=9999), one)
    one_a_page = RowHammer(n_flips=9999, flippable_fraction=0.004, geometry=Geometry(page_bits=500))
    check_tight(one_a_page, one)
    assert one_a_page.budget(one, p=2, confidence=0.9).note == ""


def test_the_page_limit_and_the_fraction_bound_the_count() -> None:
    one = int8(512)  # eight pages
    assert RowHammer(n_flips=100, flippable_fraction=1.0, geometry=SMALL).budget(one, p=1, confidence=0.99).n == 8
    assert RowHammer(n_flips=3, flippable_fraction=1.0, geometry=SMALL).budget(one, p=1, confidence=0.99).n == 3
    rare = RowHammer(n_flips=24, flippable_fraction=1e-4, geometry=SMALL).budget(one, p=1, confidence=0.99)
    assert rare.n == int(stats.binom.ppf(0.99, 512, 1 - (1 - 5e-5) ** 8))


def test_floats_bound_the_count_alone() -> None:
    budget = RowHammer(n_flips=2, flippable_fraction=1.0, max_flips_per_page=9).budget(
        tensor(FloatFormat()), p=2, confidence=0.9
    )
    assert (budget.n, budget.eps) == (2, math.inf)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_flips": -1, "flippable_fraction": 0.1}, "n_flips must be a whole number of flips, at least 0, got -1"),
        ({"n_flips": 1, "flippable_fraction": 2}, "flippable_fraction must be between 0 and 1, got 2"),
        ({"n_flips": 1, "flippable_fraction": 0.1, "max_flips_per_page": 0}, "at least 1, got 0"),
    ],
)
def test_impossible_attacks_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RowHammer(**fields)
