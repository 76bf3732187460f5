"""Every line of the reference searches: at least as strong in loss and accuracy, with twice its gradients at most."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from faultsim.constraints import Global, LpL0
from faultsim.search import Vertices, WorstCase, worst_case
from tests.search.digits_mlp import NAMES, DigitsMlp

pytestmark = [pytest.mark.shared, pytest.mark.slow]
FILES = {"mlp_multistep.json": 14, "multistep_l0_mlp.json": 5}


@cache
def rows(golden: Path, file: str) -> list[dict[str, Any]]:
    content = json.loads((golden / file).read_text())
    found: list[dict[str, Any]] = content["rows"] if isinstance(content, dict) else content
    return found


@pytest.mark.parametrize(("file", "at"), [(file, at) for file, count in FILES.items() for at in range(count)])
def test_every_line_is_met(shared: Path, file: str, at: int) -> None:
    golden = shared / "golden/corruption"
    row = rows(golden, file)[at]
    model = DigitsMlp.load(golden)
    whole = Global(NAMES, LpL0(float(row.get("p", "inf")), row["eps"], row["n"]))
    attacks = row.get("attacks") or {name: one for name, one in row.items() if isinstance(one, dict)}
    by_budget: dict[tuple[int, bool], WorstCase] = {}
    for name, reference in attacks.items():
        exhaustive = name == "exhaustive"
        key = (max(2 * reference["grads"], 1), exhaustive)
        if key not in by_budget:
            methods = [Vertices(candidates=None)] if exhaustive else None
            by_budget[key] = worst_case(model, whole, budget_gradients=key[0], methods=methods)
        found = by_budget[key]
        assert found.gradients <= key[0]
        short = set()
        if found.score.loss - found.clean.loss < reference["dloss"] * (1 - 1e-6) - 1e-10:
            short.add("loss")
        if found.least_accurate.score.accuracy > reference["min_acc"] + 1e-12:
            short.add("accuracy")
        case = (str(row.get("p", "inf")), row["n"], float(row["eps"]), name)
        assert not short, case
