"""The largest error of pairs of devices that stop at 0, against drawn ones and against normals."""

import math

import numpy as np
import pytest
from scipy import stats

from faultsim.budget import pairs
from faultsim.budget.pairs import Pair, largest_of_pairs


def drawn(target, sigma, worth, chips, seed=0):
    """Return the largest error of each of some chips, of devices that stop at 0."""
    rng = np.random.default_rng(seed)
    cells = np.maximum(target + sigma * rng.standard_normal((chips, *target.shape)), 0.0)
    return np.abs(np.sum(worth * (cells - target), axis=1)).max(axis=1)


@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_an_idle_device_that_stops_at_zero_is_told_from_a_normal(turned):
    target = np.stack([np.linspace(2.0, 20.0, 40), np.zeros(40)])
    sigma = np.stack([np.full(40, 1.0), np.full(40, 1.0)])
    worth = turned * np.stack([np.full(40, 0.1), np.full(40, -0.1)])
    largest = drawn(target, sigma, worth, 20_000)
    half = 1 / math.sqrt(2 * math.pi)
    mean = np.stack([target[0], np.full(40, half)])  # of a normal with mean 0, stopped there
    var = np.stack([np.ones(40), np.full(40, 0.5 - half**2)])
    aim = np.sum(worth * target, axis=0)
    for confidence in (0.5, 0.9, 0.99):
        found = largest_of_pairs(Pair(mean, var, worth), aim, confidence=confidence, near=0.4)
        assert found == pytest.approx(np.quantile(largest, confidence), rel=0.01)


def test_far_from_zero_it_is_the_largest_of_normals_wherever_the_search_starts():
    k = 300
    mean, var = np.full((2, k), 50.0), np.stack([np.full(k, 9.0), np.full(k, 16.0)])
    worth = np.stack([np.full(k, 1.0), np.full(k, -1.0)])
    exact = 5 * stats.norm.ppf((1 + 0.9 ** (1 / k)) / 2)
    for near in (0.1 * exact, exact, 5 * exact):
        assert largest_of_pairs(Pair(mean, var, worth), np.zeros(k), confidence=0.9, near=near) == pytest.approx(
            exact, rel=1e-4
        )


def test_of_many_weights_some_stand_for_all(monkeypatch):
    rng = np.random.default_rng(1)
    target = np.stack([rng.uniform(1, 20, 30_000), np.zeros(30_000)])
    var = np.stack([0.01 * target[0] ** 2, np.full(30_000, 0.3)])
    mean = np.stack([target[0], np.full(30_000, 0.5)])
    worth = np.stack([np.ones(30_000), -np.ones(30_000)])
    found = [largest_of_pairs(Pair(mean, var, worth), target[0], confidence=0.9, near=8.0)]
    monkeypatch.setattr(pairs, "_MOST", 2000)
    found.append(largest_of_pairs(Pair(mean, var, worth), target[0], confidence=0.9, near=8.0))
    monkeypatch.setattr(pairs, "_MOST", 100_000)
    found.append(largest_of_pairs(Pair(mean, var, worth), target[0], confidence=0.9, near=8.0))
    assert found[:2] == pytest.approx([found[2]] * 2, rel=2e-3)


def test_devices_without_noise_add_what_they_are_off_by():
    mean, var = np.array([[5.0, 6.0], [0.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 0.0]])
    worth, aim = np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([5.0, 6.0])
    found = largest_of_pairs(Pair(mean, var, worth), aim, confidence=0.9, near=3.0)
    # the second pair is off by -2 at the middle; the first hardly counts
    inside = [stats.norm.cdf(found) - stats.norm.cdf(-found), stats.norm.cdf(found + 2) - stats.norm.cdf(2 - found)]
    assert math.prod(inside) == pytest.approx(0.9, abs=1e-3)


def test_where_no_error_is_likely_enough_the_radius_is_next_to_nothing():
    mean, var = np.full((2, 1), 1 / math.sqrt(2 * math.pi)), np.full((2, 1), 0.5 - 1 / (2 * math.pi))
    worth = np.array([[1.0], [-1.0]])  # both devices of one idle pair stay at 0 a quarter of the time
    assert largest_of_pairs(Pair(mean, var, worth), np.zeros(1), confidence=0.1, near=1.0) < 1e-6
