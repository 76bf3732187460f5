"""`Beam`: cells join one by one, the best few corruptions of each size go on, all truly scored. Swaps are beside."""

import math
from dataclasses import dataclass, field

from faultsim.errors import OptionError
from faultsim.search.bits.choices import Pick
from faultsim.search.bits.ledger import Candidate, Ledger, ranked
from faultsim.search.bits.ranking import State, Width, candidates, join, survey
from faultsim.search.probe import BudgetSpentError

SURVEYED = 4
"""Of the forward passes that are left the survey takes one in so many."""


@dataclass(frozen=True, kw_only=True)
class Beam:
    """Grow corruptions cell by cell: rank by the gradient, score a wide set of candidates on each, keep the best few.

    What scored well before is tried again: the true gain of a cell is a better guide than its gradient. The worst by
    value and by accuracy go on in turn, as neither dominates, and candidates are ranked by the gradients of both.

    Attributes:
        beam: Corruptions of each size that go on, at least 1.
        tried: Candidates by each gradient that are scored, at least 1, beside the best one of each tensor.
        width: Which candidates.
        survey: Elements of small layers whose widest move (the sign bit) the first round scores as well, at least 0;
            not more than a quarter of the passes left.
        slopes: On how many of the corruptions, the worst first, candidates are ranked by gradients, at least 1.
        losses: By how many of the aim's losses candidates are ranked, at least 1: a gradient for each.
        favourites: Cells of the largest true gains so far that are tried on every corruption, at least 0.
    """

    beam: int = 8
    tried: int = 40
    width: Width = field(default_factory=Width)
    survey: int = 256
    slopes: int = 1
    losses: int = 2
    favourites: int = 60

    def __post_init__(self) -> None:
        for name, least in (("beam", 1), ("tried", 1), ("survey", 0), ("slopes", 1), ("losses", 1), ("favourites", 0)):
            if getattr(self, name) < least:
                raise OptionError(f"Beam.{name} is {getattr(self, name)}, it must be at least {least}; raise it")

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "beam"

    def search(self, ledger: Ledger, cells: int) -> None:
        """Grow from nothing to *cells* cells, or until the goal is reached.

        Where another search has reached it, to fewer cells than that needed, and with half of the passes left: the
        other half is for `Swap`.
        """
        spare = 0.0
        if ledger.needed is not None:
            cells, spare = min(cells, ledger.needed - 1), ledger.forwards_left / 2
        if cells < 1:
            return
        start = ledger.judge([frozenset()])
        most = int(min(self.survey, ledger.forwards_left / SURVEYED))
        if most:
            finite = ledger.aim.finite_only
            smallest = survey(ledger.sites, limits=ledger.limits, most=most, finite_only=finite)
            ledger.extend(frozenset(), smallest)
        self.grow(ledger, start, cells, spare=spare)

    def grow(
        self, ledger: Ledger, start: list[Candidate], cells: int, *, beyond: bool = False, spare: float = 0.0
    ) -> None:
        """Grow the candidates of *start*, all of one size, to *cells* cells, or until the goal is reached.

        Args:
            ledger: The door to the network.
            start: They.
            cells: Cells of the last ones.
            beyond: Whether the goal ends nothing.
            spare: Forward passes that are left to others: no round begins with fewer.
        """
        front = start
        while front and len(front[0].state) < cells and ledger.forwards_left >= spare:
            pool: dict[State, Candidate] = {}
            together = self._together(ledger, cells - len(front[0].state))
            for place, one in enumerate(front):
                fresh = self._ranked(ledger, one) if place < self.slopes else []
                scored = ledger.extend(one.state, dict.fromkeys([*ledger.favourites(self.favourites), *fresh]))
                if together > 1 and scored:
                    scored += ledger.judge([_joined(ledger, one.state, scored, together)])
                pool |= {found.state: found for found in scored}
            if not beyond and any(c.judged.accuracy <= ledger.goal for c in pool.values() if c.judged.allowed):
                return
            size = max((len(state) for state in pool), default=cells)
            front = ranked([c for c in pool.values() if len(c.state) == size], self.beam)

    def _ranked(self, ledger: Ledger, one: Candidate) -> list[Pick]:
        """Return the candidates by the gradients at one corruption, or near it where no gradients are left."""
        found: list[Pick] = []
        for loss in ledger.losses[: self.losses]:
            try:
                gradient = ledger.gradient(one.state, loss)
            except BudgetSpentError:
                continue
            if gradient.usable:
                found += candidates(
                    ledger.sites,
                    gradient,
                    one.state,
                    limits=ledger.limits,
                    width=self.width,
                    rng=ledger.rng,
                    finite_only=ledger.aim.finite_only,
                )[: len(ledger.sites.choices) + self.tried]
        return found

    def _together(self, ledger: Ledger, missing: int) -> int:
        """Return how many cells must join at a time for the budget to last; with a goal, which may be near, one."""
        if ledger.goal >= 0:
            return 1
        slopes = self.slopes * min(self.losses, len(ledger.losses))
        ranked_by_slope = slopes * (self.tried + len(ledger.sites.choices))
        rounds = min(
            ledger.gradients_left / slopes,
            ledger.forwards_left / (ranked_by_slope + self.beam * (self.favourites + 1)),
        )
        return missing if rounds < 1 else max(1, math.ceil(missing / rounds))


def _joined(ledger: Ledger, base: State, scored: list[Candidate], count: int) -> State:
    """Return *base* with the *count* cells that did most damage one by one, as far as they go together."""
    state = base
    best = sorted(scored, key=lambda c: (*(-x for x in c.judged.rank), sorted(c.state)))
    for pick in (pick for one in best for pick in one.state - base):
        wider = join(ledger.sites, state, pick)
        if len(wider) > len(state) and ledger.limits.keeps(wider, ledger.sites):
            state = wider
        if len(state) - len(base) == count:
            break
    return state
