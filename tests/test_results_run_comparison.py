"""Two runs of a scenario compared case by case: pairs by name, what is missing is told, gates hold for every case."""

import json
import re
from xml.etree import ElementTree

import pytest
from example_kinds import shifted

from faultsim.errors import OptionError
from faultsim.report.junit import junit_of_runs
from faultsim.report.run_comparison import lines, markdown
from faultsim.results.compare import compare, main_figure
from faultsim.results.gates import parse_gate, regression_limit
from faultsim.results.run_comparison import RunComparison, compare_runs


def gate(result):
    return (regression_limit(main_figure(result), "0"),)


def without_worst(result):
    return result.model_copy(update={"worst_case": None})


def test_each_case_is_compared_as_the_pair_alone():
    first, second = {"a": shifted(0), "b": shifted(0)}, {"b": shifted(-2), "a": shifted(2)}
    found = compare_runs(first, second, names=("x", "y"))
    assert [case.name for case in found.cases] == ["a", "b"]
    for case in found.cases:
        alone = compare(first[case.name], second[case.name], names=(f"x/{case.name}", f"y/{case.name}"))
        assert case.comparison == alone
    assert not found.failed
    assert RunComparison.model_validate_json(found.model_dump_json(by_alias=True)) == found


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ((0.95, 0.95), "2 tests, each at its own level: where nothing differs, one in 20 claims at 95 %"),
        ((0.99, 0.99), "2 tests, each at its own level: where nothing differs, one in 100 claims at 99 %"),
        ((0.95, 0.8), "2 tests, each at its own level: where nothing differs, 0.25 of them claim by chance"),
    ],
)
def test_the_level_that_is_told_is_that_of_the_cases(levels, said):
    runs = {f"m/{i}": shifted(0).model_copy(update={"level": level}) for i, level in enumerate(levels)}
    found = compare_runs(runs, runs)
    assert f"note: {said}" in " ".join(" ".join(lines(found)).split())
    assert said in markdown(found)


def test_one_case_that_is_worse_fails_the_whole():
    first = {"a": shifted(0), "b": shifted(0)}
    found = compare_runs(first, {"a": shifted(0), "b": shifted(-2)}, limits=gate)
    assert [case.comparison.failed for case in found.cases] == [False, True]
    assert found.failed
    assert any(line.startswith("FAILED  mean accuracy") for line in lines(found))
    assert lines(found)[-1].endswith("in b")
    assert all(len(line) <= 80 for line in lines(found))
    assert not any(line.startswith("PASSED") for line in lines(found))
    assert not compare_runs(first, first, limits=gate).failed
    assert lines(compare_runs(first, first, limits=gate))[-1] == "PASSED  2 gates on 2 cases"


def test_a_case_that_is_gone_fails_a_gated_comparison_alone():
    first, second = {"a": shifted(0), "b": shifted(0)}, {"a": shifted(0), "c": shifted(0)}
    free, gated = compare_runs(first, second), compare_runs(first, second, limits=gate)
    assert (free.failed, gated.failed) == (False, True)
    assert (gated.missing, gated.added) == (("b",), ("c",))
    said = "\n".join(lines(gated))
    assert "note: no result in the second: b" in said
    assert "note: no result in the first: c" in said
    assert "FAILED  1 case without a result: b" in said
    assert "FAILED" not in "\n".join(lines(free))


def test_a_limit_on_what_neither_holds_is_told_and_on_what_one_holds_is_judged():
    asked = lambda _: (parse_gate("worst_case_drop>2%"),)  # noqa: E731
    none = {"a": without_worst(shifted(0)), "b": shifted(0)}
    found = compare_runs(none, none, limits=asked)
    assert found.cases[0].unjudged == ("worst_case_drop>2%",)
    assert "note: worst_case_drop>2% not judged, neither result holds it: a" in lines(found)
    with_one = compare_runs({"a": shifted(0)}, {"a": shifted(0)}, limits=asked)
    assert with_one.cases[0].unjudged == ()
    assert [one.name for one in with_one.cases[0].comparison.gates] == ["worst_case"]


def test_a_limit_is_never_passed_over_where_one_side_lacks_its_figure():
    asked = lambda _: (parse_gate("worst_case_drop>2%"),)  # noqa: E731
    there, gone = {"a": shifted(0)}, {"a": without_worst(shifted(0))}
    for first, second in ((there, gone), (gone, there)):
        with pytest.raises(OptionError, match="case a: worst_case_drop>2% cannot be judged"):
            compare_runs(first, second, limits=asked)
    with pytest.raises(OptionError, match="worst_case_drop>2%: no case holds that figure"):
        compare_runs(gone, gone, limits=asked)


def test_runs_without_a_common_case_and_pairs_of_other_tasks_are_refused():
    with pytest.raises(OptionError, match="x and y share no case; compare two runs of one scenario"):
        compare_runs({"a": shifted(0)}, {"b": shifted(0)}, names=("x", "y"))
    other = shifted(0).model_copy(update={"data": shifted(0).data.model_copy(update={"task": "top5"})})
    with pytest.raises(OptionError, match="case a: the results cannot be compared: the task of the first"):
        compare_runs({"a": shifted(0)}, {"a": other})


def test_markdown_and_junit_hold_every_case_and_foreign_names_are_text():
    hostile = "a|`<b>\x1b"
    first, second = {hostile: shifted(0), "gone": shifted(0)}, {hostile: shifted(-2)}
    found = compare_runs(first, second, limits=gate)
    said = markdown(found)
    assert said.startswith("## ❌ ")
    row = next(line for line in said.splitlines() if line.startswith("| `"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 7  # six cells: the bar of the name is none of theirs
    assert "\x1b" not in said
    root = ElementTree.fromstring(junit_of_runs(found))
    assert (root.get("tests"), root.get("failures")) == ("2", "2")
    assert "\x1b" not in "\n".join(lines(found))


def test_every_row_is_as_wide_as_its_heading():
    found = compare_runs({"x" * 80: shifted(0)}, {"x" * 80: shifted(2)}, limits=gate)
    table = [line for line in lines(found) if "pt" in line and line.startswith("x")]
    assert len(table) == 1
    assert len(table[0]) <= 110


def test_the_comparison_is_a_result_like_others():
    found = compare_runs({"a": shifted(0)}, {"a": shifted(-2)}, limits=gate)
    assert {row["case"] for row in found.to_rows()} == {"a"}
    assert found.to_rows("gates")[0]["failed"]
    assert "1 cases compared; FAILED" in repr(found)
    assert "cases   1 in both" in str(found)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
