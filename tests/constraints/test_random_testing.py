"""Theorem 1 and the forecast against numerical integration, Monte Carlo and the reference tables."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from faultsim.constraints import (
    LpL0,
    expected_best_share,
    log10_trials_for_even_chance,
    log_share_survival,
    share_cdf,
    share_density,
)
from faultsim.errors import OptionError


@pytest.mark.parametrize("k", [3, 4, 10, 1000])
def test_the_distribution_is_the_integral_of_the_density(k: int) -> None:
    for x in (0.01, 0.1, 0.3):
        assert quad(share_density, 0, x, args=(k,))[0] == pytest.approx(share_cdf(x, k), rel=1e-7)


def test_random_corruptions_follow_theorem_1() -> None:
    rng, gradient = np.random.default_rng(0), np.arange(1.0, 11.0)
    ball = LpL0(2, 0.3)
    shares = np.sort([abs(ball.random(rng, 10) @ gradient) for _ in range(4000)]) / (0.3 * np.linalg.norm(gradient))
    expected = np.array([share_cdf(x, 10) for x in shares])
    assert np.abs(expected - np.arange(4000) / 4000).max() < 1.63 / math.sqrt(4000)  # Kolmogorov, 1 %


@given(k=st.integers(2, 10**9), x=st.floats(1e-9, 0.999))
def test_the_log_survival_is_finite_negative_and_agrees_with_the_distribution(k: int, x: float) -> None:
    log = log_share_survival(x, k)
    assert math.isfinite(log)
    assert log < 0
    assert math.exp(log) == pytest.approx(1 - share_cdf(x, k), abs=1e-9)


@pytest.mark.parametrize(
    ("x", "k", "expected"),
    [  # mpmath 1.3, 30 digits
        (0.5, 10**9, -143841045.9763265),
        (0.001, 10**9, -503.6809160033021),
        (0.0012, 10**9, -723.8632014711013),
        (0.05, 10**6, -1255.702070204611),
        (0.9, 2778, -2310.010449167225),
        (0.999999999999, 50, -662.1552565932122),
    ],
)
def test_the_log_survival_far_out(x: float, k: int, expected: float) -> None:
    assert log_share_survival(x, k) == pytest.approx(expected, rel=1e-9)


@given(k=st.integers(2, 10**9), fraction=st.floats(0.001, 0.999))
def test_the_forecast_is_finite_up_to_a_billion_elements(k: int, fraction: float) -> None:
    assert math.isfinite(log10_trials_for_even_chance(fraction, k))


@pytest.mark.parametrize(("k", "log10"), [(1_000, 63.8), (2_778, 175.1), (1_000_000, 62472.2)])
def test_trials_for_half_of_the_worst_case(k: int, log10: float) -> None:
    assert log10_trials_for_even_chance(0.5, k) == pytest.approx(log10, abs=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: share_cdf(1.5, 3), r"the share is 1.5, it must be from 0 to 1"),
        (lambda: share_density(0.5, 1), r"k is 1, it must be at least 2"),
        (lambda: expected_best_share(10, 0), r"trials is 0, it must be at least 1"),
        (lambda: log10_trials_for_even_chance(1.0, 10), r"fraction is 1.0, it must be between 0 and 1"),
    ],
)
def test_arguments_out_of_range_are_refused(call: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()  # type: ignore[operator]


def test_the_ends_of_the_density_and_the_survival() -> None:
    assert [share_density(1.0, k) for k in (2, 3, 4)] == [math.inf, 1.0, 0.0]
    assert log_share_survival(1.0, 5) == -math.inf
    assert log_share_survival(0.0, 5) == 0.0


@pytest.mark.shared
def test_the_reference_tables_of_theorem_1(shared: Path) -> None:
    table = json.loads((shared / "golden/corruption/theorem1.json").read_text())
    for row in table["eq8_eq9"]:
        assert share_cdf(row["x"], row["k"]) == pytest.approx(row["cdf"], rel=1e-12, abs=1e-15)
    for row in table["expected_max"]:
        assert expected_best_share(row["k"], row["N"]) == pytest.approx(row["E_max_over_worst"], rel=1e-7, abs=1e-9)
    for row in table["expected_max_MC"]:
        assert abs(expected_best_share(row["k"], row["N"]) - row["MC"]) < 4 * row["se"]
    for row in table["trials_needed"]:
        log10 = log10_trials_for_even_chance(row["rho"], row["k"])
        assert log10 == pytest.approx(row["log10_N_for_50pct"], rel=1e-6)
