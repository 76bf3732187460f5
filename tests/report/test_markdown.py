"""The Markdown summary: answer first, every kind, and foreign names that make no markup."""

import re

import pytest
from example_kinds import attack, bitmap, campaign, harden, probe, shifted, sweep
from example_result import example
from hypothesis import given
from hypothesis import strategies as st

from faultsim.report.comparison import markdown as comparison_markdown
from faultsim.report.html import Bundle
from faultsim.report.markdown import code, escape, fenced, markdown, markdown_of_bundle
from faultsim.results.compare import compare
from faultsim.results.gates import parse_gate


def test_the_answer_comes_first_and_every_requirement_has_a_row():
    said = markdown(example("accuracy>=0.9", "worst_case_accuracy>=0.5")).split("\n")
    assert said[0] == "## ❌ digits\\_float.onnx on reram\\_1t1r: failed"
    assert said[2].startswith("**No: 1 of 2 requirements is missed.**")
    assert any(line.startswith("| `accuracy>=0.9` | passed |") for line in said)
    assert any(line.startswith("| `worst_case_accuracy>=0.5` | **failed** |") for line in said)


def test_a_passed_result_says_so():
    assert markdown(example("accuracy>=0.9")).startswith("## ✅")
    assert markdown(example()).startswith("## ℹ️")


def test_agreement_is_not_sold_as_accuracy():
    data = example().data.model_copy(update={"labels": "golden"})
    assert "No labels" in markdown(example(data=data))
    assert "No labels" not in markdown(example())


@pytest.mark.parametrize(
    ("bundle", "word"),
    [
        (Bundle(sweep=sweep()), "0.8 V"),
        (Bundle(campaign=campaign()), "critical: changes an answer"),
        (Bundle(attack=attack()), "36 times that radius"),
        (Bundle(attack=attack(cells=True)), "3 flipped bits bring"),
        (Bundle(probe=probe()), "Most fragile: fc (layer); gradient at strength 0.05 leaves 40.00%"),
        (Bundle(bitmap=bitmap()), "12% of the answers"),
        (Bundle(result=(hardened := harden()).after, harden=hardened), "random accuracy, mean"),
    ],
)
def test_every_kind_has_a_summary(bundle, word):
    said = markdown_of_bundle(bundle)
    assert said.startswith("## ")
    assert word in said
    tables = [[line for line in block.split("\n") if line.startswith("|")] for block in said.split("\n\n")]
    for table in filter(None, tables):
        assert len({line.count("|") for line in table}) == 1


def test_a_comparison_shows_gates_and_claims():
    found = compare(shifted(0), shifted(-10), limits=[parse_gate("accuracy_drop>0.5%")])
    said = comparison_markdown(found)
    assert said.startswith("## ❌")
    assert "| **failed** |" in said
    assert "| worse, p < 0.0001 |".replace("<", "&lt;") in said or "| worse, p = " in said


@given(st.text(alphabet="a`|*_<>[]()#@\\~$&!\n\u202e", max_size=30))
def test_foreign_text_makes_no_markup(text):
    safe = escape(text)
    assert "\n" not in safe
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]|~$#]", re.sub(r"&\S+?;", "", safe))
    assert not re.search(r"[<>@]", safe)


@given(st.text(alphabet="a`| \n", max_size=30))
def test_foreign_text_does_not_end_its_code(text):
    safe = code(text)
    fence = re.match("`+", safe).group()
    inside = safe[len(fence) : -len(fence)]
    assert fence not in re.findall("`+", inside)
    block = fenced(text)
    assert not any(line.startswith(block[-1]) for line in block[1].split("\n"))


def test_an_address_in_a_name_is_no_link():
    assert "https:" not in escape("see https://example.org")
