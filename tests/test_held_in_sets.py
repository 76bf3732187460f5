"""Whoever scores a corruption of a set says which set: codes are then rounded so that they stay in it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import faultsim
from faultsim.assessment import Options
from faultsim.assessment.sets import chip_set
from faultsim.assessment.setting import make_setting
from faultsim.attacks import ProbeOptions
from faultsim.corruption import Stored
from faultsim.device import Conditions
from faultsim.engine.objective import NetworkObjective
from faultsim.harden.radii import Ladder
from faultsim.harden.validate import Validator
from faultsim.library import find_device, find_model
from faultsim.scenario import Case
from faultsim.scenario.requirement import read_requirement
from faultsim.scenario.safety import judge_factor

OPTIONS = Options(
    trials=2, limit=40, search_gradients=1, site_trials=0, batch_size=20, conditions=Conditions(v_norm=0.82)
)


def assessed() -> None:
    faultsim.assess(find_model("digits_int8"), "sram", options=OPTIONS)


def probed() -> None:
    faultsim.probe(
        find_model("digits_int8"),
        how=ProbeOptions(radii=(0.05,), draws=2, modes=("gradient", "random")),
        options=OPTIONS,
    )


def required() -> None:
    case = Case(
        name="digits_int8/sram", model=find_model("digits_int8"), device=find_device("sram"), data=None, corner="",
        conditions={}, options=OPTIONS, asked=(),
    )  # fmt: skip
    judge_factor(case, read_requirement("safety_factor >= 0.5"), torch_device="cpu", tell=lambda *_: None)


def radius() -> None:
    setting = make_setting(find_model("digits_int8"), "sram", None, OPTIONS, torch_device="cpu")
    Ladder(setting, samples=40, gradients=2).accuracy(0.5)


def validated() -> None:
    setting = make_setting(find_model("digits_int8"), "sram", None, OPTIONS, torch_device="cpu")
    judge = Validator(setting, chip_set(setting).constraint, chips=0, tolerance=0.005, seed=0)
    numbers = dict(setting.model.numbers)
    name = next(iter(setting.stored))
    judge(numbers | {name: np.flip(numbers[name], axis=0).copy()})


@pytest.mark.parametrize("act", [assessed, probed, required, radius, validated])
def test_every_corruption_that_is_scored_stays_in_its_set(
    act: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, seen = NetworkObjective.numbers, list[bool]()

    def spied(self: NetworkObjective, delta: Any) -> dict[str, Any]:
        held = plain(self, delta)
        if delta:
            assert self.within is not None
            seen.append(self.within.contains(moved(self.stored, held, self.within.names), rtol=1e-4))
        return held

    monkeypatch.setattr(NetworkObjective, "numbers", spied)
    act()
    assert seen
    assert all(seen)


def moved(stored: Mapping[str, Stored], held: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: held[name].astype(np.float64) - stored[name].values.astype(np.float64) for name in names}


def test_the_same_objective_in_a_set_shares_its_clean_gradient_and_counts_for_itself() -> None:
    setting = make_setting(find_model("digits_int8"), "sram", None, OPTIONS, torch_device="cpu")
    whole = NetworkObjective(setting.model, setting.stored, setting.scorer)
    constraint = chip_set(setting).constraint
    assert constraint is not None
    clean = whole.gradient(None, "cross_entropy")
    inner = whole.inside(constraint)
    assert inner.gradient(None, "cross_entropy") is clean
    inner.score(None)
    assert (whole.gradients, whole.forwards, inner.gradients, inner.forwards) == (1, 0, 0, 1)
    assert whole.within is None
    assert inner.within is constraint
