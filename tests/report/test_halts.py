"""Chips that halt on detected memory errors: said wherever no requirement asks for them, and nowhere else."""

from xml.etree import ElementTree

import pytest
from example_result import example

from faultsim.criteria import judge_all, parse_criteria
from faultsim.report.html.answer import of_result
from faultsim.report.junit import junit
from faultsim.report.markdown import markdown
from faultsim.report.scenario import remarks, scenario_lines
from faultsim.report.scenario_junit import scenario_junit
from faultsim.report.scenario_markdown import scenario_markdown
from faultsim.report.verdict import next_command, verdict_lines
from faultsim.results import Halted, Result
from faultsim.stats import clopper_pearson
from tests.report.scenario_rows import judgement, result, row


def halting(chips: int, *require: str, on_due: str = "halt", **more) -> Result:
    """The example, of whose chips the first *chips* have a detected error."""
    plain = example()
    trials = plain.random.trials
    share = clopper_pearson(chips, trials)
    rows = [one.model_copy(update={"detected": 2 * (one.trial < chips)}) for one in plain.random.per_trial]
    halted = Halted(on_due=on_due, chips=chips, share=share.best, low=share.low, high=share.high)
    random = plain.random.model_copy(update={"per_trial": tuple(rows), "halted": halted, **more})
    found = plain.model_copy(update={"random": random})
    return found.model_copy(update={"verdict": judge_all(parse_criteria(require), found)})


def verdict(found: Result) -> str:
    return " ".join(" ".join(text for text, _ in verdict_lines(found, 80)).split())


def test_a_met_requirement_does_not_hide_that_chips_halt():
    found = halting(3, "accuracy>=0.5")
    trials = found.random.trials
    said = f"3 of {trials} chips halt on detected errors; figures are of their answers after a restart with a good copy"
    assert f"HALTS {said}; no requirement is about that (halted<=0.01)" in verdict(found)
    assert said in of_result(found).detail
    assert said in markdown(found).replace("\\", "")
    assert next_command(found).endswith('--require "halted<=0.01"')


def test_without_a_requirement_both_are_suggested():
    assert next_command(halting(3)).endswith('--require "accuracy_drop<=0.01@p95" --require "halted<=0.01"')


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (halting(1), "1 of 100 chips halts on detected errors"),
        (halting(2, on_due="reload"), "2 of 100 chips reload on detected errors; figures are of their answers with "
                                      "words reloaded from a good copy"),
        (halting(2, event_probability=0.25), "given a fault event, 2 of 100 chips halt"),
    ],
)  # fmt: skip
def test_the_words_are_those_of_the_device(found, said):
    assert said in verdict(found)


@pytest.mark.parametrize("found", [halting(0, "accuracy>=0.5"), halting(3, "halted<=0.9"), halting(3, "halted<=0.01")])
def test_nothing_is_added_where_no_chip_halts_or_a_requirement_says_so(found):
    assert "HALTS" not in verdict(found)
    assert "halt on detected" not in of_result(found).detail
    assert '"halted' not in next_command(found)


def test_a_scenario_marks_the_cases_whose_chips_halt():
    found = result(row("m/a", halted=0.5), row("m/b", halted=0.0), row("m/c", event_probability=0.1, halted=1.0))
    said = "\n".join(line for line, _ in scenario_lines(found, out="out"))
    assert "m/a !" in said
    assert "m/b !" not in said
    assert "m/c * !" in said
    (note,) = [one for one in remarks(found) if one.startswith("!")]
    assert note.endswith(": m/a 50.00% of its chips, m/c 100.00% of its chips; to bound them, require halted<=0.01")
    assert "`m/a` ! |" in scenario_markdown(found)
    named = result(row("m/a", halted=0.5, criteria=(judgement("halted <= 0.9", metric="halted"),)))
    assert "to bound" not in next(one for one in remarks(named) if one.startswith("!"))


def test_a_ci_that_reads_junit_sees_chips_that_halt():
    properties = [dict(one.attrib) for one in ElementTree.fromstring(junit(halting(3))).iter("property")]
    (value,) = [one["value"] for one in properties if one["name"] == "halted"]
    assert value.startswith("3 of 100 chips halt on detected errors; figures are of their answers after a restart")
    assert 'name="halted"' not in junit(halting(0))
    text = scenario_junit(result(row("m/a", halted=0.5), row("m/b", halted=0.0)))
    assert text.count('<property name="halted" value="0.5" />') == text.count('name="halted"') == 1
