"""The sample size against the published table and against its own inverse."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.stats.sample_size import margin_of, sample_size


def test_the_published_size_of_a_campaign_on_resnet20_is_met():
    # The 268,346 weights of ResNet-20, 32 bits each, +-1 % at 99 % with t rounded to 2.58.
    assert sample_size(0.01, population=268_346 * 32, cut_off=2.58) == 16_609


@given(
    margin=st.floats(0.001, 0.3),
    population=st.one_of(st.none(), st.integers(1, 10**10)),
    level=st.sampled_from([0.8, 0.95, 0.99]),
    p=st.floats(0.01, 0.99),
)
def test_the_size_is_the_smallest_that_reaches_the_margin(margin, population, level, p):
    n = sample_size(margin, population=population, level=level, p=p)
    assert 1 <= n <= (population or math.inf)
    assert margin_of(n, population=population, level=level, p=p) <= margin * (1 + 1e-6)
    if n > 1:
        assert margin_of(n - 1, population=population, level=level, p=p) > margin * (1 - 1e-6)


@given(margin=st.floats(0.001, 0.3), p=st.floats(0.01, 0.99))
def test_one_half_is_the_cautious_proportion_and_infinity_the_cautious_population(margin, p):
    assert sample_size(margin, p=p) <= sample_size(margin)
    assert sample_size(margin, population=10**6) <= sample_size(margin)
    assert sample_size(margin, population=10**15) == pytest.approx(sample_size(margin), abs=1)


def test_a_census_has_no_margin_and_a_lone_unit_is_one():
    assert margin_of(7, population=7) == 0.0
    assert margin_of(1, population=1) == 0.0
    assert sample_size(0.01, population=1) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_size(0.0), "margin = 0.0 is out of range: give a fraction from 1e-06 to below 1"),
        (lambda: sample_size(1e-200), "margin = 1e-200 is out of range: give a fraction from 1e-06 to below 1"),
        (lambda: sample_size(0.1, p=1.0), "p = 1.0 is out of range: give a proportion strictly between 0 and 1"),
        (lambda: sample_size(0.1, level=1.0), "confidence level 1.0 is out of range"),
        (lambda: sample_size(0.1, population=0), "population = 0 is out of range: give at least 1, or None"),
        (lambda: sample_size(0.1, cut_off=0.0), "cut_off = 0.0 is out of range: give a finite number above 0"),
        (lambda: margin_of(0), "trials = 0 is out of range: give at least 1"),
        (lambda: margin_of(8, population=7), "trials = 8 is out of range: the population holds only 7"),
    ],
)
def test_what_is_out_of_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
