"""The forecast is Theorem 1 for one ball, and as good as sampling says for the sets that devices give."""

import math

import numpy as np
import pytest

from faultsim.assessment.phases import forecast
from faultsim.constraints import Global, LpL0, PerTensor, log10_trials_for_even_chance
from faultsim.search import Gradient

GRADS = {
    "a": np.random.default_rng(0).standard_normal((20, 10)),
    "b": 0.1 * np.random.default_rng(1).standard_normal(300),
}
GRADIENT = Gradient(1.0, GRADS)


def test_one_ball_over_all_tensors_is_theorem_1():
    assert forecast(Global(("a", "b"), LpL0(2, 0.5)), GRADIENT) == pytest.approx(log10_trials_for_even_chance(0.5, 500))


@pytest.mark.parametrize("n", [None, 60])
def test_the_variance_of_the_random_share_is_the_sampled_one(n):
    found = PerTensor({"a": LpL0(2, 1.0, n=n), "b": LpL0(2, 3.0, n=n)})
    shapes = {name: g.shape for name, g in GRADS.items()}
    worst = found.indicator(GRADS)
    shares = []
    for t in range(4000):
        delta = found.random(np.random.default_rng([7, t]), shapes)
        shares.append(sum(float((delta[name] * g).sum()) for name, g in GRADS.items()) / worst)
    effective = 1 / np.var(shares)  # a sphere's share has variance 1/k
    said = forecast(found, GRADIENT)
    assert said is not None
    low, high = (log10_trials_for_even_chance(0.5, round(effective * f)) for f in (0.9, 1.1))
    assert low < said < high


@pytest.mark.parametrize(
    "found",
    [
        Global(("a", "b"), LpL0(math.inf, 0.1)),
        Global(("a", "b"), LpL0(2, 0.1, n=1)),
        PerTensor({"a": LpL0(1, 0.1), "b": LpL0(2, 0.1)}),
    ],
)
def test_sets_whose_share_is_not_a_sphere_s_have_no_forecast(found):
    assert forecast(found, GRADIENT) is None


def test_no_gradient_no_forecast():
    assert forecast(Global(("a",), LpL0(2, 0.1)), Gradient(math.nan, GRADS)) is None
    assert forecast(Global(("a",), LpL0(2, 0.1)), Gradient(1.0, {"a": np.zeros(50)})) is None
