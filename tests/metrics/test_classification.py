"""Classification: counts against brute force, losses against torch, broken outputs."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faultsim.data import InputSpec, batches, check_labels, load_data
from faultsim.metrics import (
    NONFINITE,
    Bleu,
    Classification,
    Counts,
    LanguageModel,
    Tally,
    TokenClassification,
)

LOGITS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
    elements=st.floats(-50, 50, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
)


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
    outputs = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    truth = torch.randint(0, 4, labels, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda one: task.loss(one, truth, kind).total, outputs)
    assert task.loss(outputs, truth, kind).n == (3 if isinstance(task, Bleu) else truth.numel())


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


@pytest.mark.shared
@pytest.mark.parametrize(
    ("model", "steps", "correct"),
    [("mlperf_kws_float.onnx", "mean: 83\nstd: 1.7102702", 901), ("mlperf_kws_int8.onnx", "", 902)],
)
def test_real_models_score_what_is_published_for_them(shared, tmp_path, model, steps, correct):
    session = onnxruntime.InferenceSession(shared / "data/zoo" / model, providers=["CPUExecutionProvider"])
    declared = session.get_inputs()[0]
    dtype = np.dtype(declared.type.removeprefix("tensor(").removesuffix(")").replace("float", "float32"))
    (tmp_path / "p.yaml").write_text(steps)
    data = load_data(
        shared / "data/zoo/kws01.npz",
        model_path=None,
        inputs=[InputSpec(declared.name, dtype, tuple(declared.shape))],
        preprocess=tmp_path / "p.yaml" if steps else None,
    )
    check_labels(data, 12)
    tally = Tally()
    for batch in batches(data, 128):
        tally += Tally.of(Classification().judge(session.run(None, batch.inputs)[0], batch.labels))
    assert tally.counts == Counts(n=1000, correct=correct)


def test_a_loss_beyond_the_largest_number_counts_as_not_finite():
    logits = np.array([[1e308, -1e308, 0.0], [1e308, -1e308, 0.0], [1.0, 0.0, 0.0]])
    judged = Classification(top_k=2).judge(logits, np.array([1, 0, 0]))
    assert judged.nonfinite.tolist() == [1, 0, 0]
    assert judged.correct.tolist() == [0, 1, 1]
    assert Tally.of(judged).mean_loss == pytest.approx(math.log(1 + 2 / math.e) / 2)
    tokens = TokenClassification().judge(logits.reshape(1, 3, 3), np.array([[1, 0, 0]]))
    assert (tokens.n.tolist(), tokens.nonfinite.tolist(), tokens.correct.tolist()) == ([3], [1], [2])
    several = np.array([[[1e308, 0.0], [1e308, 0.0]]])  # finite each, infinite together
    assert Tally.of(TokenClassification().judge(several, np.array([[1, 1]]))).counts == Counts(2, 0, 0, 2)
