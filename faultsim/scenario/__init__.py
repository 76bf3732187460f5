"""Scenario files: cases from YAML, run one by one, each with its own result. Only names are handed on here."""

from faultsim.scenario.case import Case, fingerprint
from faultsim.scenario.run import run_cases
from faultsim.scenario.scenario import Scenario, parse_scenario

__all__ = ["Case", "Scenario", "fingerprint", "parse_scenario", "run_cases"]
