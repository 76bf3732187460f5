"""Requirements: what may be written, what a value and its interval decide, what is said when it cannot be."""

import re

import pytest
from example_result import chips, example
from hypothesis import given
from hypothesis import strategies as st

from faultsim.criteria import METRICS, judge, judge_all, measure, parse_criteria, parse_criterion
from faultsim.errors import FaultsimError, OptionError
from faultsim.results import Judgement, Losses, Result


def judged(text: str, result: Result | None = None) -> Judgement:
    return judge(parse_criterion(text), example() if result is None else result)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accuracy_drop<=0.01@p95", ("accuracy_drop", 0.01, "p95")),
        ("accuracy>=0.85@p05", ("accuracy", 0.85, "p05")),
        ("accuracy >= 85% @ p5", ("accuracy", 0.85, "p05")),
        ("worst_case_accuracy>=0.5", ("worst_case_accuracy", 0.5, None)),
        ("loss_increase<=0.1@mean", ("loss_increase", 0.1, "mean")),
        ("loss_increase<=1e-1", ("loss_increase", 0.1, "mean")),
        ("nonfinite<=0", ("nonfinite", 0.0, None)),
        ("mismatch<=0.02@mean", ("mismatch", 0.02, "mean")),
        ("accuracy>=0.5@min", ("accuracy", 0.5, "min")),
        ("loss<=2@max", ("loss", 2.0, "max")),
        ("score>=20@p05", ("score", 20.0, "p05")),
        ("score<=0.5@p95", ("score", 0.5, "p95")),
        ("score_drop<=1@p95", ("score_drop", 1.0, "p95")),
        ("worst_case_score>=-3", ("worst_case_score", -3.0, None)),
        ("critical<=0.1%@p99", ("critical", 0.001, "p99")),
        ("sdc_fit<=10", ("sdc_fit", 10.0, None)),
        ("halted<=1%", ("halted", 0.01, None)),
    ],
)
def test_a_requirement_is_read_as_written(text, expected):
    assert parse_criterion(text)[1:4] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not <metric><bound><limit>"),
        ("accuracy", "write e.g. accuracy_drop<=0.01@p95"),
        ("acuracy>=0.5", "unknown metric 'acuracy', did you mean 'accuracy'?"),
        ("speed>=0.5", "unknown metric 'speed', allowed: accuracy, accuracy_drop"),
        ("accuracy<=0.5", "<= cannot bound accuracy: higher is better; write accuracy>=0.5"),
        ("accuracy_drop<0.5", "< cannot bound accuracy_drop: lower is better; write accuracy_drop<=0.5"),
        ("score>20", "> cannot bound score; write score>=20 where higher is better, else score<=20"),
        ("score>=20@p95", "score@p95 is a figure of the best chips; write @p05"),
        ("score<=20@p05", "score@p05 is a figure of the best chips; write @p95"),
        ("score>=20@max", "chip 'max' is unknown; allowed: mean, min"),
        ("score>=20%", "limit '20%' is a percentage"),
        ("sdc_fit<=-1", "limit '-1' is out of range"),
        ("accuracy>=half", "limit 'half' is not a number"),
        ("accuracy>=0_5", "limit '0_5' is not a number"),
        ("accuracy>=85", "limit '85' must be between 0 and 1; write 85 % as 0.85 or 85%"),
        ("accuracy>=850%", "limit '850%' must be between 0 and 1; write 1 % as 0.01 or 1%"),
        ("accuracy=>0.5", "=> cannot bound accuracy: higher is better; write accuracy>=0.5"),
        ("accuracy_drop=<0.5", "=< cannot bound accuracy_drop: lower is better; write accuracy_drop<=0.5"),
        ("accuracy>=nan", "must be between 0 and 1"),
        ("loss<=inf", "limit 'inf' is out of range"),
        ("loss<=5%", "limit '5%' is a percentage"),
        ("nonfinite<=-1", "limit '-1' is out of range"),
        ("nonfinite<=0@p95", "nonfinite is one figure for all chips, so @p95 says nothing"),
        ("accuracy>=0.5@max", "chip 'max' is unknown; allowed: mean, min, p01 to p99 such as p05"),
        ("accuracy>=0.5@p00", "chip 'p00' is unknown"),
        (
            "accuracy>=0.5@p95",
            "accuracy@p95 is a figure of the best chips; write @p05 for what 95 % of the chips meet",
        ),
        ("mismatch<=0.5@p10", "write @p90 for what 90 % of the chips meet"),
    ],
)
def test_a_requirement_that_is_none_says_what_to_write(text, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        parse_criterion(text)


def test_every_wrong_requirement_is_named_with_its_source():
    with pytest.raises(OptionError) as caught:
        parse_criteria(["accuracy>=2", "nonfinite<=0", "speed<=1"], source="edge.yaml:14")
    first, second = str(caught.value).split("\n")
    assert first.startswith("edge.yaml:14: requirement 'accuracy>=2'")
    assert "unknown metric 'speed'" in second


@given(st.text(max_size=40))
def test_any_text_is_a_requirement_or_our_own_error(text):
    try:
        criterion = parse_criterion(text)
    except FaultsimError:
        return
    assert criterion.metric in METRICS


def test_the_point_estimate_decides_and_a_limit_inside_the_interval_is_inconclusive():
    mean = example().random.accuracy
    inside = (mean.low + mean.mean) / 2
    assert judged(f"accuracy>={inside}").passed
    assert judged(f"accuracy>={inside}").inconclusive
    above = (mean.high + mean.mean) / 2
    assert not judged(f"accuracy>={above}").passed
    assert judged(f"accuracy>={above}").inconclusive
    assert not judged("accuracy>=0.9").inconclusive
    assert not judged("accuracy>=0.99").inconclusive


def test_a_limit_equal_to_the_value_passes_whatever_the_rounding():
    clean = example().clean.accuracy
    limit = round(clean - example().random.accuracy.min, 12)
    assert judged(f"accuracy_drop<={limit!r}@max").passed


def test_the_drop_at_p95_is_the_accuracy_at_p05():
    drop, accuracy = judged("accuracy_drop<=0.1@p95"), judged("accuracy>=0.1@p05")
    clean = example().clean.accuracy
    assert drop.value == pytest.approx(clean - accuracy.value)
    assert (drop.low, drop.high) == pytest.approx((clean - accuracy.high, clean - accuracy.low))
    assert "95 % of the chips lose at most 5.67 pt" in drop.explanation


@pytest.mark.parametrize("text", ["accuracy_drop<=0.1@p95", "accuracy>=0.1", "loss<=9@max", "nonfinite<=0"])
def test_a_sentence_about_chips_drawn_given_an_event_says_so(text):
    rare = example(random=chips(100).model_copy(update={"event_probability": 1e-6}))
    plain = judged(text)
    assert judged(text, rare) == plain.model_copy(update={"explanation": f"given a fault event, {plain.explanation}"})


@pytest.mark.parametrize("text", ["clean_accuracy>=0.5", "worst_case_accuracy>=0.5", "worst_case_loss<=9"])
def test_a_sentence_about_no_chip_has_no_condition(text):
    rare = example(random=chips(100).model_copy(update={"event_probability": 1e-6}))
    assert judged(text, rare) == judged(text)


@given(st.integers(1, 49), st.sampled_from(["accuracy", "loss", "mismatch"]))
def test_percentiles_lie_between_their_interval_and_within_the_sample(tail, metric):
    at = f"p{tail:02d}" if metric == "accuracy" else f"p{100 - tail:02d}"
    bound = ">=0" if metric == "accuracy" else "<=0.99"
    found = measure(parse_criterion(f"{metric}{bound}@{at}"), example())
    assert found.low is None or found.low <= found.value
    assert found.high is None or found.value <= found.high


def test_an_end_that_few_chips_cannot_bound_is_open_and_inconclusive():
    few = example(trials=20)
    found = judged("accuracy>=0.5@p05", few)
    assert found.passed
    assert found.low is None
    assert found.inconclusive
    assert not judged("accuracy>=0.99@p05", few).inconclusive  # nearly all of 20 chips miss it


def test_a_worst_case_is_found_not_proven():
    found = judged("worst_case_accuracy>=0.05")
    assert found.passed
    assert found.low is None
    assert found.high == found.value == 0.0717
    assert "found, not proven" in found.explanation
    assert judged("worst_case_drop<=0.95").value == pytest.approx(0.9183)
    assert judged("worst_case_loss<=6").passed


def test_counts_and_the_worst_chip_drawn_are_exact():
    found = judged("nonfinite<=0")
    assert found.value == 0
    assert (found.low, found.high) == (None, None)
    assert not found.inconclusive
    assert judged("accuracy>=0.5@min").explanation.startswith("the worst of 100 chips reaches 93.33%")
    assert judged("mismatch<=0.5@max").value == 0.05


def test_a_clean_accuracy_is_that_of_the_stored_model():
    assert judged("clean_accuracy>=0.9").value == 0.985
    assert judged("clean_accuracy>=0.9", example(clean_stored=None)).value == 0.99


def test_a_loss_that_is_not_finite_misses_every_requirement():
    sample = chips(20)
    row = sample.per_trial[0].model_copy(update={"loss": None})
    random = sample.model_copy(
        update={
            "loss": Losses(mean=float("nan"), max=float("inf")),
            "per_trial": (row, *sample.per_trial[1:]),
        }
    )
    result = example(random=random)
    for at in ("mean", "max", "p99"):
        found = judged(f"loss<=1e6@{at}", result)
        assert not found.passed
        assert found.value is None
        assert "not finite" in found.explanation
    assert judged("loss<=1@p75", result).passed


def test_the_interval_of_a_mean_loss_comes_from_the_rows():
    found = judged("loss_increase<=0.5")
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(example().random.loss.mean - 0.04)


@pytest.mark.parametrize(
    ("text", "changed", "said"),
    [
        ("accuracy>=0.5", {"random": None}, "no random chips were drawn"),
        ("worst_case_accuracy>=0.5", {"worst_case": None}, "no worst case was searched for"),
        ("loss<=1@p90", {"random": chips(20).model_copy(update={"per_trial": ()})}, "no row per chip"),
        ("mismatch<=100%@max", {"random": chips(20).model_copy(update={"per_trial": ()})}, "no row per chip"),
    ],
)
def test_what_the_result_does_not_hold_cannot_be_judged(text, changed, said):
    with pytest.raises(OptionError, match=said):
        judged(text, example(**changed))


def test_a_task_without_accuracy_cannot_be_judged_by_it():
    clean = example().clean.model_copy(update={"accuracy": None, "note": "regression"})
    for text in ("accuracy_drop<=0.5", "worst_case_drop<=0.5"):
        with pytest.raises(OptionError, match="the task has no accuracy"):
            judged(text, example(clean=clean))


def test_no_requirement_neither_passes_nor_fails():
    assert judge_all((), example()).passed is None
    assert judge_all(parse_criteria(["nonfinite<=0"]), example()).passed is True
    assert judge_all(parse_criteria(["nonfinite<=0", "accuracy>=1"]), example()).passed is False
