"""Jobs for worker processes; they must be importable there."""

import itertools
import os
import signal
import time
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
    dies_loading: tuple[int, ...] = ()
    """Which loads, from 0 in the order in which they begin, end in the death of their process."""
    waits: bool = False
    """Whether a chunk takes as long as it is let."""

    def __call__(self) -> Job:
        Path(self.folder, f"loaded-{os.getpid()}").touch()
        if self._load() in self.dies_loading:
            os.kill(os.getpid(), signal.SIGKILL)

        def job(chunk: Chunk) -> list[int]:
            if self.refused in chunk:
                raise OptionError("no such trial")
            if self.broken in chunk:
                raise ZeroDivisionError("a bug")
            if self.deadly in chunk and len(list(Path(self.folder).glob("died-*"))) < self.deaths:
                Path(self.folder, f"died-{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if self.waits:
                time.sleep(600)
            return [one * one for one in chunk]

        return job

    def _load(self) -> int:
        """Return the number of this load."""
        for number in itertools.count():
            try:
                Path(self.folder, f"load-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return number
        raise AssertionError
