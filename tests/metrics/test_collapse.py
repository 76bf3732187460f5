"""The collapse into one class: which class, bounds, and the gradient against finite differences."""

import numpy as np
import pytest
import torch

from faultsim.errors import OptionError
from faultsim.metrics import Classification, Regression, TokenClassification
from faultsim.metrics.losses import collapse


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(4)
    return torch.tensor(rng.normal(size=(30, 5)) * 2), torch.tensor(rng.integers(0, 5, 30))


def test_it_is_of_the_class_that_takes_most_from_the_others(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = rows
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    stolen = [sum(shares[i, c] for i in range(30) if labels[i] != c) for c in range(5)]
    expected = np.log(shares[:, int(np.argmax(stolen))])
    assert collapse(logits, labels).numpy() == pytest.approx(expected, rel=1e-12)
    assert Classification().loss(logits, labels, "collapse").total == pytest.approx(expected.sum())


def test_batches_together_tell_the_class_that_one_of_all_rows_would(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = rows
    task, whole = Classification(), Classification().loss(*rows, "collapse")
    parts = [(logits[i : i + 4], labels[i : i + 4]) for i in range(0, 30, 4)]
    sums = [task.loss(*part, "collapse").taken for part in parts]
    into = int(torch.stack([one for one in sums if one is not None]).sum(0).argmax())
    assert len({int(one.argmax()) for one in sums if one is not None}) > 1
    found = [task.loss(*part, f"collapse:{into}").total for part in parts]
    assert float(torch.stack(found).sum()) == pytest.approx(float(whole.total))
    assert task.loss(*rows, "cross_entropy").taken is None


def test_samples_of_one_class_do_not_collapse_into_their_own() -> None:
    """All are right: the class is their nearest rival, not the one that most are taken for."""
    logits = torch.tensor([[9.0, 1.0, 0.0], [8.0, 2.0, 1.0], [9.0, 0.0, 3.0]])
    found = collapse(logits, torch.zeros(3, dtype=torch.int64))
    assert found.tolist() == pytest.approx(logits.log_softmax(1)[:, 2].tolist())


def test_it_is_nothing_once_one_class_answers_everything(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits = rows[0] + torch.tensor([0.0, 0, 0, 500, 0])
    assert collapse(logits, rows[1]).tolist() == pytest.approx([0.0] * 30, abs=1e-12)


def test_the_gradient_is_that_of_finite_differences(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits = rows[0].clone().requires_grad_()
    collapse(logits, rows[1]).sum().backward()
    assert logits.grad is not None
    found, step = logits.grad.numpy(), 1e-6
    for i, j in ((i, j) for i in range(30) for j in range(5)):
        values = []
        for sign in (1, -1):
            moved = rows[0].clone()
            moved[i, j] += sign * step
            values.append(float(collapse(moved, rows[1]).sum()))
        assert found[i, j] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-6)


def test_numbers_that_are_not_finite_choose_no_class(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits = rows[0].clone()
    logits[3] = torch.nan
    others = torch.arange(30) != 3
    assert torch.equal(collapse(logits, rows[1])[others], collapse(logits[others], rows[1][others]))


def test_every_task_with_classes_has_it_and_others_do_not() -> None:
    tokens = torch.zeros(2, 3, 4)
    assert TokenClassification().loss(tokens, torch.ones(2, 3), "collapse").total == pytest.approx(6 * np.log(1 / 4))
    with pytest.raises(OptionError, match="loss 'collapse' is unknown"):
        Regression().loss(torch.zeros(3, 1), torch.zeros(3, 1), "collapse")
