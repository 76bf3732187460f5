"""Curves over the conductance, and moments of conductances that stop at the ends of a range."""

import math

import numpy as np
import pytest

from faultsim.faults.censored import censored, floored, rectified, rectified_third
from faultsim.faults.curves import Branches, LogLine, Polynomial, Relative, Table


def test_curves_give_what_they_say() -> None:
    g = Relative(np.array([0.0, 0.25, 0.5, 1.0], np.float32) * 10, 10.0, 1e-7)
    np.testing.assert_allclose(Polynomial((1.0, 2.0)).at(g), [1, 1.5, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(Table((0.25, 0.75), (1.0, 2.0)).at(g), [1, 1, 1.5, 2])
    split = Branches(0.5, Polynomial((7.0,)), LogLine(1.0, 0.0, -1.0, 1.0))
    np.testing.assert_allclose(split.at(g), [7, 7, math.log(0.5), 0], atol=1e-7)
    assert split.at(g).dtype == np.float32
    assert Polynomial((0.5, -1.0)).lowest() == pytest.approx(-0.5)
    assert split.lowest() == pytest.approx(math.log(0.5), abs=2e-3)
    assert Table((0.0, 1.0), (3.0, 2.0)).lowest() == 2.0
    assert math.isnan(Table((1.0, 0.0), (3.0, 2.0)).lowest())


def test_clipped_moments_are_those_of_draws() -> None:
    mean, var = np.array([-1.0, 0.0, 0.3, 5.0, 9.5]), np.array([1.0, 0.25, 0.0, 0.5, 1.0])
    draws = np.random.default_rng(0).normal(mean, np.sqrt(var), (400_000, 5))
    held = censored(mean, var, 0.0, 9.0)
    np.testing.assert_allclose(held.mean, np.clip(draws, 0, 9).mean(axis=0), atol=0.005)
    np.testing.assert_allclose(held.var, np.clip(draws, 0, 9).var(axis=0), atol=0.008)
    third = rectified_third(mean, var)
    rest = np.maximum(draws, 0)
    np.testing.assert_allclose(third, ((rest - rest.mean(axis=0)) ** 3).mean(axis=0), atol=0.01)
    np.testing.assert_allclose(floored(mean, var, 0.0, 0.0, clipped=True).var, var)
    for got, want in zip(floored(mean, var, 0.0, 0.0, clipped=False), rectified(mean, var), strict=True):
        np.testing.assert_allclose(got, want)
    twice = np.maximum(rest + np.random.default_rng(1).normal(-0.2, 0.5, rest.shape), 0)
    again = floored(rest.mean(axis=0), rest.var(axis=0), -0.2, 0.25, clipped=True)
    np.testing.assert_allclose(again.mean, twice.mean(axis=0), atol=0.07)
    np.testing.assert_allclose(again.var, twice.var(axis=0), atol=0.06)
