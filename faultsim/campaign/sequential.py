"""The values that a stop rule looks at, and the confidence sequence for them."""

import numpy as np
from numpy.typing import NDArray

from faultsim.campaign.screened import changed_shares
from faultsim.journal import Table
from faultsim.stats.betting import BettingSequence
from faultsim.stats.difference import screened_values
from faultsim.stats.sequences import BernoulliSequence, Sequence
from faultsim.stats.stopping import StopRule


def make_sequence(rule: StopRule, population: int | None) -> Sequence:
    """Return the sequence for a rule's quantity.

    Args:
        rule: The rule; its level is the sequence's.
        population: Different faults where none is drawn twice; None: trials are independent.
    """
    if population is None and rule.quantity == "critical":
        return BernoulliSequence(level=rule.level)
    return BettingSequence(level=rule.level, population=population)


def values_of(rule: StopRule, rows: Table) -> NDArray[np.float64]:
    """Return the rule's quantity of each row: 0 or 1 for ``critical``, else a share of the units."""
    if "whole" in (rows.dtype.names or ()):  # screened, for which the quantity is "sdc"
        return screened_values(*changed_shares(rows)) if len(rows) else np.empty(0)
    if rule.quantity == "critical":
        return (rows["mismatch"] > 0).astype(np.float64)
    part = rows["mismatch"] if rule.quantity == "sdc" else rows["correct"]
    return np.asarray(part / np.maximum(rows["n"], 1), dtype=np.float64)
