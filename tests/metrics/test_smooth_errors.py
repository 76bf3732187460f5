"""Smooth counts of errors: bounds, limits, and the gradient against finite differences."""

import numpy as np
import pytest
import torch

from faultsim.errors import OptionError
from faultsim.metrics import Classification, Regression
from faultsim.metrics.losses import SHARPNESS, margin, smooth_error


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    return torch.tensor(rng.normal(size=(40, 5)) * 2), torch.tensor(rng.integers(0, 5, 40))


@pytest.mark.parametrize("kind", SHARPNESS)
def test_wrong_rows_count_one_and_right_ones_less(kind: str, rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    counted = smooth_error(*rows, sharpness=SHARPNESS[kind])
    wrong = rows[0].argmax(1) != rows[1]
    assert 0 < wrong.sum() < 40
    assert torch.equal(counted[wrong], torch.ones(int(wrong.sum()), dtype=torch.float64))
    assert counted[~wrong].max() < 1
    assert Classification().loss(*rows, kind).total == pytest.approx(float(counted.sum()))


def test_a_sharp_count_is_the_number_of_errors(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    counted = smooth_error(*rows, sharpness=1e6)
    assert torch.equal(counted, (margin(*rows, cap=torch.inf) > 0).double())


@pytest.mark.parametrize("kind", SHARPNESS)
def test_the_gradient_is_that_of_right_rows_alone(kind: str, rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits = rows[0].clone().requires_grad_()
    smooth_error(logits, rows[1], sharpness=SHARPNESS[kind]).sum().backward()
    assert logits.grad is not None
    found, step = logits.grad.numpy(), 1e-6
    for i, j in ((i, j) for i in range(40) for j in range(5)):
        moved = rows[0].clone()
        moved[i, j] += step
        up = smooth_error(moved, rows[1], sharpness=SHARPNESS[kind]).sum()
        moved[i, j] -= 2 * step
        down = smooth_error(moved, rows[1], sharpness=SHARPNESS[kind]).sum()
        assert found[i, j] == pytest.approx(float(up - down) / (2 * step), abs=1e-6)
    assert not found[(rows[0].argmax(1) != rows[1]).numpy()].any()


def test_a_task_without_classes_counts_no_errors() -> None:
    with pytest.raises(OptionError, match="loss 'errors' is unknown"):
        Regression().loss(torch.zeros(3, 1), torch.zeros(3, 1), "errors")
