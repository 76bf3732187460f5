"""JUnit XML: well-formed whatever the names are, a failure where a requirement is missed."""

from xml.etree import ElementTree

import pytest
from example_kinds import harden, shifted, sweep
from example_result import example
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import OptionError
from faultsim.report.html import Bundle
from faultsim.report.junit import junit, junit_of_bundle, junit_of_comparison, junit_of_harden
from faultsim.results import Verdict
from faultsim.results.compare import compare
from faultsim.results.gates import parse_gate


def test_a_met_requirement_passes_and_a_missed_one_fails():
    root = ElementTree.fromstring(junit(example("accuracy>=0.9", "worst_case_accuracy>=0.5")).encode())
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "2", "1", "0")
    suite = root.find("testsuite")
    assert suite.get("name") == "scenarios/digits/digits_float.onnx on reram_1t1r"
    met, missed = suite.findall("testcase")
    assert met.get("name") == "accuracy>=0.9"
    assert met.find("failure") is None
    assert missed.find("failure").get("type") == "worst_case_accuracy"
    assert "7.17%" in missed.find("failure").get("message")
    assert "value 0.0717" in missed.find("failure").text


def test_without_requirements_there_is_no_test_case():
    root = ElementTree.fromstring(junit(example()))
    assert root.get("tests") == "0"
    assert not root.findall(".//testcase")


def test_what_an_interruption_left_unjudged_is_an_error():
    result = example().model_copy(update={"verdict": Verdict(unjudged=("accuracy>=0.9",))})
    root = ElementTree.fromstring(junit(result))
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    assert root.find(".//error").get("type") == "not judged"


def test_the_properties_are_the_numbers_of_the_result():
    result = example("accuracy>=0.9")
    held = {one.get("name"): one.get("value") for one in ElementTree.fromstring(junit(result)).iter("property")}
    assert float(held["random.accuracy.mean"]) == result.random.accuracy.mean
    assert held["seed"] == "0"
    assert held["command"] == result.provenance.command


def test_a_hardening_fails_where_it_did_not_help():
    for helped, failures in ((True, "0"), (False, "1")):
        root = ElementTree.fromstring(junit_of_harden(harden(helped=helped)))
        assert (root.get("tests"), root.get("failures")) == ("1", failures)
    found = harden(helped=False)
    assert junit_of_bundle(Bundle(result=found.after, harden=found)) == junit_of_harden(found)


def test_a_sweep_has_nothing_to_pass():
    with pytest.raises(OptionError, match="only the results of assess and harden have some"):
        junit_of_bundle(Bundle(sweep=sweep()))


def test_each_gate_of_a_comparison_is_a_test_case():
    limits = [parse_gate("accuracy_drop>0.5%"), parse_gate("worst_case_drop>1%")]
    root = ElementTree.fromstring(junit_of_comparison(compare(shifted(0), shifted(-10), limits=limits)))
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert root.find(".//failure").get("type") == "accuracy"


@given(st.text(max_size=40))
def test_no_name_breaks_the_file(name):
    base = example("accuracy>=0.9")
    model = base.model.model_copy(update={"path": name})
    device = base.device.model_copy(update={"name": name})
    one = base.verdict.criteria[0].model_copy(update={"text": name, "explanation": name})
    verdict = base.verdict.model_copy(update={"criteria": (one,)})
    text = junit(base.model_copy(update={"model": model, "device": device, "verdict": verdict}))
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert root.find(".//testcase") is not None
