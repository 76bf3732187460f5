"""`Ray`: chunks are evaluated by actors on a Ray cluster (extra ``ray``). Nothing of Ray is imported until one starts.

The work, model and data included, is put into Ray's object store once; every actor takes it from there.
"""

import contextlib
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from faultsim.engine.executors.base import TRIES, Chunk, Work, WorkerError, gave_up
from faultsim.errors import FaultsimError

_CONNECT_S = 10.0
PLACED_S = 120.0
"""Time that a cluster has to start an actor; Ray itself would wait for room without a word and without an end."""


class Ray:
    """Runs a job in *workers* actors, each of which loads it once; an actor that dies is replaced.

    Where the cluster has room for some of the actors alone, these do all the work.

    Args:
        work: Makes the job in each actor; it holds all that it needs, as no file of this machine is there.
        workers: Actors, at least 1.
        address: Of the cluster; None starts one on this machine, with *workers* CPUs.
        threads: CPUs an actor reserves.
        gpus: GPUs an actor reserves; Ray hides all others from it.

    Attributes:
        name: Such as ``2 Ray actors``, or ``1 Ray actor (of 2 asked for)`` once they were started.
        deaths: Actors that died and were replaced.

    Raises:
        WorkerError: If Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(
        self, work: Work, workers: int, *, address: str | None = None, threads: int = 1, gpus: int = 0
    ) -> None:
        try:
            import ray  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise WorkerError(
                "--executor ray needs Ray, which is not installed; pip install ray, or leave it out"
            ) from None
        self.name = _actors(workers)
        self.deaths = 0
        self._ray: Any = ray
        self._work, self._count, self._address = work, workers, address
        self._threads, self._gpus = threads, gpus
        self._started = False
        self._actors: list[Any] = []

    def __enter__(self) -> Self:
        """Start.

        Raises:
            WorkerError: If the cluster cannot be reached, or starts no actor.
        """
        ray = self._ray
        if not ray.is_initialized():
            self._connect()
            self._started = True
        try:
            self._kind = ray.remote(num_cpus=self._threads, num_gpus=self._gpus, max_restarts=0)(_Actor)
            self._reference = ray.put(self._work)
            self._actors = self._placed(self._count)
            if not self._actors:
                raise self._no_room()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        if len(self._actors) < self._count:
            self.name = f"{_actors(len(self._actors))} (of {self._count} asked for)"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the actors, and the cluster where it was started here."""
        for actor in self._actors:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)
        self._actors = []
        if self._started:
            self._ray.shutdown()
            self._started = False

    def _connect(self) -> None:
        """Start Ray, or join the cluster.

        Raises:
            WorkerError: If that fails.
        """
        room: dict[str, Any] = {"address": self._address}
        where = f"--ray-address {self._address}: the cluster cannot be reached"
        if self._address is None:
            room = {"num_cpus": self._count * self._threads, "include_dashboard": False}
            where = "--executor ray: Ray cannot be started on this machine"
        try:
            if self._address is not None:
                _check_host(self._address)
            self._ray.init(**room, logging_level="ERROR", log_to_driver=False)
        except Exception as error:
            text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise WorkerError(f"{where} ({text}); look at 'ray status' there, or leave the option out") from None

    def _placed(self, count: int) -> list[Any]:
        """Start actors and return those that have started in time; the others are given up."""
        calls: dict[Any, Any] = {}
        for _ in range(count):
            actor = self._kind.remote(self._reference)
            calls[actor.ready.remote()] = actor
        done, waiting = self._ray.wait(list(calls), num_returns=count, timeout=PLACED_S)
        for call in waiting:
            with contextlib.suppress(Exception):
                self._ray.kill(calls[call])
        return [calls[call] for call in done]

    def _no_room(self) -> WorkerError:
        has, free = self._ray.cluster_resources(), self._ray.available_resources()
        asked = f"{self._threads} CPUs" + (f" and {self._gpus} GPU" if self._gpus else "")
        said = f"{has.get('CPU', 0.0):g} CPUs, of which {free.get('CPU', 0.0):g} are free"
        if self._gpus:
            said += f", and {has.get('GPU', 0.0):g} GPUs, of which {free.get('GPU', 0.0):g} are free"
        fewer = "fewer --threads (they are over all --workers)"
        remedy = f"--torch-device cpu, or {fewer}" if self._gpus else fewer
        return WorkerError(
            f"Ray has started no actor within {PLACED_S:g} s: {_actors(self._count)} of {asked} each were asked for, "
            f"and the cluster has {said}; give {remedy}, or look at 'ray status' there"
        )

    def map(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        """Yield each chunk with its answer, as they come.

        Raises:
            FaultsimError: If the job refuses a chunk, a chunk's actors die again and again, or none can be started.
        """
        ray, source = self._ray, iter(chunks)
        errors = ray.exceptions  # a lost answer is one of a machine that went away with it
        deaths = (errors.RayActorError, errors.OutOfMemoryError, errors.ObjectLostError, errors.WorkerCrashedError)
        again: deque[tuple[Chunk, int]] = deque()
        free = list(range(len(self._actors)))
        running: dict[Any, tuple[int, Chunk, int]] = {}
        while True:
            while free:
                chunk, tries = again.popleft() if again else (next(source, ()), 1)
                if not chunk:
                    break
                actor = free.pop()
                running[self._actors[actor].evaluate.remote(chunk)] = actor, chunk, tries
            if not running:
                return
            (done,), _ = ray.wait(list(running), num_returns=1)
            actor, chunk, tries = running.pop(done)
            try:
                kind, value = ray.get(done)
            except deaths as error:
                self.deaths += 1
                with contextlib.suppress(Exception):
                    ray.kill(self._actors[actor])
                if tries >= TRIES:
                    raise gave_up(chunk, tries, type(error).__name__) from None
                again.append((chunk, tries + 1))
                fresh = self._placed(1)
                if fresh:
                    self._actors[actor] = fresh[0]
                    free.append(actor)
                elif not running and not free:
                    raise self._no_room() from None
                continue
            free.append(actor)
            if kind == "refused":
                raise FaultsimError(value)
            yield chunk, value


class _Actor:
    """One worker on the cluster."""

    def __init__(self, work: Work) -> None:
        self._work, self._job = work, None

    def ready(self) -> bool:
        """Return that it has a place on the cluster."""
        return True

    def evaluate(self, chunk: Chunk) -> tuple[str, Any]:
        """Return the answer, or the sentence with which the chunk was refused."""
        try:
            if self._job is None:
                self._job = self._work()  # type: ignore[assignment]
            return "answer", self._job(chunk)  # type: ignore[misc]
        except FaultsimError as error:
            return "refused", str(error)


def _actors(count: int) -> str:
    return f"{count} Ray actor{'' if count == 1 else 's'}"


def _check_host(address: str) -> None:
    """Refuse a cluster whose host does not answer: Ray would try for minutes.

    Raises:
        OSError: If nothing listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isascii() and port.isdecimal() and int(port) < 1 << 16:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
