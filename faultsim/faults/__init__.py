"""The laws by which stored numbers go wrong. Names only; each law has its own file."""

from faultsim.faults.analog import AnalogChain, AnalogLaw, ValueMoments
from faultsim.faults.base import CHIP, FAULTS, Fault, Generators, register
from faultsim.faults.bit_flip import BitFlip
from faultsim.faults.bit_flip_count import BitFlipCount
from faultsim.faults.conductance_noise import ConductanceNoise
from faultsim.faults.curves import Branches, LogLine, Polynomial, Table
from faultsim.faults.dead_line import DeadLine
from faultsim.faults.dead_region import DeadRegion
from faultsim.faults.drift import Drift
from faultsim.faults.fault_modes import FaultModes, ModeRates
from faultsim.faults.ir_drop import IrDrop
from faultsim.faults.lane_fault import LaneChip, LaneFault
from faultsim.faults.level_confusion import LevelConfusion
from faultsim.faults.log_drift import LogDrift
from faultsim.faults.lognormal import Lognormal
from faultsim.faults.mean_drift import MeanDrift
from faultsim.faults.phase_noise import PhaseNoise
from faultsim.faults.read_noise_1f import ReadNoise1f
from faultsim.faults.read_noise_log import ReadNoiseLog
from faultsim.faults.read_noise_relative import ReadNoiseRelative
from faultsim.faults.rowhammer import RowHammer
from faultsim.faults.saturating_noise import SaturatingNoise, SaturatingReadNoise
from faultsim.faults.stuck_bits import StuckBits
from faultsim.faults.stuck_cells import StuckCells
from faultsim.faults.systolic import StuckPE
from faultsim.faults.upset_rate import UpsetRate
from faultsim.faults.voltage_bit_errors import VoltageBitErrors

__all__ = [
    "CHIP",
    "FAULTS",
    "AnalogChain",
    "AnalogLaw",
    "BitFlip",
    "BitFlipCount",
    "Branches",
    "ConductanceNoise",
    "DeadLine",
    "DeadRegion",
    "Drift",
    "Fault",
    "FaultModes",
    "Generators",
    "IrDrop",
    "LaneChip",
    "LaneFault",
    "LevelConfusion",
    "LogDrift",
    "LogLine",
    "Lognormal",
    "MeanDrift",
    "ModeRates",
    "PhaseNoise",
    "Polynomial",
    "ReadNoise1f",
    "ReadNoiseLog",
    "ReadNoiseRelative",
    "RowHammer",
    "SaturatingNoise",
    "SaturatingReadNoise",
    "StuckBits",
    "StuckCells",
    "StuckPE",
    "Table",
    "UpsetRate",
    "ValueMoments",
    "VoltageBitErrors",
    "register",
]
