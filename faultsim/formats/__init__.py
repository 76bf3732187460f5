"""How numbers lie in memory: floats, integers, conductance pairs. Names only; a format has its own file."""

from faultsim.formats.base import NumberFormat, Values, Words
from faultsim.formats.binary import BinaryFormat
from faultsim.formats.conductance import ConductanceMapping, ConductancePair, Conductances
from faultsim.formats.conductance_many import BitSliced, DualPair
from faultsim.formats.conductance_offset import OffsetColumn, SingleDeviceOffset, reference_block
from faultsim.formats.floats import FLOAT_NAMES, FloatFormat
from faultsim.formats.integers import Encoding, IntFormat, fixed_point, ternary
from faultsim.formats.parse import parse_format, quantize_symmetric
from faultsim.formats.scales import absmax, peaks

__all__ = [
    "FLOAT_NAMES",
    "BinaryFormat",
    "BitSliced",
    "ConductanceMapping",
    "ConductancePair",
    "Conductances",
    "DualPair",
    "Encoding",
    "FloatFormat",
    "IntFormat",
    "NumberFormat",
    "OffsetColumn",
    "SingleDeviceOffset",
    "Values",
    "Words",
    "absmax",
    "fixed_point",
    "parse_format",
    "peaks",
    "quantize_symmetric",
    "reference_block",
    "ternary",
]
