"""The memory between a model and its bits: where they lie, and what a code corrects. Names only."""

from faultsim.memory.code import Code, Decoded, OnDue, make_code
from faultsim.memory.ecc import CheckFormat, Corrected, check_store, code_words, correct
from faultsim.memory.geometry import Geometry, Place
from faultsim.memory.layout import CHECKS, MemoryMap, Owner, Pattern, Runs
from faultsim.memory.residual import Clusters, Outcomes, residual_ber, residual_of_cluster, word_outcomes

__all__ = [
    "CHECKS",
    "CheckFormat",
    "Clusters",
    "Code",
    "Corrected",
    "Decoded",
    "Geometry",
    "MemoryMap",
    "OnDue",
    "Outcomes",
    "Owner",
    "Pattern",
    "Place",
    "Runs",
    "check_store",
    "code_words",
    "correct",
    "make_code",
    "residual_ber",
    "residual_of_cluster",
    "word_outcomes",
]
