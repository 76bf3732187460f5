"""Rows and results of scenarios, as the tests of their reports take them."""

from faultsim.results import Judgement
from faultsim.results.scenario import CaseRow, ScenarioResult, outcome


def judgement(text: str = "accuracy >= 0.9", *, passed: bool = True, **more) -> Judgement:
    given = {"source": "mine.yaml:7", "metric": "accuracy", "at": "mean", "limit": 0.9, "value": 0.95, "low": None,
             "high": None, "explanation": "the mean chip reaches 95.00%"}  # fmt: skip
    return Judgement(**given | more, text=text, passed=passed)


def row(name: str = "m/d", status: str = "passed", **more) -> CaseRow:
    given = {"model": "m.onnx", "device": "d", "result": f"{name}/result.json"}
    if status not in ("error", "not run"):
        given |= {"clean": 0.99, "chips": 100, "mean": 0.95, "low": 0.94, "high": 0.96, "tail": 0.91, "worst": 0.1}
    else:
        given["result"] = None
    if status in ("passed", "failed"):
        given["criteria"] = (judgement(passed=status == "passed"),)
    if status == "error":
        given["error"] = "m.onnx: no model"
    return CaseRow(**given | more, name=name, status=status)


def result(*rows: CaseRow, **more) -> ScenarioResult:
    return ScenarioResult(name="mine", sha256="0" * 64, cases=rows, passed=outcome(rows), **more)
