"""Rules: how far each op's output can move. One file a family; importing this folder fills the table."""

from faultsim.certify.rules import arithmetic, linear, movement, norm, pointwise, pooling
from faultsim.certify.rules.base import RULES, Compute, check_width, refuse

__all__ = [
    "RULES",
    "Compute",
    "arithmetic",
    "check_width",
    "linear",
    "movement",
    "norm",
    "pointwise",
    "pooling",
    "refuse",
]
