"""The torch form of the closed form, against the NumPy one, brute force, and numerical derivatives."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from faultsim.constraints import dual_norm
from faultsim.constraints.closed_form import argmax_lp_l0
from faultsim.errors import OptionError
from faultsim.harden.ball import Ball

P = st.sampled_from([1.0, 1.05, 1.5, 2.0, 3.0, math.inf])
VECTORS = st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=9).filter(lambda v: any(abs(x) > 1e-3 for x in v))


@given(p=P, values=VECTORS, n=st.one_of(st.none(), st.integers(1, 5)))
def test_the_corruption_is_the_closed_form_of_the_constraints(p, values, n):
    g = np.array(values, dtype=np.float32)
    ours = Ball(p=p, eps=0.7, n=n).corruption({"w": torch.from_numpy(g)}, {"w": torch.ones(len(g))})["w"].numpy()
    theirs = argmax_lp_l0(g.astype(np.float64), p=p, eps=0.7, n=n)
    assert ours == pytest.approx(theirs, abs=2e-5)


@given(p=P, values=VECTORS, n=st.one_of(st.none(), st.integers(1, 5)))
def test_the_indicator_is_eps_times_the_dual_norm(p, values, n):
    g = np.array(values, dtype=np.float64)
    ours = float(Ball(p=p, eps=0.7, n=n).indicator({"w": torch.from_numpy(g)}, {"w": torch.ones(len(g))}))
    assert ours == pytest.approx(0.7 * dual_norm(g, p=p, n=n), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("p", [1.5, 2.0, 4.0])
@pytest.mark.parametrize("per", ["model", "tensor"])
def test_the_indicator_differentiates_as_central_differences_do(p, per):
    rng = np.random.default_rng(3)
    at = {"a": rng.normal(size=4), "b": rng.normal(size=(2, 3))}
    ball = Ball(p=p, eps=0.3, per=per)
    weights = {name: torch.from_numpy(array) for name, array in at.items()}

    def value(arrays):
        return float(ball.indicator({k: torch.from_numpy(v) for k, v in arrays.items()}, weights))

    leaves = {k: torch.from_numpy(v).requires_grad_() for k, v in at.items()}
    found = torch.autograd.grad(ball.indicator(leaves, weights), list(leaves.values()))
    for (name, array), grad in zip(at.items(), found, strict=True):
        for index in np.ndindex(*array.shape):
            moved = {k: v.copy() for k, v in at.items()}
            moved[name][index] += 1e-6
            up = value(moved)
            moved[name][index] -= 2e-6
            assert float(grad[index]) == pytest.approx((up - value(moved)) / 2e-6, rel=1e-4, abs=1e-7)


def test_the_norm_of_a_zero_gradient_has_a_finite_gradient():
    g = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(Ball(p=2, eps=1.0).indicator({"w": g}, {"w": torch.ones(5)}), [g])
    assert torch.equal(found, torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("p", [2.0, 3.0])
def test_a_relative_radius_is_the_same_part_of_the_weights_at_any_scale(p):
    g, w = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 2, 50)
    ball = Ball(p=p, eps=0.1, relative=True)
    small = ball.corruption({"w": g}, {"w": w})["w"]
    large = ball.corruption({"w": g}, {"w": 100 * w})["w"]
    assert torch.allclose(100 * small, large, rtol=1e-5)
    rms = float(w.square().mean().sqrt())
    assert float(torch.linalg.vector_norm(small, p)) == pytest.approx(0.1 * rms * 50 ** (1 / p), rel=1e-5)


@pytest.mark.parametrize("p", [1.0, 1.5])
def test_a_relative_radius_of_a_norm_below_2_is_no_longer_than_that_of_2(p):
    g, w = torch.randn(5000, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 2, 5000)
    moved, usual = (Ball(p=one, eps=0.03, relative=True).corruption({"w": g}, {"w": w})["w"] for one in (p, 2.0))
    assert float(torch.linalg.vector_norm(moved, p)) == pytest.approx(0.03 * float(w.norm()), rel=1e-5)
    assert float(moved.norm()) <= float(usual.norm()) * 1.00001
    assert 0 < float(moved @ g) < float(usual @ g)


def test_one_ball_a_tensor_spends_its_radius_in_each():
    g = {"a": torch.randn(9, generator=torch.Generator().manual_seed(1)), "b": 100 * torch.ones(4)}
    weights = {"a": torch.ones(9), "b": torch.ones(4)}
    found = Ball(p=2, eps=0.5, per="tensor").corruption(g, weights)
    assert [float(a.norm()) for a in found.values()] == pytest.approx([0.5, 0.5])
    whole = Ball(p=2, eps=0.5).corruption(g, weights)
    assert math.hypot(*(float(a.norm()) for a in whole.values())) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"p": 0.5}, r"p is 0\.5, it must be from 1 to inf"),
        ({"eps": -1.0}, r"eps is -1\.0, it must be finite and at least 0"),
        ({"n": 0}, r"n is 0, it must be at least 1"),
        ({"per": "layer"}, r"per is 'layer', it must be"),
    ],
)
def test_values_out_of_range_are_refused(given_, message):
    with pytest.raises(OptionError, match=message):
        Ball(**given_)
