"""`Vertices`: for p = 1 the corners of the set, one element with the whole budget, tried one by one."""

from dataclasses import dataclass

import numpy as np

from faultsim.constraints import Floats, Layout, NoMaximiserError, Tensors
from faultsim.search.objective import Loss
from faultsim.search.probe import Candidate, Probe
from faultsim.search.sparse import Elements, largest


@dataclass(frozen=True)
class Vertices:
    """Score the corners ±eps·e_j with the largest gradients, both ways, and a sample of all the others.

    The gradient is a poor guide over the distance of a whole budget: in the reference network the worst
    corner at eps = 1 does three times the damage of the first in rank. With *candidates* ``None`` it is
    exhaustive.

    Attributes:
        loss: What ranks the elements, and decides between the corners of one budget.
        candidates: Elements tried for each budget, half by rank and half at random; ``None`` for all.
    """

    loss: Loss = "cross_entropy"
    candidates: int | None = 128

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "vertices" if self.loss == "cross_entropy" else f"vertices_{self.loss}"

    def search(self, probe: Probe, restarts: int) -> None:
        """Try the corners of one budget after the other, each beside the best of those before."""
        slope = np.nan_to_num(probe.layout.flatten(probe.gradient(None, self.loss).grads))
        gain = probe.layout.split(np.abs(slope * Elements(probe).alone(slope)))
        at = Candidate(probe.zero(), probe.clean, self.name)
        for names, _ in probe.constraint.blocks:
            layout = Layout.of(gain, names)
            best = at
            for j in self._chosen(probe, layout.flatten(gain)):
                for sign in (1.0, -1.0):
                    corner = self._corner(probe, layout, j, sign)
                    if corner is None:
                        continue
                    candidate = probe.score({**at.delta, **corner})
                    if candidate.score.rank(self.loss) > best.score.rank(self.loss):
                        best = candidate
            at = best

    def _corner(self, probe: Probe, layout: Layout, element: int, sign: float) -> Tensors | None:
        """Return what the budget of *layout* does with one element alone; ``None`` where that cannot move."""
        direction = np.zeros(layout.elements)
        direction[element] = sign
        try:
            whole = probe.constraint.argmax({**probe.zero(), **layout.split(direction)})
        except NoMaximiserError:
            return None
        return {name: whole[name] for name in layout.names}

    def _chosen(self, probe: Probe, gain: Floats) -> list[int]:
        if self.candidates is None or self.candidates >= gain.size:
            return [int(j) for j in largest(gain, gain.size)]
        ranked = largest(gain, self.candidates - self.candidates // 2).tolist()
        others = np.setdiff1d(probe.rng.choice(gain.size, self.candidates, replace=False), ranked)
        return [*ranked, *(int(j) for j in probe.rng.permutation(others)[: self.candidates // 2])]
