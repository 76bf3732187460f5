"""The most harmful trials that were drawn, with what was flipped in them. A search for worse ones lives elsewhere."""

import math

import numpy as np

from faultsim.campaign.bits import field_of
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.patches import flipped
from faultsim.campaign.recipe import Prepared
from faultsim.campaign.screened import changed_shares
from faultsim.journal import Table
from faultsim.results.injection import FlippedBit, WorstTrial
from faultsim.stats.difference import screened_values

_SHOWN = 8
"""Flips of one trial that are named."""
_MOST_BYTES = 256 << 20


def worst_trials(prepared: Prepared, rows: Table, count: int) -> tuple[WorstTrial, ...]:
    """Return the trials that changed most predictions, the worst first; ties by correct answers, loss, then number."""
    loss = np.where(np.isnan(rows["loss"]), np.inf, rows["loss"])
    order = np.lexsort((rows["trial"], -loss, rows["correct"], -rows["mismatch"]))[:count]
    return tuple(_trial(prepared, rows[i]) for i in order.tolist())


def worst_screened(prepared: Prepared, rows: Table, count: int, *, memory_bytes: int) -> tuple[WorstTrial, ...]:
    """Return the same for screened trials: those of the largest estimates, evaluated on every image."""
    order = np.lexsort((rows["trial"], -screened_values(*changed_shares(rows))))[:count]
    trials = rows["trial"][order].tolist()
    exact = prepared.whole(trials, memory_bytes=min(memory_bytes, _MOST_BYTES))
    return worst_trials(prepared, np.array([tuple(row) for row in exact], dtype=COLUMNS.dtype), count)


def _trial(prepared: Prepared, row: np.void) -> WorstTrial:
    draws, setting = prepared.draws, prepared.setting
    faults = draws.faults([int(row["trial"])])
    shown = []
    for site, element, bit in zip(*(part[0, :_SHOWN].tolist() for part in faults), strict=True):
        one = setting.stored[draws.population.regions[site].site]
        wrong = flipped(one, np.array([element]), np.array([1 << bit], dtype=np.uint64))
        shown.append(
            FlippedBit(
                site=one.site.name,
                element=element,
                index=tuple(int(i) for i in np.unravel_index(element, one.site.shape)),
                bit=bit,
                field=field_of(one.format, bit),
                before=float(one.values.reshape(-1)[element]),
                after=float(wrong[0]),
            )
        )
    loss = float(row["loss"])
    return WorstTrial(
        trial=int(row["trial"]),
        faults=tuple(shown),
        flips=draws.flips,
        n=int(row["n"]),
        correct=int(row["correct"]),
        mismatch=int(row["mismatch"]),
        nonfinite=int(row["nonfinite"]),
        loss=loss if math.isfinite(loss) else None,
    )
