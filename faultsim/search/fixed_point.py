"""`FixedPoint`: the closed form again and again, each time with the gradient at the last corruption."""

from dataclasses import dataclass

import numpy as np

from faultsim.constraints import NoMaximiserError, Tensors
from faultsim.search.objective import Loss
from faultsim.search.probe import Candidate, Probe

_TURNS = (1.0, 0.5, 0.25, 0.125)  # how far the direction turns to the new gradient, until the loss rises
_MOVES = (0.5, 0.25, 0.125)  # how far the corruption itself moves to the new maximiser, if no turn helped


@dataclass(frozen=True)
class FixedPoint:
    """a <- argmax over the set of a·g(w + a), accepted where the loss rises, else damped.

    There is no step size to choose. Damping turns the direction before it is solved for, so a candidate
    spends the whole budget and keeps to *n* elements; only where that fails (p = 1 knows no half turn) the
    corruption itself moves part of the way.

    Attributes:
        loss: What is raised: cross-entropy for the largest loss, margin for the lowest accuracy. Neither
            dominates.
        steps: Gradients from one start, at least 1.
    """

    loss: Loss = "cross_entropy"
    steps: int = 10

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "fixed_point" if self.loss == "cross_entropy" else "fixed_point_margin"

    def search(self, probe: Probe, restarts: int) -> None:
        """Ascend from the clean network, then from *restarts* random corruptions of the set."""
        self._ascend(probe, None)
        for _ in range(restarts):
            self._ascend(probe, probe.score(probe.random()))

    def _ascend(self, probe: Probe, start: Candidate | None) -> None:
        at = None if start is None else start.delta
        value = (probe.clean if start is None else start.score).value(self.loss)
        direction: Tensors | None = None
        for _ in range(self.steps):
            gradient = probe.gradient(at, self.loss)
            if not gradient.usable:
                return
            try:
                found = self._rise(probe, at, value, direction, unit(gradient.grads, probe))
            except NoMaximiserError:
                return
            if found is None:
                return
            candidate, direction = found
            at, value = candidate.delta, candidate.score.value(self.loss)

    def _rise(
        self, probe: Probe, at: Tensors | None, value: float, old: Tensors | None, new: Tensors
    ) -> tuple[Candidate, Tensors] | None:
        """Return the first candidate above *value*, and its direction; the first step of all is free."""
        if at is None:  # the maximiser at the clean network is taken even where it does not raise the loss
            return probe.score(probe.constraint.argmax(new)), new
        for turn in _TURNS if old is not None else _TURNS[:1]:
            direction = new if old is None else mix(old, new, turn)
            candidate = probe.score(probe.constraint.argmax(direction))
            if candidate.score.value(self.loss) > value:
                return candidate, direction
        target = probe.constraint.argmax(new)
        for move in _MOVES:
            candidate = probe.score(mix(at, target, move))
            if candidate.score.value(self.loss) > value:
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
