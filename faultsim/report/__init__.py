"""Results shown to people. Only names are handed on here."""

from faultsim.report.terminal import lines, render

__all__ = ["lines", "render"]
