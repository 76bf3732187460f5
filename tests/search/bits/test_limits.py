"""What an attacker cannot reach he does not flip, by the memory's own map; and the limits cost him nothing else."""

from collections import Counter

import numpy as np
import pytest

from faultsim.errors import OptionError
from faultsim.faults import RowHammer
from faultsim.formats import IntFormat
from faultsim.memory import Geometry, MemoryMap
from faultsim.rng import generator
from faultsim.search.bits import (
    Beam,
    BitFlips,
    Flippable,
    Levels,
    Limits,
    ProgressiveBitSearch,
    Untargeted,
    WorstCells,
    worst_cells,
)
from tests.search.bits.nets import WEIGHTS, EditedMlp, stored_as, tiny_mlp
from tests.search.bits.test_oracle import every, loss_of

GEOMETRY = Geometry(word_bits=16, rows=8, row_words=2, page_bits=64, interleave=2)


@pytest.fixture
def net() -> EditedMlp:
    mlp = tiny_mlp(3, (4, 5, 4, 3))
    forms = {n: IntFormat(8, scale=np.abs(mlp.weights[n]).max() / 127, dtype="float64") for n in WEIGHTS}
    return EditedMlp(mlp, {n: stored_as(n, mlp.weights[n], forms[n]) for n in WEIGHTS})


QUICK = [Beam(beam=3, tried=20, survey=0)]


def flips(net: EditedMlp, **options) -> dict[str, BitFlips]:
    return {name: BitFlips(one, **options) for name, one in net.stored.items()}


def cells_of(found: WorstCells, memory: MemoryMap) -> np.ndarray:
    """The logical cells that the reported corruption flips, from its edits alone."""
    cells = []
    for name, edit in found.worst.corruption.items():
        for element, mask in zip(edit.indices.tolist(), edit.masks.tolist(), strict=True):
            cells += [int(memory.cell(name, element, bit)) for bit in range(8) if mask >> bit & 1]
    assert len(cells) == found.worst.cells
    return np.array(cells)


@pytest.mark.parametrize("region", ["element", "word", "row", "page", "bank"])
@pytest.mark.parametrize("most", [1, 2])
def test_at_most_so_many_in_one_region(net, region, most):
    memory = MemoryMap(list(net.stored.values()), GEOMETRY)
    found = worst_cells(
        Untargeted(objective=net), flips(net), 6, limits=Limits(at_most={region: most}, memory=memory), methods=QUICK
    )
    cells = cells_of(found, memory)
    place = memory.place(cells)
    owner = memory.owner(cells)
    numbers = {
        "element": list(zip(owner.site.tolist(), owner.element.tolist(), strict=True)),
        "word": memory.word_of(cells).tolist(),
        "row": list(zip(place.bank.tolist(), place.row.tolist(), strict=True)),
        "page": (cells // GEOMETRY.page_bits).tolist(),
        "bank": place.bank.tolist(),
    }[region]
    assert max(Counter(numbers).values()) <= most
    regions = {"bank": memory.banks_used, "row": memory.rows_used, "page": -(-memory.cells // GEOMETRY.page_bits)}
    assert found.worst.cells == min(6, most * regions.get(region, 6))


def test_one_row_only(net):
    memory = MemoryMap(list(net.stored.values()), GEOMETRY)
    found = worst_cells(Untargeted(objective=net), flips(net), 4, limits=Limits(one="row", memory=memory))
    place = memory.place(cells_of(found, memory))
    assert len(set(zip(place.bank.tolist(), place.row.tolist(), strict=True))) == 1
    assert found.worst.cells == 4


def test_hammered_cells_flip_in_their_own_direction_alone(net):
    law = RowHammer(n_flips=5, flippable_fraction=0.2, geometry=GEOMETRY)
    stored = list(net.stored.values())
    die = law.flippable(stored, lambda name: generator(7, 0, name))
    memory = MemoryMap(stored, GEOMETRY)
    limits = Limits(flippable=Flippable(memory, die.cells, die.to_one), at_most={"page": 2})
    choices = flips(net)
    found = worst_cells(Untargeted(objective=net), choices, 5, limits=limits)
    eligible = set(law.eligible(stored, die).cells.tolist())
    cells = cells_of(found, memory)
    assert found.worst.cells >= 3
    assert set(cells.tolist()) <= eligible
    assert max(Counter((cells // GEOMETRY.page_bits).tolist()).values()) <= 2
    reachable = [p for p in every(choices) if int(memory.cell(p.site, p.element, p.option)) in eligible]
    best = max(loss_of(net, choices, (pick,)) for pick in reachable)
    assert worst_cells(Untargeted(objective=net), choices, 1, limits=limits).worst.judged.loss == pytest.approx(best)


def test_without_a_direction_flippable_cells_flip_both_ways(net):
    memory = MemoryMap(list(net.stored.values()), GEOMETRY)
    only = np.array([int(memory.cell(WEIGHTS[2], 5, 7))])
    found = worst_cells(Untargeted(objective=net), flips(net), 3, limits=Limits(flippable=Flippable(memory, only)))
    assert max(one.cells for one in found.sizes) == 1
    none = Limits(flippable=Flippable(memory, only[:0]))
    assert worst_cells(Untargeted(objective=net), flips(net), 3, limits=none).worst.cells == 0


def test_only_the_bits_and_tensors_given_are_flipped(net):
    found = worst_cells(Untargeted(objective=net), {WEIGHTS[1]: BitFlips(net.stored[WEIGHTS[1]], bits=[-1])}, 3)
    assert set(found.worst.corruption) == {WEIGHTS[1]}
    assert set(found.worst.corruption[WEIGHTS[1]].masks.tolist()) == {128}


@pytest.mark.parametrize("limits", [{"at_most": {"word": 1}}, {"at_most": {"bank": 1}}, {"one": "row"}])
def test_the_published_search_keeps_to_the_limits_too(net, limits):
    memory = MemoryMap(list(net.stored.values()), GEOMETRY)
    limit = Limits(memory=memory, **limits)
    found = worst_cells(Untargeted(objective=net), flips(net), 6, limits=limit, methods=[ProgressiveBitSearch()])
    region, most = next(iter(limits["at_most"].items())) if "at_most" in limits else (limits["one"], None)
    cells = cells_of(found, memory)
    place = memory.place(cells)
    numbers = {
        "word": memory.word_of(cells).tolist(),
        "row": list(zip(place.bank.tolist(), place.row.tolist(), strict=True)),
        "bank": place.bank.tolist(),
    }[region]
    assert len(set(numbers)) == 1 if most is None else max(Counter(numbers).values()) <= most


def test_limits_that_make_no_sense_are_refused(net):
    memory = MemoryMap(list(net.stored.values()), GEOMETRY)
    with pytest.raises(OptionError, match="unknown region 'column'; use one of element, word, row, page, bank"):
        Limits(at_most={"column": 1}, memory=memory)
    with pytest.raises(OptionError, match="a limit on a row needs the memory's layout"):
        Limits(one="row")
    with pytest.raises(OptionError, match="at most 0 cells of a word is no attack"):
        Limits(at_most={"word": 0}, memory=memory)
    with pytest.raises(OptionError, match="2 flippable cells have 1 directions"):
        Flippable(memory, np.arange(2), np.array([True]))
    with pytest.raises(OptionError, match="a flippable cell is given twice"):
        Flippable(memory, np.array([3, 3]))
    hold = {name: Levels(one, 2) for name, one in net.stored.items()}
    with pytest.raises(OptionError, match="hold levels, and flippable cells hold bits"):
        worst_cells(Untargeted(objective=net), hold, 1, limits=Limits(flippable=Flippable(memory, np.arange(4))))
