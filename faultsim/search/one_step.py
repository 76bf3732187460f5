"""`OneStep`: the paper's search, the closed-form maximiser of the gradient at the clean network."""

from dataclasses import dataclass

from faultsim.constraints import NoMaximiserError
from faultsim.search.objective import Loss
from faultsim.search.probe import Probe


@dataclass(frozen=True)
class OneStep:
    """One gradient, one candidate: the worst corruption if the loss were linear.

    Neither an upper bound nor always worse than random noise: a start, not the answer.

    References:
        Sun, Zhang et al. AAAI 2021, arXiv 2006.05620, eq. 5 and 10 (denominators corrected).
    """

    loss: Loss = "cross_entropy"

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "one_step" if self.loss == "cross_entropy" else f"one_step_{self.loss}"

    def search(self, probe: Probe, restarts: int) -> None:
        """Propose the maximiser; nothing where the gradient is zero or not finite."""
        gradient = probe.gradient(None, self.loss)
        if not gradient.usable:
            return
        try:
            probe.score(probe.constraint.argmax(gradient.grads))
        except NoMaximiserError:
            return
