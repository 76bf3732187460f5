"""Tasks of the user's own: what the function may give, and what it is told otherwise."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faultsim.errors import DataError, OptionError
from faultsim.metrics import (
    Counts,
    Tally,
    custom_task,
    named_task,
)

LOGITS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
    elements=st.floats(-50, 50, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
)

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
    assert losses.score(Tally.of(losses.judge(raw[:2], labels.numpy()[:2]))) == pytest.approx((0.0625 + 4) / 2)
    assert losses.score(Tally.of(losses.judge(raw, labels.numpy()))) == math.inf
    got = losses.loss(outputs[:2], labels[:2])
    assert got.n == 2
    got.total.backward()
    assert outputs.grad is not None
    with pytest.raises(
        OptionError, match=r"gives no losses, so no worst case can be searched; return \(losses, correct\)"
    ):
        tasks["right"].loss(outputs, labels)


def test_a_first_batch_tells_what_a_named_function_gives(module):
    outputs, labels = np.array([[1.0], [3.0]], np.float32), np.array([1.25, 1.0])
    for name, correct, headline in (("both", True, "accuracy"), ("losses", False, "loss"), ("right", True, "accuracy")):
        task = named_task(f"{module}:{name}", outputs=outputs, labels=labels)
        assert (task.has_correct, task.headline) == (correct, headline)
    assert Tally.of(named_task(f"{module}:right").judge(outputs, labels)).lossless
    with pytest.raises(DataError, match="labels of type <U1 cannot be given to a function of torch tensors"):
        named_task(f"{module}:both", outputs=outputs, labels=np.array(["a", "b"]))


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
