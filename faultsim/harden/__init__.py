"""Hardening: train a deployed graph against a chip and hand back the same graph. Only names are handed on here.

The module itself can be called, as the function `harden`: ``faultsim.harden(...)`` works whether or not the package
of that name has been imported before.
"""

import sys
from types import ModuleType

from faultsim.harden.ball import Ball
from faultsim.harden.clipping import WeightClipping
from faultsim.harden.hardening import Hardening
from faultsim.harden.losses import (
    CorruptionResistant,
    GradientL1,
    GradientRegularised,
    Plain,
    SharpnessAware,
)
from faultsim.harden.module import Written, into_module
from faultsim.harden.noise import BitSliceL1, NoiseAware, RandomBitErrors
from faultsim.harden.options import Training
from faultsim.harden.run import Hardened, harden
from faultsim.harden.together import Together
from faultsim.harden.trainable import Trainable

__all__ = [
    "Ball",
    "BitSliceL1",
    "CorruptionResistant",
    "GradientL1",
    "GradientRegularised",
    "Hardened",
    "Hardening",
    "NoiseAware",
    "Plain",
    "RandomBitErrors",
    "SharpnessAware",
    "Together",
    "Trainable",
    "Training",
    "WeightClipping",
    "Written",
    "harden",
    "into_module",
]


class _Callable(ModuleType):
    __call__ = staticmethod(harden)


sys.modules[__name__].__class__ = _Callable
