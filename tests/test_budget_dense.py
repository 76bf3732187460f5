"""Budgets of noise, drift, cells and converters: the table of MATH.md §4 against its reference."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from faultsim.budget import (
    Budget,
    compound_quantile,
    converter,
    drift_gain,
    drift_radius,
    gaussian,
    level_confusion,
    lognormal_radius,
    secded_ber,
    stuck_pair,
)
from faultsim.budget.dense import folded_normal_mean
from faultsim.errors import OptionError
from faultsim.formats import ConductancePair

NAMES: dict[str, Any] = {"mechanism": "m", "scope": "w"}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    path = Path(__file__).resolve().parents[2] / "shared" / "golden" / "analog" / "mapping_checks.json"
    if not path.is_file():
        pytest.skip("needs the reference data folder 'shared' beside the checkout")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def test_gaussian_budgets_are_those_of_the_reference(golden: dict[str, Any]) -> None:
    case = golden["gaussian k=20000 sigma=.02"]
    two, most, one = (
        gaussian(**NAMES, sigma=0.02, elements=20_000, p=p, confidence=q)
        for p, q in ((2, 0.99), (math.inf, 0.99), (1, 0.5))
    )
    assert two.eps == pytest.approx(case["l2_q99_pred"], rel=1e-3)
    assert two.eps == pytest.approx(0.02 * math.sqrt(stats.chi2.ppf(0.99, 20_000)), rel=1e-9)
    assert most.eps == pytest.approx(case["linf_q99_pred"], rel=1e-6)
    assert one.eps == pytest.approx(case["l1_pred"], rel=1e-6)
    assert two.n == 20_000


@given(
    sigma=st.lists(st.floats(0.0, 2.0).filter(lambda s: s == 0 or s > 1e-6), min_size=1, max_size=6),
    shift=st.floats(-1, 1),
    p=st.sampled_from([1, 2, math.inf]),
)
def test_gaussian_budgets_hold_at_their_confidence(sigma: list[float], shift: float, p: float) -> None:
    spread = np.repeat(sigma, 20)
    draws = np.random.default_rng(1).normal(shift, spread, (1500, spread.size))
    budget = gaussian(**NAMES, sigma=spread, mean=shift, elements=spread.size, p=p, confidence=0.9)
    held = np.mean(np.linalg.norm(draws, p, axis=1) <= budget.eps * (1 + 1e-9))
    assert held >= 0.86


def test_a_fixed_shift_is_its_own_bound() -> None:
    shift = np.array([3.0, -4.0, 0.0])
    got = [gaussian(**NAMES, sigma=0.0, mean=shift, elements=3, p=p, confidence=0.9) for p in (1, 2, math.inf)]
    assert [budget.eps for budget in got] == pytest.approx([7, 5, 4])
    assert {budget.n for budget in got} == {2}
    np.testing.assert_allclose(folded_normal_mean([0.0, 2.0], [1.0, 0.0]), [math.sqrt(2 / math.pi), 2.0])


def test_lognormal_and_drift_are_those_of_the_reference(golden: dict[str, Any]) -> None:
    assert lognormal_radius(1.0, 0.01) == pytest.approx(0.01, rel=1e-3)
    case = golden["lognormal s=.1"]
    w = case["l2_pred"] / lognormal_radius(1.0, 0.1)  # the reference's norm: 20,000 weights of spread 0.1
    assert w == pytest.approx(math.sqrt(20_000) * 0.1, rel=0.01)
    for mu, sigma, t, key in (
        (0.05, 0.02, 86400.0, "drift nu=0.05+-0.02 t=86400s"),
        (0.05, 0.02, 2.592e6, "drift nu=0.05+-0.02 t=2.6e+06s"),
        (0.1, 0.05, 3.1536e7, "drift nu=0.1+-0.05 t=3.15e+07s"),
    ):
        case, length = golden[key], math.log(t / 20.0)
        assert drift_gain(mu, sigma, length) == pytest.approx(case["gain_pred"], rel=0.01)
        assert drift_radius(1.0, mu, sigma, length, compensated=False) == pytest.approx(case["rel_l2_pred"], rel=0.01)
        got = drift_radius(1.0, mu, sigma, length, compensated=True)
        assert got == pytest.approx(case["resid_pred"], rel=0.01)


@pytest.mark.parametrize(
    ("p_lrs", "p_hrs", "key"),
    [
        (0.0904, 0.0175, "SAF pair LRS9.04/HRS1.75"),
        (0.0175, 0.0904, "SAF pair LRS1.75/HRS9.04"),
        (0.001, 0.001, "SAF pair MNSIM 0.1%/0.1%"),
    ],
)
def test_stuck_pairs_are_those_of_the_reference(p_lrs: float, p_hrs: float, key: str, golden: dict[str, Any]) -> None:
    case = golden[key]
    weights = np.clip(np.random.default_rng(0).normal(0, 0.25, 20_000), -1, 1)

    def bound(p: float, confidence: float) -> Budget:
        return stuck_pair(
            **NAMES, pair=ConductancePair(1, 100, 1.0), values=weights, p_lrs=p_lrs, p_hrs=p_hrs, p=p,
            confidence=confidence,
        )  # fmt: skip

    middle = bound(2, 0.5)
    assert middle.n == pytest.approx(case["n_pred"], rel=0.005)
    assert middle.eps**2 == pytest.approx(case["l2sq_pred"], rel=0.03)
    assert 1.0 < bound(math.inf, 0.99).eps <= 2.0
    assert bound(1, 0.99).eps > bound(1, 0.5).eps


def test_one_failed_device_moves_a_weight_by_at_most_w_max() -> None:
    budget = stuck_pair(
        **NAMES,
        pair=ConductancePair(1, 100, 1.0),
        values=np.zeros(100),
        p_lrs=1e-3,
        p_hrs=0,
        p=math.inf,
        confidence=0.9,
    )
    assert budget.eps == 1.0


def test_confused_levels_move_the_top_cell() -> None:
    def bound(p: float, error: float) -> Budget:
        return level_confusion(
            **NAMES, scale=0.5, bits=8, bits_per_cell=3, cell_error=error, elements=1000, p=p, confidence=0.99
        )

    assert bound(math.inf, 3.8e-3).eps == 0.5 * 2**6
    assert bound(math.inf, 3.8e-3).n == stats.binom.ppf(0.99, 1000, 1 - (1 - 3.8e-3) ** 3)
    want = 1000 * 3.8e-3 * 0.25 * (1 + 2**6 + 2**12)
    assert bound(2, 3.8e-3).eps ** 2 > want
    assert (bound(2, 0.0).eps, bound(2, 0.0).n) == (0.0, 0)
    assert bound(1, 1.0).n == 1000


def test_converters_are_those_of_the_reference(golden: dict[str, Any]) -> None:
    for bits in (4, 6, 8):
        case = golden[f"ADC {bits} bit"]
        lsb = 2 * case["linf_pred"]
        assert converter(**NAMES, lsb=lsb, outputs=9, p=math.inf, confidence=0.9).eps == case["linf_pred"]
        many = converter(**NAMES, lsb=lsb, outputs=10**6, p=2, confidence=0.5)
        assert many.eps / 1000 == pytest.approx(case["rms_pred"], rel=1e-6)
    draws = np.random.default_rng(0).uniform(-0.5, 0.5, (3000, 40))
    for p in (1, 2):
        radius = converter(**NAMES, lsb=1.0, outputs=40, p=p, confidence=0.9).eps
        assert 0.87 < np.mean(np.linalg.norm(draws, p, axis=1) <= radius) < 0.93
    assert converter(**NAMES, lsb=0.0, outputs=4, p=2, confidence=0.9).n == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(**NAMES, p=3, eps=1, n=1, confidence=0.9), "p must be 1, 2 or inf, got 3"),
        (lambda: Budget(**NAMES, p=2, eps=-1, n=1, confidence=0.9), "eps >= 0"),
        (lambda: Budget(**NAMES, p=2, eps=1, n=1, confidence=1.0), "strictly between 0 and 1"),
        (lambda: compound_quantile([1.0], [1.0], 0.0), "strictly between"),
        (lambda: secded_ber(2.0), "between 0 and 1, got 2"),
        (lambda: gaussian(**NAMES, sigma=-1.0, elements=1, p=2, confidence=0.9), "sigma must be"),
        (lambda: drift_gain(0.1, -0.1, 1.0), "nu_std must be"),
        (lambda: lognormal_radius(1.0, math.inf), "sigma must be finite"),
        (
            lambda: stuck_pair(
                **NAMES, pair=ConductancePair(0, 1), values=np.ones(1), p_lrs=0.6, p_hrs=0.6, p=2, confidence=0.9
            ),
            "at most 1",
        ),
        (
            lambda: level_confusion(
                **NAMES, scale=1, bits=4, bits_per_cell=5, cell_error=0, elements=1, p=2, confidence=0.9
            ),
            "bits_per_cell must be",
        ),
        (lambda: converter(**NAMES, lsb=-1.0, outputs=1, p=2, confidence=0.9), "lsb must be"),
    ],
)  # fmt: skip
def test_impossible_budgets_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
