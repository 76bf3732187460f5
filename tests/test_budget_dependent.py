"""Budgets of skewed and shared errors, of rare events, and of both kinds together."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.budget import Budget, gaussian
from faultsim.budget.cells import largest_together, stuck_devices, stuck_pair
from faultsim.budget.dependent import Shared, dependent
from faultsim.budget.events import Event, rare_events, together
from faultsim.budget.skewed import Skewed
from faultsim.errors import OptionError
from faultsim.formats import ConductancePair

NAMES: dict[str, Any] = {"mechanism": "m", "scope": "w"}
NORMS = (1, 2, math.inf)


@given(mean=st.floats(-2, 2), std=st.floats(0.1, 2), skew=st.floats(-3, 3))
def test_a_fit_has_the_three_moments(mean: float, std: float, skew: float) -> None:
    fit = Skewed.fit(mean, std**2, skew * std**3)
    z = np.linspace(-12, 12, 200_001)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()
    shift, scale, shape, sign = (float(a) for a in (fit.shift, fit.scale, fit.shape, fit.sign))
    x = sign * (shift + scale * np.exp(shape * z)) if shape else mean + std * z
    first = float(weight @ x)
    assert first == pytest.approx(mean, abs=1e-6 * max(1, scale))
    assert float(weight @ (x - first) ** 2) == pytest.approx(std**2, rel=1e-4)
    if abs(skew) > 1e-2:
        assert float(weight @ (x - first) ** 3) == pytest.approx(skew * std**3, rel=2e-3, abs=1e-4)
        assert float(fit.third()) == pytest.approx(skew * std**3, rel=1e-6)
        fourth = float(weight @ (x - first) ** 4) - 3 * std**4
        assert float(fit.fourth_cumulant()) == pytest.approx(fourth, rel=5e-3, abs=2e-3 * std**4)
    assert float(fit.mean_magnitude()) == pytest.approx(float(weight @ np.abs(x)), rel=1e-3)
    for radius in (0.5, 1.5, 4.0):
        assert float(fit.outside(radius)) == pytest.approx(float(weight @ (np.abs(x) > radius)), abs=2e-4)


def test_a_fit_is_exact_for_a_lognormal() -> None:
    sigma = 0.6
    grown = math.exp(sigma**2)
    mean, var = math.sqrt(grown), grown * (grown - 1)
    fit = Skewed.fit(mean, var, (grown + 2) * math.sqrt(grown - 1) * var**1.5)
    assert float(fit.shape) == pytest.approx(sigma)
    assert float(fit.scale) == pytest.approx(1.0)
    assert float(fit.shift) == pytest.approx(0.0, abs=1e-9)
    assert float(fit.at(1.0)) == pytest.approx(math.exp(sigma))


@pytest.mark.parametrize("p", NORMS)
def test_without_skew_and_sharing_it_is_the_gaussian_budget(p: float) -> None:
    rng = np.random.default_rng(0)
    mean, std = rng.normal(0, 0.1, (20, 30)), rng.uniform(0, 1, (20, 30))
    std[0], mean[0] = 0.0, 0.0
    for confidence in (0.1, 0.5, 0.99):
        want = gaussian(**NAMES, sigma=std, mean=mean, elements=600, p=p, confidence=confidence)
        got = dependent(**NAMES, mean=mean, var=std**2, p=p, confidence=confidence)
        assert got.eps == pytest.approx(want.eps, rel=1e-6)
        assert replace(got, eps=0.0) == replace(want, eps=0.0)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("bend", [0.0, 0.5])
def test_bounds_of_a_shared_error_hold(p: float, bend: float) -> None:
    rng = np.random.default_rng(1)
    shape, chips = (25, 40), 2000
    group = np.broadcast_to(np.arange(40), shape).astype(np.int64)
    loading = rng.uniform(0.5, 1.5, shape)
    z = rng.normal(size=(chips, 1, 40))
    grown = math.exp(bend**2)
    if bend:
        common = (np.exp(bend * z) - math.sqrt(grown)) / math.sqrt(grown * (grown - 1))
        skew = (grown + 2) * math.sqrt(grown - 1)
    else:
        common, skew = z, 0.0
    draws = 0.3 + 0.8 * rng.normal(size=(chips, *shape)) + loading * common
    norms = np.array([np.linalg.norm(draw.ravel(), p) for draw in draws])
    for confidence in (0.5, 0.95):
        bound = dependent(
            **NAMES, mean=np.full(shape, 0.3), var=0.64, shared=Shared(group, loading, skew), p=p, confidence=confidence
        )
        assert bound.n == 1000
        assert np.mean(norms <= bound.eps) >= confidence - 0.03
        # The largest of elements that err together is less than that of independent ones: the bound is above it.
        assert bound.eps <= np.quantile(norms, confidence) * (1.45 if p == math.inf else 1.04)


def test_an_error_in_common_makes_the_norm_less_certain() -> None:
    group, ones = np.zeros(400, np.int64), np.ones(400)
    alone = dependent(**NAMES, mean=np.zeros(400), var=2.0, p=2, confidence=0.99)
    shared = dependent(**NAMES, mean=np.zeros(400), var=1.0, shared=Shared(group, ones), p=2, confidence=0.99)
    assert shared.eps > 1.5 * alone.eps
    nothing = dependent(**NAMES, mean=np.zeros(4), var=0.0, p=2, confidence=0.99)
    assert (nothing.eps, nothing.n) == (0.0, 0)


@pytest.mark.parametrize("p", NORMS)
def test_bounds_of_rare_events_hold(p: float) -> None:
    rng = np.random.default_rng(2)
    delta = rng.normal(size=(50, 20))  # 50 lines of 20 weights
    broken = rng.random((4000, 50)) < 0.04
    norms = np.array([np.linalg.norm(delta[hit].ravel(), p) if hit.any() else 0.0 for hit in broken])
    sums = np.abs(delta).max(axis=1) if p == math.inf else (np.abs(delta) ** p).sum(axis=1)
    event = Event(sums, np.full(50, 20.0), 0.04)
    for confidence in (0.5, 0.95):
        bound = rare_events(**NAMES, events=[event], elements=1000, p=p, confidence=confidence)
        assert np.mean(norms <= bound.eps) >= confidence - 0.02
        assert np.mean(broken.sum(axis=1) * 20 <= bound.n) >= confidence - 0.02
        assert bound.n % 20 == 0
    half = rare_events(
        **NAMES, events=[event], elements=1000, expected_square=0.02 * float(np.sum(sums)), p=p, confidence=0.9
    )
    full = rare_events(**NAMES, events=[event], elements=1000, p=p, confidence=0.9)
    assert half.eps == pytest.approx(full.eps * (math.sqrt(0.5) if p == 2 else 1.0))


def test_events_that_never_happen_move_nothing() -> None:
    event = Event(np.ones(3), np.ones(3), 0.0)
    for events in ([event], []):
        bound = rare_events(**NAMES, events=events, elements=3, p=2, confidence=0.99)
        assert (bound.eps, bound.n) == (0.0, 0)


@pytest.mark.parametrize("p", NORMS)
def test_mechanisms_together_stay_within_their_joint_bound(p: float) -> None:
    rng = np.random.default_rng(3)
    jumps = rng.uniform(1, 2, 400)
    hit = rng.random((3000, 400)) < 0.01
    draws = 0.1 * rng.normal(size=(3000, 400)) + np.where(hit, jumps, 0.0)
    norms = np.linalg.norm(draws, p, axis=1)

    def part(confidence: float) -> list[Budget]:
        event = Event(jumps if p == math.inf else jumps**p, np.ones(400), 0.01)
        return [
            gaussian(**NAMES, sigma=0.1, elements=400, p=p, confidence=confidence),
            rare_events(**NAMES, events=[event], elements=400, p=p, confidence=confidence),
        ]

    for confidence in (0.5, 0.95):
        parts = list(zip(part(confidence), part(0.5), strict=True))
        bound = together(**NAMES, parts=parts, elements=400)
        assert np.mean(norms <= bound.eps) >= confidence - 0.06
        assert bound.n == 400
        if p != math.inf:
            assert bound.eps <= 1.1 * np.quantile(norms, confidence)


def test_single_failures_of_a_pair_are_nearly_its_joint_states() -> None:
    weights = np.clip(np.random.default_rng(0).normal(0, 0.25, 5000), -1, 1)
    pair, rates = ConductancePair(1.0, 100.0, 1.0), dict[str, Any](p_lrs=0.002, p_hrs=0.001)
    for p in NORMS:
        for confidence in (0.5, 0.99):
            joint = stuck_pair(**NAMES, pair=pair, values=weights, **rates, p=p, confidence=confidence)
            single = stuck_devices(**NAMES, mapping=pair, values=weights, **rates, p=p, confidence=confidence)
            if p == math.inf:  # of a pair it is exact, of single failures as many as are likely in one weight
                assert 0.95 <= joint.eps <= 1.001 * single.eps
            else:
                assert single.eps == pytest.approx(joint.eps, rel=0.01)
            assert single.n == pytest.approx(joint.n, rel=0.05)
    many = dict[str, Any](p_lrs=0.09, p_hrs=0.02)
    joint = stuck_pair(**NAMES, pair=pair, values=weights, **many, p=2, confidence=0.5)
    single = stuck_devices(**NAMES, mapping=pair, values=weights, **many, p=2, confidence=0.5)
    assert single.eps == pytest.approx(joint.eps, rel=0.01)


def test_as_many_devices_fail_at_once_as_are_likely() -> None:
    jumps = np.array([[1.0, 0.0], [2.0, -5.0], [0.5, 0.0]])
    assert largest_together(jumps, 1e-9, 2, 0.99) == 2.0
    assert largest_together(jumps, 0.05, 2, 0.99) == 3.0
    assert largest_together(jumps, 0.9, 2, 0.99) == 3.5
    assert largest_together(-jumps, 1e-9, 2, 0.99) == 5.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dependent(**NAMES, mean=0.0, var=1.0, p=3, confidence=0.9), "p must be 1, 2 or inf"),
        (lambda: dependent(**NAMES, mean=0.0, var=1.0, p=2, confidence=1.0), "strictly between"),
        (lambda: rare_events(**NAMES, events=[], elements=1, p=0, confidence=0.9), "p must be 1, 2 or inf"),
        (
            lambda: rare_events(
                **NAMES, events=[Event(np.ones(1), np.ones(1), 1.5)], elements=1, p=2, confidence=0.9
            ),
            "rate must be between 0 and 1, got 1.5",
        ),
        (
            lambda: stuck_devices(
                **NAMES, mapping=ConductancePair(0, 1), values=np.ones(1), p_lrs=0.6, p_hrs=0.6, p=2, confidence=0.9
            ),
            "at most 1",
        ),
    ],
)  # fmt: skip
def test_impossible_budgets_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
