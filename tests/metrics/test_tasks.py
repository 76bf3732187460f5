"""Every task: counts against brute force, losses against torch, broken outputs, and refusals."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
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
    custom_task,
    infer_task,
    named_task,
)

LOGITS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
    elements=st.floats(-50, 50, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
)
RNG = np.random.default_rng(0)


def _labels(logits, seed=0):
    return np.random.default_rng(seed).integers(0, logits.shape[-1], logits.shape[:-1])


@given(logits=LOGITS, k=st.integers(1, 4))
def test_classification_counts_are_those_of_a_plain_loop(logits, k):
    labels, golden = _labels(logits), _labels(logits, 1)
    judged = Classification(top_k=k).judge(logits, labels, golden)
    for i, row in enumerate(logits):
        finite = bool(np.isfinite(row).all())
        order = sorted(range(len(row)), key=lambda j: (-row[j], j)) if finite else []
        assert judged.n[i] == 1
        assert judged.nonfinite[i] == (not finite)
        assert judged.correct[i] == (labels[i] in order[:k])
        assert judged.mismatch[i] == ((order[0] if finite else NONFINITE) != golden[i])


@given(logits=LOGITS)
def test_counted_loss_is_torchs_on_the_finite_rows(logits):
    labels = _labels(logits)
    judged = Classification().judge(logits, labels)
    finite = np.isfinite(logits).all(axis=1)
    want = torch.nn.functional.cross_entropy(
        torch.tensor(logits[finite]).double(), torch.tensor(labels[finite]), reduction="none"
    )
    assert np.allclose(judged.loss[finite], want.numpy(), rtol=1e-12, atol=1e-12)
    assert (judged.loss[~finite] == 0).all()


@settings(max_examples=30)
@given(
    logits=hnp.arrays(np.float32, (23, 5), elements=st.floats(-1e4, 1e4, width=32)),
    size=st.integers(1, 23),
)
def test_the_tally_does_not_depend_on_the_batch_size_to_the_last_bit(logits, size):
    labels, task = _labels(logits), Classification()
    whole = Tally.of(task.judge(logits, labels, labels))
    parts = [
        Tally.of(task.judge(logits[i : i + size], labels[i : i + size], labels[i : i + size]))
        for i in range(0, 23, size)
    ]
    for order in (parts, parts[::-1]):
        merged = sum(order, Tally())
        assert merged == whole
        assert merged.mean_loss == whole.mean_loss
    assert task.score(whole) == whole.counts.correct / 23


def test_a_clean_model_that_is_broken_has_its_own_class():
    broken = np.array([[np.nan, 1.0], [2.0, 1.0]], np.float32)
    golden = Classification().predict(broken)
    assert golden.tolist() == [NONFINITE, 0]
    judged = Classification().judge(broken, np.array([1, 0]), golden)
    assert judged.mismatch.tolist() == [0, 0]
    assert judged.correct.tolist() == [0, 1]
    assert Tally.of(judged).counts == Counts(n=2, correct=1, mismatch=0, nonfinite=1)


def test_probabilities_give_the_loss_of_their_logits():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    softmax = Classification(output_is_probability=True)
    for kind in ("cross_entropy", "margin"):
        want = Classification().loss(logits, labels, kind)
        got = softmax.loss(logits.softmax(1), labels, kind)
        assert got.n == want.n == 6
        assert got.total.item() == pytest.approx(want.total.item(), abs=1e-9)
    judged = softmax.judge(np.array([[1.0, 0.0]], np.float32), np.array([1]))
    assert judged.loss[0] == pytest.approx(87.3365, abs=1e-3)


def test_one_output_for_two_classes_is_the_sigmoid():
    logit = torch.tensor([[2.0], [-1.0]])
    labels = torch.tensor([1, 1])
    want = torch.nn.functional.binary_cross_entropy_with_logits(logit[:, 0], labels.float(), reduction="sum")
    assert Classification().loss(logit, labels).total.item() == pytest.approx(want.item(), rel=1e-6)
    assert Classification().judge(logit.numpy(), labels.numpy()).correct.tolist() == [1, 0]
    odds = Classification(output_is_probability=True)
    assert odds.loss(logit.sigmoid(), labels).total.item() == pytest.approx(want.item(), rel=1e-5)
    assert odds.judge(logit.sigmoid().numpy(), labels.numpy()).correct.tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["cross_entropy", "margin"])
@pytest.mark.parametrize(
    ("task", "shape", "labels"),
    [
        (Classification(), (3, 4), (3,)),
        (Classification(), (3, 4, 1, 1), (3, 1)),
        (TokenClassification(), (3, 5, 4), (3, 5)),
        (TokenClassification(class_axis=1), (3, 4, 5, 2), (3, 5, 2)),
        (LanguageModel(), (3, 5, 4), (3, 5)),
        (Bleu(), (3, 5, 4), (3, 5)),
    ],
)
def test_losses_are_differentiable_and_agree_with_finite_differences(task, shape, labels, kind):
    outputs = torch.randn(
        shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True
    )
    truth = torch.randint(0, 4, labels, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda one: task.loss(one, truth, kind).total, outputs)
    assert task.loss(outputs, truth, kind).n == truth.numel()


def test_the_margin_is_capped_where_a_sample_is_wrong():
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 5.0]], requires_grad=True)
    total = Classification().loss(logits, torch.tensor([0, 0]), "margin").total
    total.backward()
    assert total.item() == -2.0
    assert logits.grad.tolist() == [[-1, 1, 0], [0, 0, 0]]
    plain = Classification(margin_cap=math.inf).loss(logits, torch.tensor([0, 0]), "margin").total
    assert plain.item() == 3.0


def test_half_precision_outputs_are_scored_in_full():
    logits = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16, requires_grad=True)
    total = Classification().loss(logits, torch.tensor([0])).total
    assert total.dtype == torch.float32
    total.backward()
    assert logits.grad is not None


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
    logits[0, 0, 0] = np.nan
    tally = Tally.of(task.judge(logits, texts, ids))
    assert tally.counts == Counts(1, 0, 1, 1)
    assert task.score(tally) == 0


def test_bleu_without_sacrebleu_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(
        OptionError, match=r"BLEU needs sacrebleu, which is not installed: pip install 'faultsim-nn\[bleu\]'"
    ):
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
    with pytest.raises(
        OptionError, match="a sequence of token ids, which has no gradient: choose an output of logits"
    ):
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
        with pytest.raises(
            DataError, match="clean model's output for sample 41 is not finite, so nothing can agree"
        ):
            GoldenAgreement(inner).labels_from(clean, start=40)


# Own tasks

MODULE = """
import torch
def both(outputs, labels):
    error = (outputs[:, 0] - labels).abs()
    return error, error < 0.5
def losses(outputs, labels): return (outputs[:, 0] - labels) ** 2
def right(outputs, labels): return outputs[:, 0] > labels
def raises(outputs, labels): raise KeyError("x")
def scalar(outputs, labels): return outputs.sum()
def number(outputs, labels): return 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "their_task.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield "their_task"
    sys.modules.pop("their_task", None)


def test_own_tasks_give_losses_correctness_or_both(module):
    outputs, labels = (
        torch.tensor([[1.0], [3.0], [math.inf]], requires_grad=True),
        torch.tensor([1.25, 1.0, 0.0]),
    )
    tasks = {name: custom_task(f"{module}:{name}", outputs, labels) for name in ("both", "losses", "right")}
    assert [one.has_correct for one in tasks.values()] == [True, False, True]
    raw = outputs.detach().numpy()
    both = tasks["both"].judge(raw, labels.numpy(), raw)
    assert Tally.of(both).counts == Counts(3, 1, 0, 1)
    assert both.loss.tolist() == [0.25, 2.0, 0.0]
    assert tasks["both"].score(Tally.of(both)) == pytest.approx(1 / 3)
    assert tasks["both"].metric == "accuracy"
    losses = tasks["losses"]
    assert (losses.metric, losses.higher_is_better, losses.counts_correct, losses.name) == (
        "mean loss",
        False,
        False,
        "their_task:losses",
    )
    assert losses.score(Tally.of(losses.judge(raw[:2], labels.numpy()[:2]))) == pytest.approx(
        (0.0625 + 4) / 2
    )
    assert losses.score(Tally.of(losses.judge(raw, labels.numpy()))) == math.inf
    got = losses.loss(outputs[:2], labels[:2])
    assert got.n == 2
    got.total.backward()
    assert outputs.grad is not None
    with pytest.raises(
        OptionError, match=r"gives no losses, so no worst case can be searched; return \(losses, correct\)"
    ):
        tasks["right"].loss(outputs, labels)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("raises", DataError, "their_task:raises raised KeyError: 'x'; run it on its own to see"),
        (
            "scalar",
            DataError,
            r"their_task:scalar gave \(\); return torch tensors with one entry a sample \(2,\)",
        ),
        ("number", DataError, "their_task:number gave int; return torch tensors"),
        ("bot", OptionError, "'their_task' has no 'bot', did you mean 'both'"),
    ],
)
def test_own_tasks_that_score_nothing_are_refused(module, name, error, message):
    with pytest.raises(error, match=message):
        custom_task(f"{module}:{name}", torch.zeros(2, 1), torch.zeros(2))


# Choosing


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
            "task 'x' is unknown: give one of classification, top<k>, tagging",
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
