"""`Processes`: chunks are evaluated in fresh processes of this machine; a chunk whose process dies is given to another.

Processes are spawned, never forked: torch and onnxruntime have threads of their own, which a fork loses.
"""

import contextlib
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, NamedTuple, Self

from faultsim.engine.executors.base import TRIES, Chunk, Work, WorkerError, gave_up
from faultsim.errors import FaultsimError

_JOIN_S = 2.0


class _Given(NamedTuple):
    """A chunk on its way, and how often it was given to a worker."""

    chunk: Chunk
    tries: int


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False
        self.lost = False
        self.given: _Given | None = None

    def give(self, given: _Given) -> None:
        self.given = given
        with contextlib.suppress(OSError):  # a process that has just died is seen by its sentinel
            self.pipe.send(given.chunk)

    def end(self) -> None:
        self.process.kill()
        self.process.join(_JOIN_S)
        self.pipe.close()


class Processes:
    """Runs a job in *workers* processes, each of which loads it once.

    Args:
        work: Makes the job in each process.
        workers: Processes, at least 1.

    Attributes:
        name: Such as ``2 processes``.
        deaths: Processes that died and were replaced.
    """

    def __init__(self, work: Work, workers: int) -> None:
        self.name = f"{workers} process{'' if workers == 1 else 'es'}"
        self.deaths = 0
        self._failed_starts = 0
        self._work, self._count = work, workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        self._workers = [_Worker(self._work) for _ in range(self._count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the processes: what they are at is not wanted any more, and rows are written by the parent alone."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def map(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        """Yield each chunk with its answer, as they come.

        Raises:
            FaultsimError: If the job refuses a chunk, a chunk's processes die again and again, or none can start.
        """
        source, again = iter(chunks), deque[_Given]()
        while self._feed(source, again):
            ends: list[Any] = [worker.pipe for worker in self._workers]
            ends += [worker.process.sentinel for worker in self._workers]
            happened = wait(ends)
            for position, worker in enumerate(self._workers):
                if worker.pipe in happened:
                    if (answer := self._answer(worker)) is not None:
                        yield answer
                elif worker.process.sentinel in happened:
                    worker.lost = True
                if worker.lost:
                    self._replace(position, again)

    def _feed(self, source: Iterator[Chunk], again: deque[_Given]) -> bool:
        """Give work to those that are ready, as a death before that says nothing of a chunk; return if there is any."""
        for worker in self._workers:
            if worker.ready and worker.given is None:
                given = again.popleft() if again else _Given(next(source, ()), 1)
                if not given.chunk:
                    break
                worker.give(given)
        if any(worker.given is not None for worker in self._workers):
            return True
        if not again and (chunk := next(source, ())):  # nobody is ready yet
            again.append(_Given(chunk, 1))
        return bool(again)

    def _answer(self, worker: _Worker) -> tuple[Chunk, Any] | None:
        """Return what a worker has sent; None where it said that it is ready, or died while it wrote."""
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            worker.lost = True
            return None
        if kind == "ready":
            worker.ready, self._failed_starts = True, 0
            return None
        if kind == "refused":
            raise value
        if kind == "bug":
            raise RuntimeError(f"a worker process failed:\n{value}")
        given, worker.given = worker.given, None
        assert given is not None
        return given.chunk, value

    def _replace(self, position: int, again: deque[_Given]) -> None:
        dead = self._workers[position]
        dead.end()
        self.deaths += 1
        code = dead.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        given = dead.given
        if not dead.ready:
            self._failed_starts += 1
            if self._failed_starts >= TRIES * self._count:
                raise self._cannot_start(how)
        elif given is not None:
            if given.tries >= TRIES:
                raise gave_up(given.chunk, given.tries, how)
            again.append(_Given(given.chunk, given.tries + 1))
        self._workers[position] = _Worker(self._work)

    def _cannot_start(self, how: str) -> WorkerError:
        ready = sum(worker.ready for worker in self._workers)
        if ready:
            return WorkerError(
                f"{self._failed_starts} worker processes in a row died before they were ready ({how}), out of memory "
                f"perhaps; {ready} of --workers {self._count} did start: run the same command with --workers {ready}"
            )
        return WorkerError(f"no worker process can start ({how}); run with --workers 1 to see why")


def _serve(pipe: Connection, work: Work) -> None:
    """Answer chunks until the other end closes; the life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    try:
        job = work()
        pipe.send(("ready", None))
        while True:
            pipe.send(("answer", job(pipe.recv())))
    except (EOFError, BrokenPipeError):
        return
    except FaultsimError as error:
        _tell(pipe, ("refused", error))
    except Exception:
        _tell(pipe, ("bug", traceback.format_exc()))


def _tell(pipe: Connection, message: tuple[str, Any]) -> None:
    with contextlib.suppress(OSError):
        pipe.send(message)
