"""`ProgressiveBitSearch`: the published bit-flip attack to the letter, as the yardstick of the other searches.

References:
    .. [Rakin2019] A. S. Rakin, Z. He, D. Fan. Bit-Flip Attack: Crushing Neural Network with Progressive Bit Search.
       ICCV 2019, arXiv 1903.12269, §3.2: in-layer search by the gradients of the bits, cross-layer search by the loss.
    .. [BFA] elliothe/BFA, ``attack/BFA.py``, commit 3ff05b6: the authors' code.
"""

from dataclasses import dataclass

import numpy as np

from faultsim.errors import OptionError
from faultsim.search.bits.choices import Pick
from faultsim.search.bits.ledger import Candidate, Ledger
from faultsim.search.bits.limits import Sites
from faultsim.search.bits.ranking import State, Width, candidates, moves
from faultsim.search.objective import Gradient


@dataclass(frozen=True, kw_only=True)
class ProgressiveBitSearch:
    """One gradient an iteration; each layer elects its bits of the largest |gradient|; the layer of most loss wins.

    Only a bit whose flip goes up its gradient can be elected. Where no layer's bits raise the loss, each elects one
    more ([BFA]_ ``n_bits2flip``), and the winner flips them all.

    Attributes:
        elements: Elements of each layer with the largest |gradient| whose bits stand for election, 10 in [BFA]_;
            ``None`` for all, as in [Rakin2019]_.

    Raises:
        OptionError: If *elements* is below 1.
    """

    elements: int | None = None

    def __post_init__(self) -> None:
        if self.elements is not None and self.elements < 1:
            raise OptionError(
                f"ProgressiveBitSearch.elements is {self.elements}, it must be at least 1; or None for all"
            )

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "progressive_bit_search"

    def search(self, ledger: Ledger, cells: int) -> None:
        """Flip bits until there are *cells* of them, the goal is reached, no layer has a bit or no gradient is left."""
        at = ledger.judge([frozenset()])[0]
        while len(at.state) < cells and at.judged.accuracy > ledger.goal and ledger.gradients_left >= 1:
            following = self._iterate(ledger, at, cells)
            if following is None:
                return
            at = following

    def _iterate(self, ledger: Ledger, at: Candidate, cells: int) -> Candidate | None:
        gradient = ledger.gradient(at.state, ledger.aim.losses[0])
        if not gradient.usable:
            return None
        elected: dict[str, list[State]] = {}
        for name in ledger.sites.choices:
            slope = np.asarray(gradient.grads[name], dtype=np.float64)
            if self.elements is not None and self.elements < slope.size:
                flat = np.abs(slope).reshape(-1)
                standing = np.lexsort((np.arange(flat.size), -flat))[: self.elements]
                slope = np.where(np.isin(np.arange(flat.size), standing).reshape(slope.shape), slope, 0.0)
            states = [at.state]
            for pick in self._elect(ledger, at.state, name, gradient._replace(grads={name: slope}), cells):
                wider = states[-1] - {pick} if pick in at.state else states[-1] | {pick}
                if ledger.limits.keeps(wider, ledger.sites):
                    states.append(wider)
            elected[name] = states[1:]
        for bits in range(max(map(len, elected.values()), default=0)):
            scored = ledger.judge([states[bits] for states in elected.values() if len(states) > bits])
            if not scored:
                return None
            best = max(scored, key=lambda candidate: candidate.judged.rank)
            if best.judged.value > at.judged.value:
                return best
        return None

    def _elect(self, ledger: Ledger, state: State, name: str, gradient: Gradient, cells: int) -> list[Pick]:
        """Return the bits of one layer by |gradient|, the largest first; one that was flipped may flip back."""
        sites = Sites({name: ledger.sites.choices[name]})
        mine = frozenset(pick for pick in state if pick.site == name)
        most = max(1, cells - len(state))
        forth = candidates(
            sites,
            gradient,
            mine,
            limits=ledger.limits,
            width=Width(best=most, worst=0, per_site=0, per_option=0, widest=0, random=0),
            rng=ledger.rng,
            finite_only=ledger.aim.finite_only,
        )
        gains = moves(sites, forth, mine, gradient)
        gains |= {pick: -gain for pick, gain in moves(sites, sorted(mine), mine, gradient).items() if gain < 0}
        return sorted(gains, key=lambda pick: (-gains[pick], pick))[:most]
