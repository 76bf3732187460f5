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
from faultsim.results.kinds import NAMES, kind_of


class Recorder:
    """Writes the faults and the outcomes of chips as they are scored; what was written stays after an interruption.

    Args:
        faults: File for one JSON object a line and fault; None for none.
        outcomes: ``.npy`` file for the class of each image on each chip, uint8 (chips, samples): 0 masked,
            1 tolerable, 2 critical, 3 non-finite; None for none.

    The list is begun with the first chip, so that an assessment that is refused leaves an older list as it was.

    Attributes:
        failed: What could not be written; None where all was. The chips are scored all the same.

    Raises:
        OptionError: If the place of the list of faults cannot be written, or holds a result.
    """

    def __init__(self, faults: Path | None = None, outcomes: Path | None = None) -> None:
        self._problems: list[str] = []
        self._outcomes = outcomes
        self._rows: list[NDArray[np.uint8]] = []
        self._faults = faults
        self._file: IO[str] | None = None
        if faults is not None:
            _check_place(faults)

    @property
    def failed(self) -> str | None:
        """What could not be written; None where all was."""
        return "; ".join(self._problems) or None

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
        """Write one chip; a list that cannot be written ends here, and the chips go on."""
        if self._faults is not None:
            found = records(row.trial, drawn.chip, stored, row, drawn.upsets)
            try:
                if self._file is None:
                    self._faults.parent.mkdir(parents=True, exist_ok=True)
                    self._file = self._faults.open("w", encoding="utf-8")
                self._file.writelines(json.dumps(record, allow_nan=False) + "\n" for record in found)
                self._file.flush()
            except OSError as error:
                self._end_list(error, row.trial)
        if outcomes is not None:
            self._rows.append(outcomes)

    def close(self) -> None:
        """Write the outcomes and close the files."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._end_list(error, None)
        if self._outcomes is not None and self._rows:
            partial = self._outcomes.with_name(self._outcomes.name + ".partial")
            try:
                self._outcomes.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("wb") as file:
                    np.save(file, np.stack(self._rows), allow_pickle=False)
                os.replace(partial, self._outcomes)
            except OSError as error:  # the result itself is worth more: it is still to be written
                self._problems.append(f"{self._outcomes} could not be written ({error.strerror})")
                with contextlib.suppress(OSError):
                    partial.unlink()

    def _end_list(self, error: OSError, trial: int | None) -> None:
        where = "at its end" if trial is None else f"from chip {trial} on"
        self._problems.append(f"--fault-list {self._faults} could not be written {where} ({error.strerror})")
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._file = self._faults = None


def _check_place(faults: Path) -> None:
    """Refuse a list that cannot be written now, and not after the work; nothing is made or emptied yet."""
    try:
        there = next(place for place in (faults, *faults.absolute().parents) if place.exists())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError(f"--fault-list {faults}: cannot be written ({reason}); give another place") from None
    if there == faults and there.is_dir():
        raise OptionError(f"--fault-list {faults}: cannot be written (it is a folder); give a file")
    if there != faults and not there.is_dir():
        raise OptionError(f"--fault-list {faults}: cannot be written ({there} is no folder); give another place")
    if not os.access(there, os.W_OK if there == faults else os.W_OK | os.X_OK):
        raise OptionError(f"--fault-list {faults}: cannot be written ({there} may not be written); give another place")
    kind = kind_of(faults) if there == faults else None
    if kind is not None:
        raise OptionError(f"--fault-list {faults}: is {NAMES[kind]}, which would be lost; give another file")
