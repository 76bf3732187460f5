"""Broken processing elements: which weights and outputs each has, the same for all layers, and exact bounds."""

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from norms import FORMATS, NAMES, check_budgets, check_counts, norms, ones, stored, tensor
from scipy import stats

from faultsim.corruption import Corruption, Stored, Stuck, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.systolic import StuckPE
from faultsim.formats import BinaryFormat, FloatFormat, IntFormat, NumberFormat
from faultsim.rng import generator


def net() -> list[Stored]:
    rng = np.random.default_rng(0)
    return [
        stored(rng.integers(1, 128, (6, 3, 2, 2)).astype(np.int8), IntFormat(8, dtype="int8"), "conv"),
        stored(rng.integers(1, 8, (10, 7)).astype(np.int8), IntFormat(4, dtype="int8"), "fc", channel_axis=1),
        stored(np.ones(6, np.float32), FloatFormat(), "bias", role="bias"),
        stored(np.ones((4, 4), np.float32), FloatFormat(), "embed", kind="embedding"),
    ]


def draw(law: StuckPE, trial: int = 0, tensors: list[Stored] | None = None) -> dict[str, Any]:
    chip = net() if tensors is None else tensors
    return law.sample_chip(chip, lambda name: generator(0, trial, name))


def test_the_elements_share_out_a_weight_by_its_matrix() -> None:
    law = StuckPE(rows=5, columns=4, count=1)
    conv = net()[0]
    for n, i, y, x in itertools.product(range(6), range(3), range(2), range(2)):
        k = (i * 2 + y) * 2 + x
        flat = ((n * 3 + i) * 2 + y) * 2 + x
        assert flat in law.weight_elements(conv, (k % 5, n % 4))
    parts = [law.weight_elements(one, pe) for one in net()[:2] for pe in itertools.product(range(5), range(4))]
    assert np.sort(np.concatenate(parts)).tolist() == sorted([*range(72), *range(70)])
    fc = net()[1]
    assert law.weight_elements(fc, (1, 2)).tolist() == [1 * 7 + 2, 1 * 7 + 6, 6 * 7 + 2, 6 * 7 + 6]


def test_outputs_that_stay_in_place_are_shared_out_by_channel_and_position() -> None:
    law = StuckPE(rows=3, columns=2, count=1, mapping="output_stationary")
    assert law.output_elements((4, 2, 2), (1, 0)).tolist() == [1, 9]
    assert law.output_elements((4, 2, 2), (0, 1)).tolist() == [4, 7, 12, 15]
    assert law.output_elements((5, 4), (1, 0), channel_axis=-1).tolist() == [4, 6, 16, 18]
    assert law.output_elements((7,), (0, 1)).tolist() == [1, 3, 5]
    every = [law.output_elements((4, 2, 2), pe) for pe in itertools.product(range(3), range(2))]
    assert np.sort(np.concatenate(every)).tolist() == list(range(16))
    assert law.output_elements((4, 0), (0, 0)).size == 0


def test_a_dead_element_reads_zero_in_every_tile_of_every_layer() -> None:
    law = StuckPE(rows=4, columns=3, count=1)
    seen: Counter[int] = Counter()
    for trial in range(600):
        edits = draw(law, trial)
        pe = law.broken(generator(0, trial, "*"))[0]
        seen[int(pe[0]) * 3 + int(pe[1])] += 1
        assert set(edits) == {"conv", "fc"}
        for one in net()[:2]:
            gone = np.flatnonzero(apply_edit(edits[one.site.name], one).reshape(-1) == 0)
            np.testing.assert_array_equal(gone, law.weight_elements(one, (int(pe[0]), int(pe[1]))))
    assert len(seen) == 12
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4


def test_a_stuck_bit_is_one_bit_of_the_register_in_all_layers() -> None:
    law = StuckPE(rows=4, columns=3, count=1, effect="stuck_bit")
    bits: Counter[int] = Counter()
    for trial in range(800):
        edits = draw(law, trial)
        (mask,) = np.unique(edits["conv"].masks)
        (held,) = np.unique(edits["conv"].bits)
        bits[int(mask).bit_length() - 1] += 1
        assert int(held) in (0, int(mask))
        if mask < 16:  # the codes of the other layer have four bits
            assert np.unique(edits["fc"].masks).tolist() == [mask]
            assert np.unique(edits["fc"].bits).tolist() == [held]
        else:
            assert "fc" not in edits
        pe = law.broken(generator(0, trial, "*"))[0]
        np.testing.assert_array_equal(edits["conv"].indices, law.weight_elements(net()[0], (int(pe[0]), int(pe[1]))))
    assert set(bits) == set(range(8))
    assert stats.chisquare(list(bits.values())).pvalue > 1e-4


def test_broken_elements_are_binomial_or_as_many_as_asked() -> None:
    law = StuckPE(rows=16, columns=16, p=0.03)
    check_counts([len(law.broken(generator(0, t))) for t in range(1500)], stats.binom(256, 0.03))
    assert len(np.unique(StuckPE(rows=4, columns=4, count=16).broken(generator(0, 0)), axis=0)) == 16


@pytest.mark.parametrize("effect", ["dead", "stuck_bit"])
def test_equal_keys_give_equal_dies_whatever_the_order_of_the_tensors(effect: Any) -> None:
    law = StuckPE(rows=8, columns=8, p=0.1, effect=effect)
    for trial in range(10):
        assert Corruption(draw(law, trial)) == Corruption(draw(law, trial, net()[::-1]))
    assert Corruption(draw(law, 0)) != Corruption(draw(law, 1))


def test_zero_is_the_zero_point_of_the_layer() -> None:
    codes = np.full((4, 4), 140, np.uint8)
    fmt = IntFormat(8, signed=False, dtype="uint8")
    chip = [stored(codes, fmt, layer="l"), stored(np.array(128, np.uint8), fmt, "z", layer="l", role="zero_point")]
    after = apply_edit(draw(StuckPE(rows=2, columns=2, count=1), 0, chip)["w"], chip[0])
    assert sorted(np.unique(after).tolist()) == [128, 140]


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
@pytest.mark.parametrize("effect", ["dead", "stuck_bit"])
def test_every_format_breaks_within_its_bounds(fmt: NumberFormat, effect: Any) -> None:
    one = tensor(fmt, 30)
    check_budgets(StuckPE(rows=8, columns=2, p=0.1, effect=effect), one, trials=80)
    check_budgets(StuckPE(rows=8, columns=2, count=3, effect=effect), one, trials=80)
    if effect == "dead":
        after = apply_edit(StuckPE(rows=1, columns=1, count=1).sample(one, generator(0, 0)), one)
        assert isinstance(fmt, BinaryFormat) or not np.any(after)


@pytest.mark.parametrize("fields", [{"p": 0.08}, {"count": 3}])
@pytest.mark.parametrize("effect", ["dead", "stuck_bit"])
def test_the_bound_is_the_quantile(fields: dict[str, Any], effect: Any) -> None:
    one = tensor(IntFormat(8), 300, channel_axis=0)
    law = StuckPE(rows=25, columns=2, effect=effect, **fields)
    seen = norms(law, one, 2500)
    for p, found in ((1, seen.one), (2, seen.two)):
        low, high = np.quantile(found, [0.875, 0.925])
        assert low * 0.98 <= law.budget(one, p=p, confidence=0.9).eps <= high * 1.02, p
    assert np.quantile(seen.count, 0.875) <= law.budget(one, p=2, confidence=0.9).n <= np.quantile(seen.count, 0.925)


def test_bounds_of_one_dead_element_are_exact() -> None:
    one = tensor(IntFormat(8), 20)
    law = StuckPE(rows=5, columns=2, count=1)
    each = [
        np.abs(one.values.reshape(-1)[law.weight_elements(one, pe)]) for pe in itertools.product(range(5), range(2))
    ]
    for confidence in (0.25, 0.75, 0.95):
        for p, sizes in ((1, [e.sum() for e in each]), (2, [np.linalg.norm(e) for e in each]),
                         (math.inf, [e.max() for e in each])):  # fmt: skip
            want = np.quantile(sizes, confidence, method="inverted_cdf")
            assert law.budget(one, p=p, confidence=confidence).eps == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize("law", [StuckPE(rows=4, columns=4, p=0.0), StuckPE(rows=4, columns=4, count=0)])
def test_no_broken_element_changes_nothing(law: StuckPE) -> None:
    assert draw(law) == {}
    edit = law.sample(net()[0], generator(0, 0))
    assert isinstance(edit, Stuck)
    assert edit.indices.size == 0
    budget = law.budget(net()[0], p=2, confidence=0.99)
    assert (budget.n, budget.eps) == (0, 0.0)
    assert StuckPE(rows=4, columns=4, count=3).budget(net()[2], p=2, confidence=0.9).n == 0
    assert StuckPE(rows=4, columns=4, count=3).sample(net()[2], generator(0, 0)).indices.size == 0


def test_floats_that_die_have_a_ball_and_those_with_a_stuck_bit_have_none() -> None:
    one = tensor(FloatFormat(), 20)
    dead = StuckPE(rows=4, columns=2, count=2).budget(one, p=2, confidence=0.9)
    assert 0 < dead.eps < np.linalg.norm(one.values)
    assert StuckPE(rows=4, columns=2, count=2, effect="stuck_bit").budget(one, p=2, confidence=0.9).eps == math.inf
    assert ones(StuckPE(rows=4, columns=2, count=8).sample(one, generator(0, 0)).masks) == 40 * 32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": 0, "count": 1}, "rows must be a whole number between 1 and 65536, got 0"),
        ({"count": None}, "exactly one of p and count"),
        ({"count": 1, "p": 0.1}, "exactly one of p and count"),
        ({"p": 1.5, "count": None}, r"p must be between 0 and 1, got 1\.5"),
        ({"count": 17}, "count must be a whole number between 0 and 16, got 17"),
        ({"count": 1.0}, r"count must be a whole number between 0 and 16, got 1\.0"),
        ({"register_bits": 65}, "register_bits must be a whole number between 1 and 64, got 65"),
        ({"effect": "slow"}, "dead or has a stuck_bit, got 'slow'"),
        ({"mapping": "input_stationary"}, "got 'input_stationary'"),
    ],
)
def test_impossible_arrays_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        StuckPE(**{"rows": 4, "columns": 4, "count": 1, **fields})


def test_places_outside_the_array_or_the_output_are_refused() -> None:
    law = StuckPE(rows=4, columns=4, count=1)
    with pytest.raises(OptionError, match=r"\(4, 0\) is not in an array of 4 x 4"):
        law.weight_elements(net()[0], (4, 0))
    with pytest.raises(OptionError, match="channel axis 3 is out of range for an output of 2 dimensions"):
        law.output_elements((4, 4), (0, 0), channel_axis=3)
    still = StuckPE(rows=4, columns=4, count=1, mapping="output_stationary")
    with pytest.raises(DeviceError, match="stores no weights; use output_elements"):
        draw(still)
    with pytest.raises(DeviceError, match="stores no weights"):
        still.budget(net()[0], p=2, confidence=0.9)
