"""What workers get: threads of this machine where they run on it, and not where they do not."""

from types import SimpleNamespace
from typing import Any

import pytest

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions
from faultsim.campaign import executor as module
from faultsim.campaign.executor import open_executor


@pytest.mark.parametrize(
    ("address", "threads", "each"),
    [(None, 0, 32), ("head:6379", 0, 1), ("head:6379", 4, 2), (None, 4, 2)],
)
def test_the_processors_of_this_machine_say_nothing_of_a_cluster(
    address: str | None, threads: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(module, "processors", lambda: 64)
    monkeypatch.setattr(
        "faultsim.engine.executors.ray.Ray", lambda work, workers, **given: opened.append((work, given))
    )
    recipe: Any = SimpleNamespace(shared=lambda setting, *, threads, everything: threads)
    prepared: Any = SimpleNamespace(setting=None)
    campaign = CampaignOptions(executor="ray", ray_address=address, workers=2)
    open_executor(recipe, prepared, Options(threads=threads), campaign)
    assert opened == [(each, {"address": address, "threads": each})]
