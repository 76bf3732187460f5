"""The laws by which stored numbers go wrong. Names only; each law has its own file."""

from faultsim.faults.analog import AnalogChain, AnalogLaw, ValueMoments
from faultsim.faults.base import CHIP, FAULTS, Fault, Generators, register
from faultsim.faults.bit_flip import BitFlip
from faultsim.faults.conductance_noise import ConductanceNoise
from faultsim.faults.drift import Drift, LogLine
from faultsim.faults.read_noise_1f import ReadNoise1f
from faultsim.faults.read_noise_relative import ReadNoiseRelative
from faultsim.faults.upset_rate import UpsetRate
from faultsim.faults.voltage_bit_errors import VoltageBitErrors

__all__ = [
    "CHIP",
    "FAULTS",
    "AnalogChain",
    "AnalogLaw",
    "BitFlip",
    "ConductanceNoise",
    "Drift",
    "Fault",
    "Generators",
    "LogLine",
    "ReadNoise1f",
    "ReadNoiseRelative",
    "UpsetRate",
    "ValueMoments",
    "VoltageBitErrors",
    "register",
]
