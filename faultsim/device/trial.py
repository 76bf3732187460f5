"""`try_chip`: one chip of a profile is drawn, to see whether it can be. What a chip is stands in `device.py`."""

import numpy as np

from faultsim.corruption import Site
from faultsim.device.device import Device
from faultsim.errors import DeviceError, FaultsimError
from faultsim.formats import parse_format

SIDE = 64
"""Rows and columns of the weights that are stored."""


def try_chip(device: Device, place: str) -> None:
    """Store 64 x 64 weights, as float32 numbers, and draw a chip at the profile's own conditions.

    Args:
        device: The device.
        place: What the message calls it.

    Raises:
        DeviceError: If no chip can be drawn: codes, cells or levels do not go together, nothing is switched on, or a
            condition is missing or outside of what is known.
    """
    shape = (SIDE, SIDE)
    site = Site(
        name="weight", shape=shape, format=parse_format("float32"), layer="fc", kind="gemm", role="weight", depth=0,
        channel_axis=0,
    )  # fmt: skip
    numbers = np.linspace(-1, 1, SIDE * SIDE, dtype=np.float32).reshape(shape)
    try:
        stored = device.store({site.name: (site, numbers)})
        device.draw(stored, 0, 0)
        device.event_probability(stored)
    except FaultsimError as error:
        raise DeviceError(f"{place}: no chip can be drawn at the profile's own conditions: {error}") from None
