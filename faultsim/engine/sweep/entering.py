"""`entered`: the trials of one entry, up to the boundary behind it. What becomes of the samples: `sweep.py`."""

from collections.abc import Sequence

import numpy as np

from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.golden import Clean, bytes_per_sample
from faultsim.engine.sweep.lanes import Members
from faultsim.engine.sweep.routes import Patch
from faultsim.engine.sweep.rows import Rows, Take
from faultsim.engine.sweep.spans import grouped

SLICE_BYTES = 1 << 25
"""A slice of channels takes at most so many bytes."""


def entered(entry: Entry, members: Members, patches: Sequence[Patch], clean: Clean, samples: int, take: Take) -> Rows:
    """Compute trials up to the boundary of *entry*, and as far as they fill calls behind it.

    Args:
        entry: Where their faults enter.
        members: The trials, each with its way: a slice or a layer.
        patches: What is wrong, by trial.
        clean: Clean activations of the batch.
        samples: Samples of the batch.
        take: Gets what is computed to the end.

    Returns:
        What waits behind the entry.
    """
    row = bytes_per_sample(entry.types, entry.boundary)
    rows = Rows(entry, clean, samples, take, most=min(entry.most(samples), SLICE_BYTES // max(row, 1)))
    sliced = [(t, route) for t, route in members if route.kind == "slice"]
    for chunk in grouped(sliced, lambda one: len(one[1].channels), most_channels(entry, samples)):
        channels = [one for _, route in chunk for one in route.channels]
        found = entry.slice(clean, channels)
        at = 0
        for t, route in chunk:
            rows.add_channels(t, found, at, [one.number for one in route.channels])
            at += len(route.channels)
    for t, route in members:
        if route.kind == "layer":
            (faults,) = patches[t].values()
            rows.add_whole(t, entry.whole(clean, faults))
    return rows


def most_channels(entry: Entry, samples: int) -> int:
    """Return how many channels of the boundary of *entry* a slice takes at most."""
    sizes = [bytes_per_sample(entry.types, [name]) for name in entry.boundary]
    one = max(sizes) // max(entry.join.channels, 1) * samples
    return int(np.clip(SLICE_BYTES // max(one, 1), 1, 64))
