"""Requirements on a task's own score, on critical outcomes and on the rate of silent data corruption."""

import pytest
from example_result import chips, example

from faultsim.criteria import judge, parse_criterion
from faultsim.engine.summary import summarise
from faultsim.errors import OptionError
from faultsim.results import Judgement, Result, SdcFit


def judged(text: str, result: Result | None = None) -> Judgement:
    return judge(parse_criterion(text), example() if result is None else result)


def scored(*, higher: bool) -> Result:
    """A result whose chips have scores 0 … 99 in steps of 1, of a clean model with 100 or with 0."""
    sample = chips(100)
    rows = tuple(row.model_copy(update={"score": float(row.trial)}) for row in sample.per_trial)
    scores = summarise(rows, level=0.95, higher_is_better=higher).score
    data = {"headline": "score", "metric": "BLEU", "higher_is_better": higher}
    return example(
        data=example().data.model_copy(update=data),
        clean=example().clean.model_copy(update={"score": 100.0 if higher else 0.0}),
        clean_stored=None,
        random=sample.model_copy(update={"score": scores, "per_trial": rows}),
        worst_case=example().worst_case.model_copy(update={"score": 12.0}),
    )


@pytest.mark.parametrize(
    ("text", "higher", "value", "said"),
    [
        ("score>=3", True, 49.5, "the mean chip has a score of 49.5 >= 3 asked"),
        ("score>=3@p05", True, 4.0, "95 % of the chips have a score of at least 4 >= 3 asked"),
        ("score>=3@p10", True, 9.0, "90 % of the chips have a score of at least 9 >= 3 asked"),
        ("score>=3@min", True, 0.0, "the worst of 100 chips has a score of 0 < 3 asked"),
        ("score<=96@p95", False, 94.0, "95 % of the chips have a score of at most 94 <= 96 allowed"),
        ("score<=96@max", False, 99.0, "the worst of 100 chips has a score of 99 > 96 allowed"),
        ("score_drop<=97@p95", True, 96.0, "95 % of the chips have a score worse by at most 96 <= 97 allowed"),
        ("score_drop<=97@p95", False, 94.0, "95 % of the chips have a score worse by at most 94 <= 97 allowed"),
        ("score_drop<=97@max", True, 100.0, "the worst of 100 chips has a score worse by 100 > 97 allowed"),
        ("score_drop<=97", False, 49.5, "the mean chip has a score worse by 49.5 <= 97 allowed"),
        ("clean_score>=99", True, 100.0, "the fault-free chip has a score of 100 >= 99 asked"),
        ("worst_case_score>=9", True, 12.0, "the worst case (found, not proven) has a score of 12 >= 9 asked"),
        ("worst_case_score<=9", False, 12.0, "the worst case (found, not proven) has a score of 12 > 9 allowed"),
        (
            "worst_case_score_drop<=9",
            True,
            88.0,
            "the worst case (found, not proven) has a score worse by 88 > 9",
        ),
    ],
)
def test_an_own_score_is_judged_the_way_its_task_goes(text, higher, value, said):
    found = judged(text, scored(higher=higher))
    assert found.value == value
    assert said in found.explanation
    assert found.low is None or found.low <= value
    assert found.high is None or value <= found.high


def test_a_drop_of_a_score_mirrors_the_interval_of_the_score():
    own, drop = (judged(text, scored(higher=True)) for text in ("score>=3@p05", "score_drop<=97@p95"))
    assert (drop.low, drop.high) == (100 - own.high, 100 - own.low)


def test_a_score_bounded_the_wrong_way_or_missing_cannot_be_judged():
    with pytest.raises(OptionError, match=r"of BLEU lower is better \(<=\)"):
        judged("score>=3", scored(higher=False))
    with pytest.raises(OptionError, match="the score of the task is its accuracy"):
        judged("score_drop<=3")
    without = scored(higher=True)
    clean = without.clean.model_copy(update={"score": None})
    with pytest.raises(OptionError, match="the clean model's score is not finite"):
        judged("score_drop<=3", without.model_copy(update={"clean": clean}))
    random = without.random.model_copy(update={"score": None})
    with pytest.raises(OptionError, match="the result holds no score of the chips"):
        judged("score>=3", without.model_copy(update={"random": random}))


def test_critical_outcomes_are_judged_by_chip():
    assert judged("critical<=100%").value == pytest.approx(example().random.outcomes.critical.share)
    assert judged("critical<=100%").low == example().random.outcomes.critical.low
    assert judged("critical<=0.01@max").value == 0.05
    assert judged("critical<=0.01@max").explanation.startswith(
        "the worst of 100 chips answers otherwise, unseen, 5.00%"
    )
    assert judged("critical<=100%@p95").value == judged("mismatch<=100%@p95").value
    with pytest.raises(OptionError, match="the result holds no outcomes"):
        judged("critical<=100%", example(random=chips(20).model_copy(update={"outcomes": None})))


def test_a_fit_of_silent_corruption_has_an_interval_and_no_condition():
    fit = SdcFit(value=5.0, low=2.0, high=12.0, device_fit=600.0, events=100)
    random = chips(100).model_copy(update={"sdc_fit": fit, "event_probability": 1e-6})
    found = judged("sdc_fit<=10", example(random=random))
    assert found.passed
    assert found.inconclusive
    assert found.explanation == "silent data corruptions, FIT: 5 <= 10 allowed"
    assert not judged("sdc_fit<=20", example(random=random)).inconclusive
    with pytest.raises(OptionError, match="the device gives no rate of fault events"):
        judged("sdc_fit<=10")


@pytest.mark.parametrize(
    ("text", "as_score"),
    [
        ("bleu>=3", "score>=3"),
        ("bleu>=3@p05", "score>=3@p05"),
        ("bleu_drop<=97@p95", "score_drop<=97@p95"),
        ("clean_bleu>=99", "clean_score>=99"),
        ("worst_case_bleu>=9", "worst_case_score>=9"),
        ("worst_case_bleu_drop<=9", "worst_case_score_drop<=9"),
    ],
)
def test_a_score_goes_by_its_own_name(text, as_score):
    result = scored(higher=True)
    result = result.model_copy(update={"data": result.data.model_copy(update={"metric": "BLEU (0 to 100)"})})
    own, plain = judged(text, result), judged(as_score, result)
    assert own.model_copy(update={"text": as_score, "explanation": ""}) == plain.model_copy(update={"explanation": ""})
    assert own.explanation == plain.explanation.replace("score", "BLEU")


def test_a_perplexity_is_judged_by_its_logarithm():
    result = scored(higher=False)
    metric = {"metric": "log perplexity (nats)"}
    result = result.model_copy(update={"data": result.data.model_copy(update=metric)})
    found = judged("perplexity<=20@p95", result)
    assert found.limit == pytest.approx(2.995732)  # ln 20
    assert found.value == judged("log_perplexity<=20@p95", result).value
    assert "have a log perplexity of at most 94 > 2.996 allowed" in found.explanation
    # an increase of what is better low is the drop of any other score
    assert judged("log_perplexity_increase<=9", result).metric == "score_drop"


def test_the_score_of_another_task_is_said():
    with pytest.raises(OptionError, match=r"'mse<=3' cannot be judged: the score of the task is its BLEU"):
        judged("mse<=3", scored(higher=False))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bleu<=3", r"<= cannot bound bleu: higher is better; write bleu>=3"),
        ("mse>=3", r">= cannot bound mse: lower is better; write mse<=3"),
        ("perplexity_drop<=3", r"the score is the logarithm of it; write log_perplexity_drop"),
        ("perplexity<=0", r"limit 0 is out of range; a perplexity is above 0"),
        (
            "bleeu>=3",
            r"unknown metric 'bleeu', did you mean 'bleu'\? allowed: .*, and for score the name .*: mse, bleu",
        ),
    ],
)
def test_own_names_that_cannot_be_meant(text, said):
    with pytest.raises(OptionError, match=said):
        parse_criterion(text)


@pytest.mark.parametrize("recorded", [None, 0.25])
@pytest.mark.parametrize("text", ["loss<=0.3", "loss<=0.2", "loss_increase<=9", "score<=1", "score_drop<=9"])
def test_a_mean_over_chips_that_are_all_alike_is_inconclusive(text, recorded):
    result = scored(higher=False)
    rows = tuple(row.model_copy(update={"loss": 0.25, "score": 0.25}) for row in result.random.per_trial[:2])
    found = summarise(rows, level=0.95, higher_is_better=False)
    old = {"low": recorded, "high": recorded}  # as files of older versions have it
    figures = {"loss": found.loss.model_copy(update=old), "score": found.score.model_copy(update=old)}
    judgement = judged(text, result.model_copy(update={"random": found.model_copy(update=figures)}))
    assert (judgement.low, judgement.high, judgement.inconclusive) == (None, None, True)
    assert judgement.passed == (text != "loss<=0.2")
