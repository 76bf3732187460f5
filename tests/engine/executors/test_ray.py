"""`Ray`: the same answers as in one process, whoever dies. Skips where Ray (extra ``ray``) is not installed."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # work.py lies beside; actors get this path

from fake_ray import Cluster, RayActorError
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
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Cluster]:
    """A cluster of 4 CPUs with room for so many actors."""

    def make(room: int) -> Cluster:
        cluster = Cluster(room)
        monkeypatch.setitem(sys.modules, "ray", cluster)
        return cluster

    return make


def test_a_cluster_without_room_is_said_to_be_that_and_let_go(full: Callable[[int], Cluster], tmp_path: Path) -> None:
    cluster = full(0)
    said = (
        r"^Ray has started no actor within 120 s: 2 Ray actors of 16 CPUs each were asked for, and the cluster has "
        r"4 CPUs, of which 0 are free; give fewer --threads"
    )
    with pytest.raises(WorkerError, match=said):
        answers(Ray(Squares(str(tmp_path)), 2, threads=16))
    assert cluster.asked == [16, 16]
    assert not cluster.is_up


def test_an_actor_reserves_the_gpu_that_it_computes_on(full: Callable[[int], Cluster], tmp_path: Path) -> None:
    cluster = full(2)
    assert answers(Ray(Squares(str(tmp_path)), 2, gpus=1)) == WANTED
    assert answers(Ray(Squares(str(tmp_path)), 2)) == WANTED
    assert cluster.gpus == [1, 1, 0, 0]
    full(0)
    said = (
        r"1 Ray actor of 2 CPUs and 1 GPU each were asked for, and the cluster has 4 CPUs, of which 0 are free, and 0 "
        r"GPUs, of which 0 are free; give --torch-device cpu, or fewer --threads"
    )
    with pytest.raises(WorkerError, match=said):
        answers(Ray(Squares(str(tmp_path)), 1, threads=2, gpus=1))


def test_the_actors_that_find_room_do_all_the_work(full: Callable[[int], Cluster], tmp_path: Path) -> None:
    cluster = full(2)
    executor = Ray(Squares(str(tmp_path)), 3)
    assert answers(executor) == WANTED
    assert executor.name == "2 Ray actors (of 3 asked for)"
    assert cluster.running == []
    assert cluster.waits[0] == 120


@pytest.mark.parametrize("room", [1, 2])
def test_an_actor_that_dies_and_finds_no_room_again_is_done_without(
    room: int, full: Callable[[int], Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = full(room)
    died: list[int] = []

    def dies_once(kind: Any, chunk: tuple[int, ...]) -> Any:
        if 13 in chunk and not died:
            died.append(1)
            cluster.room = room - 1  # the node is gone: no room beside the one that is left
            raise RayActorError
        return "answer", [one * one for one in chunk]

    monkeypatch.setattr("faultsim.engine.executors.ray._Actor.evaluate", dies_once)
    executor = Ray(Squares(str(tmp_path)), room)
    if room == 1:
        with pytest.raises(WorkerError, match="Ray has started no actor within 120 s: 1 Ray actor of 1 CPUs each"):
            answers(executor)
    else:
        assert answers(executor) == WANTED
        assert executor.deaths == 1


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
