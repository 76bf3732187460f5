"""As much of Ray as `Ray` uses, in this process: a cluster with room for a number of actors, whose calls never wait."""

import types
from typing import Any

from work import Squares


class RayActorError(Exception):
    """The actor died."""


class Call:
    """A remote call: an answer, an error, or neither as long as its actor waits for room."""

    def __init__(self, actor: "Actor", answer: Any) -> None:
        self.actor, self.answer = actor, answer


class Actor:
    """The handle of an actor."""

    def __init__(self, cluster: "Cluster", inner: Any, *, placed: bool) -> None:
        self.cluster, self.inner, self.placed = cluster, inner, placed

    def __getattr__(self, method: str) -> Any:
        def remote(*given: Any) -> Call:
            if not self.placed:
                return Call(self, None)
            try:
                return Call(self, getattr(self.inner, method)(*given))
            except RayActorError as error:
                return Call(self, error)

        return types.SimpleNamespace(remote=remote)


class Cluster:
    """Stands for the module ``ray``."""

    exceptions = types.SimpleNamespace(
        RayActorError=RayActorError,
        OutOfMemoryError=MemoryError,
        ObjectLostError=LookupError,
        WorkerCrashedError=OSError,
    )

    def __init__(self, room: int) -> None:
        self.room = room
        self.running: list[Actor] = []
        self.asked: list[int] = []
        self.gpus: list[int] = []
        self.is_up = False
        self.waits: list[float | None] = []

    def is_initialized(self) -> bool:
        return self.is_up

    def init(self, **given: Any) -> None:
        self.is_up = True

    def shutdown(self) -> None:
        self.is_up = False

    def put(self, value: Any) -> Any:
        return value

    def remote(self, *, num_cpus: int, num_gpus: int, max_restarts: int) -> Any:
        def made(kind: Any) -> Any:
            def start(work: Squares) -> Actor:
                self.asked.append(num_cpus)
                self.gpus.append(num_gpus)
                actor = Actor(self, kind(work), placed=len(self.running) < self.room)
                self.running += [actor] if actor.placed else []
                return actor

            return types.SimpleNamespace(remote=start)

        return made

    def wait(self, calls: list[Call], *, num_returns: int, timeout: float | None = None) -> tuple[list, list]:
        self.waits.append(timeout)
        done = [one for one in calls if one.actor.placed][:num_returns]
        assert timeout is not None or len(done) == num_returns, "Ray would wait for ever"
        return done, [one for one in calls if one not in done]

    def get(self, call: Call) -> Any:
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def kill(self, actor: Actor) -> None:
        self.running = [one for one in self.running if one is not actor]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0, "memory": 1e9}

    def available_resources(self) -> dict[str, float]:
        return {}
