"""`Greedy`: one element after the other, each chosen by what it truly does to the loss. For n ≪ k."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints import Floats
from faultsim.search.objective import Loss
from faultsim.search.probe import Candidate, Probe
from faultsim.search.sparse import Elements, largest


@dataclass(frozen=True)
class Greedy:
    """Grow the support: rank elements by the gradient at the present corruption, score some, keep the best.

    Where the gradients do not last for one element each, several join at a time.

    Attributes:
        loss: What is raised.
        candidates: Forward passes spent on each choice, at least 1.
    """

    loss: Loss = "cross_entropy"
    candidates: int = 30

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "greedy" if self.loss == "cross_entropy" else f"greedy_{self.loss}"

    def search(self, probe: Probe, restarts: int) -> None:
        """Grow one support from nothing to the limit."""
        elements = Elements(probe)
        at: Candidate | None = None
        direction = np.zeros(probe.layout.elements)
        together = max(1, math.ceil(elements.limit / max(1, probe.gradients_left + 1)))
        while np.count_nonzero(direction) < elements.limit:
            gradient = probe.gradient(None if at is None else at.delta, self.loss)
            if not gradient.usable:
                return
            slope = probe.layout.flatten(gradient.grads)
            moved = direction != 0
            gain = elements.open(slope * elements.alone(slope), moved)
            ranked = np.union1d(largest(gain, self.candidates), elements.joining(gain, moved, together))
            ranked = ranked[np.lexsort((ranked, -gain[ranked]))]
            ranked = ranked[gain[ranked] > 0]
            if not ranked.size:
                return
            at = self._join(probe, elements, direction, slope, ranked, together)

    def _join(
        self,
        probe: Probe,
        elements: Elements,
        direction: Floats,
        slope: Floats,
        ranked: NDArray[np.intp],
        together: int,
    ) -> Candidate:
        """Put the best *together* of the ranked elements into *direction*; return its candidate."""
        scored: list[tuple[tuple[float, ...], int]] = []
        for rank, j in enumerate(ranked[: self.candidates]):
            direction[j] = slope[j]
            try:
                score = probe.score(elements.propose(direction)).score
                scored.append((tuple(-x for x in score.rank(self.loss)), rank))
            finally:
                direction[j] = 0.0
        order = [rank for _, rank in sorted(scored)] + list(range(len(scored), ranked.size))
        chosen = elements.fitting(ranked[order], direction != 0, together)
        direction[chosen] = slope[chosen]
        return probe.score(elements.propose(direction))
