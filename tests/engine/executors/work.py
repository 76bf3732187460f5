"""Jobs for worker processes; they must be importable there."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from faultsim.engine.executors import Chunk, Job
from faultsim.errors import OptionError


@dataclass(frozen=True)
class Squares:
    """Squares trials; may do something else at one of them."""

    folder: str
    refused: int = -1
    broken: int = -1
    deadly: int = -1
    deaths: int = 0
    unloadable: bool = False

    def __call__(self) -> Job:
        Path(self.folder, f"loaded-{os.getpid()}").touch()
        if self.unloadable:
            os.kill(os.getpid(), signal.SIGKILL)

        def job(chunk: Chunk) -> list[int]:
            if self.refused in chunk:
                raise OptionError("no such trial")
            if self.broken in chunk:
                raise ZeroDivisionError("a bug")
            if self.deadly in chunk and len(list(Path(self.folder).glob("died-*"))) < self.deaths:
                Path(self.folder, f"died-{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return [one * one for one in chunk]

        return job
