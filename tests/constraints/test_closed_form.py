"""Laws and reference cases of the closed-form maximiser."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from faultsim.constraints import NoMaximiserError, argmax_lp_l0, dual_norm, lp_norm, top_n
from faultsim.errors import ConstraintError

ORDERS = st.sampled_from([1.0, 1.05, 1.5, 2.0, 3.0, 7.0, math.inf])
DIRECTIONS = arrays(np.float64, st.integers(1, 12), elements=st.floats(-10, 10, width=32)).filter(np.any)


@given(direction=DIRECTIONS, p=ORDERS, n=st.integers(1, 13), eps=st.floats(1e-6, 1e3))
def test_the_maximiser_spends_the_norm_within_the_count_and_earns_the_dual_norm(
    direction: np.ndarray, p: float, n: int, eps: float
) -> None:
    best = argmax_lp_l0(direction, p=p, eps=eps, n=n)
    assert lp_norm(best, p) == pytest.approx(eps, rel=1e-12)
    assert np.count_nonzero(best) <= n
    assert not best[direction == 0].any()
    assert best @ direction == pytest.approx(eps * dual_norm(direction, p=p, n=n), rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(direction=DIRECTIONS, p=ORDERS, n=st.integers(1, 13), seed=st.integers(0, 9))
def test_no_feasible_point_of_a_thousand_beats_the_maximiser(
    direction: np.ndarray, p: float, n: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((1000, direction.size))
    points[np.argsort(rng.random(points.shape), axis=1) >= n] = 0
    for point in points:
        norm = lp_norm(point, p)
        if norm > 0:
            assert point @ direction / norm <= dual_norm(direction, p=p, n=n) * (1 + 1e-12)


@given(direction=DIRECTIONS, p=ORDERS, n=st.integers(1, 13), power=st.integers(-300, 290))
def test_the_scale_of_the_direction_does_not_matter(direction: np.ndarray, p: float, n: int, power: int) -> None:
    direction = np.where(np.abs(direction) < 1e-3, 0, direction)
    if direction.any():
        scaled = argmax_lp_l0(direction * 2.0**power, p=p, eps=1.0, n=n)
        np.testing.assert_allclose(scaled, argmax_lp_l0(direction, p=p, eps=1.0, n=n), rtol=1e-9, atol=1e-300)


@given(magnitude=arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 3)), n=st.integers(0, 31))
def test_top_n_takes_the_lowest_indices_of_equal_elements(magnitude: np.ndarray, n: int) -> None:
    order = [i for i in np.argsort(-magnitude, kind="stable") if magnitude[i] > 0]
    assert top_n(magnitude, n).tolist() == sorted(order[:n])


def test_ties_at_the_count_go_to_the_lowest_flat_index() -> None:
    best = argmax_lp_l0(np.array([[1.0, -1.0], [1.0, -1.0]]), p=math.inf, eps=0.5, n=3)
    assert best.tolist() == [[0.5, -0.5], [0.5, 0.0]]


def test_near_p_1_a_float32_direction_does_not_underflow() -> None:
    direction = np.full(1000, 1e-6, dtype=np.float32)
    assert lp_norm(argmax_lp_l0(direction, p=1.05, eps=1.0), 1.05) == pytest.approx(1.0)


def test_a_zero_direction_has_no_maximiser() -> None:
    with pytest.raises(NoMaximiserError, match="the direction is zero on all 3 elements"):
        argmax_lp_l0(np.zeros(3), p=2, eps=1.0)
    assert dual_norm(np.zeros(3), p=2) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_direction_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ConstraintError, match="must be finite"):
        argmax_lp_l0(np.array([1.0, bad]), p=2, eps=1.0)
    with pytest.raises(ConstraintError, match="must be finite"):
        dual_norm(np.array([1.0, bad]), p=2)


@pytest.mark.shared
def test_the_168_brute_force_cases(shared: Path) -> None:
    cases = json.loads((shared / "golden/corruption/closed_form_checks.json").read_text())["cases"]
    assert len(cases) == 168
    for case in cases:
        direction = np.array(case["g"])
        best = argmax_lp_l0(direction, p=float(case["p"]), eps=0.37, n=case["n"])
        np.testing.assert_allclose(best, case["a"], rtol=1e-12, atol=1e-15)
        assert best @ direction == pytest.approx(case["f"], rel=1e-12)
        assert best @ direction == pytest.approx(case["cvx"], rel=1e-7)


@pytest.mark.shared
@pytest.mark.parametrize("which", ["A", "B"])
def test_dual_norms_of_the_reference_gradients(shared: Path, which: str) -> None:
    gradient = np.load(shared / "golden/corruption/mlp_gradients.npz")[f"g{which}"]
    table = json.loads((shared / "golden/corruption/mlp_attack_table.json").read_text())
    for q, expected in table["grad_norms"][which].items():
        p = {"1": math.inf, "1.5": 3.0, "2": 2.0, "inf": 1.0}[q]
        assert dual_norm(gradient, p=p) == pytest.approx(expected, rel=1e-12)
    if which == "A":
        top = np.argsort(-np.abs(gradient), kind="stable")[:10]
        assert sorted(table["top10_A"]["idx"]) == top_n(np.abs(gradient), 10).tolist() == sorted(top.tolist())


@pytest.mark.shared
def test_the_printed_denominators_miss_the_norm_and_ours_do_not(shared: Path) -> None:
    printed = json.loads((shared / "golden/corruption/closed_form_checks.json").read_text())["printed_equations"]
    for row in printed.values():
        assert abs(row["||a||_p printed eq.(5)"] - 1) > 0.5
        assert row["||a||_p corrected"] == pytest.approx(1.0)
