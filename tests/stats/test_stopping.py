"""Stop rules: their grammar, their words, and that a campaign stopped by one still holds the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import OptionError
from faultsim.rng import generator
from faultsim.stats import Estimate
from faultsim.stats.betting import BettingSequence
from faultsim.stats.sequences import BernoulliSequence
from faultsim.stats.stopping import StopRule, parse_until


@given(
    quantity=st.sampled_from(["critical", "sdc", "accuracy"]),
    measure=st.sampled_from(["halfwidth", "relative"]),
    limit=st.floats(1e-6, 0.49),
    level=st.floats(0.01, 0.999),
    space=st.sampled_from(["", " ", "  "]),
)
def test_what_is_written_is_what_is_parsed(quantity, measure, limit, level, space):
    rule = parse_until(f"{space}{quantity} {measure}{space}<={space}{limit!r}{space}@{space}{level!r}{space}")
    assert rule == StopRule(quantity=quantity, measure=measure, limit=limit, level=level)


def test_the_quantity_defaults_to_the_critical_rate_and_the_text_comes_back():
    rule = parse_until("halfwidth<=0.005@0.99")
    assert rule == StopRule(quantity="critical", measure="halfwidth", limit=0.005, level=0.99)
    assert parse_until(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the stop rule '' is not understood: write .critical.sdc.accuracy. halfwidth<=WIDTH@LEVEL or relative"),
        ("halfwidth<0.005@0.99", "is not understood: write"),
        ("halfwidth<=0.005", "is not understood: write"),
        ("halfwidth<=0.005@0.99 please", "is not understood: write"),
        ("halfwidth<=" + "9" * 500 + "@0.9", "is not understood: write"),
        ("speed halfwidth<=0.005@0.99", "the stop rule's quantity 'speed' is unknown: write"),
        ("width<=0.005@0.99", "the stop rule's measure 'width' is unknown: write"),
        ("halfwidth<=nan@0.99", "the stop rule's limit 'nan' is not a plain number: write"),
        ("halfwidth<=0.005@99%", "the stop rule's level '99%' is not a plain number: write"),
        ("halfwidth<=٠.5@0.9", "the stop rule's limit '٠.5' is not a plain number: write"),
        ("halfwidth<=0@0.99", "the stop rule's limit 0 is out of range: a halfwidth is above 0 and below 0.5"),
        ("halfwidth<=0.5@0.99", "the stop rule's limit 0.5 is out of range: a halfwidth is above 0 and below 0.5"),
        ("relative<=1e999@0.99", "the stop rule's limit inf is out of range: a relative is finite and above 0"),
        ("relative<=1@1", "the stop rule's level 1 is out of range: give a number strictly between 0 and 1, 0.99 for"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_the_grammar(text, message):
    with pytest.raises(OptionError, match=message):
        parse_until(text)


def test_a_rule_is_met_by_the_width_or_by_the_width_over_the_estimate():
    interval = Estimate(0.09, 0.1, 0.11)
    assert parse_until("halfwidth<=0.011@0.9").met(interval)
    assert not parse_until("halfwidth<=0.009@0.9").met(interval)
    assert parse_until("relative<=0.11@0.9").met(interval)
    assert not parse_until("relative<=0.09@0.9").met(interval)
    assert not parse_until("relative<=0.09@0.9").met(Estimate(0.0, 0.0, 0.0))


def test_the_words_never_show_a_width_on_the_wrong_side_of_the_limit():
    rule = parse_until("halfwidth<=0.005@0.99")
    method = BettingSequence.name
    assert rule.words(431, Estimate(0.0, 0.004, 0.0098), method) == (
        "stopped by rule after 431 trials: half-width 0.0049 <= 0.005 at 99 %, "
        "valid at any time (betting confidence sequence)"
    )
    assert rule.words(1, Estimate(0.0, 0.004, 0.010004), method) == (
        "stop rule not met after 1 trial: half-width 0.005002 > 0.005 at 99 %, "
        "valid at any time (betting confidence sequence)"
    )
    assert "half-width over the estimate inf > 0.1" in parse_until("relative<=0.1@0.9").words(
        9, Estimate(0.0, 0.0, 0.3), method
    )


@pytest.mark.parametrize("kind", [BettingSequence, BernoulliSequence])
@pytest.mark.parametrize("text", ["halfwidth<=0.08@0.9", "relative<=0.4@0.9"])
def test_the_first_trial_that_meets_the_rule_is_found_and_no_earlier_one_does(kind, text):
    rule = parse_until(text)
    run = kind(level=0.9)
    run.update(generator(0, 0, "first", text).random(700) < 0.2)
    at = rule.first_met(run)
    assert at is not None
    assert [rule.met(run.interval(n)) for n in range(1, at + 1)] == [False] * (at - 1) + [True]
    shorter = kind(level=0.9)
    shorter.update(np.zeros(3))
    assert rule.first_met(shorter) is None
    assert rule.first_met(kind(level=0.9)) is None


def test_a_sequence_of_another_level_is_refused():
    with pytest.raises(ValueError, match=r"the sequence holds at level 0.9 and the rule asks 0.99: give one level"):
        parse_until("halfwidth<=0.1@0.99").first_met(BettingSequence(level=0.9))


@pytest.mark.parametrize("kind", [BettingSequence, BernoulliSequence])
def test_stopping_by_a_rule_keeps_the_level(kind):
    rule = parse_until("relative<=0.5@0.9")
    rng = generator(1, 0, "stopped", kind.__name__)
    missed = stopped = 0
    for _ in range(120):
        run = kind(level=0.9)
        run.update(rng.random(500) < 0.15)
        at = 500
        for n in range(50, 501, 50):  # a user who looks every 50 trials and leaves at the first narrow interval
            if rule.met(run.interval(n)):
                at, stopped = n, stopped + 1
                break
        got = run.interval(at)
        missed += not got.low <= 0.15 <= got.high
    assert stopped > 60
    assert missed / 120 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 120)
