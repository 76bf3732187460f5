"""The reference MLP: between the reference's attacks and its certificates, row by row."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from faultsim.certify import certify
from faultsim.constraints import Global, LpL0
from faultsim.corruption import Stored
from faultsim.model import Model, load_model
from faultsim.search import FixedPoint, worst_case
from faultsim.search.radius import critical_radius
from tests.search.digits_mlp import NAMES, DigitsMlp

pytestmark = pytest.mark.shared


Parts = tuple[Model, dict[str, Stored], list[tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]]]


@pytest.fixture(scope="module")
def mlp(shared: Path) -> Parts:
    golden = shared / "golden/corruption"
    model = load_model(golden / "mlp_f64.onnx")
    stored = {site.name: Stored(site, site.format, model.numbers[site.name]) for site in model.sites}
    split = np.load(golden / "digits_split.npz")
    return model, stored, [({"input": split["x_test"].astype(np.float64).reshape(-1, 1, 8, 8)}, split["y_test"])]


def test_every_row_lies_above_the_best_attack_and_not_above_the_reference_certificate(shared: Path, mlp: Parts) -> None:
    model, stored, samples = mlp
    table = json.loads((shared / "golden/corruption/mlp_certificates.json").read_text())
    assert len(table["rows"]) == 17
    for row in table["rows"]:
        ball = LpL0(float(row["p"]), row["eps"], row["n"])
        found = certify(model, stored, Global(tuple(stored), ball), samples)
        assert found.proven, found.why_not
        assert found.correct / found.samples == pytest.approx(table["acc0"], abs=1e-12)
        assert found.first_order == pytest.approx(row["first_order"], rel=1e-9)
        assert row["lower_gpm"] <= found.loss_increase_upper <= row["upper_affine"], row
        assert row["cert_acc_affine"] - 1e-12 <= found.accuracy_lower <= row["acc_gpm"] + 1e-12, row


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_the_critical_radius_lies_between_proof_and_search(shared: Path, mlp: Parts, p: float) -> None:
    """The reference's search breaks 5 points at its radius; the certificate holds them below a smaller one."""
    golden = shared / "golden/corruption"
    model, stored, samples = mlp
    attacked = DigitsMlp.load(golden)
    rows = json.loads((golden / "critical_radius_mlp.json").read_text())
    row = next(r for r in rows if (r["norm"], float(r["p"]), r["drop"]) == ("absolute", p, 0.05))

    def worst(eps: float) -> float:
        found = worst_case(attacked, Global(NAMES, LpL0(p, eps)), methods=[FixedPoint()], restarts=0)
        return found.least_accurate.score.accuracy

    def proven(eps: float) -> float:
        return certify(model, stored, Global(NAMES, LpL0(p, eps)), samples).accuracy_lower

    level = attacked.score(None).accuracy - row["drop"] - 1e-12
    found = critical_radius(worst, level, start=1.0, rtol=0.02, proven=proven)
    assert 0.05 * found.found < found.proven < found.holds < found.found <= 1.02 * row["gpm10"]
    assert worst(found.proven) >= level
