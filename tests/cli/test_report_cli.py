"""``faultsim report``: every kind of result in, files and exit codes out."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from example_kinds import attack, bitmap, campaign, harden, sweep
from example_result import example

from faultsim.results import to_json
from faultsim.results.scenario import CaseRow, ScenarioResult

FIRST = Path(__file__).parents[1] / "first_contract.json"


@pytest.fixture
def passed(tmp_path):
    path = tmp_path / "passed" / "result.json"
    path.parent.mkdir()
    path.write_text(to_json(example("accuracy>=0.9")))
    return path


@pytest.fixture
def failed(tmp_path):
    path = tmp_path / "failed.json"
    path.write_text(to_json(example("accuracy>=0.999")))
    return path


def test_the_page_lies_beside_the_result_by_default(faultsim, passed):
    done = faultsim("report", passed)
    assert (done.code, done.err) == (0, "")
    page = passed.parent / "report.html"
    assert done.out == f"written: {page}\n"
    assert page.read_text().startswith("<!DOCTYPE html>")
    page.unlink()
    assert faultsim("report", passed.parent).code == 0
    assert page.exists()


def test_all_files_are_written_where_they_were_asked_for(faultsim, passed, tmp_path):
    words = ("-o", tmp_path / "a/p.html", "--figures", tmp_path / "figs", "--junit", tmp_path / "b/j.xml",
             "--markdown", tmp_path / "s.md")  # fmt: skip
    done = faultsim("report", passed, *words)
    assert done.code == 0
    assert ElementTree.parse(tmp_path / "b/j.xml").getroot().get("failures") == "0"
    assert (tmp_path / "s.md").read_text().startswith("## ✅")
    assert (tmp_path / "figs" / "chips.svg").exists()
    for path in [*(tmp_path / "figs").iterdir(), tmp_path / "a/p.html", tmp_path / "b/j.xml", tmp_path / "s.md"]:
        assert str(path) in done.out


def test_the_summary_can_go_to_the_standard_output_alone(faultsim, passed):
    done = faultsim("report", passed, "--markdown", "-")
    assert done.out.startswith("## ✅")
    assert "written" not in done.out
    assert "written" in done.err


def test_a_missed_requirement_is_an_exit_code_only_where_asked_for(faultsim, passed, failed):
    assert faultsim("report", failed).code == 0
    assert faultsim("report", failed, "--check").code == 1
    assert faultsim("report", passed, "--check").code == 0


@pytest.mark.parametrize(("made", "code"), [(sweep(), 0), (campaign(), 0), (attack(), 0), (bitmap(), 0),
                                            (harden(), 0), (harden(helped=False), 1)])  # fmt: skip
def test_every_kind_has_a_page(faultsim, tmp_path, made, code):
    path = tmp_path / "any.json"
    path.write_text(made.model_dump_json(by_alias=True))
    assert faultsim("report", path, "--check").code == code
    assert "<!DOCTYPE html>" in (tmp_path / "report.html").read_text()


def test_a_run_of_a_scenario_has_its_pages_and_what_ci_reads(faultsim, tmp_path):
    asked = example("accuracy>=0.999").verdict.criteria
    figures = {"clean": 0.9, "mean": 0.8, "tail": 0.7, "worst": 0.1, "chips": 100, "result": "m/a/result.json"}
    row = CaseRow(name="m/a", model="m.onnx", device="d", status="failed", criteria=asked, **figures)
    out = tmp_path / "out"
    (out / "m" / "a").mkdir(parents=True)
    (out / "m" / "a" / "result.json").write_text(to_json(example("accuracy>=0.999")))
    made = ScenarioResult(name="mine", sha256="0" * 64, cases=(row,), passed=False)
    (out / "summary.json").write_text(made.model_dump_json(by_alias=True))
    done = faultsim("report", out)
    assert (done.code, done.out) == (0, f"written: {out}/index.html, {out}/m/a/report.html\n")
    words = ("--junit", tmp_path / "j.xml", "--figures", tmp_path / "figs", "--markdown", "-", "--check")
    done = faultsim("report", out / "summary.json", *words)
    assert done.code == 1
    assert done.out.startswith("## ❌ mine")
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("failures") == "1"
    assert (tmp_path / "figs" / "cases.svg").exists()
    other = tmp_path / "summary.json"
    other.write_text(to_json(example()))
    assert faultsim("report", other).code == 0  # any result may lie in a file of that name


def test_a_result_of_the_first_contract_has_a_page(faultsim, tmp_path):
    assert faultsim("report", FIRST, "-o", tmp_path / "p.html").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing.json",), "nothing.json: cannot be read (No such file or directory)"),
        ((".",), ".: holds none of result.json"),
        (("s.json", "--junit", "j.xml"), "--junit shows requirements"),
        (("s.json", "-o", "."), "-o .: is a folder; give the name of a file"),
        (("s.json", "-o", "s.json/x.html"), "-o s.json/x.html: cannot be written"),
        (("s.json", "--figures", "s.json"), "--figures s.json: cannot be written"),
    ],
)
def test_a_mistake_gets_one_sentence(faultsim, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.json").write_text(sweep().model_dump_json(by_alias=True))
    done = faultsim("report", *words)
    assert done.code == 2
    assert done.err.startswith(f"faultsim: {said}")
    assert done.err.count("\n") == 1


def test_an_assessment_writes_its_page_and_says_so(faultsim, tmp_path):
    words = ("--device", "reram", "--trials", "2", "--site-trials", "1", "--search-gradients", "1", "--limit", "20",
             "--quiet", "--out", tmp_path / "out")  # fmt: skip
    done = faultsim("assess", "digits", *words)
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "report.html" in done.out
