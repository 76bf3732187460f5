"""What a campaign leaves beside its result: every fault as a line, every image's outcome. Nothing is computed here."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.chips import Drawn
from faultsim.assessment.fault_list import records
from faultsim.corruption import Stored
from faultsim.errors import OptionError
from faultsim.results import TrialRow


class Recorder:
    """Writes the faults and the outcomes of chips as they are scored; what was written stays after an interruption.

    Args:
        faults: File for one JSON object a line and fault; None for none.
        outcomes: ``.npy`` file for the class of each image on each chip, uint8 (chips, samples): 0 masked,
            1 tolerable, 2 critical, 3 non-finite; None for none.

    Attributes:
        failed: What could not be written at the end; None where all was.

    Raises:
        OptionError: If the list of faults cannot be written.
    """

    def __init__(self, faults: Path | None = None, outcomes: Path | None = None) -> None:
        self.failed: str | None = None
        self._outcomes = outcomes
        self._rows: list[NDArray[np.uint8]] = []
        self._file: IO[str] | None = None
        if faults is not None:
            try:
                faults.parent.mkdir(parents=True, exist_ok=True)
                self._file = faults.open("w", encoding="utf-8")
            except OSError as error:
                raise OptionError(f"--fault-list {faults}: cannot be written ({error.strerror})") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def row(self, samples: int) -> NDArray[np.uint8] | None:
        """Return where the next chip's outcomes go, None where nobody wants them."""
        return np.zeros(samples, dtype=np.uint8) if self._outcomes is not None else None

    def add(
        self, row: TrialRow, drawn: Drawn, stored: Mapping[str, Stored], outcomes: NDArray[np.uint8] | None
    ) -> None:
        """Write one chip."""
        if self._file is not None:
            for record in records(row.trial, drawn.chip, stored, row, drawn.upsets):
                self._file.write(json.dumps(record, allow_nan=False) + "\n")
            self._file.flush()
        if outcomes is not None:
            self._rows.append(outcomes)

    def close(self) -> None:
        """Write the outcomes and close the files."""
        if self._file is not None:
            self._file.close()
        if self._outcomes is not None and self._rows:
            partial = self._outcomes.with_name(self._outcomes.name + ".partial")
            try:
                self._outcomes.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("wb") as file:
                    np.save(file, np.stack(self._rows), allow_pickle=False)
                os.replace(partial, self._outcomes)
            except OSError as error:  # the result itself is worth more: it is still to be written
                self.failed = f"{self._outcomes} could not be written ({error.strerror})"
                with contextlib.suppress(OSError):
                    partial.unlink()
