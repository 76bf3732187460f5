"""What a scenario asks of a hardening is what the command asks of it."""

import pytest

from faultsim.errors import OptionError
from faultsim.scenario import run as running
from tests.scenario.test_scenario_run import TWO, run


@pytest.mark.parametrize(
    ("wanted", "epochs", "budget_s"),
    [("{}", None, None), ("{epochs: 3, time_budget: 20m}", 3, 1200.0), ("{time_budget: 1h}", None, 3600.0)],
)
def test_hardening_trains_as_long_as_the_command_does(tmp_path, monkeypatch, wanted, epochs, budget_s):
    seen = []

    def harden(*_, options, **__):
        seen.append(options.training)
        raise OptionError("enough")

    monkeypatch.setattr(running, "harden", harden)
    text = TWO.replace("reram, ", "").replace("limit: 40", "limit: 20")
    [row] = run(f"{text}hardening: {wanted}\n", tmp_path).cases
    assert row.error == "enough"
    [training] = seen
    assert (training.epochs, training.time_budget_s) == (epochs, budget_s)
    assert training.planned(10) == (1000 if epochs is None else 30)
