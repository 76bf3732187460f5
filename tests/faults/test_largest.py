"""The largest error of chains of laws: radii from simulated chips against other chips."""

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
from faultsim.formats.conductance_offset import SingleDeviceOffset
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


def test_a_few_weights_far_above_the_others_make_the_radius(make_stored: Callable[..., Stored]) -> None:
    weights = np.random.default_rng(3).normal(0, 0.02, (50, 60)).astype(np.float32)
    weights[7, 7], weights[20, 3] = 1.0, -0.9
    held = make_stored(weights, ConductancePair(0.0, 25.0, absmax(weights)))
    seen = [float(np.abs(CHAIN.sample(held, np.random.default_rng(one)).delta).max()) for one in range(100, 2100)]
    for confidence in (0.5, 0.9):
        radius = CHAIN.budget(held, p=math.inf, confidence=confidence).eps
        assert radius == pytest.approx(np.quantile(seen, confidence), rel=0.03)


def test_of_a_tensor_too_large_to_draw_it_is_the_closed_form(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = CHAIN.budget(stored, p=math.inf, confidence=0.9)
    monkeypatch.setattr(largest, "_ELEMENTS", 255 * stored.values.size)
    closed = CHAIN.budget(stored, p=math.inf, confidence=0.9)
    assert (drawn.note, closed.note) == ("from 4096 simulated chips", "")
    assert closed.eps == pytest.approx(drawn.eps, rel=0.05)


def test_another_zero_of_the_same_step_is_another_tensor(make_stored: Callable[..., Stored]) -> None:
    weights = np.random.default_rng(3).uniform(-0.2, 0.9, (1200, 4)).astype(np.float32)
    radii = []
    for inner in (-1.0, -0.2):  # of rows that a shortened print of the format leaves out
        low = np.full((1200, 1), -1.0)
        low[500:700] = inner
        held = make_stored(weights, SingleDeviceOffset(0.0, 25.0, low + 2, low))
        radii.append(CHAIN.budget(held, p=math.inf, confidence=0.9).eps)
    assert radii[0] != radii[1]


@pytest.mark.parametrize("laws", [(PROGRAM,), (QUIET, READ), (QUIET, QUIET)])
def test_one_law_that_adds_a_spread_is_not_simulated(stored: Stored, laws: tuple[AnalogLaw, ...]) -> None:
    budget = AnalogChain(laws=laws).budget(stored, p=math.inf, confidence=0.9)
    assert budget.note == ""


def test_the_chips_are_drawn_once_for_all_confidences(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    sample = AnalogChain.sample
    monkeypatch.setattr(AnalogChain, "sample", lambda *given: drawn.append(1) or sample(*given))
    monkeypatch.setattr(largest, "_ELEMENTS", 256 * stored.values.size)
    radii = [CHAIN.budget(stored, p=math.inf, confidence=q).eps for q in (0.5, 0.9, 0.9)]
    assert len(drawn) == 256
    assert radii[0] < radii[1] == radii[2]
    other = AnalogChain(laws=CHAIN.laws, t_s=7200.0)
    assert other.budget(stored, p=math.inf, confidence=0.9).eps != radii[1]
    assert len(drawn) == 512
