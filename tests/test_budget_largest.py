"""The largest change that flips make in a tensor: against enumeration, drawn chips and the bound that it replaces."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from faultsim.budget.largest import largest_change, largest_of
from faultsim.corruption import Site, Stored, apply_edit
from faultsim.faults import BitFlip, VoltageBitErrors
from faultsim.formats import IntFormat
from faultsim.rng import generator

FORMATS = [
    IntFormat(3, scale=0.5),
    IntFormat(3, signed=False, zero_point=3),
    IntFormat(4, encoding="offset_binary", scale=0.25),
    IntFormat(4, encoding="sign_magnitude", scale=2.0),
]


def stored_as(fmt: IntFormat, values: Any) -> Stored:
    site = Site(name="w", layer="w", kind="conv", role="weight", depth=0, shape=values.shape, format=fmt)
    return Stored(site, fmt, values)


def weights(elements: int, encoding: Any = "twos_complement") -> Stored:
    fmt = IntFormat(8, scale=1 / 127, encoding=encoding)
    drawn = np.clip(np.random.default_rng(3).standard_normal(elements) * 0.15, -1, 1)
    return stored_as(fmt, fmt.decode(fmt.encode(drawn.astype(np.float32))))


@pytest.mark.parametrize("by_bit", [False, True])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_the_quantile_is_that_of_every_pattern_of_flips(fmt: IntFormat, by_bit: bool) -> None:
    words = np.random.default_rng(1).integers(1 << fmt.bits, size=3).astype(np.uint64)
    values = fmt.decode(words)
    rates = np.random.default_rng(2).uniform(0.05, 0.6, fmt.bits) if by_bit else np.full(fmt.bits, 0.2)
    masks = np.arange(1 << fmt.bits, dtype=np.uint64)
    flipped = (masks[:, None] >> np.arange(fmt.bits, dtype=np.uint64)) & np.uint64(1)
    chance = np.prod(np.where(flipped == 1, rates, 1 - rates), axis=1)
    law: dict[float, float] = {}
    for three in itertools.product(range(len(masks)), repeat=3):
        change = fmt.decode(fmt.encode(values) ^ masks[list(three)]).astype(np.float64) - values
        largest = round(float(np.abs(change).max()), 9)
        law[largest] = law.get(largest, 0.0) + math.prod(chance[list(three)])
    sizes = np.array(sorted(law))
    within = np.cumsum([law[size] for size in sizes])
    for confidence in (0.05, 0.3, 0.5, 0.9, 0.99, 0.9999):
        found = largest_change(fmt, values, rates if by_bit else 0.2, confidence=confidence)
        assert found == pytest.approx(sizes[np.argmax(within >= confidence)], abs=1e-9)


@pytest.mark.parametrize("encoding", ["twos_complement", "sign_magnitude"])
@pytest.mark.parametrize("ber", [1e-4, 0.002, 0.04])
def test_as_many_chips_stay_within_the_radius_as_it_says(ber: float, encoding: Any) -> None:
    stored, trials = weights(1500, encoding), 1500
    law = BitFlip(ber=ber)
    drawn = np.array(
        [
            np.abs(apply_edit(law.sample(stored, generator(0, t)), stored).astype(np.float64) - stored.values).max()
            for t in range(trials)
        ]
    )
    for confidence in (0.5, 0.9, 0.99):
        eps = law.budget(stored, p=math.inf, confidence=confidence).eps
        reached, below = int(np.sum(drawn <= eps + 1e-6)), int(np.sum(drawn < eps - 1e-6))
        assert stats.binomtest(reached, trials, confidence, alternative="less").pvalue > 1e-4  # enough room
        assert stats.binomtest(below, trials, confidence, alternative="greater").pvalue > 1e-4  # and none to spare


def test_cells_that_prefer_one_value_are_counted_by_what_they_hold() -> None:
    stored = weights(400)
    law = VoltageBitErrors(voltage=1.0, table=((1.0, 0.02),), p_flip_0to1=1.0)  # every failing cell reads 1
    drawn = np.array(
        [
            np.abs(apply_edit(law.sample(stored, generator(0, t)), stored).astype(np.float64) - stored.values).max()
            for t in range(1000)
        ]
    )
    eps = law.budget(stored, p=math.inf, confidence=0.9).eps
    assert stats.binomtest(int(np.sum(drawn <= eps + 1e-6)), 1000, 0.9, alternative="less").pvalue > 1e-4
    assert stats.binomtest(int(np.sum(drawn < eps - 1e-6)), 1000, 0.9, alternative="greater").pvalue > 1e-4


def test_one_word_that_surely_flips_moves_by_all_its_bits() -> None:
    fmt = IntFormat(8)
    assert largest_change(fmt, np.zeros(1, np.float32), 1.0, confidence=0.5) == 1.0  # 0 becomes -1
    assert largest_change(fmt, np.zeros(1, np.float32), 0.0, confidence=0.5) == 0.0


@pytest.mark.parametrize("encoding", ["twos_complement", "sign_magnitude", "offset_binary"])
def test_wide_words_are_bounded_closely(encoding: Any) -> None:
    fmt = IntFormat(14, encoding=encoding, scale=0.5)
    values = fmt.decode(np.random.default_rng(5).integers(1 << 14, size=200).astype(np.uint64))
    stored, trials, law = stored_as(fmt, values), 1500, BitFlip(ber=0.03)
    drawn = np.array(
        [np.abs(apply_edit(law.sample(stored, generator(0, t)), stored) - stored.values).max() for t in range(trials)]
    )
    for confidence in (0.5, 0.9):
        eps = law.budget(stored, p=math.inf, confidence=confidence).eps
        reached, below = int(np.sum(drawn <= eps)), int(np.sum(drawn < 0.995 * eps))
        assert stats.binomtest(reached, trials, confidence, alternative="less").pvalue > 1e-4
        assert stats.binomtest(below, trials, confidence, alternative="greater").pvalue > 1e-4


def test_channels_with_scales_of_their_own_are_taken_together() -> None:
    fmt = IntFormat(4, scale=[[0.5], [0.7], [2.0]])
    values = fmt.decode(np.random.default_rng(6).integers(16, size=(3, 30)).astype(np.uint64))
    stored, trials = stored_as(fmt, values), 2000
    law = BitFlip(ber=0.004)
    drawn = np.array(
        [np.abs(apply_edit(law.sample(stored, generator(0, t)), stored) - values).max() for t in range(trials)]
    )
    for confidence in (0.3, 0.5, 0.7, 0.9):
        eps = law.budget(stored, p=math.inf, confidence=confidence).eps
        reached, below = int(np.sum(drawn <= eps + 1e-6)), int(np.sum(drawn < eps - 1e-6))
        assert stats.binomtest(reached, trials, confidence, alternative="less").pvalue > 1e-4
        assert stats.binomtest(below, trials, confidence, alternative="greater").pvalue > 1e-4


def test_words_whose_rates_are_not_their_own_have_no_closed_form() -> None:
    uneven = np.array([[0.1] * 4, [0.2] * 4])  # of two equal words
    assert largest_change(IntFormat(4), np.zeros(2, np.float32), uneven, confidence=0.9) is None
    assert largest_change(IntFormat(4), np.zeros(0, np.float32), 0.1, confidence=0.9) is None


@pytest.mark.parametrize("confidence", [0.05, 0.5, 0.9, 0.999])
def test_the_largest_of_few_states_is_what_enumeration_gives(confidence: float) -> None:
    sizes = np.random.default_rng(7).integers(0, 9, (4, 3)).astype(np.float64)
    shares = np.array([0.1, 0.25, 0.05])
    chance = np.append(shares, 1 - shares.sum())
    law: dict[float, float] = {}
    for states in itertools.product(range(4), repeat=4):
        largest = max(sizes[i, state] if state < 3 else 0.0 for i, state in enumerate(states))
        law[largest] = law.get(largest, 0.0) + math.prod(chance[list(states)])
    ordered = sorted(law)
    within = np.cumsum([law[size] for size in ordered])
    found = largest_of(sizes, shares, confidence=confidence)
    assert found == ordered[int(np.argmax(within >= confidence))]


def test_nothing_that_can_move_has_no_largest() -> None:
    assert largest_of(np.zeros((0, 3)), np.full(3, 0.1), confidence=0.9) == 0.0
    assert largest_of(np.ones((5, 2)), np.zeros(2), confidence=0.9) == 0.0
    assert largest_of(np.ones((5, 1)), np.ones(1), confidence=0.9) == 1.0
