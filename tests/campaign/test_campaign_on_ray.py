"""A whole campaign on a Ray cluster of this machine, one of its actors killed on the way."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faultsim.campaign import CampaignOptions, run_campaign
from faultsim.results.injection import InjectionResult

TRIALS = 120


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    found = pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield found
    found.shutdown()


def _actors() -> list[int]:
    """The processes that answer chunks; Ray names each after its class, and its own agents likewise."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::_Actor"):
                found.append(int(entry.name))
    return found


def _campaign(journal: Path, progress: Any = None, **options: Any) -> InjectionResult:
    campaign = CampaignOptions(trials=TRIALS, stratify="bit", **options)
    return run_campaign("digits", campaign=campaign, journal=journal, progress=progress)


@pytest.mark.slow
def test_a_campaign_on_ray_whose_actor_is_killed_ends_as_in_one_process(ray: Any, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(phase: str, done: int, total: int) -> None:
        if phase == "trials" and 0 < done < total and not killed:
            killed.append(_actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    alone = _campaign(tmp_path / "alone.jsonl")
    shared = _campaign(tmp_path / "ray.jsonl", kill, executor="ray", workers=2)
    assert len(killed) == 1
    assert shared.provenance.executor == "2 Ray actors"
    assert shared.model_dump(exclude={"provenance"}) == alone.model_dump(exclude={"provenance"})
