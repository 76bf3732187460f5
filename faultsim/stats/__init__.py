"""Intervals that the results carry: proportions, means, quantiles over chips. Only names are handed on.

What plans, stratifies, stops, audits and compares campaigns is imported from its own module: parts of it load
scipy.stats, which takes longer than all the rest.
"""

from faultsim.stats.estimate import Estimate, QuantileEstimate
from faultsim.stats.means import bootstrap_mean, t_interval
from faultsim.stats.proportions import clopper_pearson, wilson, yield_estimate
from faultsim.stats.quantiles import quantile_estimate, trials_for_quantile

__all__ = [
    "Estimate",
    "QuantileEstimate",
    "bootstrap_mean",
    "clopper_pearson",
    "quantile_estimate",
    "t_interval",
    "trials_for_quantile",
    "wilson",
    "yield_estimate",
]
