"""Two results compared: the same chips are told, a test decides, and nothing untested is claimed."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from example_kinds import shifted
from example_result import example

from faultsim.errors import OptionError
from faultsim.results import load_result
from faultsim.results.compare import compare, main_figure, unpaired_because
from faultsim.results.comparison import Compared, Comparison
from faultsim.results.gates import parse_gate
from faultsim.rng import generator

FIRST = Path(__file__).parent / "first_contract.json"


def figure(found: Comparison, name: str) -> Compared:
    return next(one for one in found.figures if one.name == name)


def noisy(by: float, stream: str, trials: int = 40):
    """The example with *by* more right answers on each chip, and noise of its own."""
    base = shifted(0, trials=trials)
    noise = generator(0, 0, stream).integers(-3, 4, trials)
    rows = tuple(row.model_copy(update={"correct": int(row.correct + by + extra)})
                 for row, extra in zip(base.random.per_trial, noise, strict=True))  # fmt: skip
    return base.model_copy(update={"random": base.random.model_copy(update={"per_trial": rows})})


def test_the_same_chips_are_compared_one_by_one_against_scipy():
    first, second = noisy(0, "first"), noisy(2, "second")
    found = compare(first, second)
    assert found.paired
    one = figure(found, "accuracy")
    a, b = ([row.correct / row.n for row in side.random.per_trial] for side in (first, second))
    theirs = scipy.stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((theirs.low, theirs.high))
    assert one.difference == pytest.approx(np.mean(b) - np.mean(a))
    assert one.trials == (40, 40)
    assert one.claimed
    assert one.test == "sign-flip, paired"


def test_other_chips_are_two_samples_and_the_same_difference_may_be_too_small_for_them():
    first, second = noisy(0, "first"), noisy(2, "second").model_copy(update={"seed": 5})
    found = compare(first, second)
    assert not found.paired
    one = figure(found, "accuracy")
    a, b = ([row.correct / row.n for row in side.random.per_trial] for side in (first, second))
    theirs = scipy.stats.ttest_ind(b, a, equal_var=False)
    assert (one.low, one.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert one.p_value == pytest.approx(theirs.pvalue, abs=0.03)
    assert not one.claimed


def test_chips_are_paired_by_their_number_and_not_by_their_place():
    first, second = noisy(0, "first"), noisy(1, "second")
    turned = second.random.model_copy(update={"per_trial": second.random.per_trial[::-1]})
    assert compare(first, second.model_copy(update={"random": turned})).figures == compare(first, second).figures


def test_a_result_against_itself_differs_in_nothing():
    found = compare(shifted(0), shifted(0), limits=[parse_gate("accuracy_drop>0")])
    assert not found.failed
    assert not any(one.claimed for one in found.figures)
    assert all(one.difference == 0 for one in found.figures)
    same = figure(found, "accuracy")
    assert (same.low, same.high, same.p_value) == (0, 0, 1)
    assert same.sentence == "mean accuracy is the same on each of the same 40 chips, of the same model file"
    assert not found.gates[0].inconclusive


def test_another_model_with_the_same_answers_is_still_an_estimate():
    first = shifted(0)
    other = first.model_copy(update={"model": first.model.model_copy(update={"sha256": "1" * 64})})
    found = compare(first, other, limits=[parse_gate("accuracy_drop>0")])
    one = figure(found, "accuracy")
    assert one.difference == 0
    assert one.low < 0 < one.high
    assert found.gates[0].inconclusive


def test_a_comparison_is_the_same_every_time_and_survives_json():
    found = compare(noisy(0, "first"), noisy(2, "second"))
    assert found == compare(noisy(0, "first"), noisy(2, "second"))
    assert Comparison.model_validate_json(found.model_dump_json()) == found


def test_nothing_untested_is_claimed():
    found = compare(shifted(0), shifted(-30).model_copy(update={"worst_case": None}))
    for one in found.figures:
        assert one.claimed <= (one.test is not None)
    assert {one.name for one in found.figures if one.test is None} == {"clean", "clean_loss", "p05"}
    with pytest.raises(ValueError, match="claimed without a test"):
        Compared.model_validate(dict(figure(found, "clean")) | {"claimed": True})


def test_the_stricter_level_holds_for_both():
    assert compare(shifted(0), shifted(0).model_copy(update={"level": 0.99})).level == 0.99


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"seed": 3}, "the seeds differ"),
        ({"device": example().device.model_copy(update={"sha256": "f" * 64})}, "device profiles differ"),
        ({"device": example().device.model_copy(update={"conditions": "t = 1 s"})}, "operating conditions differ"),
        ({"sites": example().sites[:2]}, "the tensors under test"),
        ({"random": None}, "drew no chips"),
        ({"random": example(trials=40).random.model_copy(update={"per_trial": ()})}, "keeps no row"),
    ],
)
def test_why_chips_are_not_the_same(change, why):
    base = shifted(0)
    other = base.model_copy(update=change)
    assert why in unpaired_because(base, other)
    assert why in compare(base, other).unpaired_because


def test_other_tasks_are_refused():
    data = example().data.model_copy(update={"task": "regression"})
    with pytest.raises(OptionError, match="the task of the first is 'classification', of the second 'regression'"):
        compare(shifted(0), shifted(0).model_copy(update={"data": data}))


def test_a_result_of_the_first_contract_can_be_compared():
    first = load_result(FIRST)
    found = compare(first, first)
    assert found.paired
    assert figure(found, "accuracy").difference == 0


def test_the_main_figure_is_what_people_know_the_task_by():
    base = example()
    assert main_figure(base) == "accuracy"
    loss = base.model_copy(update={"data": base.data.model_copy(update={"headline": "loss"})})
    assert main_figure(loss) == "loss"
    bleu = base.data.model_copy(update={"headline": "score", "metric": "BLEU", "higher_is_better": True})
    assert main_figure(base.model_copy(update={"data": bleu})) == "score"


def test_a_loss_that_is_not_finite_is_not_tested():
    base = shifted(0)
    rows = (base.random.per_trial[0].model_copy(update={"loss": None}), *base.random.per_trial[1:])
    broken = base.model_copy(update={"random": base.random.model_copy(update={"per_trial": rows})})
    found = compare(base, broken)
    assert "loss" not in {one.name for one in found.figures}
    with pytest.raises(OptionError, match=r"loss_rise>0\.1 cannot be judged"):
        compare(base, broken, limits=[parse_gate("loss_rise>0.1")])
