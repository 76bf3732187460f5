"""`Swap`: take elements out of the best support found so far, put others in, judge by the true loss."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints import Floats
from faultsim.search.objective import Loss
from faultsim.search.probe import Candidate, Probe
from faultsim.search.sparse import Elements, largest

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Swap:
    """Local search around the best candidate so far, of whichever method; around the one-step attack where none is.

    Each round takes one gradient there. Elements with the least benefit g_i·a_i leave, those with the largest
    gain outside join: half the support at once, a quarter, …, and then single pairs; the best rise is kept.

    Attributes:
        loss: What is raised.
        leaving: How many of the least useful elements are tried as the one that leaves, at least 1.
        joining: How many from outside are tried in its place, at least 1.
        rounds: Most rounds, at least 1.
    """

    loss: Loss = "cross_entropy"
    leaving: int = 6
    joining: int = 8
    rounds: int = 20

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "swap" if self.loss == "cross_entropy" else f"swap_{self.loss}"

    def search(self, probe: Probe, restarts: int) -> None:
        """Swap until no swap raises the loss."""
        at = probe.worst if self.loss == "cross_entropy" else probe.least_accurate
        if at.method == "none":
            start = probe.gradient(None, self.loss)
            if not start.usable:
                return
            at = probe.score(probe.constraint.argmax(start.grads))
        if not at.score.finite:
            return
        elements = Elements(probe)
        for _ in range(self.rounds):
            gradient = probe.gradient(at.delta, self.loss)
            if not gradient.usable:
                return
            slope = probe.layout.flatten(gradient.grads)
            gain = slope * elements.alone(slope)
            better = self._round(probe, elements, at, slope, gain)
            if better is None:
                return
            at = better

    def _round(self, probe: Probe, elements: Elements, at: Candidate, slope: Floats, gain: Floats) -> Candidate | None:
        moved = probe.layout.flatten(at.delta)
        inside = np.flatnonzero(moved)
        if not inside.size:
            return None
        direction = elements.direction_of(at.delta)
        benefit = (slope * moved)[inside]
        outside = gain.copy()
        outside[inside] = 0.0
        weakest = inside[np.argsort(benefit, kind="stable")]
        joining = largest(outside, max(inside.size, self.joining))
        joining = joining[outside[joining] > 0]
        best: Candidate | None = None
        value = at.score.rank(self.loss)
        spare = elements.limit - inside.size
        strength = float(np.median(np.abs(direction[inside])))
        for out, into in self._exchanges(weakest, joining, spare):
            trial = direction.copy()
            trial[out] = 0.0
            trial[into] = np.sign(slope[into]) * strength
            candidate = probe.score(elements.propose(trial))
            if candidate.score.rank(self.loss) > value:
                best, value = candidate, candidate.score.rank(self.loss)
        return best

    def _exchanges(self, weakest: Indices, joining: Indices, spare: int) -> Iterator[tuple[Indices, Indices]]:
        """Yield which elements leave and which join: large parts, then pairs, then one that only leaves."""
        size = weakest.size // 2
        while size > 1:
            yield weakest[:size], joining[: size + spare]
            size //= 2
        if spare and joining.size:
            yield weakest[:0], joining[:spare]
        for leaver in range(min(self.leaving, weakest.size)):
            for joiner in range(min(self.joining, joining.size)):
                yield weakest[leaver : leaver + 1], joining[joiner : joiner + 1]
        for leaver in range(min(self.leaving, weakest.size - 1)):
            yield weakest[leaver : leaver + 1], joining[:0]
