"""`RandomPoints`: random corruptions of the same set. Where the loss curves, they beat a gradient step."""

from dataclasses import dataclass

from faultsim.search.probe import Probe


@dataclass(frozen=True)
class RandomPoints:
    """Forward passes alone; the way out where the gradient is zero.

    Attributes:
        trials: How many, at least 0.
    """

    trials: int = 20

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "random_points"

    def search(self, probe: Probe, restarts: int) -> None:
        """Propose the random corruptions."""
        for _ in range(self.trials):
            probe.score(probe.random())
