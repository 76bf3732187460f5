"""The summary of a scenario: it fits 80 columns, says what was missed, and no name in it steers a terminal or a CI."""

import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from faultsim.report.html.draw_scenario import scenario_charts
from faultsim.report.html.svg import inline
from faultsim.report.scenario import scenario_lines, verdict_sentence
from faultsim.report.scenario_junit import scenario_junit
from faultsim.report.scenario_markdown import scenario_markdown
from faultsim.results.scenario import CaseRow, HardenedCase, ScenarioResult
from tests.report.scenario_rows import judgement, result, row

ALL = (
    row("m/a"),
    row("m/b", "failed"),
    row("m/c", "no verdict", headline="loss", clean=0.1, mean=1.25, tail=2.0, worst=None),
    row("m/d", "error"),
    row("m/e", "not run"),
)


def text(found: ScenarioResult) -> str:
    return "\n".join(line for line, _ in scenario_lines(found, out="out"))


def test_each_status_has_its_row_its_figures_and_its_exit_code():
    said = text(result(*ALL, interrupted=True))
    assert "PASSED  m/a" + " " * 33 + "   99.00%   95.00%   91.00%   10.00%" in said
    assert "-       m/c" + " " * 33 + "      0.1     1.25        2        -" in said
    assert "ERROR   m/d\n" in said
    assert "MISSED  accuracy >= 0.9: the mean chip reaches 95.00% [mine.yaml:7]" in said
    assert text(result(row(), row("m/b", "failed", result="m/b/result.json"))).endswith(
        "\npage:    out/index.html, with links to the page of each finished case"
    )
    assert "FAILED  1 case of 5 missed a requirement; 1 case of 5 could not be run; 1 case" in said
    assert "\nwritten: out/summary.json and a result.json for each finished case\n" in said


@pytest.mark.parametrize(
    ("rows", "interrupted", "code", "passed", "word"),
    [
        (ALL[:1], False, 0, True, "PASSED"),
        (ALL[:2], False, 1, False, "FAILED"),
        (ALL[2:3], False, 0, None, "NO VERDICT"),
        (ALL[:4], False, 2, False, "FAILED"),
        ((ALL[0], ALL[4]), True, 130, False, "NO VERDICT"),
    ],
)
def test_the_verdict_and_the_exit_code_follow_from_the_rows(rows, interrupted, code, passed, word):
    found = result(*rows, interrupted=interrupted)
    assert (found.exit_code, found.passed, verdict_sentence(found)[0]) == (code, passed, word)


def test_what_a_reader_must_know_stands_below_the_table():
    found = result(
        row(event_probability=0.001, unsure=3, assumptions=5, labels="golden"),
        row("m/e", hardened=HardenedCase(helped=True, sentence="It helped.", model="m/e/hardened.onnx")),
    )
    said = " ".join(text(found).split())
    for part in ("m/d *", "* given a fault event, which a chip meets with probability 0.001", "d (3 of 5)",
                 "agreement with the clean model, not with the truth", "m/e hardened: It helped.",
                 "found, not proven"):  # fmt: skip
        assert part in said
    assert "could turn with more chips" in text(result(row(criteria=(judgement(inconclusive=True),))))


NAMES = st.text(min_size=1, max_size=120)


@given(name=NAMES, error=NAMES, title=NAMES, wish=NAMES)
def test_foreign_text_keeps_the_width_and_makes_no_markup(name, error, title, wish):
    found = result(
        row(name, "failed", criteria=(judgement(wish, passed=False, explanation=error),)),
        row(name, "error", error=error),
        title=title,
    )
    for line, _ in scenario_lines(found):
        assert min(len(line), cell_len(line)) <= 80  # combining letters take no cell, wide ones two
        assert cell_len(line) <= 80 or not line.endswith("10.00%")  # a row of the table
        assert not any(unicodedata.category(letter).startswith("C") for letter in line)
    suites = ElementTree.fromstring(scenario_junit(found))
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("2", "1", "1")
    for line in scenario_markdown(found).splitlines():
        assert "<" not in line.replace("&lt;", "") or "`" in line


def test_a_long_name_keeps_its_ends_and_its_mark_and_no_two_rows_are_the_same():
    model = "a_model_with_quite_a_long_name/a_device"
    corners = [row(f"{model}/{one}", event_probability=chance) for one, chance in (("hot", None), ("cold", 0.001))]
    lines = [line for line, _ in scenario_lines(result(*corners))]
    hot, cold = lines[4:6]
    assert hot[8:44].startswith("a_model_with")
    assert hot[8:44].rstrip().endswith("a_device/hot")
    assert cold[8:44].rstrip().endswith("a_device/cold *")
    assert all(line.endswith("99.00%   95.00%   91.00%   10.00%") for line in (hot, cold))
    alike = [row(f"{'m' * 30}/device_{one}/{'c' * 30}") for one in "ab"]
    lines = [line for line, _ in scenario_lines(result(*alike))]
    for at, one in ((4, alike[0]), (6, alike[1])):
        assert lines[at] == f"PASSED  {one.name}"
        assert lines[at + 1] == " " * 44 + "   99.00%   95.00%   91.00%   10.00%"


def test_the_chart_of_all_cases_keeps_the_end_of_a_long_name():
    name = "a_model_with_a_name_that_is_much_too_long_for_a_chart/a_device_with_a_long_name_as_well/hot"
    [chart] = scenario_charts(result(row(name, event_probability=0.001)))
    assert "…" in (drawn := inline(chart))
    assert "name_as_well/hot *" in drawn


def test_junit_counts_every_requirement_and_every_case():
    suites = ElementTree.fromstring(scenario_junit(result(*ALL, seconds=2.5)))
    assert {key: suites.get(key) for key in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "5", "failures": "1", "errors": "1", "skipped": "2", "time": "2.500",
    }  # fmt: skip
    assert [suite.get("name") for suite in suites] == [f"mine/m/{one}" for one in "abcde"]
    assert suites[1].find("testcase/failure").text == "the mean chip reaches 95.00% (mine.yaml:7)"
    assert suites[3].find("testcase/error").text == "m.onnx: no model"
    assert suites[4].find("testcase/skipped").get("message") == "not run"


def test_markdown_tells_answer_table_and_misses():
    said = scenario_markdown(result(*ALL))
    assert said.startswith("## ❌ mine\n\n**FAILED**: 1 case of 5 missed a requirement;")
    assert "| ✅ passed | `m/a` | 99.00% | 95.00% | 91.00% | 10.00% |" in said
    assert "- `m/b` missed `accuracy >= 0.9`: the mean chip reaches 95.00%" in said
    assert "- `m/d` could not be run: m.onnx: no model" in said


WRONG = (
    {"status": "error", "error": None},
    {"status": "passed", "criteria": ()},
    {"status": "passed", "criteria": (judgement(passed=False),)},
)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_row_whose_status_does_not_follow_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must agree|does not follow"):
        CaseRow(name="m/d", model="m", device="d", **wrong)
