"""Outputs that are classes already: counted as a plain comparison counts them, never with a loss or a gradient."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faultsim.errors import DataError, OptionError
from faultsim.metrics import Bleu, ClassIds, Classification, GoldenAgreement, Regression, Tally, infer_task, named_task

IDS = hnp.arrays(np.int64, st.sampled_from([(5,), (5, 1), (5, 2, 3)]), elements=st.integers(0, 2))


@given(ids=IDS, seed=st.integers(0, 99))
def test_counts_are_those_of_a_plain_comparison(ids, seed):
    rng = np.random.default_rng(seed)
    labels, golden = rng.integers(0, 3, ids.shape), rng.integers(0, 3, ids.shape)
    labels.reshape(5, -1)[0, 0] = -100
    task = ClassIds()
    judged = task.judge(ids, labels, golden)
    for i in range(5):
        triples = list(zip(ids[i].ravel(), labels[i].ravel(), golden[i].ravel(), strict=True))
        scored = [(own, truth, clean) for own, truth, clean in triples if truth != -100]
        assert judged.n[i] == len(scored)
        assert judged.correct[i] == sum(own == truth for own, truth, _ in scored)
        assert judged.mismatch[i] == sum(own != clean for own, _, clean in scored)
        assert judged.nonfinite[i] == 0
    tally = Tally.of(judged)
    assert tally.lossless
    assert math.isnan(tally.mean_loss)
    assert (Tally() + tally).lossless


@pytest.mark.parametrize(
    ("shape", "dtype", "labels", "want"),
    [
        ((5,), "int64", np.zeros(5, int), ClassIds()),
        ((5,), "int64", None, GoldenAgreement(ClassIds())),
        ((5, 1), "int64", np.zeros(5, int), ClassIds()),
        ((5, 1), "int32", np.zeros((5, 1), int), ClassIds()),
        ((5,), "bool", np.zeros(5, int), ClassIds()),
        ((5, 3), "bool", np.zeros((5, 3), int), ClassIds()),
        ((5, 8, 8), "int64", np.zeros((5, 8, 8), int), ClassIds()),
        ((5, 8, 8), "int64", None, GoldenAgreement(ClassIds())),
        ((5, 7), "int64", np.zeros((5, 7), int), Bleu()),
        ((5, 1), "int64", np.array(["a"] * 5), Bleu()),
        ((5,), "int64", np.linspace(0, 1, 5), Regression()),
        ((5,), "float32", np.zeros(5, int), Classification()),
    ],
)
def test_chosen_classes_are_told_from_scores_and_sequences(shape, dtype, labels, want):
    assert infer_task(shape, labels, output_dtype=dtype) == want


def test_there_is_no_loss_and_the_message_says_what_to_choose():
    with pytest.raises(OptionError, match=r"the output has no gradient: it holds classes .* choose the scores with"):
        named_task("class-ids").loss(torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))


def test_scores_are_no_class_ids_and_class_ids_no_scores():
    with pytest.raises(DataError, match=r"outputs of shape \(2, 3\) \(float64\) are no class ids"):
        ClassIds().judge(np.zeros((2, 3)), np.zeros(2, int))
    with pytest.raises(DataError, match=r"outputs of type int64, one a sample, are classes, no scores: give --task"):
        Classification().judge(np.zeros(2, int), np.zeros(2, int))
    with pytest.raises(DataError, match=r"labels of shape \(3,\) do not go with predictions of shape \(2,\)"):
        ClassIds().judge(np.zeros(2, int), np.zeros(3, int))


def test_agreement_on_class_ids_is_with_the_clean_models_own():
    task = GoldenAgreement(ClassIds())
    labels = task.labels_from(np.array([0, 1, 2]))
    tally = Tally.of(task.judge(np.array([0, 1, 1]), labels))
    assert task.score(tally) == pytest.approx(2 / 3)
    assert (task.metric, task.headline, task.share) == ("agreement", "accuracy", "agreement")


def test_a_tolerance_is_part_of_the_name():
    assert named_task("regression@0.25") == Regression(tolerance=0.25)
    with pytest.raises(OptionError, match=r"'low' is no number for a tolerance; write for example regression@0.1"):
        named_task("regression@low")
    with pytest.raises(OptionError, match="tolerance = nan is out of range"):
        named_task("regression@nan")
