"""Worst-case search: which corruption of a set does most damage. Searches propose, the frame disposes."""

from faultsim.search.fixed_point import FixedPoint
from faultsim.search.frame import WorstCase, methods_for, worst_case
from faultsim.search.greedy import Greedy
from faultsim.search.objective import COUNTED, Gradient, Loss, Objective, Score
from faultsim.search.one_step import OneStep
from faultsim.search.probe import BudgetSpentError, Candidate, Method, Probe, TraceRow
from faultsim.search.projected_gradient import ProjectedGradient
from faultsim.search.random_points import RandomPoints
from faultsim.search.swap import Swap
from faultsim.search.vertices import Vertices

__all__ = [
    "COUNTED",
    "BudgetSpentError",
    "Candidate",
    "FixedPoint",
    "Gradient",
    "Greedy",
    "Loss",
    "Method",
    "Objective",
    "OneStep",
    "Probe",
    "ProjectedGradient",
    "RandomPoints",
    "Score",
    "Swap",
    "TraceRow",
    "Vertices",
    "WorstCase",
    "methods_for",
    "worst_case",
]
