"""Requirements as people write them mean what a count over chips says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.criteria import parse_criterion
from faultsim.errors import OptionError
from faultsim.scenario.requirement import SafetyFactor, canonical, read_requirement


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("accuracy_drop ≤ 1 % at p95", "accuracy_drop<=1%@p95"),
        ("accuracy_drop<=0.01@p95", "accuracy_drop<=0.01@p95"),
        ("worst_case_accuracy >= 0.5", "worst_case_accuracy>=0.5"),
        ("sdc_fit ≤ 10", "sdc_fit<=10"),
        ("yield ≥ 95 % at accuracy ≥ 0.85", "accuracy>=0.85@p05"),
        ("yield >= 0.9 at accuracy_drop <= 2 %", "accuracy_drop<=2%@p90"),
        ("yield>=90% at accuracy_drop<=2%", "accuracy_drop<=2%@p90"),
        ("yield >= 100 % at accuracy >= 0.5", "accuracy>=0.5@min"),
    ],
)
def test_a_requirement_has_one_form_in_the_grammar(text, plain):
    assert canonical(text) == plain
    assert read_requirement(text).plain == plain
    assert parse_criterion(plain).text == plain


@given(
    share=st.integers(50, 99), values=st.lists(st.integers(0, 100), min_size=1, max_size=60), limit=st.integers(1, 99)
)
def test_a_yield_is_a_percentile_of_the_accuracies(share, values, limit):
    """The part of the chips that reach the limit, counted, and the percentile agree but for one chip."""
    criterion = parse_criterion(canonical(f"yield >= {share} % at accuracy >= {limit / 100}"))
    low = int((criterion.at or "")[1:]) / 100
    ordered = sorted(value / 100 for value in values)
    position = low * (len(ordered) - 1)
    quantile = ordered[math.floor(position)], ordered[math.ceil(position)]
    reached = sum(value >= criterion.limit for value in ordered) / len(ordered)
    if quantile[0] >= criterion.limit:
        assert reached >= share / 100 - 1 / len(ordered)
    if quantile[1] < criterion.limit:
        assert reached <= share / 100 + 1 / len(ordered)


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("safety_factor >= 3", SafetyFactor(3.0)),
        ("safety_factor ≥ 1.5 at accuracy ≥ 85 %", SafetyFactor(1.5, 0.85)),
        ("safety_factor >= 2 at accuracy_drop <= 0.1", SafetyFactor(2.0, None, 0.1)),
    ],
)
def test_a_safety_factor_says_what_must_hold(text, factor):
    asked = read_requirement(text, "a.yaml:3")
    assert (asked.factor, asked.plain, asked.source) == (factor, None, "a.yaml:3")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("yield >= 95.5 % at accuracy >= 0.8", "must be a whole percentage from 50 to 99, or 100"),
        ("yield >= 30 % at accuracy >= 0.8", "must be a whole percentage from 50 to 99, or 100"),
        ("yield <= 95 % at accuracy >= 0.8", "<= cannot bound a yield"),
        ("yield => 95 % at accuracy >= 0.8", "=> cannot bound a yield: higher is better"),
        ("yield >= 95 at accuracy >= 0.8", "the yield '95' is above 1 and has no %; write 95 % or 0.95"),
        ("safety_factor => 3", "=> cannot bound safety_factor: higher is better"),
        ("yield >= 9.5.1 % at accuracy >= 0.8", "the yield '9.5.1' is not a number"),
        ("yield >= 95 %", "is no yield; write such as yield >= 95 % at accuracy >= 0.85"),
        ("safety_factor <= 3", "<= cannot bound safety_factor"),
        ("safety_factor >= 0", "must be above 0 and at most 1000"),
        ("safety_factor >= e", "must be above 0 and at most 1000"),
        ("safety_factor >= many", "is no safety factor; write such as safety_factor >= 3"),
        ("safety_factor >= 3 at accuracy <= 0.5", "<= cannot bound accuracy here; write accuracy >= 0.5"),
        ("safety_factor >= 3 at accuracy >= 85", "85 must be between 0 and 1; write 85 % as 0.85"),
        ("acuracy >= 0.5", "requirement 'acuracy >= 0.5': unknown metric 'acuracy', did you mean 'accuracy'"),
        ("", "requirement '' is not <metric><bound><limit>"),
    ],
)
def test_what_is_no_requirement_is_refused_with_a_form_that_is(text, match):
    with pytest.raises(OptionError, match=match.replace("(", r"\(")):
        read_requirement(text)
