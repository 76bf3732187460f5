"""The largest error of chains of laws: radii from simulated chips against other chips, whole and in blocks."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from published import DRIFT, PROGRAM, READ

from faultsim.corruption import Stored
from faultsim.device import load_device
from faultsim.faults import AnalogChain, AnalogLaw, ConductanceNoise, largest
from faultsim.faults.recall import Recall
from faultsim.formats import ConductancePair, absmax
from faultsim.library import find_model
from faultsim.model import load_model

QUIET = ConductanceNoise(sigma_poly=((0.0,),))
CHAIN = AnalogChain(laws=(PROGRAM, DRIFT, READ), t_s=3600.0)


@pytest.fixture
def stored(make_stored: Callable[..., Stored]) -> Stored:
    """3,000 weights as pairs of devices between 0 and 25 uS."""
    weights = np.random.default_rng(3).standard_normal((50, 60)).astype(np.float32)
    return make_stored(weights, ConductancePair(0.0, 25.0, absmax(weights, axis=0)))


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest, "_LARGEST", Recall(1 << 20))


@pytest.mark.parametrize("name", ["pcm_analog", "reram_1t1r", "sonos_analog"])
def test_a_whole_chip_stays_within_its_radius_as_often_as_it_says(name: str) -> None:
    model, device, chips = load_model(find_model("digits")), load_device(name), 800
    held = device.store({site.name: (site, model.numbers[site.name]) for site in model.select() if site.kind == "conv"})
    errors: dict[str, list[float]] = {key: [] for key in held}
    for trial in range(chips):
        drawn: Any = device.sample(held, 5, trial)
        for key, found in errors.items():
            found.append(float(np.abs(drawn[key].delta).max()))
    for confidence in (0.5, 0.9):
        spread = 3 * math.sqrt(confidence * (1 - confidence) / chips)
        for key, budget in device.combined_budget(held, p=math.inf, confidence=confidence).items():
            fewer, more = (np.mean(np.array(errors[key]) <= near * budget.eps) for near in (0.99, 1.01))
            assert fewer - spread < confidence < more + spread
            assert "simulated chips" in budget.note


@pytest.mark.parametrize(("chips", "near"), [(400, 0.03), (8, 0.05)])
def test_few_chips_in_blocks_tell_what_many_chips_do(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, chips: int, near: float
) -> None:
    radii = []
    for count in (2796, chips):
        monkeypatch.setattr(largest, "_ELEMENTS", count * stored.values.size)
        monkeypatch.setattr(largest, "_LARGEST", Recall(1 << 20))
        budgets = [CHAIN.budget(stored, p=math.inf, confidence=q) for q in (0.5, 0.9)]
        assert {one.note for one in budgets} == {f"from {count} simulated chips"}
        radii.append([one.eps for one in budgets])
    assert radii[1] == pytest.approx(radii[0], rel=near)


@pytest.mark.parametrize("laws", [(PROGRAM,), (QUIET, READ), (QUIET, QUIET)])
def test_one_law_that_adds_a_spread_is_not_simulated(stored: Stored, laws: tuple[AnalogLaw, ...]) -> None:
    budget = AnalogChain(laws=laws).budget(stored, p=math.inf, confidence=0.9)
    assert budget.note == ""


def test_the_chips_are_drawn_once_for_all_confidences(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    sample = AnalogChain.sample
    monkeypatch.setattr(AnalogChain, "sample", lambda *given: drawn.append(1) or sample(*given))
    monkeypatch.setattr(largest, "_ELEMENTS", 20 * stored.values.size)
    radii = [CHAIN.budget(stored, p=math.inf, confidence=q).eps for q in (0.5, 0.9, 0.9)]
    assert len(drawn) == 20
    assert radii[0] < radii[1] == radii[2]
    other = AnalogChain(laws=CHAIN.laws, t_s=7200.0)
    assert other.budget(stored, p=math.inf, confidence=0.9).eps != radii[1]
    assert len(drawn) == 40
