"""A device profile at work: `load_device` gives a `Device` that stores tensors, draws and bounds faults."""

from faultsim.device.chip import Chip
from faultsim.device.conditions import Conditions
from faultsim.device.device import Device
from faultsim.device.find import load_device
from faultsim.device.laws import NotSimulated

__all__ = ["Chip", "Conditions", "Device", "NotSimulated", "load_device"]
