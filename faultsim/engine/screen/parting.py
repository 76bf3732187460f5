"""`part_images`: the first pass of a screen over a batch. Nothing is evaluated to the end of the graph here."""

from collections.abc import Iterator, Sequence
from typing import Any

from faultsim.engine.screen.reservoir import Rows
from faultsim.engine.screen.strata import Screen, Strata
from faultsim.engine.screen.trial import Trial
from faultsim.engine.sweep.entering import most_channels
from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.spans import grouped
from faultsim.errors import FaultsimError


def part_images(entry: Entry, members: Sequence[Trial], batch: Any, screen: Screen) -> None:
    """Part the images of a batch for the trials of an entry, and keep what may be evaluated; one that fails says so."""
    axis, start = entry.join.axis, batch.judge.start
    sliced = [one for one in members if one.places is not None and not one.failed]
    most = most_channels(entry, len(batch.judge))
    for chunk in grouped(sliced, lambda one: len(one.route.channels), most):
        for trial, own in _slices(entry, chunk, batch):
            _offer(trial, start, own, screen, axis)
    for trial in members:
        if trial.places is None and not trial.failed:
            try:
                own = entry.whole(batch.clean, trial.faults)
            except (FaultsimError, MemoryError):
                trial.failed = True
                continue
            _offer(trial, start, own, screen, axis)


def _offer(trial: Trial, start: int, own: Rows, screen: Screen, axis: int) -> None:
    """Part the images of a batch for one trial."""
    strata = screen.part(own, axis, trial.places)
    if trial.exact:
        trial.offer(start, own, strata)
    else:  # rounded otherwise: no image is known to be unchanged, and none goes on from here
        trial.offer(start, {}, Strata(~strata.suspects, strata.suspects))


def _slices(entry: Entry, trials: Sequence[Trial], batch: Any) -> Iterator[tuple[Trial, Rows]]:
    """Yield the faulty channels of each trial; where the call fails, of each by itself, or it has `failed`."""
    try:
        found = entry.slice(batch.clean, [one for trial in trials for one in trial.route.channels])
    except (FaultsimError, MemoryError):
        if len(trials) == 1:
            trials[0].failed = True
            return
        for trial in trials:
            yield from _slices(entry, [trial], batch)
        return
    at = 0
    for trial in trials:
        part = (*(slice(None),) * entry.join.axis, slice(at, at + len(trial.route.channels)))
        at += len(trial.route.channels)
        yield trial, {name: one[part] for name, one in found.items()}
