"""What an attacker of cells cannot do, from options and a file to `search.bits.Limits`. No search lives here."""

import csv
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faultsim.assessment.setting import Setting
from faultsim.attacks.options import Cells
from faultsim.device import Device
from faultsim.device.digital import geometry
from faultsim.errors import DeviceError, OptionError
from faultsim.memory import Geometry, MemoryMap
from faultsim.search.bits import Flippable, Limits
from faultsim.specs.storage import DigitalStorage

LIMIT_BYTES = 64 * 2**20
_FORM = "lines of tensor,element,bit or tensor,element,bit,to with to = 0 or 1"


def limits_of(setting: Setting, device: Device | None, cells: Cells) -> tuple[Limits, str]:
    """Return the limits, and the same in words.

    Raises:
        OptionError: If a limit needs a memory that there is not, or a file or a row is not understood.
    """
    said: list[str] = []
    at_most: dict[Any, int] = {}
    one: Any = None
    flippable: Flippable | None = None
    needs = cells.row is not None or cells.flippable is not None or (cells.one_per_word and device is not None)
    memory = _memory(setting, device) if needs else None
    if cells.one_per_word:
        at_most["element" if device is None else "word"] = 1
        said.append(f"at most one cell a {'stored number' if device is None else 'memory word'}")
    if cells.row is not None:
        if device is None or memory is None:
            raise OptionError("--row needs --device: rows are those of a memory, and the deployed format has none")
        if cells.row == "any":
            one = "row"
            said.append("all in one row of the memory")
        else:
            flippable = _row(memory, cells)
            said.append(f"cells of row {cells.row} alone")
    if cells.flippable is not None:
        if flippable is not None:
            raise OptionError("--flippable and --row BANK:ROW both say which cells can flip; give one of them")
        assert memory is not None
        flippable = read_flippable(cells.flippable, setting, memory)
        said.append(f"{flippable.cells.size} flippable cells of {cells.flippable.name}")
    return Limits(flippable=flippable, at_most=at_most, one=one, memory=memory), "; ".join(said)


def read_flippable(path: Path, setting: Setting, memory: MemoryMap) -> Flippable:
    """Return the cells that a CSV file lists: tensor, flat element, bit (0 the lowest), and the value it flips to.

    Raises:
        OptionError: If the file cannot be read, is too large, or a line is not understood.
    """
    cells: dict[int, bool] = {}
    directed: set[bool] = set()
    for number, words in _rows(path):
        if not any(words) or (number == 1 and words[:3] == ["tensor", "element", "bit"]):
            continue
        place = f"--flippable {path}:{number}"
        plain = all(word.isascii() and word.isdecimal() and len(word) < 19 for word in words[1:])
        if len(words) not in (3, 4) or not plain or (len(words) == 4 and words[3] not in ("0", "1")):
            raise OptionError(f"{place}: {','.join(words)[:60]!r} is not understood; give {_FORM}")
        if words[0] not in setting.stored:
            raise OptionError(f"{place}: no tensor under test is named {words[0][:60]!r}; see --sites and --roles")
        try:
            cell = int(memory.cell(words[0], int(words[1]), int(words[2])))
        except OptionError as error:
            raise OptionError(f"{place}: {error}") from None
        if cell in cells:
            raise OptionError(f"{place}: {','.join(words)[:60]!r} is given twice; give each bit once")
        directed.add(len(words) == 4)
        cells[cell] = len(words) == 4 and words[3] == "1"
    if not cells:
        raise OptionError(f"--flippable {path}: lists no cell; give {_FORM}")
    if len(directed) > 1:
        raise OptionError(f"--flippable {path}: some lines say which value the bit flips to; say it in all or in none")
    found = np.array(list(cells), dtype=np.int64)
    return Flippable(memory, found, np.array(list(cells.values()), dtype=np.bool_) if directed == {True} else None)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV file, counted from 1, as stripped words.

    Raises:
        OptionError: If the file cannot be read, or is no CSV.
    """
    reader = csv.reader(_text(path).splitlines())
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise OptionError(f"--flippable {path}:{reader.line_num}: no CSV ({error}); give {_FORM}") from None
        if row is None:
            return
        yield reader.line_num, [word.strip() for word in row]


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            raise OptionError(f"--flippable {path}: not a regular file; give {_FORM}")
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError(f"--flippable {path}: cannot be read ({reason})") from None
    if len(data) > LIMIT_BYTES:
        raise OptionError(f"--flippable {path}: larger than {LIMIT_BYTES:,} bytes, the most that is read")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError(f"--flippable {path}: not UTF-8 text at byte {error.start}; give {_FORM}") from None


def _memory(setting: Setting, device: Device | None) -> MemoryMap:
    if device is None:
        return MemoryMap(list(setting.stored.values()), Geometry())
    storage = device.spec.storage
    if not isinstance(storage, DigitalStorage):
        raise DeviceError(f"device {device.name} stores conductances and has no words or rows; leave the limit out")
    return MemoryMap(list(setting.stored.values()), geometry(storage))


def _row(memory: MemoryMap, cells: Cells) -> Flippable:
    bank, colon, row = str(cells.row).partition(":")
    if not colon or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (bank, row)):
        raise OptionError(f"--row {str(cells.row)[:40]!r} is not understood; give BANK:ROW such as 0:7, or any")
    if int(bank) >= memory.banks_used or int(row) >= memory.geometry.rows:
        raise OptionError(
            f"--row {cells.row} is out of range: the model takes {memory.banks_used} banks of "
            f"{memory.geometry.rows} rows, counted from 0"
        )
    found = np.asarray(memory.row_cells(int(bank), int(row)), dtype=np.int64)
    return Flippable(memory, np.unique(found[found < memory.cells]))
