"""A known number of flips: exactly that many, every set of them equally likely, and the quantiles of what they do."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from norms import FORMATS, NAMES, check_budgets, check_counts, check_tight, flips, int8, stored, tensor
from scipy import stats

from faultsim.corruption import Corruption, Xor, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.bit_flip_count import BitFlipCount
from faultsim.formats import ConductancePair, FloatFormat, IntFormat, NumberFormat
from faultsim.rng import generator


@pytest.mark.parametrize("n", [0, 1, 7, 2400])
def test_exactly_n_bits_flip_whatever_the_order_of_the_tensors(n: int) -> None:
    chip = [int8(100, name="b"), tensor(IntFormat(4), 150, "a"), int8(50, name="c")]
    law = BitFlipCount(n=n)
    edits = law.sample_chip(chip, lambda name: generator(0, 0, name))
    assert flips(edits.values()) == n
    assert all(edit.indices.size for edit in edits.values() if isinstance(edit, Xor))
    backwards = law.sample_chip(chip[::-1], lambda name: generator(0, 0, name))
    assert Corruption(edits) == Corruption(backwards)
    assert list(edits) == sorted(edits)


def test_every_pair_of_bits_is_equally_likely() -> None:
    chip = [stored(np.zeros(1, np.int8), IntFormat(2, dtype="int8"), "a"), stored(np.zeros(1), IntFormat(3), "b")]
    seen: Counter[tuple[int, int]] = Counter()
    for trial in range(6000):
        edits = BitFlipCount(n=2).sample_chip(chip, lambda name, t=trial: generator(0, t, name))  # type: ignore[misc]
        masks = {name: int(edit.masks[0]) for name, edit in edits.items() if isinstance(edit, Xor)}
        word = masks.get("a", 0) | masks.get("b", 0) << 2
        first, second = (i for i in range(5) if word >> i & 1)
        seen[first, second] += 1
    assert set(seen) == set(itertools.combinations(range(5), 2))
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4


def test_a_tensor_gets_its_share_as_the_hypergeometric_law_has_it() -> None:
    chip = [int8(40, name="a"), tensor(IntFormat(4), 60, "b")]
    counts = []
    for trial in range(1500):
        edits = BitFlipCount(n=50).sample_chip(chip, lambda name, t=trial: generator(1, t, name))  # type: ignore[misc]
        counts.append(flips([edits["a"]] if "a" in edits else []))
    check_counts(counts, stats.hypergeom(800, 320, 50))


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
def test_flips_land_in_the_bits_of_every_format(fmt: NumberFormat) -> None:
    one = tensor(fmt)
    edit = BitFlipCount(n=20).sample(one, generator(0, 0))
    assert flips([edit]) == 20
    assert int(edit.masks.max()) < 1 << fmt.bits
    apply_edit(edit, one)
    check_budgets(BitFlipCount(n=5), one, trials=200)


@pytest.mark.parametrize("n", [3, 40, 400])
@pytest.mark.parametrize("encoding", ["twos_complement", "offset_binary"])
def test_the_radius_is_the_quantile(n: int, encoding: str) -> None:
    fmt = IntFormat(8, encoding="offset_binary") if encoding == "offset_binary" else IntFormat(8)
    one = tensor(fmt, 500)
    check_tight(BitFlipCount(n=n), one, within=0.02 if n < 400 else 0.05)  # p = 1 takes two in a word as if alike
    check_budgets(BitFlipCount(n=n), one, confidence=0.99)


def test_two_flips_in_a_word_that_push_the_same_way_are_counted() -> None:
    zeros = stored(np.zeros(40), IntFormat(7, signed=False))
    check_tight(BitFlipCount(n=30), zeros)


def test_the_largest_of_one_flip_is_the_quantile_of_its_size() -> None:
    one = int8(1000)
    law = BitFlipCount(n=1)
    for confidence, size in ((0.05, 1), (0.5, 8), (0.87, 64), (0.9, 128)):
        assert law.budget(one, p=math.inf, confidence=confidence).eps == size
    assert law.budget(one, p=1, confidence=0.9).eps == pytest.approx(128, rel=1e-4)
    assert law.budget(one, p=2, confidence=0.9).n == 1


def test_budgets_grow_with_the_flips() -> None:
    one = int8(300)
    found = [BitFlipCount(n=n).budget(one, p=2, confidence=0.95) for n in (0, 1, 2, 5, 20, 100, 2400)]
    assert (found[0].n, found[0].eps) == (0, 0.0)
    assert all(a.n <= b.n and a.eps <= b.eps * 1.0001 for a, b in itertools.pairwise(found))
    assert found[-1].n == 300
    every = apply_edit(BitFlipCount(n=2400).sample(one, generator(0, 0)), one).astype(float) - one.values
    assert float(np.linalg.norm(every)) <= found[-1].eps


def test_floats_bound_the_count_alone() -> None:
    budget = BitFlipCount(n=3).budget(tensor(FloatFormat()), p=2, confidence=0.9)
    assert (budget.n, budget.eps) == (3, math.inf)
    assert "exact flips" in budget.note


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(OptionError, match="whole number of flipped bits, at least 0, got -1"):
        BitFlipCount(n=-1)
    with pytest.raises(OptionError, match=r"got 1\.5"):
        BitFlipCount(n=1.5)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="9 bits cannot flip where only 8 are stored"):
        BitFlipCount(n=9).sample(int8(1), generator(0, 0))
    with pytest.raises(DeviceError, match="stores no bits"):
        BitFlipCount(n=1).sample(stored(np.ones(3, np.float32), ConductancePair(0, 25)), generator(0, 0))
