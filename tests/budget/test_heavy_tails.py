"""Radii of sums of squares that a few elements dominate, against drawn chips and closed forms."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from faultsim.budget.dependent import Shared, dependent
from faultsim.budget.heavy import square_quantile
from faultsim.budget.skewed import Skewed
from faultsim.corruption import Site, Stored
from faultsim.errors import OptionError
from faultsim.faults import Lognormal
from faultsim.formats import ConductancePair

NAMES: dict[str, Any] = {"mechanism": "m", "scope": "w"}


def stored(elements: int, g_min: float = 0.0) -> Stored:
    mapping = ConductancePair(g_min, 25.0, w_max=1.0)
    values = np.linspace(-1, 1, elements).astype(np.float32)
    site = Site(name="w", shape=(elements,), format=mapping, layer="l", kind="gemm", role="weight", depth=0)
    return Stored(site, mapping, mapping.from_cells(mapping.to_cells(values)))


def share_within(norms: NDArray[np.float64], radius: float) -> float:
    return float(np.mean(norms <= radius))


@pytest.mark.parametrize(("elements", "sigma"), [(5, 1.0), (20, 2.0), (200, 1.0), (200, 1.5), (1000, 3.0)])
def test_the_radius_of_heavy_lognormals_holds_as_many_chips_as_promised(elements: int, sigma: float) -> None:
    one, law, chips = stored(elements), Lognormal(sigma=sigma), 1000
    rng = np.random.default_rng(0)
    norms = np.array([np.linalg.norm(law.sample(one, rng).delta.astype(np.float64)) for _ in range(chips)])
    for confidence in (0.1, 0.5, 0.9, 0.99):
        radius = law.budget(one, p=2, confidence=confidence).eps
        noise = 3.5 * math.sqrt(confidence * (1 - confidence) / chips)
        assert -noise <= share_within(norms, radius) - confidence <= noise + 0.03


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0, 5.0, 8.0])
def test_a_radius_of_2_is_no_less_than_that_of_infinity_and_no_more_than_all_elements_allow(sigma: float) -> None:
    for elements in (1, 7, 300):
        one, law = stored(elements), Lognormal(sigma=sigma)
        for confidence in (0.3, 0.9, 0.999):
            largest, radius = (law.budget(one, p=p, confidence=confidence).eps for p in (math.inf, 2))
            assert largest * (1 - 2e-2 * (sigma < 1)) <= radius <= math.sqrt(elements) * 1.02 * largest


def test_large_tensors_of_wide_lognormals_hold_as_many_chips_as_promised() -> None:
    one, law, chips = stored(20_000), Lognormal(sigma=2.0), 250  # a scaled chi-square gave 1e-26, drawn chips 5,400
    rng = np.random.default_rng(0)
    weights = np.linspace(-1, 1, 20_000)
    norms = np.array([np.linalg.norm(weights * np.expm1(2 * rng.standard_normal(20_000))) for _ in range(chips)])
    radius = law.budget(one, p=2, confidence=0.9).eps
    assert share_within(norms, radius) == pytest.approx(0.9, abs=0.06)
    assert radius == pytest.approx(np.quantile(norms, 0.9), rel=0.1)


@pytest.mark.parametrize("confidence", [0.05, 0.5, 0.99, 1 - 1e-6])
def test_one_part_has_its_own_quantile(confidence: float) -> None:
    sigma = 2.0
    grown = math.exp(sigma**2)
    spread = math.sqrt(grown * (grown - 1))
    part = Skewed.fit([math.sqrt(grown)], [spread**2], [(grown + 2) * math.sqrt(grown - 1) * spread**3])
    want = math.exp(sigma * stats.norm.ppf(confidence))
    assert math.sqrt(square_quantile(part, confidence)) == pytest.approx(want, rel=0.03)


def test_normal_parts_have_the_quantile_of_chi_square() -> None:
    for parts in (1, 4, 50):
        normal = Skewed.fit(np.zeros(parts), np.ones(parts), np.zeros(parts))
        for confidence in (0.1, 0.5, 0.99):
            want = float(stats.chi2.ppf(confidence, parts))
            assert square_quantile(normal, confidence) == pytest.approx(want, rel=0.05)


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_a_heavy_error_in_common_is_followed_too(mean: float) -> None:
    rng, chips, sigma = np.random.default_rng(1), 3000, 1.5
    grown = math.exp(sigma**2)
    skew = (grown + 2) * math.sqrt(grown - 1)
    group = np.repeat(np.arange(4), 25)
    loading = rng.uniform(0.5, 1.5, 100)
    z = rng.normal(size=(chips, 4))
    common = (np.exp(sigma * z) - math.sqrt(grown)) / math.sqrt(grown * (grown - 1))
    draws = mean + 0.2 * rng.normal(size=(chips, 100)) + loading * common[:, group]
    norms = np.linalg.norm(draws, axis=1)
    shared = Shared(group, loading, skew)
    for confidence in (0.5, 0.9, 0.99):
        bound = dependent(**NAMES, mean=np.full(100, mean), var=0.04, shared=shared, p=2, confidence=confidence)
        assert share_within(norms, bound.eps) == pytest.approx(confidence, abs=0.04)
        assert bound.eps == pytest.approx(np.quantile(norms, confidence), rel=0.15)


def test_a_lognormal_so_wide_that_its_moments_mean_nothing_is_refused() -> None:
    for sigma in (8.1, 13.0, 20.0):
        with pytest.raises(OptionError, match=rf"sigma is {sigma:g}, it must be at most 8: a factor e\^8 either way"):
            Lognormal(sigma=sigma)
