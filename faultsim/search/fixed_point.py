"""`FixedPoint`: the closed form again and again, each time with the gradient at the last corruption."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from faultsim.constraints import NoMaximiserError, Tensors
from faultsim.search.objective import Loss, Score
from faultsim.search.probe import Candidate, Probe
from faultsim.search.sparse import Elements

Start = Literal["clean", "worst", "least_accurate", "random"]
_TURNS = (1.0, 0.5, 0.25, 0.125)  # how far the direction turns to the new gradient, until the loss rises
_WIDE = (
    (2.0, 1.5, 1.0, 0.5),
    (0.25, 0.125),
)  # the best of the first ones, which turn beyond it too; else of the others
_MOVES = (0.5, 0.25, 0.125)  # how far the corruption itself moves to the new maximiser, if no turn helped


@dataclass(frozen=True)
class FixedPoint:
    """a <- argmax over the set of a·g(w + a), accepted where the loss rises, else damped.

    There is no step size to choose. Damping turns the direction before it is solved for, so a candidate
    spends the whole budget and keeps to *n* elements; only where that fails (p = 1 knows no half turn) the
    corruption itself moves part of the way.

    Attributes:
        loss: What is raised: cross-entropy for the largest loss; the margin and the smooth counts of errors for the
            lowest accuracy. None dominates.
        steps: Gradients from one start, at least 1.
        start: From where: the clean network, then random corruptions; or these alone; or what other searches have
            found worst by the loss, or by the accuracy.
        wide: Whether every step tries several turns, also beyond the new gradient, and takes the best: about half of
            the gradients for the same rise, at four forward passes each instead of one.
    """

    loss: Loss = "cross_entropy"
    steps: int = 10
    start: Start = "clean"
    wide: bool = False

    @property
    def name(self) -> str:
        """What the report calls it."""
        of = "" if self.loss == "cross_entropy" else f"_{self.loss}"
        return f"fixed_point{of}" if self.start == "clean" else f"fixed_point{of}_from_{self.start}"

    def search(self, probe: Probe, restarts: int) -> None:
        """Ascend from the start; from *restarts* random corruptions of the set as well, unless it was another's."""
        if self.start == "clean":
            self._ascend(probe, None)
        elif self.start != "random":
            best = probe.worst if self.start == "worst" else probe.least_accurate
            if best.method != "none" and best.score.finite:
                self._ascend(probe, best)
            return
        for _ in range(restarts):
            self._ascend(probe, probe.score(probe.random()))

    def _ascend(self, probe: Probe, start: Candidate | None) -> None:
        at = None if start is None else start.delta
        score = probe.clean if start is None else start.score
        direction = None if at is None else unit(probe.layout.split(Elements(probe).direction_of(at)), probe)
        for _ in range(self.steps):
            gradient = probe.gradient(at, self.loss)
            if not gradient.usable:
                return
            try:
                found = self._rise(probe, at, score, direction, unit(gradient.grads, probe))
            except NoMaximiserError:
                return
            if found is None:
                return
            candidate, direction = found
            at, score = candidate.delta, candidate.score

    def _rise(
        self, probe: Probe, at: Tensors | None, score: Score, old: Tensors | None, new: Tensors
    ) -> tuple[Candidate, Tensors] | None:
        """Return a candidate above *score*, and its direction; the first step of all is free."""
        if at is None:  # the maximiser at the clean network is taken even where it does not raise the loss
            return probe.score(probe.constraint.argmax(new)), new
        start = new if old is None else old
        for turns in _WIDE if self.wide else [(turn,) for turn in _TURNS]:
            best: tuple[Candidate, Tensors] | None = None
            for turn in turns:
                direction = mix(start, new, turn)
                candidate = probe.score(probe.constraint.argmax(direction))
                if candidate.score.rank(self.loss) > (score if best is None else best[0].score).rank(self.loss):
                    best = candidate, direction
            if best is not None:
                return best
        target = probe.constraint.argmax(new)
        for move in _MOVES:
            candidate = probe.score(mix(at, target, move))
            if candidate.score.rank(self.loss) > score.rank(self.loss):
                return candidate, new
        return None


def mix(old: Tensors, new: Tensors, part: float) -> Tensors:
    """Return (1 - part)·old + part·new, tensor by tensor."""
    return {name: (1 - part) * old[name] + part * array for name, array in new.items()}


def unit(grads: Tensors, probe: Probe) -> Tensors:
    """Return the gradient of the tensors that may move, divided by its 2-norm where that is not zero."""
    flat = probe.layout.flatten(grads)
    peak = float(np.abs(flat).max(initial=0.0))
    if peak > 0:
        flat /= peak
        flat /= float(np.linalg.norm(flat))
    return probe.layout.split(flat)
