"""Intervals that the results carry: proportions, means, quantiles over chips. Only names are handed on."""

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
