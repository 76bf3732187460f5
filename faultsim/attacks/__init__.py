"""Worst cases of a deployed model on balls, boxes and cells, with a certificate where one is to be had; and probing.

Only names are handed on.
"""

from faultsim.attacks.options import Ball, Cells, Curve, Search
from faultsim.attacks.phases import StoppedEarlyError
from faultsim.attacks.probe_options import ProbeOptions
from faultsim.attacks.run import attack, probe

__all__ = ["Ball", "Cells", "Curve", "ProbeOptions", "Search", "StoppedEarlyError", "attack", "probe"]
