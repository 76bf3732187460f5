"""Laws of faults that act while the network runs. Names only; NumPy only: `engine.inference` runs them."""

from faultsim.inference.activation_storage import ActivationLaw, ActivationStorage
from faultsim.inference.activation_upset import ActivationUpset, Upset
from faultsim.inference.additive_noise import InputNoise, OutputNoise
from faultsim.inference.base import INFERENCE_LAWS, Effect, InferenceLaw, LayerLaw, fault_free, register
from faultsim.inference.calibration import ActivationRange, Calibration, LayerRange, Magnitudes, SampleAxis, Uncovered
from faultsim.inference.converter import Converter, steps_of
from faultsim.inference.place import Place
from faultsim.inference.stuck_output import StuckOutput, broken_elements
from faultsim.inference.weight_read_noise import WeightReadNoise

__all__ = [
    "INFERENCE_LAWS",
    "ActivationLaw",
    "ActivationRange",
    "ActivationStorage",
    "ActivationUpset",
    "Calibration",
    "Converter",
    "Effect",
    "InferenceLaw",
    "InputNoise",
    "LayerLaw",
    "LayerRange",
    "Magnitudes",
    "OutputNoise",
    "Place",
    "SampleAxis",
    "StuckOutput",
    "Uncovered",
    "Upset",
    "WeightReadNoise",
    "broken_elements",
    "fault_free",
    "register",
    "steps_of",
]
