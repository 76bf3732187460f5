"""How numbers lie in memory: floats, integers, conductance pairs. Names only; a format has its own file."""

from faultsim.formats.base import NumberFormat, Values, Words
from faultsim.formats.binary import BinaryFormat
from faultsim.formats.conductance import ConductancePair, Conductances
from faultsim.formats.floats import FLOAT_NAMES, FloatFormat
from faultsim.formats.integers import Encoding, IntFormat, fixed_point, ternary
from faultsim.formats.parse import parse_format, quantize_symmetric
from faultsim.formats.scales import absmax, peaks

__all__ = [
    "FLOAT_NAMES",
    "BinaryFormat",
    "ConductancePair",
    "Conductances",
    "Encoding",
    "FloatFormat",
    "IntFormat",
    "NumberFormat",
    "Values",
    "Words",
    "absmax",
    "fixed_point",
    "parse_format",
    "peaks",
    "quantize_symmetric",
    "ternary",
]
