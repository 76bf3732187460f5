"""`Inline`: chunks are evaluated in this process. Nothing is started here."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from faultsim.engine.executors.base import Chunk, Job


class Inline:
    """Runs a job in this process.

    Attributes:
        name: ``one process``.
    """

    name = "one process"

    def __init__(self, job: Job) -> None:
        self._job: Job | None = job

    def map(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        """Yield each chunk with its answer, in order.

        Raises:
            ValueError: If the executor was left.
        """
        for chunk in chunks:
            if self._job is None:
                raise ValueError("the executor was left; make another one")
            yield chunk, self._job(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the job, and of the memory that it holds."""
        self._job = None
