"""The deployed graph on torch: load, run, differentiate, check against onnxruntime, write numbers back."""

from faultsim.model.check import Agreement, check_agreement
from faultsim.model.load import load_model
from faultsim.model.model import Model

__all__ = ["Agreement", "Model", "check_agreement", "load_model"]
