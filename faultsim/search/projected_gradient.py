"""`ProjectedGradient`: many small steps with momentum, each the steepest for its norm, projected."""

from dataclasses import dataclass

from faultsim.constraints import NoMaximiserError
from faultsim.search.fixed_point import mix, unit
from faultsim.search.objective import Loss
from faultsim.search.probe import Candidate, Probe

LEAST_STEPS = 10
"""Steps below which another start is not worth its gradients."""


@dataclass(frozen=True)
class ProjectedGradient:
    """Projected gradient ascent: sign steps for p = inf, normalised gradients for p = 2, else the solver.

    For sets in which most elements may move: with n ≪ k all steps tie and the projection picks at random, so
    there it is of no use. At large eps on dense sets it can beat `FixedPoint`.

    Attributes:
        loss: What is raised.
        steps: Most gradients from one start, at least 1; fewer where the budget ends first.
        reach: Length of all steps together, in radii of the set, more than 1.
        momentum: Part of the last direction that is kept, 0 to below 1.
    """

    loss: Loss = "cross_entropy"
    steps: int = 50
    reach: float = 2.5
    momentum: float = 0.5

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "projected_gradient" if self.loss == "cross_entropy" else f"projected_gradient_{self.loss}"

    def search(self, probe: Probe, restarts: int) -> None:
        """Ascend from the clean network; from *restarts* random corruptions too, as far as gradients are left."""
        self._ascend(probe, None)
        for _ in range(restarts):
            if probe.gradients_left < min(self.steps, LEAST_STEPS):
                probe.miss_starts()
                return
            self._ascend(probe, probe.score(probe.random()))

    def _ascend(self, probe: Probe, start: Candidate | None) -> None:
        at = None if start is None else start.delta
        steps = min(self.steps, probe.gradients_left + (start is None))
        steepest, direction = probe.constraint.dense(), None
        for _ in range(steps):
            gradient = probe.gradient(at, self.loss)
            if not gradient.usable:
                return
            fresh = unit(gradient.grads, probe)
            direction = fresh if direction is None else mix(direction, fresh, 1 - self.momentum)
            try:
                step = steepest.argmax(direction)
            except NoMaximiserError:
                return
            length = self.reach / steps
            here = probe.zero() if at is None else at
            at = probe.score({name: here[name] + length * step[name] for name in step}).delta
