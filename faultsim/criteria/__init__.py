"""Requirements on a result: parsed, measured, judged. Only names are handed on here."""

from faultsim.criteria.judge import judge, judge_all
from faultsim.criteria.measure import Measured, measure
from faultsim.criteria.parse import METRICS, Criterion, Metric, parse_criteria, parse_criterion

__all__ = [
    "METRICS",
    "Criterion",
    "Measured",
    "Metric",
    "judge",
    "judge_all",
    "measure",
    "parse_criteria",
    "parse_criterion",
]
