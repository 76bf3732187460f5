"""Runs the laws of `faultsim.inference` in a network. Names only."""

from faultsim.engine.inference.calibrate import calibrate
from faultsim.engine.inference.chip import Chip
from faultsim.engine.inference.layers import Layers, MatrixLayer, find_layers

__all__ = ["Chip", "Layers", "MatrixLayer", "calibrate", "find_layers"]
