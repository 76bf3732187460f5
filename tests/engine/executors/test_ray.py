"""`Ray`: the same answers as in one process, whoever dies. Skips where Ray (extra ``ray``) is not installed."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # work.py lies beside; actors get this path

from work import Squares

from faultsim.engine.executors import WorkerError
from faultsim.engine.executors.ray import Ray
from faultsim.errors import FaultsimError

CHUNKS = [tuple(range(i, i + 3)) for i in range(0, 30, 3)]
WANTED = {chunk: [one * one for one in chunk] for chunk in CHUNKS}


def test_without_ray_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkerError, match=r"needs Ray, which is not installed; pip install ray"):
        Ray(Squares(str(tmp_path)), 1)


@pytest.fixture
def ray() -> Any:
    return pytest.importorskip("ray", reason="Ray is not installed: pip install ray")


@pytest.fixture
def cluster(ray: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Actors import work.py from this folder."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    yield ray
    ray.shutdown()


def answers(executor: Any) -> dict[tuple[int, ...], list[int]]:
    with executor:
        return dict(executor.map(CHUNKS))


@pytest.mark.slow
def test_actors_give_the_same_answers_and_load_once_each(cluster: Any, tmp_path: Path) -> None:
    executor = Ray(Squares(str(tmp_path)), 2)
    assert executor.name == "2 Ray actors"
    assert answers(executor) == WANTED
    assert len(list(tmp_path.glob("loaded-*"))) == 2
    assert not cluster.is_initialized()


@pytest.mark.slow
def test_a_chunk_whose_actor_dies_is_given_to_another(cluster: Any, tmp_path: Path) -> None:
    executor = Ray(Squares(str(tmp_path), deadly=13, deaths=1), 2)
    assert answers(executor) == WANTED
    assert executor.deaths == 1


@pytest.mark.slow
def test_a_chunk_that_kills_every_actor_is_given_up(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="4 workers died on trials 12 … 14"):
        answers(Ray(Squares(str(tmp_path), deadly=13, deaths=99), 1))


@pytest.mark.slow
def test_a_refusal_comes_back_in_words(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(FaultsimError, match=r"^no such trial$"):
        answers(Ray(Squares(str(tmp_path), refused=4), 1))


def test_an_address_where_nothing_listens_is_refused_at_once(ray: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(WorkerError, match=rf"--ray-address {address}: the cluster cannot be reached"):
        Ray(Squares(str(tmp_path)), 1, address=address).__enter__()
