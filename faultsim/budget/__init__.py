"""What a mechanism may do as corruption sets (p, eps, n). Names only; formulas are in the files beside."""

from faultsim.budget.base import Budget
from faultsim.budget.bits import bit_errors, flip_sizes, secded_ber, secded_word_failure, stored_bits, upsets
from faultsim.budget.cells import level_confusion, stuck_pair
from faultsim.budget.compound import compound_quantile, poisson_quantile
from faultsim.budget.dense import converter, drift_gain, drift_radius, gaussian, lognormal_radius

__all__ = [
    "Budget",
    "bit_errors",
    "compound_quantile",
    "converter",
    "drift_gain",
    "drift_radius",
    "flip_sizes",
    "gaussian",
    "level_confusion",
    "lognormal_radius",
    "poisson_quantile",
    "secded_ber",
    "secded_word_failure",
    "stored_bits",
    "stuck_pair",
    "upsets",
]
