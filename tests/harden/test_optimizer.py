"""Weights and the logarithms of scales have rates of their own, whatever the units of the weights."""

import pytest
import torch

from faultsim.harden.optimizer import LOG_PART, optimizer_of, set_rate
from faultsim.harden.options import Training
from faultsim.harden.scales import SCALE


def _moved(units, *, optimizer="adam", part=1.0):
    """How far one step moves a weight, in units of the weights' RMS, and the logarithm of a scale."""
    leaves = {"w": torch.full((3,), units), SCALE + "s": torch.zeros(2)}
    plan = Training(optimizer=optimizer)
    made = optimizer_of(leaves, plan, plan.largest_rate(units), units)
    for leaf in leaves.values():
        leaf.grad = torch.ones_like(leaf)
    set_rate(made, part)
    made.step()
    return 1 - float(leaves["w"][0]) / units, -float(leaves[SCALE + "s"][0])


@pytest.mark.parametrize("units", [1e-3, 0.1, 10.0])
def test_a_scale_moves_by_a_tenth_of_what_the_weights_move_by_in_their_own_units(units):
    assert _moved(units) == pytest.approx((0.02, 0.02 * LOG_PART), rel=1e-3)
    assert _moved(units, part=0.5) == pytest.approx((0.01, 0.01 * LOG_PART), rel=1e-3)


def test_weights_without_a_size_have_scales_that_move_all_the_same():
    made = optimizer_of({"w": torch.zeros(2), SCALE + "s": torch.zeros(1)}, Training(lr=0.5, optimizer="sgd"), 0.5, 0.0)
    assert [group["lr"] for group in made.param_groups] == [0.5, pytest.approx(0.002)]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_leaves_without_scales_are_one_group(optimizer):
    [group] = optimizer_of({"w": torch.ones(2)}, Training(optimizer=optimizer), 0.1, 1.0).param_groups
    assert group["lr"] == 0.1
