"""The sign-flip test: zeros drop out, the binomial where sizes are alike, random signs in bounded memory and time."""

import itertools
import math
import time

import numpy as np
import pytest
import scipy.stats

from faultsim.rng import generator
from faultsim.stats.signs import SignFlip, sign_flip


def _test(apart, *, seed=0, resamples=9999):
    return sign_flip(np.asarray(apart, float), rng=generator(seed, -1, "signs"), resamples=resamples)


def test_pairs_without_a_difference_do_not_matter():
    some = generator(0, 0, "some").normal(0.3, 1, 40)
    assert _test([*some, *([0.0] * 500)]) == _test(some)
    assert _test([0.0] * 5) == _test([0.7]) == SignFlip(1.0, True)


@pytest.mark.parametrize(("up", "down"), [(6, 0), (0, 6), (9, 3), (70, 30), (5, 5), (6, 5)])
def test_differences_of_one_size_are_tested_exactly(up, down):
    apart = [0.91 - 0.90] * up + [0.89 - 0.90] * down  # one size but for rounding
    assert _test(apart) == (pytest.approx(scipy.stats.binomtest(up, up + down).pvalue), True)


def test_random_signs_give_the_p_value_of_all_patterns():
    apart = generator(1, 0, "all").normal(0.4, 1, 17)
    sums = np.array(list(itertools.product((-1, 1), repeat=17))) @ np.abs(apart)
    share = np.mean(np.abs(sums) >= abs(apart.sum()) * (1 - 1e-12))
    got = _test(apart)
    assert not got.exact
    assert got.p_value == pytest.approx(share, abs=4 * math.sqrt(share / 9999) + 1e-3)
    assert got == _test(apart)
    assert got != _test(apart, seed=1)


def test_patterns_that_tie_with_the_one_seen_count():
    assert _test([0.1, 0.2, 0.3]).p_value == 2 / 8
    assert _test([0.3, 0.1, 0.2, -0.3]).p_value == 12 / 16  # 0.1 + 0.2 is not 0.3 in float64


def test_a_hundred_thousand_chips_take_seconds():
    apart = generator(2, 0, "many").normal(0, 1, 100_000)
    started = time.perf_counter()
    p_value = _test(apart).p_value
    assert time.perf_counter() - started < 30
    normal = math.erfc(abs(apart.sum()) / math.sqrt(2 * float(apart @ apart)))
    assert p_value == pytest.approx(normal, abs=0.03)
