"""What a corruption may be: Lp/L0 sets of one array or several tensors, and what random testing sees."""

from faultsim.constraints.base import Block, Floats, NoMaximiserError, Shapes, Tensors, TensorSet
from faultsim.constraints.closed_form import argmax_lp_l0, dual_norm, lp_norm, top_n
from faultsim.constraints.layout import Layout
from faultsim.constraints.lp_l0 import LpL0
from faultsim.constraints.random_testing import (
    expected_best_share,
    log10_trials_for_even_chance,
    log_share_survival,
    share_cdf,
    share_density,
)
from faultsim.constraints.tensors import Global, PerTensor

__all__ = [
    "Block",
    "Floats",
    "Global",
    "Layout",
    "LpL0",
    "NoMaximiserError",
    "PerTensor",
    "Shapes",
    "TensorSet",
    "Tensors",
    "argmax_lp_l0",
    "dual_norm",
    "expected_best_share",
    "log10_trials_for_even_chance",
    "log_share_survival",
    "lp_norm",
    "share_cdf",
    "share_density",
    "top_n",
]
