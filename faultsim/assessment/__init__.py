"""The main job: one model on one chip, from the files to the result. Only names are handed on here."""

from faultsim.assessment.options import Options
from faultsim.assessment.run import assess

__all__ = ["Options", "assess"]
