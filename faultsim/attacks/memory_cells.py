"""What the cells of a tensor can be made to hold: those of a device's memory, or as asked for. No search lives here."""

from faultsim.attacks.options import Cells
from faultsim.attacks.prepare import Prepared
from faultsim.corruption import Stored
from faultsim.device import Device
from faultsim.errors import DeviceError, OptionError
from faultsim.formats import ConductanceMapping
from faultsim.search.bits import BitFlips, Choices, Levels, StuckDevices, StuckWords
from faultsim.search.bits.levels import CellCode
from faultsim.specs.storage import DigitalStorage


def tell_code(prepared: Prepared) -> None:
    """Say where a memory's code is left out: the cells are those of the data that the network reads."""
    storage = None if prepared.device is None else prepared.device.spec.storage
    if isinstance(storage, DigitalStorage) and storage.ecc.scheme != "none":
        prepared.notes.append(
            f"The memory is protected ({storage.ecc.scheme} over {storage.ecc.data_bits} data bits), and the search "
            "takes its code as beaten: changed cells are what it lets through. A lone one in a word would not be."
        )


def cell_shape(device: Device | None, cells: Cells) -> tuple[int, CellCode]:
    """Return bits and code of a cell: the device's own, or what was asked for without one.

    Raises:
        OptionError: If what was asked for is not the device's, or it has no cells of several levels.
    """
    storage = None if device is None else device.spec.storage
    if device is not None and not isinstance(storage, DigitalStorage):
        for name, asked in (("bits-per-cell", cells.bits_per_cell), ("cell-code", cells.cell_code)):
            if asked is not None:
                raise OptionError(f"--{name} is {asked}, and {device.name} stores conductances; leave it out")
    if device is None or not isinstance(storage, DigitalStorage):
        return cells.bits_per_cell or 2, cells.cell_code or "binary"
    own = (storage.bits_per_cell, storage.cell_code)
    for name, asked, has in zip(
        ("bits-per-cell", "cell-code"), (cells.bits_per_cell, cells.cell_code), own, strict=True
    ):
        if asked not in (None, has):
            raise OptionError(f"--{name} is {asked}, and cells of {device.name} have {has}; leave it out")
    if cells.what == "levels" and own[0] == 1:
        raise OptionError(f"cells of {device.name} hold one bit, and a confused level is a flipped one; use --bits")
    return own


def choices_of(stored: Stored, cells: Cells, shape: tuple[int, CellCode]) -> Choices:
    """Return what the cells of a tensor can be made to hold.

    Raises:
        DeviceError: If it is stored as conductances, and bits or levels are asked for.
    """
    if isinstance(stored.format, ConductanceMapping):
        if cells.what != "stuck":
            raise DeviceError(
                f"{stored.site.name} is stored as conductances, in which no bit flips and no level is confused; "
                "use --stuck, or a digital device"
            )
        return StuckDevices(stored, cells.stuck_at)
    if cells.what == "bits":
        return BitFlips(stored)
    if cells.what == "levels":
        return Levels(stored, shape[0], cell_code=shape[1])
    return StuckWords(stored, cells.stuck_at, bits_per_cell=shape[0], cell_code=shape[1])
