"""`Trial`: one trial on its way through the two passes of a screen: its route, its samples, its counts."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.screen.reservoir import Reservoir, Rows, priorities
from faultsim.engine.screen.strata import Strata
from faultsim.engine.screen.tally import ScreenedTally
from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.golden import bytes_per_sample
from faultsim.engine.sweep.routes import Needs, Patch, Route
from faultsim.engine.sweep.slices import Sparse


class Trial:
    """A trial with an entry into the graph.

    Attributes:
        patch: What is wrong.
        entry: Where it enters.
        route: Its way; a slice or a layer.
        places: The channels of each tensor of the boundary that are faulty; None where all are taken.
        exact: Whether that way gives the bits of a whole pass; else see `apart.py`.
        failed: Whether it turned out that the way cannot be computed.
        screened: The images to be audited.
        suspects: The images to be evaluated.
    """

    def __init__(
        self,
        patch: Patch,
        entry: Entry,
        route: Route,
        *,
        exact: bool,
        seed: int,
        number: int,
        images: int,
        audit: int,
        suspects: int,
    ) -> None:
        self.patch = patch
        self.entry = entry
        self.route = route
        self.exact = exact
        self.places: dict[str, list[int]] | None = None
        if route.kind == "slice":
            channels = [one.number for one in route.channels]
            self.places = {name: [c + offset for c in channels] for name, offset in entry.join.boundary.items()}
        self._key, self._images, self._rooms = (seed, number), images, (audit, suspects)
        self.restart()

    def restart(self) -> None:
        """Forget what was found, for another try."""
        audit, suspects = self._rooms
        self.failed = False
        self.screened, self.suspects = Reservoir(audit), Reservoir(suspects)
        self._order: NDArray[np.float64] | None = None
        self._counts = {id(self.screened): np.zeros(4, np.int64), id(self.suspects): np.zeros(4, np.int64)}

    def let_go(self) -> None:
        """Give the memory of what waited back; the numbers of the sampled images and the counts stay."""
        self._order = None
        for kept in self.samples:
            kept.rows = {}

    @property
    def waiting_bytes(self) -> int:
        """Most memory that it takes until its images are evaluated: their priorities, and the rows of both samples."""
        order = np.dtype(np.float64).itemsize * self._images
        if not self.exact:  # its images take whole passes, from their inputs on
            return order
        row = 0
        for name in self.entry.boundary:
            whole = bytes_per_sample(self.entry.types, [name])
            if self.places is not None:
                shape = self.entry.types[name].shape
                whole = whole // max(shape[self.entry.join.axis - 1], 1) * len(self.places[name])
            row += whole
        return order + row * min(sum(self._rooms), self._images)

    @property
    def samples(self) -> tuple[Reservoir, Reservoir]:
        """Both samples."""
        return self.screened, self.suspects

    @property
    def faults(self) -> Sparse:
        """The faults in its one tensor."""
        (faults,) = self.patch.values()
        return faults

    def offer(self, start: int, found: Rows, strata: Strata) -> None:
        """Take in a batch whose first image is number *start*."""
        if self._order is None:
            self._order = priorities(*self._key, self._images)
        for kept, mask in ((self.screened, strata.screened), (self.suspects, strata.suspects)):
            here = np.flatnonzero(mask)
            if here.size:

                def cut(at: NDArray[np.int64], here: NDArray[np.int64] = here) -> Rows:
                    return {name: one[here[at]] for name, one in found.items()}

                kept.offer(here + start, self._order[here + start], cut)

    def add(
        self, kept: Reservoir, *, mismatch: NDArray[np.int64], change: NDArray[np.int64], nonfinite: NDArray[np.int64]
    ) -> None:
        """Count evaluated images of one of its samples.

        Args:
            kept: The sample.
            mismatch: Whether each image's prediction changes.
            change: Whether its answer became right (1) or wrong (-1).
            nonfinite: Whether its output is not finite.
        """
        self._counts[id(kept)] += [mismatch.size, int(mismatch.sum()), int(change.sum()), int(nonfinite.sum())]

    def tally(self, images: int, clean_correct: int) -> ScreenedTally:
        """Return the counts of a data set of *images*."""
        audit, suspect = (self._counts[id(kept)].tolist() for kept in self.samples)
        return ScreenedTally(
            n=images,
            unchanged=images - self.screened.seen - self.suspects.seen,
            screened=self.screened.seen,
            audited=audit[0],
            suspects=self.suspects.seen,
            evaluated=suspect[0],
            audit_mismatch=audit[1],
            mismatch=suspect[1],
            audit_correct=audit[2],
            correct=suspect[2],
            clean_correct=clean_correct,
            nonfinite=audit[3] + suspect[3],
        )


def by_entry(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Return trials by the place where they enter."""
    entries: dict[int, list[Trial]] = {}
    for one in trials:
        entries.setdefault(id(one.entry), []).append(one)
    return list(entries.values())


def needs_of(trials: Iterable[Trial]) -> Needs:
    """Return the clean activations that trials need, together."""
    found = Needs()
    for one in trials:
        found |= one.route.needs
    return found
