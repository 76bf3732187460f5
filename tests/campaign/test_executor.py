"""What workers get: threads of this machine where they run on it, and not where they do not."""

from dataclasses import dataclass
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
    recipe: Any = SimpleNamespace(shared=lambda setting, *, threads, everything: threads, torch_device="cpu")
    prepared: Any = SimpleNamespace(setting=None)
    campaign = CampaignOptions(executor="ray", ray_address=address, workers=2)
    open_executor(recipe, prepared, Options(threads=threads), campaign)
    assert opened == [(each, {"address": address, "threads": each, "gpus": 0})]


@dataclass(frozen=True)
class _Shared:
    torch_device: str

    def shared(self, *given: Any, **named: Any) -> "_Shared":
        return self


@pytest.mark.parametrize(("device", "there", "gpus"), [("cuda", "cuda", 1), ("cuda:1", "cuda", 1), ("cpu", "cpu", 0)])
def test_an_actor_gets_a_gpu_and_calls_it_the_first(
    device: str, there: str, gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(
        "faultsim.engine.executors.ray.Ray", lambda work, workers, **given: opened.append((work, given["gpus"]))
    )
    recipe: Any = _Shared(device)
    prepared: Any = SimpleNamespace(setting=None)
    open_executor(recipe, prepared, Options(threads=2), CampaignOptions(executor="ray", workers=2))
    assert opened == [(_Shared(there), gpus)]
