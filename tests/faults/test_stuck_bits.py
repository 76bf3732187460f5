"""Stuck bits: as many as asked at 0 and at 1, harmless where they hold what is stored, bounded tightly."""

import itertools
import math

import numpy as np
import pytest
from norms import (
    FORMATS,
    NAMES,
    check_budgets,
    check_counts,
    check_tight,
    int8,
    norms,
    ones,
    stored,
    tensor,
)
from scipy import stats

from faultsim.corruption import Corruption, apply_edit
from faultsim.errors import OptionError
from faultsim.faults.stuck_bits import StuckBits
from faultsim.formats import FloatFormat, IntFormat, NumberFormat
from faultsim.rng import generator


def test_stuck_bits_are_binomial_and_split_as_asked() -> None:
    one = int8(200)
    law = StuckBits(p_zero=0.01, p_one=0.03)
    edits = [law.sample(one, generator(0, t)) for t in range(1500)]
    check_counts([ones(e.masks) for e in edits], stats.binom(1600, 0.04))
    check_counts([ones(e.bits) for e in edits], stats.binom(1600, 0.03))
    assert all(np.all(e.bits & ~e.masks == 0) for e in edits)


def test_equal_keys_give_equal_dies_and_others_do_not() -> None:
    one, law = int8(100), StuckBits(p_zero=0.02, p_one=0.02)
    a, b, c = (Corruption({"w": law.sample(one, generator(0, t))}) for t in (0, 0, 1))
    assert a == b
    assert a != c


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
def test_every_format_holds_stuck_bits_and_keeps_its_bounds(fmt: NumberFormat) -> None:
    one = tensor(fmt)
    check_budgets(StuckBits(p_zero=0.004, p_one=0.02), one, trials=150)
    everything = StuckBits(p_zero=0.0, p_one=1.0).sample(one, generator(0, 0))
    assert ones(everything.masks) == ones(everything.bits) == 120 * fmt.bits


@pytest.mark.parametrize("rates", [(1e-3, 2e-3), (0.03, 0.01), (0.0, 0.2)])
@pytest.mark.parametrize("bits", [4, 8])
def test_the_radius_is_the_quantile_even_where_words_go_wrong_often(rates: tuple[float, float], bits: int) -> None:
    check_tight(StuckBits(p_zero=rates[0], p_one=rates[1]), tensor(IntFormat(bits), 400))


def test_the_radius_of_wide_words_is_close_above_the_quantile() -> None:
    check_tight(StuckBits(p_zero=1e-3, p_one=1e-3), tensor(IntFormat(16), 400))
    check_tight(StuckBits(p_zero=1e-3, p_one=1e-3), tensor(IntFormat(16, encoding="sign_magnitude"), 400))


@pytest.mark.parametrize("confidence", [0.3, 0.9, 0.99])
def test_the_largest_change_is_an_exact_quantile(confidence: float) -> None:
    one = tensor(IntFormat(4), 8)
    law = StuckBits(p_zero=0.01, p_one=0.05)
    seen = norms(law, one, 1500).top
    eps = law.budget(one, p=math.inf, confidence=confidence).eps
    assert np.mean(seen <= eps) >= confidence - 0.04
    assert eps == 0 or np.mean(seen < eps) <= confidence + 0.04


def test_a_bit_stuck_at_what_it_holds_does_no_harm() -> None:
    zeros = stored(np.zeros(50), IntFormat(8))
    law = StuckBits(p_zero=0.5, p_one=0.0)
    np.testing.assert_array_equal(apply_edit(law.sample(zeros, generator(0, 0)), zeros), zeros.values)
    budget = law.budget(zeros, p=2, confidence=0.99)
    assert (budget.n, budget.eps) == (0, 0.0)


def test_no_rate_is_the_identity_and_budgets_grow_with_it() -> None:
    one = int8(300)
    assert StuckBits(p_zero=0.0, p_one=0.0).sample(one, generator(0, 0)).indices.size == 0
    found = [StuckBits(p_zero=r, p_one=r).budget(one, p=2, confidence=0.9) for r in (0, 1e-4, 1e-3, 1e-2, 0.1, 0.5)]
    assert (found[0].n, found[0].eps) == (0, 0.0)
    assert all(a.n <= b.n and a.eps <= b.eps for a, b in itertools.pairwise(found))


def test_floats_bound_the_count_alone() -> None:
    budget = StuckBits(p_zero=0.01, p_one=0.0).budget(tensor(FloatFormat()), p=2, confidence=0.9)
    assert budget.eps == math.inf
    assert 0 < budget.n < 120


def test_impossible_rates_are_refused() -> None:
    with pytest.raises(OptionError, match="p_zero must be between 0 and 1, got -1"):
        StuckBits(p_zero=-1, p_one=0)
    with pytest.raises(OptionError, match=r"add up to at most 1, got 1\.2"):
        StuckBits(p_zero=0.6, p_one=0.6)
