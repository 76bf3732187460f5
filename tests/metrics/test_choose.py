"""Which task it is, and what goes with none."""

import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faultsim.errors import DataError, OptionError
from faultsim.metrics import (
    Bleu,
    ClassIds,
    Classification,
    GoldenAgreement,
    LanguageModel,
    Regression,
    TokenClassification,
    infer_task,
    named_task,
)

LOGITS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
    elements=st.floats(-50, 50, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
)


@pytest.mark.parametrize(
    ("shape", "labels", "options", "want"),
    [
        ((None, 10), np.zeros(3, int), {}, Classification()),
        (
            ("N", 10),
            np.zeros((3, 1), int),
            {"output_is_probability": True},
            Classification(output_is_probability=True),
        ),
        (("N", 10, 1, 1), np.zeros(3, int), {}, Classification()),
        (("N", 1), np.array([0, 1]), {}, Classification()),
        (("N",), np.array([0, 1]), {}, Classification()),
        (("N", 1), np.array([0, 7]), {}, Regression()),
        (("N", 1), np.array([0.5, 1.5]), {}, Regression()),
        (("N", 3), np.zeros((2, 3)), {}, Regression()),
        (("N", 3, 8, 8), np.zeros((2, 3, 8, 8), np.float32), {}, Regression()),
        (("N", "T", 17), np.zeros((2, 9), int), {}, TokenClassification()),
        (("N", "T", "T"), np.zeros((2, 9), int), {"ignore_index": -1}, TokenClassification(ignore_index=-1)),
        (("N", "T", 17), np.zeros((2, 9), int), {"language_model": True}, LanguageModel()),
        (("N", 21, 8, 8), np.zeros((2, 8, 8), int), {}, TokenClassification(class_axis=1)),
        (("N", 21, 9), np.zeros((2, 9), int), {}, TokenClassification(class_axis=1)),
        (("N", 1, 8, 8), np.ones((2, 8, 8), int), {}, TokenClassification(class_axis=1)),
        (("N", 1, 8, 8), np.ones((2, 1, 8, 8), np.uint8), {}, TokenClassification(class_axis=1)),
        (("N", 1, 8, 8), np.full((2, 1, 8, 8), 2), {}, Regression()),
        (("N", 1, 8, 8), np.ones((2, 1, 8, 8), np.float32), {}, Regression()),
        (("N", "T"), np.zeros((2, 9), int), {"output_dtype": "int64"}, Bleu()),
        (("N", "T"), None, {"output_dtype": "int64"}, GoldenAgreement(Bleu())),
        (("N", 10), None, {}, GoldenAgreement(Classification())),
        (("N", 10), np.zeros(3, int), {"output_dtype": "int8"}, Classification()),
        (("N", 10), None, {"output_dtype": "uint8"}, GoldenAgreement(Classification())),
        (("N", 1), None, {}, GoldenAgreement(Regression())),
        (("N", "T", 17), None, {}, GoldenAgreement(TokenClassification())),
        (("N", 3, 8, 8), None, {}, GoldenAgreement(Regression())),
    ],
)
def test_the_task_follows_from_output_and_labels(shape, labels, options, want):
    assert infer_task(shape, labels, **options) == want


def test_what_is_no_task_is_refused_with_the_names_there_are():
    with pytest.raises(
        DataError, match=r"labels of shape \(3, 4\) .* are no task .*; give --task with one of classification"
    ):
        infer_task(("N", 10), np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("classification", Classification()),
        ("top5", Classification(top_k=5)),
        ("top-3", Classification(top_k=3)),
        ("tagging", TokenClassification()),
        ("segmentation", TokenClassification(class_axis=1)),
        ("segmentation@255", TokenClassification(class_axis=1, ignore_index=255)),
        ("tagging@-1", TokenClassification(ignore_index=-1)),
        ("class-ids@0", ClassIds(ignore_index=0)),
        ("language-model@0", LanguageModel(ignore_index=0)),
        ("language-model", LanguageModel()),
        ("regression", Regression()),
        ("bleu", Bleu()),
    ],
)
def test_tasks_have_names(name, want):
    assert named_task(name) == want
    assert want.name
    assert want.metric
    assert isinstance(want.higher_is_better, bool)
    assert isinstance(want.counts_correct, bool)


def test_own_tasks_have_names_too():
    assert named_task("my.module:score").function == "my.module:score"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: named_task("clasification"),
            OptionError,
            "task 'clasification' is unknown, did you mean 'classification'",
        ),
        (
            lambda: named_task("x"),
            OptionError,
            "task 'x' is unknown: give one of classification, top<k>, class-ids, tagging",
        ),
        (lambda: named_task("top0"), OptionError, "top_k = 0 is out of range: give at least 1"),
        (
            lambda: Regression(tolerance=-1),
            OptionError,
            "tolerance = -1 is out of range: give a finite number, 0 or more",
        ),
        (
            lambda: Classification().loss(torch.zeros(1, 2), torch.zeros(1), "hinge"),
            OptionError,
            "loss 'hinge' is unknown: give one of cross_entropy, margin",
        ),
        (
            lambda: Regression().loss(torch.zeros(1, 2), torch.zeros(1, 2), "hinge"),
            OptionError,
            "loss 'hinge' is unknown",
        ),
        (
            lambda: named_task("m:f").loss(torch.zeros(1, 2), torch.zeros(1), "hinge"),
            OptionError,
            "loss 'hinge' is unknown",
        ),
        (
            lambda: Classification().judge(np.zeros((2, 3, 4)), np.zeros(2, int)),
            DataError,
            r"outputs of shape \(2, 3, 4\) are no classification \(N×C\); choose another --task",
        ),
        (
            lambda: TokenClassification().judge(np.zeros((2, 3)), np.zeros(2, int)),
            DataError,
            r"outputs of shape \(2, 3\) have no axis of positions",
        ),
        (
            lambda: Classification().judge(np.zeros((2, 3)), np.zeros(2)),
            DataError,
            "labels of type float64 are no classes; give whole numbers, or use --task regression",
        ),
        (
            lambda: Classification().judge(np.zeros((2, 3)), np.zeros(3, int)),
            DataError,
            r"labels of shape \(3,\) do not go with predictions of shape \(2,\); give one for each",
        ),
        (
            lambda: Classification().judge(np.zeros((2, 3)), np.array([0, 3])),
            DataError,
            "label 3 is out of range: the model has 3 classes, 0…2; check the data",
        ),
        (
            lambda: Regression().judge(np.zeros((2, 3)), np.zeros(4)),
            DataError,
            r"labels of shape \(4,\) \(float64\) do not go with outputs of shape \(2, 3\)",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_text_is_a_language_model_also_with_its_classes_in_front():
    assert infer_task(("N", 21, 9), np.zeros((2, 9), int), language_model=True) == LanguageModel(class_axis=1)


def test_a_function_that_gives_nothing_is_told_what_to_return(tmp_path, monkeypatch):
    (tmp_path / "gives_nothing.py").write_text("def score(outputs, labels): return ()")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"gave an empty tuple; return losses, correctness, or \(losses, correct\)"):
        named_task("gives_nothing:score", outputs=np.zeros((2, 3)), labels=np.zeros(2, int))
