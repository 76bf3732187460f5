"""Critical radius: found by bisection of any callable, never above what a proof or a closed form says."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import OptionError
from faultsim.search.radius import Evaluation, critical_radius, safety_factor

RADII = st.floats(1e-6, 1e6)


def step(at: float, above: float = 0.2) -> object:
    return lambda eps: 1.0 if eps < at else above


@given(at=RADII, start=RADII, rtol=st.floats(1e-4, 0.5))
def test_a_step_is_bracketed_within_the_tolerance_wherever_the_search_starts(
    at: float, start: float, rtol: float
) -> None:
    found = critical_radius(step(at), 0.9, start=start, rtol=rtol, evaluations=100)
    assert found.holds < at <= found.found
    assert found.found - found.holds <= rtol * found.found
    assert found.proven == 0
    assert found.bracket == (0.0, found.found)
    assert all((e.accuracy >= 0.9) == (e.eps < found.found) for e in found.evaluations)


@given(at=RADII, part=st.floats(0.01, 1.0))
def test_a_proof_gives_the_lower_end(at: float, part: float) -> None:
    found = critical_radius(step(at), 0.9, start=at, rtol=0.01, proven=step(part * at, 0.0), evaluations=100)
    assert found.proven < part * at <= at <= found.found
    assert found.proven >= 0.98 * part * at
    assert found.proven < found.found
    assert max(e.eps for e in found.proofs) <= found.found


def test_the_reference_formula_of_a_linear_accuracy() -> None:
    """1 - eps falls below 0.95 just above 0.05; the level itself still holds."""
    found = critical_radius(lambda eps: 1 - eps, 0.95, start=1.0, rtol=1e-6)
    assert found.found == pytest.approx(0.05, rel=2e-6)
    exact = critical_radius(lambda eps: 0.95, 0.95, start=1.0, largest=8.0)
    assert (exact.holds, exact.found) == (8.0, math.inf)


def test_the_envelope_never_rises_though_the_search_does() -> None:
    rng = np.random.default_rng(0)
    found = critical_radius(lambda eps: float(np.clip(1 - eps + rng.normal() / 10, 0, 1)), 0.5, start=3.0, rtol=1e-3)
    rows = found.envelope()
    assert len(rows) == len(found.evaluations)
    assert all(a.eps <= b.eps and a.accuracy >= b.accuracy for a, b in pairwise(rows))
    assert [e.accuracy for e in rows] == np.minimum.accumulate([a for _, a in sorted(found.evaluations)]).tolist()


def test_limits_and_the_number_of_evaluations_are_kept() -> None:
    calls: list[float] = []

    def never(eps: float) -> float:
        calls.append(eps)
        return 1.0

    found = critical_radius(never, 0.5, start=1.0, largest=5.0)
    assert calls == [1.0, 2.0, 4.0, 5.0]
    assert found.evaluations == tuple(Evaluation(eps, 1.0) for eps in calls)
    assert found.found == math.inf
    always = critical_radius(lambda _: math.nan, 0.5, start=1.0, smallest=0.2)
    assert [e.eps for e in always.evaluations] == [1.0, 0.5, 0.25, 0.2]
    assert (always.holds, always.found) == (0.0, 0.2)
    assert len(critical_radius(step(1e-3), 0.5, start=1.0, evaluations=3).evaluations) == 3
    unproven = critical_radius(step(1.0), 0.5, start=1.0, proven=lambda _: 0.0, evaluations=5)
    assert unproven.proven == 0
    assert len(unproven.proofs) <= 6
    assert critical_radius(never, 0.5, start=1.0, largest=5.0, proven=lambda _: 1.0).proven == 5.0


def test_the_safety_factor_is_a_quotient() -> None:
    assert safety_factor(0.3, 0.1) == pytest.approx(3)
    assert safety_factor(math.inf, 0.1) == math.inf
    assert safety_factor(0.0, 0.0) == math.inf
    for critical, device in ((-1.0, 1.0), (math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)):
        with pytest.raises(OptionError, match="it must be a radius of at least 0"):
            safety_factor(critical, device)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"level": 95.0}, "level is 95.0, it must be an accuracy from 0 to 1"),
        ({"start": 0.0}, "start is 0.0, it must be a finite radius above 0"),
        ({"rtol": 1.0}, "rtol is 1.0, it must lie strictly between 0 and 1"),
        ({"smallest": 2.0, "largest": 1.0}, "smallest is 2.0 and largest 1.0"),
        ({"evaluations": 0}, "evaluations is 0, it must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(given: dict[str, float], why: str) -> None:
    arguments = {"level": 0.9, "start": 1.0, **given}
    with pytest.raises(OptionError, match=why):
        critical_radius(step(1.0), **arguments)
