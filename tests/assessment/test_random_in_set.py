"""Random corruption in the (p = 2, n) set of bit errors does to a network what the bit errors do."""

from typing import Any

import pytest

import faultsim
from faultsim.assessment import Options, phases
from faultsim.device import Conditions
from faultsim.library import find_model


def test_random_corruption_in_the_set_is_within_a_point_of_physical_bit_errors():
    options = Options(
        trials=60,
        confidence=0.5,  # the set of the typical chip, not of the worst in a hundred
        conditions=Conditions(v_norm=0.82),
        search_gradients=1,
        site_trials=0,
        site_samples=1,
    )
    result = faultsim.assess(find_model("digits"), "sram", options=options)
    physical, drawn = result.random.accuracy, result.random_in_set.accuracy
    assert result.clean.accuracy - physical.mean > 0.015  # the errors do something
    assert abs(physical.mean - drawn.mean) < 0.01


def test_searched_corruptions_are_held_within_the_set_as_random_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, seen = phases.worst_case, []

    def spied(objective: Any, constraint: Any, **given: Any) -> Any:
        seen.append(objective.within is constraint)
        return plain(objective, constraint, **given)

    monkeypatch.setattr(phases, "worst_case", spied)
    options = Options(trials=2, limit=20, search_gradients=1, site_trials=0, conditions=Conditions(v_norm=0.82))
    faultsim.assess(find_model("digits_int8"), "sram", options=options)
    assert seen == [True]
