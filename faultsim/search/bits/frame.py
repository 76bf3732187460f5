"""`worst_cells`: runs the searches over one network's cells and keeps the worst of everything tried."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from faultsim.corruption import Corruption
from faultsim.errors import OptionError
from faultsim.rng import generator
from faultsim.search.bits.aims import Aim, Judged
from faultsim.search.bits.beam import Beam
from faultsim.search.bits.choices import Choices, Pick
from faultsim.search.bits.flips import BitFlips
from faultsim.search.bits.ledger import Candidate, CellRow, Ledger, damage, picks_of
from faultsim.search.bits.limits import Limits, Sites
from faultsim.search.bits.progressive import ProgressiveBitSearch
from faultsim.search.bits.screen import Screen
from faultsim.search.bits.swap import Swap
from faultsim.search.probe import BudgetSpentError

_SHARE = 4
"""Part of the budget that the published search may take before ours, as its inverse."""
_LEAST = 10
"""Bits that it must have room for, where more are asked for: on fewer gradients ours does better alone."""


class CellMethod(Protocol):
    """A search over cells: it proposes to the ledger as long as that lets it."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def search(self, ledger: Ledger, cells: int) -> None:
        """Propose corruptions of at most *cells* cells."""
        ...


@dataclass(frozen=True, eq=False)
class Changed:
    """One corruption found.

    Attributes:
        corruption: The edits by tensor: it can be replayed and written into the model.
        picks: The options taken, in ascending order.
        judged: What the network does under it, on the search's samples.
        method: The search that proposed it.
    """

    corruption: Corruption
    picks: tuple[Pick, ...]
    judged: Judged
    method: str

    @property
    def cells(self) -> int:
        """Cells that it changes."""
        return len(self.picks)


@dataclass(frozen=True, eq=False)
class WorstCells:
    """The worst corruptions of at most *n* cells that were found; found, not proven: a lower bound of the damage.

    Attributes:
        worst: That of the largest value.
        least_accurate: That of the lowest accuracy.
        sizes: For each number of cells met, ascending, the allowed corruption of the lowest accuracy (among equals of
            the largest value): what each further cell does.
        needed: Fewest cells that reach the asked accuracy on the search's samples; None where none do, or none was
            asked for.
        clean: The judgement without a corruption.
        gradients: Gradients taken.
        forwards: Forward passes scored, the clean one included.
        nonfinite: Corruptions scored with a non-finite output.
        trace: One row for every corruption that was the worst of its size when it was found.
        cut: Whether a search was cut short for want of gradients or forward passes: more of them may find worse.
    """

    worst: Changed
    least_accurate: Changed
    sizes: tuple[Changed, ...]
    needed: int | None
    clean: Judged
    gradients: int
    forwards: int
    nonfinite: int
    trace: tuple[CellRow, ...]
    cut: bool


def worst_cells(
    aim: Aim,
    choices: Mapping[str, Choices],
    n: int,
    *,
    limits: Limits | None = None,
    until_accuracy: float | None = None,
    screen: Screen | None = None,
    methods: Sequence[CellMethod] | None = None,
    budget_gradients: int | None = 200,
    budget_forwards: int | None = None,
    restarts: int = 1,
    seed: int = 0,
    told: Callable[[CellRow], None] | None = None,
) -> WorstCells:
    """Search for the *n* cells whose change does the most damage: flipped bits, confused levels, stuck cells.

    The searches only propose: every corruption is scored as the deployed formats have it, by the aim, and what comes
    back is the worst of all.

    Args:
        aim: What the attacker wants: `Untargeted`, `Targeted` or `Stealthy`.
        choices: What the cells of each tensor can be made to hold, by name: `BitFlips`, `Levels`, `StuckWords`,
            `StuckDevices`.
        n: Most cells that are changed, at least 1.
        limits: Cells that cannot be reached, alone or together; ``None`` for no limit.
        until_accuracy: Stop where the accuracy of the samples aimed at is at or below it, then look for fewer cells
            that reach it too, then lower it further with as many, and with two more; 0 to 1.
        screen: A first look at the candidates on few samples; ``None`` scores all of them on all samples.
        methods: The searches, in order; ``None`` for `ProgressiveBitSearch` (flipped bits without limits, as far as a
            quarter of the budget takes it, where that is enough: `has_room`), then `Beam` with fewer cells than that
            needed, then `Swap`, and after the restarts `Swap` once more on as many cells as reach the goal, and on two
            more.
        budget_gradients: Most gradients, at least 1; ``None`` for no limit.
        budget_forwards: Most forward passes, at least 1, those of both parts of a stealthy aim counted, and those of
            the screen by its share; ``None`` for no limit.
        restarts: Times that half of the cells of the best are taken out at random and found anew, at least 0.
        seed: Of everything random; the same seed gives the same result.
        told: Hears of every row of the trace as it is written.

    Returns:
        The worst found.

    Raises:
        OptionError: If an argument is out of its range.
    """
    for name, given, lowest in (
        ("n", n, 1),
        ("budget_gradients", 1 if budget_gradients is None else budget_gradients, 1),
        ("budget_forwards", aim.passes if budget_forwards is None else budget_forwards, aim.passes),
        ("restarts", restarts, 0),
    ):
        if given < lowest:
            raise OptionError(f"{name} is {given}, it must be at least {lowest}; raise it or leave it out")
    if until_accuracy is not None and not 0 <= until_accuracy <= 1:
        raise OptionError(f"until_accuracy is {until_accuracy:g}, it must lie between 0 and 1; give a share")
    sites = Sites(choices)
    ledger = Ledger(
        aim,
        sites,
        limits or Limits(),
        goal=until_accuracy,
        screen=screen,
        gradients=budget_gradients,
        forwards=budget_forwards,
        told=told,
    )
    swap = Swap()
    chosen: Sequence[CellMethod] = (Beam(), swap) if methods is None else methods
    free = limits is None or limits.free
    published = methods is None and free and has_room(aim, choices, n, budget_gradients, budget_forwards)
    if published:
        chosen = (ProgressiveBitSearch(), *chosen)
    for position, method in enumerate(chosen):
        share = _SHARE if published and position == 0 else 1
        ledger.begin(method.name, generator(seed, -1, "cells", str(position), method.name), share=share)
        with suppress(BudgetSpentError):
            method.search(ledger, n)
    for again in range(restarts if methods is None else 0):
        ledger.begin("restart", generator(seed, -1, "cells", "restart", str(again)))
        try:
            swap.shake(ledger, n)
            swap.search(ledger, n)
        except BudgetSpentError:
            break
    if methods is None and ledger.needed is not None:
        ledger.begin(swap.name, generator(seed, -1, "cells", "further"))
        with suppress(BudgetSpentError):
            replace(swap, fewer=False).search(ledger, n)
    return _result(ledger, n)


def has_room(aim: Aim, choices: Mapping[str, Choices], n: int, gradients: int | None, forwards: int | None) -> bool:
    """Whether the published search of bits has a place before ours: its share is enough for all bits, or for ten.

    A bit takes it a gradient, and a forward pass a tensor.
    """
    bits = min(n, _LEAST)
    passes = bits * len(choices) * aim.passes
    enough = (gradients is None or gradients >= _SHARE * bits) and (forwards is None or forwards >= _SHARE * passes)
    return enough and all(isinstance(one, BitFlips) for one in choices.values())


def _result(ledger: Ledger, n: int) -> WorstCells:
    within = {size: one for size, one in sorted(ledger.least.items()) if size <= n}
    clean = Candidate(frozenset(), ledger.clean, "none")
    worst = ledger.best(n) or clean
    least = max(within.values(), key=lambda c: (damage(c.judged), -len(c.state)), default=clean)

    def changed(one: Candidate) -> Changed:
        return Changed(Corruption(ledger.edits(one.state)), picks_of(one.state), one.judged, one.method)

    return WorstCells(
        worst=changed(worst),
        least_accurate=changed(least),
        sizes=tuple(changed(one) for one in within.values()),
        needed=ledger.needed,
        clean=ledger.clean,
        gradients=ledger.gradients,
        forwards=ledger.forwards,
        nonfinite=ledger.nonfinite,
        trace=tuple(ledger.trace),
        cut=ledger.cut,
    )
