"""Confused levels: thresholds and rates against quadrature and the published figures, codes, and tight bounds."""

import math
from typing import Literal

import numpy as np
import pytest
from norms import FORMATS, NAMES, check_budgets, check_tight, int8, stored, tensor
from scipy import integrate, stats

from faultsim.corruption import Corruption, apply_edit
from faultsim.errors import OptionError
from faultsim.faults.level_confusion import LevelConfusion
from faultsim.formats import FloatFormat, IntFormat, NumberFormat
from faultsim.rng import generator

EIGHT = (
    (0.0, 0.00864567), (0.07826194, 0.01345795), (0.20381963, 0.030416), (0.38464387, 0.03351085),
    (0.54212002, 0.02482939), (0.72165694, 0.02741654), (0.88611635, 0.03719118), (1.0, 0.00339958),
)  # fmt: skip
"""reram_mlc_digital.yaml, levels of level_confusion_8 (NVMExplorer, status verified)."""
FOUR = (EIGHT[0], EIGHT[3], EIGHT[5], EIGHT[7])
"""The same, level_confusion_4."""
WIDE = ((0.0, 0.1), (0.3, 0.12), (0.6, 0.1), (1.0, 0.15))
"""Levels that overlap a lot, so that few draws tell."""


def law(levels: tuple[tuple[float, float], ...] = WIDE, code: Literal["binary", "gray"] = "binary") -> LevelConfusion:
    return LevelConfusion(levels=levels, bits_per_cell=len(levels).bit_length() - 1, cell_code=code)


@pytest.mark.parametrize(("levels", "error"), [(EIGHT, 3.8e-3), (FOUR, 7.9e-9)])
def test_the_published_levels_have_the_derived_error(levels: tuple[tuple[float, float], ...], error: float) -> None:
    assert law(levels).cell_error() == pytest.approx(error, rel=0.01)


def test_thresholds_are_where_both_densities_meet() -> None:
    for levels in (EIGHT, FOUR, WIDE, ((0.0, 0.1), (1.0, 0.1))):
        for (m1, s1), (m2, s2), x in zip(levels, levels[1:], law(levels).thresholds(), strict=False):
            assert m1 < x < m2
            assert stats.norm.logpdf(x, m1, s1) == pytest.approx(stats.norm.logpdf(x, m2, s2), rel=1e-9)
    assert law(((0.0, 0.1), (1.0, 0.1))).thresholds() == pytest.approx((0.5,))


def test_the_confusion_matrix_is_the_integral_of_the_densities() -> None:
    found = law(EIGHT).confusion()
    edges = [-np.inf, *law(EIGHT).thresholds(), np.inf]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    for i, (mean, sigma) in enumerate(EIGHT):
        for j in range(8):
            span = np.clip([edges[j], edges[j + 1]], mean - 40 * sigma, mean + 40 * sigma)
            area, _ = integrate.quad(stats.norm(mean, sigma).pdf, *span, epsabs=0, points=None, limit=200)
            assert found[i, j] == pytest.approx(area, rel=1e-6, abs=1e-13), (i, j)


@pytest.mark.parametrize("code", ["binary", "gray"])
def test_cells_read_other_levels_as_often_as_the_matrix_says(code: Literal["binary", "gray"]) -> None:
    one = stored(np.repeat(np.arange(4), 6000).astype(np.int64), IntFormat(2, signed=False, dtype="int64"))
    found = apply_edit(law(code=code).sample(one, generator(0, 0)), one).reshape(4, -1)
    pattern_of = [0, 1, 3, 2] if code == "gray" else [0, 1, 2, 3]  # the bits that stand for level 0, 1, 2, 3
    matrix = law(code=code).confusion()
    for level in range(4):
        seen = [int(np.count_nonzero(found[pattern_of[level]] == pattern_of[read])) for read in range(4)]
        likely = matrix[level] > 1e-3
        assert stats.chisquare(np.array(seen)[likely], matrix[level][likely] / matrix[level][likely].sum()
                               * np.sum(np.array(seen)[likely])).pvalue > 1e-5  # fmt: skip


def test_neighbouring_levels_differ_in_one_bit_of_a_gray_code() -> None:
    one = int8(20_000)
    gray = law(EIGHT, "gray").sample(one, generator(0, 0))
    binary = law(EIGHT).sample(one, generator(0, 0))
    # a fault of this size is always one level off, so gray never flips two bits of a cell
    for low in (0, 3, 6):
        cell = (gray.masks >> np.uint64(low)) & np.uint64(7 if low < 6 else 3)
        assert int(np.bitwise_count(cell).max()) == 1
    assert int(np.bitwise_count(binary.masks).max()) > 1
    assert binary.indices.size == pytest.approx(gray.indices.size, rel=0.2)


def test_a_last_cell_with_fewer_bits_uses_the_lowest_levels_and_stays_in_them() -> None:
    cells = law(EIGHT).cells(8)
    assert [cell.shape for cell in cells] == [(8, 8), (8, 8), (4, 4)]
    assert cells[2][3, 3] == pytest.approx(1 - law(EIGHT).confusion()[3, 2], rel=1e-9)
    one = int8(50_000)
    assert int(law(EIGHT).sample(one, generator(0, 0)).masks.max()) < 256


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
@pytest.mark.parametrize("code", ["binary", "gray"])
def test_every_format_is_confused_within_its_bounds(fmt: NumberFormat, code: Literal["binary", "gray"]) -> None:
    check_budgets(law(EIGHT, code), tensor(fmt), trials=100)


@pytest.mark.parametrize(("levels", "elements"), [(EIGHT, 600), (WIDE, 100)])
@pytest.mark.parametrize("code", ["binary", "gray"])
def test_the_radius_is_the_quantile(
    levels: tuple[tuple[float, float], ...], elements: int, code: Literal["binary", "gray"]
) -> None:
    check_tight(law(levels, code), tensor(IntFormat(8), elements))


def test_the_radius_of_wide_words_is_close_above_the_quantile() -> None:
    check_tight(law(EIGHT), tensor(IntFormat(16), 300))
    check_tight(law(EIGHT), tensor(IntFormat(16, encoding="sign_magnitude"), 300))


def test_channels_with_scales_of_their_own_are_bounded_as_tightly() -> None:
    check_tight(law(EIGHT), tensor(IntFormat(8, scale=[[0.01], [3.0]]), 600))


def test_equal_keys_give_equal_dies() -> None:
    one = int8(5000)
    a, b, c = (Corruption({"w": law(EIGHT).sample(one, generator(0, t))}) for t in (0, 0, 1))
    assert a == b
    assert a != c


def test_sharp_levels_change_nothing() -> None:
    sharp = law(((0.0, 1e-4), (0.4, 1e-4), (0.7, 1e-4), (1.0, 1e-4)))
    one = int8(5000)
    assert sharp.sample(one, generator(0, 0)).indices.size == 0
    budget = sharp.budget(one, p=2, confidence=0.99)
    assert (budget.n, budget.eps) == (0, 0.0)
    assert sharp.sample(stored(np.zeros(0), IntFormat(8)), generator(0, 0)).indices.size == 0


def test_wider_levels_have_larger_bounds() -> None:
    one = int8(3000)
    found = [
        law(tuple((m, s * k) for m, s in EIGHT)).budget(one, p=2, confidence=0.99) for k in (0.4, 0.6, 0.8, 1.0, 1.1)
    ]
    assert [b.n for b in found] == sorted(b.n for b in found)
    assert [b.eps for b in found] == sorted(b.eps for b in found)


def test_floats_bound_the_count_alone() -> None:
    budget = law(EIGHT).budget(tensor(FloatFormat()), p=2, confidence=0.9)
    assert budget.eps == math.inf
    assert budget.n > 0


@pytest.mark.parametrize(
    ("levels", "bits", "code", "message"),
    [
        (WIDE, 3, "binary", "3 bits per cell need 8 levels, got 4"),
        (WIDE, 0, "binary", "bits_per_cell must be between 1 and 8, got 0"),
        (WIDE, 2, "grey", "cell_code must be binary or gray, got 'grey'"),
        (((0.0, 0.1), (0.0, 0.1)), 1, "binary", "rising means"),
        (((0.0, 0.1), (1.0, 0.0)), 1, "binary", "sigmas above 0"),
        (((0.0, 3.0), (0.001, 1.0)), 1, "binary", "overlap so far"),
    ],
)
def test_impossible_levels_are_refused(
    levels: tuple[tuple[float, float], ...], bits: int, code: Literal["binary", "gray"], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        LevelConfusion(levels=levels, bits_per_cell=bits, cell_code=code)
