"""The reference MLP: one step, random trials, critical radii, and the search with its default budget, row by row.

`test_golden_attacks.py` holds the search to every line of the reference searches at twice their gradients.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faultsim.constraints import Global, Layout, LpL0
from faultsim.search import FixedPoint, OneStep, worst_case
from tests.search.digits_mlp import NAMES, DigitsMlp

pytestmark = pytest.mark.shared
RTOL, ATOL = 1e-7, 1e-10


@cache
def mlp(folder: Path, split: str = "test") -> DigitsMlp:
    return DigitsMlp.load(folder, split)


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden/corruption"


def rows(golden: Path, file: str) -> Any:
    content = json.loads((golden / file).read_text())
    return content["rows"] if isinstance(content, dict) else content


def budget(row: dict[str, Any]) -> Global:
    return Global(NAMES, LpL0(float(row.get("p", "inf")), row["eps"], row["n"]))


def test_the_gradients_are_the_reference_gradients(golden: Path) -> None:
    reference = np.load(golden / "mlp_gradients.npz")
    model = mlp(golden)
    layout = Layout.of(model.weights, NAMES)
    np.testing.assert_allclose(layout.flatten(model.weights), reference["w0"], rtol=1e-15)
    gradient = layout.flatten(model.gradient(None, "cross_entropy").grads)
    np.testing.assert_allclose(gradient, reference["gA"], rtol=1e-9, atol=1e-15)


def test_one_step_equals_the_reference_in_every_row(golden: Path) -> None:
    model = mlp(golden)
    table = rows(golden, "mlp_attack_table.json")
    assert len(table) == 84
    for row in table:
        constraint = budget(row)
        gradient = model.gradient(None, "cross_entropy")
        score = model.score(constraint.argmax(gradient.grads))
        assert constraint.indicator(gradient.grads) == pytest.approx(row["first_order"], rel=RTOL, abs=ATOL)
        assert score.loss - gradient.loss == pytest.approx(row["grad_A"]["dloss"], rel=RTOL, abs=ATOL)
        assert score.accuracy == pytest.approx(row["grad_A"]["acc"], abs=1e-12)
        found = worst_case(model, constraint, methods=[OneStep()], budget_gradients=1)
        assert found.score.loss == max(score.loss, found.clean.loss)


def test_random_trials_equal_the_reference_trial_by_trial(golden: Path) -> None:
    model = mlp(golden)
    clean = model.score(None).loss
    layout = Layout.of(model.weights, NAMES)
    directions = [np.random.default_rng([2024, t]).standard_normal(layout.elements) for t in range(100)]
    for key, reference in np.load(golden / "mlp_random_trials.npz").items():
        p, n, eps = (part.lstrip("pne") if part != "pinf" else "inf" for part in key.split("_"))
        constraint = LpL0(float(p), float(eps), int(n))
        scores = [model.score(layout.split(constraint.argmax(direction))) for direction in directions]
        np.testing.assert_allclose([s.loss - clean for s in scores], reference[0], rtol=RTOL, atol=ATOL, err_msg=key)
        np.testing.assert_allclose([s.accuracy for s in scores], reference[1], atol=1e-12, err_msg=key)


def test_with_the_default_budget_it_matches_the_best_reference_search_within_a_percent(golden: Path) -> None:
    """Vertices are sampled by default, so p = 1 is left out: exhaustive search is the reference there."""
    model = mlp(golden)
    for row in rows(golden, "mlp_multistep.json"):
        if str(row["p"]) == "1":
            continue
        best = max(attack["dloss"] for attack in row["attacks"].values())
        found = worst_case(model, budget(row))
        assert found.score.loss - found.clean.loss >= 0.99 * best, row["eps"]
        assert found.gradients <= 60


def test_fixed_point_beats_the_trust_region_reference_of_the_quadratic_model(golden: Path) -> None:
    theory = json.loads((golden / "theory_checks.json").read_text())["second_order_p2"]
    for row in theory:
        found = worst_case(mlp(golden), Global(NAMES, LpL0(2, row["eps"])), methods=[FixedPoint(steps=20)], restarts=0)
        assert found.indicator == pytest.approx(row["f"], rel=RTOL)
        assert found.score.loss - found.clean.loss >= row["dL_gpm20"] * (1 - 1e-5)


def test_critical_radii_are_no_larger_than_those_of_the_reference(golden: Path) -> None:
    """A radius is where more than the drop is lost, strictly; accuracy is not monotone."""
    model = mlp(golden)
    layout = Layout.of(model.weights, NAMES)
    rms = layout.flatten({name: np.full(w.shape, np.sqrt((w**2).mean())) for name, w in model.weights.items()})
    goal = model.score(None).accuracy - 1e-12

    def accuracy(row: dict[str, Any], eps: float, method: OneStep | FixedPoint) -> float:
        constraint = LpL0(float(row["p"]), eps, scale=rms if row["norm"] == "tensor_rms" else None)
        found = worst_case(model, Global(NAMES, constraint), methods=[method], budget_gradients=10, restarts=0)
        return found.least_accurate.score.accuracy

    for row in rows(golden, "critical_radius_mlp.json"):
        needed = goal - row["drop"]
        assert accuracy(row, 0.98 * row["one_step"], OneStep()) >= needed, row
        assert accuracy(row, 1.002 * row["one_step"], OneStep()) < needed, row
        assert accuracy(row, 1.002 * row["gpm10"], FixedPoint()) < needed, row
