"""``faultsim compare``: a table and a gate; the exit code follows from a test and a tolerance."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from example_kinds import campaign, harden, shifted
from jsonschema import Draft202012Validator

from faultsim.results import to_json
from faultsim.results.comparison import Comparison
from faultsim.results.run_comparison import RunComparison
from faultsim.results.scenario import CaseRow, ScenarioResult

FIRST = Path(__file__).parents[1] / "first_contract.json"


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, by in (("a", 0), ("worse", -10), ("better", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(to_json(shifted(by)))
    return tmp_path


@pytest.mark.parametrize(
    ("second", "words", "code"),
    [
        ("worse", (), 0),
        ("worse", ("--fail-on-regression",), 1),
        ("worse", ("--fail-on-regression", "--tolerance", "2%"), 0),
        ("worse", ("--fail-on-regression", "--tolerance", "0.01"), 1),
        ("worse", ("--fail-if", "accuracy_drop>1%"), 1),
        ("worse", ("--fail-if", "worst_case_drop>0"), 0),
        ("better", ("--fail-on-regression",), 0),
        ("a", ("--fail-on-regression",), 0),
    ],
)
def test_the_exit_code_follows_from_the_gate(faultsim, results, second, words, code):
    done = faultsim("compare", "a", f"{second}/result.json", *words)
    assert (done.code, done.err) == (code, "")
    assert ("FAILED" in done.out) is (code == 1)
    assert "the same 40 chips, compared one by one" in done.out


def test_the_same_as_files(faultsim, results):
    words = ("--json", "c/c.json", "--junit", "c/j.xml", "--markdown", "c/s.md")
    done = faultsim("compare", "a", "worse", "--fail-on-regression", *words)
    assert done.code == 1
    document = json.loads(Path("c/c.json").read_text())
    found = Comparison.model_validate_json(json.dumps(document))
    assert found.failed
    Draft202012Validator(Comparison.model_json_schema(by_alias=True, mode="serialization")).validate(document)
    assert ElementTree.parse("c/j.xml").getroot().get("failures") == "1"
    assert Path("c/s.md").read_text().startswith("## ❌")


def test_a_summary_on_the_standard_output_replaces_the_table(faultsim, results):
    done = faultsim("compare", "a", "better", "--markdown", "-")
    assert done.out.startswith("## ")
    assert "\nfirst  " not in done.out


def test_a_result_of_the_first_contract_is_compared(faultsim):
    done = faultsim("compare", FIRST, FIRST, "--fail-on-regression")
    assert done.code == 0
    assert "not shown" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "none.json"), "none.json: cannot be read"),
        (("a", "c.json"), "c.json: is a campaign of bit flips; give two results of faultsim assess"),
        (("h.json", "a"), "h.json: is a hardening; give two results"),
        (("a", "worse", "--tolerance", "1%"), "--tolerance is of --fail-on-regression"),
        (("a", "worse", "--fail-on-regression", "--tolerance", "much"), "--tolerance 'much' is not a fraction"),
        (("a", "worse", "--fail-if", "acuracy_drop>1%"), "--fail-if 'acuracy_drop>1%': unknown figure"),
        (("a", "worse", "--fail-if", "score_drop>1"), "score_drop>1 cannot be judged"),
        (("a", "worse", "--json", "a"), "--json a: cannot be written"),
    ],
)
def test_a_mistake_gets_one_sentence(faultsim, results, words, said):
    Path("c.json").write_text(campaign().model_dump_json(by_alias=True))
    Path("h.json").write_text(harden().model_dump_json(by_alias=True))
    done = faultsim("compare", *words)
    assert done.code == 2
    assert done.err.startswith(f"faultsim: {said}")
    assert done.err.count("\n") == 1


def test_two_runs_of_a_scenario_are_compared_case_by_case(faultsim, results):
    for run, by in (("main", 0), ("branch", -10)):
        rows = []
        for name in ("m/a", "m/b"):
            folder = Path(run, name)
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(to_json(shifted(by if name == "m/b" else 0)))
            rows.append(
                CaseRow(name=name, model="m.onnx", device="d", status="no verdict", result=f"{name}/result.json")
            )
        made = ScenarioResult(name="mine", sha256="0" * 64, cases=tuple(rows))
        Path(run, "summary.json").write_text(made.model_dump_json(by_alias=True))
    assert faultsim("compare", "main", "branch").code == 0
    words = ("--fail-on-regression", "--junit", "j.xml", "--json", "c.json", "--markdown", "-")
    done = faultsim("compare", "main", "branch/summary.json", *words)
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("## ❌ branch/summary.json against main")
    assert ElementTree.parse("j.xml").getroot().get("failures") == "1"
    found = RunComparison.model_validate_json(Path("c.json").read_text())
    assert [case.comparison.failed for case in found.cases] == [False, True]
    assert faultsim("compare", "main", "main", "--fail-on-regression").code == 0
    mixed = faultsim("compare", "main", "a")
    assert mixed.code == 2
    assert mixed.err.startswith(
        "faultsim: main/summary.json: is a run of a scenario; give two results of faultsim assess"
    )
    Path("branch", "m", "b", "result.json").write_text("{")
    assert faultsim("compare", "main", "branch").err.startswith(
        "faultsim: case m/b: branch/m/b/result.json:1:2: no JSON"
    )
