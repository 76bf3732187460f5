"""Trials whose faults have a place of their own, but no exact way on from there: screened all the same.

The faulty channels of such a trial are rounded otherwise than in a whole pass, which a screen does not mind: it asks
how far they are from the clean ones. The images that have to be evaluated take whole passes, of the trial's numbers.
So its counts are exact; only no image of it is known to be unchanged bit by bit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.evaluate import Scorer
from faultsim.engine.screen.trial import Trial
from faultsim.engine.screen.verdicts import Evaluated, Verdicts
from faultsim.engine.sweep.routes import Needs, Patch, Route, Router
from faultsim.engine.sweep.spans import grouped
from faultsim.errors import FaultsimError

Array = NDArray[Any]
SLICED_SHARE = 0.25
"""Faults in more channels than this share of a layer take the whole layer."""
LEAST = 16
"""Rows of a pass, at least: kernels for a few rows may round otherwise."""
ROOM_BYTES = 1 << 28
"""Inputs of images that wait for their passes take at most so many bytes, however large the memory is."""


def inexact_way(router: Router, patch: Patch) -> Route | None:
    """Return how to get near the faulty channels of a trial; None where its faults have no place of their own."""
    if len(patch) != 1:
        return None
    ((site, faults),) = patch.items()
    if site not in router.flow.initializers:
        return None
    entry = router.entry(site)
    if entry is None or not entry.tail.nodes:
        return None
    needs = Needs(entry.plain)
    if not router.exact_run(needs):
        return None
    channels = entry.channels_of(faults)
    if 0 < len(channels) <= max(SLICED_SHARE * entry.join.channels, 1):
        return Route("slice", needs, entry, channels=tuple(channels))
    return Route("layer", needs, entry)


def evaluate_apart(
    scorer: Scorer,
    trials: Sequence[Trial],
    dense: Callable[[Patch], Mapping[str, Array]],
    verdicts: Verdicts,
    *,
    room_bytes: int = ROOM_BYTES,
) -> None:
    """Evaluate the sampled images of each trial by passes over these images alone; one that cannot be has `failed`.

    Args:
        scorer: The task.
        trials: Trials whose images have been parted.
        dense: Gives the numbers of a chip.
        verdicts: Take the outputs.
        room_bytes: For the inputs of images that wait for their passes; those of one trial always have room.
    """
    size = sum(one[:1].nbytes for one in scorer.data.inputs(0, 1).values())
    for group in grouped(trials, lambda one: size * sum(kept.images.size for kept in one.samples), room_bytes):
        found = _inputs(scorer, group)
        for trial, (parts, feeds) in zip(group, found, strict=True):
            count = sum(one.images.size for one in parts)
            if count == 0:
                continue
            try:
                run = scorer.runner.open(dense(trial.patch))
                outputs = []
                for start in range(0, count, scorer.batch_size):
                    rows = np.arange(start, min(start + scorer.batch_size, count))
                    wide = np.resize(rows, max(rows.size, LEAST))
                    outputs.append(run({name: one[wide] for name, one in feeds.items()})[: rows.size])
                verdicts.count(parts, np.concatenate(outputs))
            except (FaultsimError, MemoryError):
                trial.failed = True


def _inputs(scorer: Scorer, group: Sequence[Trial]) -> list[tuple[list[Evaluated], dict[str, Array]]]:
    """Return for each trial its images, and their inputs in the same order; the data are read once."""
    pieces: list[list[tuple[Evaluated, dict[str, Array]]]] = [[] for _ in group]
    for batch in scorer.batches():
        for own, trial in zip(pieces, group, strict=True):
            for kept in trial.samples:
                here = kept.images[(kept.images >= batch.start) & (kept.images < batch.stop)]
                if here.size:
                    rows = {name: one[here - batch.start] for name, one in batch.inputs.items()}
                    own.append((Evaluated(trial, kept, here), rows))
    return [
        (
            [one for one, _ in own],
            {name: np.concatenate([rows[name] for _, rows in own]) for name in (own[0][1] if own else ())},
        )
        for own in pieces
    ]
