"""`load_device`: a profile by name or path, as a `Device`. What one does lives in `device.py`."""

import hashlib
from pathlib import Path

from faultsim.device.device import Device
from faultsim.library import find_device
from faultsim.specs.device import DeviceSpec
from faultsim.specs.load import load


def load_device(name: str | Path) -> Device:
    """Return the device of a profile.

    Args:
        name: A name of the library (``reram_1t1r``, or an alias such as ``reram``), or the path of a YAML
            file.

    Raises:
        DeviceError: If there is no such profile.
        SpecError: If the profile is wrong; the message holds every problem with its place.

    Examples:
        >>> load_device("reram").name
        'reram_1t1r'
    """
    path = find_device(name)
    spec = load(path, DeviceSpec)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Device(name=spec.name, sha256=digest, path=path, summary=spec.summary, spec=spec)
