"""What every executor does: chunks in, answers out in any order. No process is started here.

Whatever an executor does with chunks (splits over workers, retries after a death) must not show in the answers: what a
chunk is answered depends on the chunk alone.
"""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Protocol, Self

from faultsim.errors import FaultsimError

Chunk = tuple[int, ...]
"""Numbers of trials."""
Job = Callable[[Chunk], Any]
"""Answers chunks; the answer can be pickled."""

TRIES: Final = 4
"""Times that a chunk is given to a worker before it is given up, where each of them dies."""


class Work(Protocol):
    """Makes the job of one worker; can be pickled, small, and is called once in each worker."""

    def __call__(self) -> Job:
        """Load what the job needs and return it.

        Raises:
            FaultsimError: If it cannot be loaded.
        """


class Executor(Protocol):
    """Runs a job on chunks; a context manager that ends its workers."""

    name: str

    def map(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        """Yield each chunk with its answer, in any order; *chunks* are taken one by one as workers get free.

        Raises:
            FaultsimError: If the job refuses a chunk, or workers die again and again.
        """

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers, whatever they are at."""


class WorkerError(FaultsimError):
    """Workers died again and again, or could not be started."""


def gave_up(chunk: Chunk, tries: int, how: str) -> WorkerError:
    """Return the error for a chunk whose workers died."""
    return WorkerError(
        f"{tries} workers died on trials {chunk[0]} … {chunk[-1]} ({how}), out of memory perhaps; run the same command "
        "with fewer --workers or less --memory: it goes on from its journal, where it has one"
    )
