"""`Swap`: takes cells back out of the worst corruption found and puts better ones in their place. See `Beam`."""

from dataclasses import dataclass, field

from faultsim.errors import OptionError
from faultsim.search.bits.beam import Beam
from faultsim.search.bits.ledger import Candidate, Ledger, ranked
from faultsim.search.bits.ranking import State


@dataclass(frozen=True, kw_only=True)
class Swap:
    """Local search at a fixed number of cells; where there is a goal, at ever fewer.

    Every round scores the corruption without each of its cells, and lets the best of what is left grow again, from
    the worst by value and from the least accurate in turn. Where neither helps, two cells are taken out at once, and
    so on. With a goal the round works on one cell less than the fewest that reach it, or on just as many: a goal that
    is met by a hair on the samples of the search is missed by a hair on others.

    Attributes:
        beam: How it grows again.
        deepest: Most cells that are taken out at once, at least 1.
        rounds: Most rounds, at least 1.
        fewer: Whether rounds work on fewer cells where a goal is reached; otherwise they lower the accuracy further,
            and let the best grow on.
        beyond: Cells that it grows by then, at least 0: on other samples a goal may take one or two more.
    """

    beam: Beam = field(default_factory=lambda: Beam(tried=20, favourites=60))
    deepest: int = 2
    rounds: int = 20
    fewer: bool = True
    beyond: int = 2

    def __post_init__(self) -> None:
        for name, least in (("deepest", 1), ("rounds", 1), ("beyond", 0)):
            if getattr(self, name) < least:
                raise OptionError(f"Swap.{name} is {getattr(self, name)}, it must be at least {least}; raise it")

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "swap"

    def search(self, ledger: Ledger, cells: int) -> None:
        """Improve the worst corruption of *cells* cells at most, while rounds help."""
        self._rounds(ledger, cells)
        if not self.fewer and ledger.needed is not None:
            best = ledger.least[ledger.needed]
            self.beam.grow(ledger, [best], min(cells, ledger.needed + self.beyond), beyond=True)

    def _rounds(self, ledger: Ledger, cells: int) -> None:
        deep, idle, by_accuracy = 1, 0, ledger.goal >= 0
        for _ in range(self.rounds):
            size, start = self._start(ledger, cells, by_accuracy=by_accuracy)
            if start is None or size < 1:
                return
            before = ledger.needed, _standing(ledger, size)
            self._round(ledger, start, size, deep)
            rose = (ledger.needed, _standing(ledger, size)) != before
            deep, idle = (1, 0) if rose else (deep, idle + 1)
            by_accuracy = ledger.goal >= 0 or not by_accuracy
            if idle == (1 if ledger.goal >= 0 else 2):  # from both starts
                deep, idle = deep + 1, 0
            if deep > min(self.deepest, size):
                return

    def shake(self, ledger: Ledger, cells: int) -> None:
        """Take half of the cells out at random, and let the rest grow again: a restart near the best."""
        size, start = self._start(ledger, cells, by_accuracy=ledger.goal >= 0)
        if start is None or size < 2:
            return
        picks = sorted(start.state)
        kept = ledger.rng.permutation(len(picks))[: size // 2]
        self.beam.grow(ledger, ledger.judge([frozenset(picks[i] for i in kept.tolist())]), size)

    def _round(self, ledger: Ledger, start: Candidate, size: int, deep: int) -> None:
        front = [start]
        least = size - deep
        while len(front[0].state) > max(least, 0):
            fewer: set[State] = {one.state - {pick} for one in front for pick in one.state}
            judged = ledger.judge(sorted(fewer, key=sorted))
            if not judged:
                return
            front = ranked(judged, self.beam.beam)
        self.beam.grow(ledger, front, size)

    def _start(self, ledger: Ledger, cells: int, *, by_accuracy: bool) -> tuple[int, Candidate | None]:
        """Return how many cells to search with, and the corruption to begin with, which may have one more."""
        needed = ledger.needed
        if needed is not None:
            return needed - self.fewer, ledger.least[needed]
        found = (ledger.least if by_accuracy else ledger.worst).get(cells)
        if found is not None:
            return cells, found
        best = ledger.best(cells)
        return cells if best is None else min(cells, len(best.state) + 1), best


def _standing(ledger: Ledger, size: int) -> tuple[Candidate | None, ...]:
    """Return the corruptions of *size* cells that are to be beaten: with a goal by accuracy alone."""
    least = ledger.least.get(size)
    return (least,) if ledger.goal >= 0 else (least, ledger.worst.get(size))
