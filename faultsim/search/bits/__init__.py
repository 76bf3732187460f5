"""The worst bits, levels and stuck cells: one search over discrete changes of what a memory holds."""

from faultsim.search.bits.aims import Aim, Judged, Stealthy, Targeted, Untargeted
from faultsim.search.bits.beam import Beam
from faultsim.search.bits.choices import Choices, Pick
from faultsim.search.bits.flips import BitFlips
from faultsim.search.bits.frame import CellMethod, Changed, WorstCells, has_room, worst_cells
from faultsim.search.bits.ledger import CellRow
from faultsim.search.bits.levels import Levels
from faultsim.search.bits.limits import Flippable, Limits
from faultsim.search.bits.objective import EditObjective, Edits, ManyScorer, OneByOne
from faultsim.search.bits.progressive import ProgressiveBitSearch
from faultsim.search.bits.ranking import Width
from faultsim.search.bits.screen import Screen
from faultsim.search.bits.stuck import StuckDevices, StuckWords
from faultsim.search.bits.swap import Swap

__all__ = [
    "Aim",
    "Beam",
    "BitFlips",
    "CellMethod",
    "CellRow",
    "Changed",
    "Choices",
    "EditObjective",
    "Edits",
    "Flippable",
    "Judged",
    "Levels",
    "Limits",
    "ManyScorer",
    "OneByOne",
    "Pick",
    "ProgressiveBitSearch",
    "Screen",
    "Stealthy",
    "StuckDevices",
    "StuckWords",
    "Swap",
    "Targeted",
    "Untargeted",
    "Width",
    "WorstCells",
    "has_room",
    "worst_cells",
]
