"""Outcome classes: every sample in exactly one, as a plain loop over the bytes finds it; digests, headlines."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faultsim.metrics import (
    Bleu,
    ClassIds,
    Classification,
    GoldenAgreement,
    LanguageModel,
    Outcomes,
    Regression,
    Tally,
    TokenClassification,
    classify,
    digests,
    named_task,
)
from faultsim.metrics.outcomes import CRITICAL, MASKED, NONFINITE_OUTPUT, TOLERABLE

VALUES = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, math.nan, math.inf, -math.inf])
PAIRS = hnp.arrays(np.float32, (2, 6, 3), elements=VALUES)


def by_hand(faulty, clean, answers, clean_answers):
    """One sample: bytes first, then finiteness, then the answers."""
    if faulty.tobytes() == clean.tobytes():
        return MASKED
    if not all(math.isfinite(float(x)) for x in faulty.ravel()):
        return NONFINITE_OUTPUT
    return CRITICAL if not np.array_equal(answers, clean_answers) else TOLERABLE


@pytest.mark.parametrize(
    "task", [Classification(), GoldenAgreement(Classification()), Regression(), Regression(tolerance=0.6)]
)
@given(pair=PAIRS)
def test_every_sample_is_in_the_class_that_a_plain_loop_finds(task, pair):
    clean, faulty = pair
    faulty = faulty.copy()
    faulty[:2] = clean[:2]
    labels = np.zeros(6, int) if task.discrete and task.headline == "accuracy" else np.zeros((6, 3))
    golden = task.predict(clean)
    judged = task.judge(faulty, labels, golden)
    classes = classify(faulty, judged, digests(clean))
    if task.headline == "accuracy":
        answers, own = task.predict(clean), task.predict(faulty)
        want = [by_hand(faulty[i], clean[i], own[i], answers[i]) for i in range(6)]
    else:
        room = task.tolerance or 0.0
        with np.errstate(invalid="ignore"):
            near = (faulty == clean) | (np.abs(faulty - clean) <= room)
        want = [by_hand(faulty[i], clean[i], near[i].all(), np.True_) for i in range(6)]
    assert classes.tolist() == want
    assert Outcomes.of(classes).samples == 6
    assert Outcomes.of(classes) == Outcomes(*(want.count(code) for code in range(4)))


def test_a_padded_token_that_changes_is_tolerable_and_a_scored_one_is_critical():
    clean = np.eye(3, dtype=np.float32)[np.zeros((3, 2), int)]
    faulty = clean.copy()
    faulty[0, 1], faulty[1, 0] = [0, 0, 1], [0, 0, 1]
    labels = np.array([[0, -100], [0, -100], [0, -100]])
    task = TokenClassification()
    judged = task.judge(faulty, labels, task.predict(clean))
    assert classify(faulty, judged, digests(clean)).tolist() == [TOLERABLE, CRITICAL, MASKED]


def test_digests_are_blake2b_of_the_bytes_of_each_sample():
    outputs = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    found = digests(outputs[:, ::-1])
    assert found.shape == (4, 2)
    for own, row in zip(found, outputs[:, ::-1], strict=True):
        assert own.tobytes() == hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()
    assert digests(np.array([True, False, True])).shape == (3, 2)
    assert np.array_equal(digests(np.array([7, 8])), digests(np.array([[7], [8]])))


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=4), st.randoms())
def test_outcomes_merge_in_any_order(batches, random):
    judged = [Classification().judge(np.zeros((len(b), 2)), np.zeros(len(b), int)) for b in batches]
    tallies = [Tally.of(j, np.array(b, np.uint8)) for j, b in zip(judged, batches, strict=True)]
    merged = sum(tallies, Tally())
    random.shuffle(tallies)
    assert sum(tallies, Tally()) == merged
    flat = [one for batch in batches for one in batch]
    assert merged.outcomes == Outcomes(*(flat.count(code) for code in range(4)))


def test_without_a_fault_free_chip_there_are_no_outcomes():
    judged = Classification().judge(np.zeros((2, 3)), np.zeros(2, int))
    assert (Tally.of(judged) + Tally.of(judged)).outcomes is None


LOGITS, LABELS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32), np.array([0, 1, 2, 3, 0])
TOKENS = np.random.default_rng(1).normal(size=(5, 6, 4)).astype(np.float32)
TOKEN_LABELS = np.random.default_rng(2).integers(0, 4, (5, 6))


@pytest.mark.parametrize(
    ("task", "outputs", "labels"),
    [
        (Classification(), LOGITS, LABELS),
        (Classification(top_k=2), LOGITS, LABELS),
        (ClassIds(), LABELS, LABELS[::-1]),
        (TokenClassification(), TOKENS, TOKEN_LABELS),
        (LanguageModel(), TOKENS, TOKEN_LABELS),
        (Regression(), LOGITS, LOGITS + 1),
        (named_task("regression@0.5"), LOGITS, LOGITS + 1),
        (Bleu(), TOKENS, TOKEN_LABELS),
        (GoldenAgreement(LanguageModel()), TOKENS, TOKEN_LABELS),
    ],
)
def test_the_headline_says_what_the_score_is(task, outputs, labels):
    tally = Tally.of(task.judge(outputs, labels))
    score = task.score(tally)
    if task.headline == "score":
        assert score not in (tally.counts.accuracy, tally.mean_loss)
    else:
        assert score == {"accuracy": tally.counts.accuracy, "loss": tally.mean_loss}[task.headline]
    assert task.share
    assert task.loss_name
