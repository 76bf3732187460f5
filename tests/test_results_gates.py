"""Limits on how much worse a second result may be: the grammar, and who fails."""

import pytest
from example_kinds import shifted
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import OptionError
from faultsim.results.compare import compare
from faultsim.results.gates import GATES, parse_gate, regression_limit


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("accuracy_drop<0.01", "write for example accuracy_drop>0.01"),
        ("acuracy_drop>0.01", "did you mean 'accuracy_drop'"),
        ("accuracy_drop>much", "'much' is not a number"),
        ("accuracy_drop>1_0", "is not a number"),
        ("accuracy_drop>-0.1", "out of range"),
        ("accuracy_drop>nan", "out of range"),
        ("accuracy_drop>101%", "out of range"),
        ("loss_rise>1%", "this figure is no fraction"),
        ("", "write for example"),
    ],
)
def test_a_limit_that_is_none_gets_one_sentence(text, match):
    with pytest.raises(OptionError, match=match) as found:
        parse_gate(text)
    assert "\n" not in str(found.value)


@given(st.sampled_from(sorted(GATES)), st.floats(0, 1))
def test_what_is_written_is_what_is_judged(name, limit):
    assert parse_gate(f"{name} > {limit!r}")[1:] == (GATES[name], limit)


def test_a_tolerance_is_a_fraction_or_a_number_of_the_loss():
    assert regression_limit("accuracy", "0.5%").most == 0.005
    assert regression_limit("loss", "0.5").most == 0.5
    for main, text in (("accuracy", "2"), ("accuracy", "x"), ("loss", "1%"), ("loss", "-1")):
        with pytest.raises(OptionError, match=f"--tolerance '{text}' is not a"):
            regression_limit(main, text)


@pytest.mark.parametrize(("by", "limit", "failed"), [(-10, "0", True), (-10, "1%", True), (-10, "2%", False),
                                                     (0, "0", False), (10, "0", False)])  # fmt: skip
def test_a_claimed_drop_beyond_the_limit_fails(by, limit, failed):
    found = compare(shifted(0), shifted(by), limits=[regression_limit("accuracy", limit)])
    assert found.failed is failed
    assert found.gates[0].value == pytest.approx(-by / 600)


def test_noise_alone_fails_no_build():
    base, other = shifted(0), shifted(0, trials=41).model_copy(update={"seed": 1})
    rows = tuple(row.model_copy(update={"correct": row.correct - 1}) for row in other.random.per_trial)
    other = other.model_copy(update={"random": other.random.model_copy(update={"per_trial": rows})})
    gate = compare(base, other, limits=[regression_limit("accuracy")]).gates[0]
    assert gate.value > 0
    assert not gate.failed
    assert gate.inconclusive
    assert "but the test shows no difference" in gate.explanation


def test_the_limit_itself_is_still_allowed():
    base = shifted(0)
    worst = base.worst_case.model_copy(update={"accuracy": base.worst_case.accuracy - 0.01})
    other = base.model_copy(update={"worst_case": worst})
    found = compare(base, other, limits=[parse_gate("worst_case_drop>0.01"), parse_gate("worst_case_drop>0.009")])
    assert [gate.failed for gate in found.gates] == [False, True]


def test_a_second_worst_case_that_is_not_finite_fails():
    base = shifted(0)
    broken = base.worst_case.model_copy(update={"loss": None, "note": "not finite"})
    found = compare(base, base.model_copy(update={"worst_case": broken}), limits=[parse_gate("worst_case_loss_rise>1")])
    assert found.failed
    assert "the second is not finite" in found.gates[0].explanation
