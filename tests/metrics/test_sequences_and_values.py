"""Tokens, language models, regression, BLEU and agreement with the clean model."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faultsim.errors import DataError, OptionError
from faultsim.metrics import (
    NONFINITE,
    Bleu,
    Classification,
    Counts,
    GoldenAgreement,
    LanguageModel,
    Regression,
    Tally,
    TokenClassification,
    infer_task,
)

LOGITS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
    elements=st.floats(-50, 50, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
)

RNG = np.random.default_rng(0)


def _labels(logits, seed=0):
    return np.random.default_rng(seed).integers(0, logits.shape[-1], logits.shape[:-1])


# Tokens


def test_ignored_positions_are_not_scored_and_broken_ones_are_wrong():
    outputs = RNG.standard_normal((2, 4, 3)).astype(np.float32)
    outputs[0, 1, 2] = np.inf
    classes = outputs.argmax(-1)
    labels = classes.copy()
    labels[1, 3] = -100
    labels[0, 0] = (labels[0, 0] + 1) % 3
    golden = TokenClassification().predict(outputs)
    assert golden[0, 1] == NONFINITE
    judged = TokenClassification().judge(outputs, labels, classes)
    assert judged.n.tolist() == [4, 3]
    assert judged.correct.tolist() == [2, 3]
    assert judged.mismatch.tolist() == [1, 0]
    assert judged.nonfinite.tolist() == [1, 0]
    assert TokenClassification().loss(torch.tensor(outputs), torch.tensor(labels)).n == 7


def test_log_perplexity_is_the_mean_over_tokens_and_infinite_when_broken():
    outputs = RNG.standard_normal((3, 5, 11)).astype(np.float32)
    labels = _labels(outputs)
    task = LanguageModel()
    tally = Tally.of(task.judge(outputs, labels))
    want = torch.nn.functional.cross_entropy(
        torch.tensor(outputs).double().flatten(0, 1), torch.tensor(labels).flatten()
    )
    assert task.score(tally) == pytest.approx(want.item(), rel=1e-12)
    assert not task.higher_is_better
    outputs[0, 0, 0] = np.nan
    broken = Tally.of(task.judge(outputs, labels))
    assert task.score(broken) == math.inf
    assert math.isfinite(broken.mean_loss)
    assert Tally().mean_loss == math.inf


def test_pixels_are_scored_with_the_class_axis_first():
    outputs = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    labels = outputs.argmax(1)
    judged = TokenClassification(class_axis=1).judge(outputs, labels)
    assert judged.correct.tolist() == judged.n.tolist() == [20, 20]


# Regression


def test_squared_errors_tolerances_and_broken_samples():
    outputs = np.array([[1.0, 2.0], [0.0, 0.5], [np.nan, 0.0]], np.float32)
    labels = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    judged = Regression(tolerance=0.6).judge(outputs, labels, outputs + np.float32(0.1))
    assert judged.loss.tolist() == [0.5, 0.125, 0.0]
    assert judged.correct.tolist() == [0, 1, 0]
    assert judged.mismatch.tolist() == [0, 0, 0]
    assert judged.nonfinite.tolist() == [0, 0, 1]
    strict = Regression().judge(outputs, labels, outputs + np.float32([[0.1], [0], [0]]))
    assert strict.mismatch.tolist() == [1, 0, 0]
    assert strict.correct.tolist() == [0, 0, 0]
    assert not Regression().counts_correct
    assert Regression().score(Tally.of(strict)) == math.inf
    assert Regression().score(Tally.of(Regression().judge(outputs[:2], labels[:2]))) == 0.3125
    got = Regression().loss(torch.tensor(outputs[:2]), torch.tensor(labels[:2]))
    assert got.total.item() == 0.625
    assert got.n == 2


# BLEU


def test_bleu_of_batches_is_sacrebleus_corpus_score():
    sacrebleu = pytest.importorskip("sacrebleu")
    ids = RNG.integers(0, 9, (12, 9))
    truth = ids.copy()
    truth[::2, 4] = 3
    truth[3] = RNG.integers(0, 9, 9)
    ids[5, 6:] = 99
    task = Bleu(eos=99)
    parts = [Tally.of(task.judge(ids[i : i + 5], truth[i : i + 5])) for i in range(0, 12, 5)]
    texts = [" ".join(str(one) for one in row[: 6 if i == 5 else 9]) for i, row in enumerate(ids)]
    want = sacrebleu.corpus_bleu(texts, [[" ".join(map(str, row)) for row in truth]], tokenize="none").score
    assert task.score(sum(parts, Tally())) == pytest.approx(want, abs=1e-9)
    assert math.isnan(task.score(Tally()))


def test_bleu_reads_logits_texts_and_subwords():
    pytest.importorskip("sacrebleu")
    words = ("<pad>", "</s>", "new@@", "er", "cars", "are", "fast")
    task = Bleu(vocabulary=words, eos=1, pad=0, subword="@@")
    ids = np.array([[2, 3, 4, 5, 6, 1, 0]])
    texts = np.array(["newer cars are fast"])
    assert task.score(Tally.of(task.judge(ids, texts))) == pytest.approx(100)
    logits = np.eye(7, dtype=np.float32)[ids]
    assert task.score(Tally.of(task.judge(logits, texts))) == pytest.approx(100)
    apart = np.where(np.eye(7)[ids] > 0, -1.7e308, 1.7e308)  # finite, and their difference is not
    assert Tally.of(task.judge(apart, ids)).counts.nonfinite == 1
    logits[0, 0, 0] = np.nan
    tally = Tally.of(task.judge(logits, texts, ids))
    assert tally.counts == Counts(1, 0, 1, 1)
    assert task.score(tally) == 0


@pytest.mark.parametrize("probability", [False, True])
def test_the_loss_that_is_counted_is_the_one_that_is_differentiated(probability):
    pytest.importorskip("sacrebleu")
    logits = torch.tensor(RNG.standard_normal((4, 5, 7)))
    outputs = logits.softmax(-1) if probability else logits
    labels = RNG.integers(1, 7, (4, 5))
    labels[1, 2:], labels[2, 4], labels[3] = 0, -100, 0  # padding, an ignored position, nothing at all
    task = Bleu(pad=0, output_is_probability=probability)
    tally = Tally.of(task.judge(outputs.numpy(), labels))
    found = task.loss(outputs, torch.tensor(labels))
    kept = [labels[i] > 0 for i in range(4)]
    rows = [
        torch.nn.functional.cross_entropy(logits[i][kept[i]], torch.tensor(labels[i][kept[i]])).item() for i in range(3)
    ]
    assert found.n == tally.counts.n == 4
    assert tally.mean_loss == pytest.approx(sum(rows) / 4, rel=1e-9)
    assert found.total.item() == pytest.approx(sum(rows), rel=1e-9)


def test_ids_texts_and_references_of_another_length_have_no_loss():
    pytest.importorskip("sacrebleu")
    logits, ids = np.eye(7, dtype=np.float32)[np.ones((2, 5), int)], np.ones((2, 5), int)
    for outputs, labels in ((ids, ids), (logits, np.array(["1", "2"])), (logits, np.ones((2, 4), int))):
        assert Tally.of(Bleu().judge(outputs, labels)).lossless
    with pytest.raises(OptionError, match=r"references of shape \(2, 4\) do not go with logits of \(2, 5\) tokens"):
        Bleu().loss(torch.tensor(logits), torch.ones((2, 4), dtype=torch.int64))


def test_bleu_without_sacrebleu_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(OptionError, match=r"BLEU needs sacrebleu, which is not installed: pip install sacrebleu"):
        Bleu().judge(np.zeros((1, 2), np.int64), np.zeros((1, 2), np.int64))


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3), int), r"outputs of shape \(2, 3\) \(float64\) are no sequences"),
        (np.zeros((2, 3), int), np.zeros((3, 3), int), r"labels of shape \(3, 3\) are no references"),
        (np.zeros((2, 3), int), np.zeros(2, int), r"labels of shape \(2,\) are no references"),
        (
            np.full((1, 3), 5),
            np.zeros((1, 3), int),
            "token id 5 is outside the vocabulary of 1 tokens; check it",
        ),
    ],
)
def test_bleu_refuses_what_is_no_sequence(outputs, labels, message):
    pytest.importorskip("sacrebleu")
    with pytest.raises(DataError, match=message):
        Bleu(vocabulary=("a",)).judge(outputs, labels)


def test_token_ids_have_no_gradient():
    with pytest.raises(OptionError, match="a sequence of token ids, which has no gradient: choose an output of logits"):
        Bleu().loss(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.int64))


# Golden agreement


def test_agreement_labels_are_the_clean_predictions():
    clean = RNG.standard_normal((6, 4)).astype(np.float32)
    task = infer_task((None, 4), None)
    labels = task.labels_from(clean)
    assert task.name == "agreement with the clean model (classification)"
    assert task.metric == "agreement"
    assert task.score(Tally.of(task.judge(clean, labels))) == 1.0
    judged = task.judge(np.roll(clean, 1, axis=1), labels)
    assert (judged.mismatch == 1 - judged.correct).all()
    values = infer_task((None, 1), None)
    assert values.labels_from(clean).tolist() == clean.tolist()
    assert values.metric == "mean squared error against the clean model"
    assert not values.counts_correct
    assert not values.higher_is_better
    assert values.loss(torch.tensor(clean), torch.tensor(clean)).total.item() == 0
    assert task.predict(clean).tolist() == labels.tolist()


def test_nothing_agrees_with_a_broken_clean_model():
    clean = np.array([[0.0, 1.0], [np.nan, 1.0]], np.float32)
    for inner in (Classification(), Regression()):
        with pytest.raises(DataError, match="clean model's output for sample 41 is not finite, so nothing can agree"):
            GoldenAgreement(inner).labels_from(clean, start=40)
