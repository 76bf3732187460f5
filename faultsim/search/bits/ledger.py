"""`Ledger`: the only door from a search over cells to the network. It scores, counts, remembers. No search here."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from faultsim.corruption import Edit
from faultsim.errors import OptionError
from faultsim.search.bits.aims import Aim, Judged
from faultsim.search.bits.choices import Pick
from faultsim.search.bits.limits import Limits, Sites
from faultsim.search.bits.ranking import State, join, taken_of
from faultsim.search.bits.screen import Screen
from faultsim.search.objective import COUNTED, Gradient, Loss
from faultsim.search.probe import BudgetSpentError

_BATCH = 64
_NONE = Gradient(math.nan, {})


class Candidate(NamedTuple):
    """Some cells changed, what the network does then, and the search that proposed it."""

    state: State
    judged: Judged
    method: str


class CellRow(NamedTuple):
    """One corruption that was the worst of its number of cells when it was found, and what had been spent by then.

    Attributes:
        method: The search that proposed it.
        cells: Cells changed.
        value: The number that the search raises.
        loss: Cross-entropy over the samples aimed at.
        accuracy: Share of the samples aimed at that stand.
        kept: Accuracy over the samples to be spared; None where there are none.
        nonfinite: Samples with a non-finite output.
        gradients: Gradients taken by then.
        forwards: Forward passes scored by then.
    """

    method: str
    cells: int
    value: float
    loss: float
    accuracy: float
    kept: float | None
    nonfinite: int
    gradients: int
    forwards: int


class Ledger:
    """The network, the cells and their limits, with a ledger.

    Attributes:
        aim: What is raised.
        sites: The tensors and the options of their cells.
        limits: What cannot be reached.
        goal: Accuracy at or below which the aim is reached; ``-inf`` for none.
        gradients: Gradients taken so far.
        forwards: Forward passes so far, the clean ones and those beside gradients included.
        nonfinite: Corruptions so far with a non-finite output.
        clean: The judgement without a corruption.
        worst: Of every number of cells the allowed candidate of the largest value.
        least: Of every number of cells the allowed candidate of the lowest accuracy, among equals of the largest value.
        trace: One row per candidate that was the worst or the least accurate of its number of cells.
        cut: Whether a search wanted more than was left of the whole budget, and not of its own share alone.
    """

    def __init__(
        self,
        aim: Aim,
        sites: Sites,
        limits: Limits,
        *,
        goal: float | None = None,
        screen: Screen | None = None,
        gradients: int | None = None,
        forwards: int | None = None,
        told: Callable[[CellRow], None] | None = None,
    ) -> None:
        self.aim, self.sites, self.limits = aim, sites, limits
        self.goal = -math.inf if goal is None else goal
        self.gradients = self.forwards = self.nonfinite = 0
        self.cut = False
        self.method = "none"
        self.rng = np.random.default_rng(0)
        self.trace: list[CellRow] = []
        self.worst: dict[int, Candidate] = {}
        self.least: dict[int, Candidate] = {}
        self._told = told
        self._screen = screen
        self._may_gradients = self._most_gradients = math.inf if gradients is None else gradients
        self._may_forwards = self._most_forwards = math.inf if forwards is None else forwards
        self._known: dict[State, Candidate] = {}
        self._gains: dict[Pick, tuple[float, float]] = {}
        self._slopes: dict[tuple[State, Loss], Gradient] = {}
        self._lacking: set[Loss] = set()
        self.clean = self.judge([frozenset()])[0].judged

    def begin(self, method: str, rng: np.random.Generator, *, share: int = 1) -> None:
        """Hand the ledger to the next search, which may take one part in *share* of what is left, a gradient at least.

        A clean gradient is taken for all of them.
        """
        self.method, self.rng = method, rng
        gradients, forwards = self._most_gradients - self.gradients, self._most_forwards - self.forwards
        self._may_gradients = self.gradients + max(gradients / share, min(gradients, 1))
        self._may_forwards = self.forwards + forwards / share

    @property
    def forwards_left(self) -> float:
        """Judgements that are left, infinite without a budget."""
        left = self._may_forwards - self.forwards
        return left if math.isinf(left) else left // self.aim.passes

    @property
    def gradients_left(self) -> float:
        """Gradients that are left, infinite without a budget."""
        return self._may_gradients - self.gradients

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The aim's losses that the task has, the first is that of the value."""
        return tuple(loss for loss in self.aim.losses if loss not in self._lacking)

    @property
    def needed(self) -> int | None:
        """The fewest cells with which the goal is reached, so far."""
        reached = [cells for cells, one in self.least.items() if one.judged.accuracy <= self.goal]
        return min(reached, default=None)

    def gradient(self, state: State, loss: Loss) -> Gradient:
        """Return the gradient at *state*; one that was taken before is not taken, nor counted, again.

        Where the budget is spent it is the one known at the state that has most in common: to rank by, it will do.
        Where the task has no such loss it is one that is not usable.

        Raises:
            BudgetSpentError: If there is no gradient left, and none is known.
        """
        key = (state, loss)
        if loss in self._lacking:
            return _NONE
        if key not in self._slopes:
            if self.gradients_left < 1 or (loss == "collapse" and self.forwards_left < 1):
                left = self._most_gradients - self.gradients, self._most_forwards - self.forwards
                self.cut |= left[0] < 1 or (loss == "collapse" and left[1] < self.aim.passes)
                known = [one for one in self._slopes if one[1] == loss]
                if not known:
                    raise BudgetSpentError
                return self._slopes[min(known, key=lambda one: (len(one[0] ^ state), sorted(one[0])))]
            if len(self._slopes) > 8:  # each is as large as the model
                self._slopes.pop(next(iter(self._slopes)))
            try:
                self._slopes[key] = self.aim.gradient(self.edits(state), loss)
            except OptionError:
                if loss not in COUNTED:
                    raise
                self._lacking.add(loss)  # a task without classes has no such loss
                return _NONE
            self.gradients += 1
            self.forwards += self._slopes[key].forwards
        return self._slopes[key]

    def judge(self, states: Iterable[State]) -> list[Candidate]:
        """Return the candidates of *states*, each scored once whatever asks; as many as the budget allows.

        Raises:
            BudgetSpentError: If none of them is known and no forward pass is left.
        """
        asked = list(dict.fromkeys(states))
        fresh = [state for state in asked if state not in self._known]
        room = int(min(self.forwards_left, len(fresh)))
        self.cut |= len(fresh) * self.aim.passes > self._most_forwards - self.forwards
        if fresh and not room and len(fresh) == len(asked):
            raise BudgetSpentError
        for start in range(0, room, _BATCH):
            part = fresh[start : min(start + _BATCH, room)]
            for state, judged in zip(part, self.aim.judge([self.edits(s) for s in part]), strict=True):
                self.forwards += self.aim.passes
                self._take(state, judged)
        return [self._known[state] for state in asked if state in self._known]

    def extend(self, base: State, picks: Iterable[Pick]) -> list[Candidate]:
        """Return the candidates of *base* with one more cell, as the limits allow, and take down what each brings."""
        grown = {join(self.sites, base, pick): pick for pick in picks}
        states = [new for new in grown if len(new) == len(base) + 1 and self.limits.keeps(new, self.sites)]
        if not states:
            return []
        before = self._known[base].judged
        found = self.judge(self._screened(states))
        for one in found:
            gain = one.judged.value - before.value
            gain = gain if math.isfinite(gain) else one.judged.value
            self._gains[grown[one.state]] = (gain, before.accuracy - one.judged.accuracy)
        return found

    def _screened(self, states: Sequence[State]) -> list[State]:
        """Return those of *states* that are worth a full judgement: all, or the best on the screen's few samples."""
        screen = self._screen
        fresh = [state for state in states if state not in self._known]
        if screen is None or len(fresh) <= screen.keep or screen.cost(len(fresh)) > self._may_forwards - self.forwards:
            return list(states)
        looks: list[Candidate] = []
        for start in range(0, len(fresh), _BATCH):
            part = fresh[start : start + _BATCH]
            judged = screen.aim.judge([self.edits(state) for state in part])
            looks += [Candidate(state, one, self.method) for state, one in zip(part, judged, strict=True)]
        self.forwards += screen.cost(len(fresh))
        kept = {one.state for one in ranked(looks, screen.keep)}
        return [state for state in states if state in kept or state in self._known]

    def favourites(self, count: int) -> list[Pick]:
        """Return the *count* cells that did most when they were last scored, to the value and the accuracy in turn."""
        by_value = sorted(self._gains, key=lambda pick: (*(-x for x in self._gains[pick]), pick))
        by_accuracy = sorted(self._gains, key=lambda pick: (*(-x for x in self._gains[pick][::-1]), pick))
        mixed = dict.fromkeys(pick for pair in zip(by_value, by_accuracy, strict=True) for pick in pair)
        return list(mixed)[:count]

    def edits(self, state: State) -> Mapping[str, Edit]:
        """Return what *state* does to the stored numbers, by tensor."""
        return {name: self.sites.choices[name].edit(taken) for name, taken in taken_of(state).items()}

    def best(self, cells: int) -> Candidate | None:
        """Return the allowed candidate of the largest value among those of at most so many cells."""
        return max((c for n, c in self.worst.items() if n <= cells), key=lambda c: c.judged.rank, default=None)

    def _take(self, state: State, judged: Judged) -> None:
        found = Candidate(state, judged, self.method)
        self._known[state] = found
        self.nonfinite += judged.nonfinite > 0
        if not judged.allowed:
            return
        cells = len(state)
        old, low = self.worst.get(cells), self.least.get(cells)
        rises = old is None or judged.rank > old.judged.rank
        falls = low is None or damage(judged) > damage(low.judged)
        if rises:
            self.worst[cells] = found
        if falls:
            self.least[cells] = found
        if rises or falls:
            row = (judged.value, judged.loss, judged.accuracy, judged.kept, judged.nonfinite)
            self.trace.append(CellRow(self.method, cells, *row, self.gradients, self.forwards))
            if self._told is not None:
                self._told(self.trace[-1])


def damage(judged: Judged) -> tuple[float, float]:
    """Sorts by the lower accuracy, among equals by the larger value."""
    return -judged.accuracy, judged.value


def ranked(pool: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return *count* of the pool, by value and by accuracy in turn, each once: the beam of the next round."""
    by_value = sorted(pool, key=lambda c: (*(-x for x in c.judged.rank), sorted(c.state)))
    by_accuracy = sorted(pool, key=lambda c: (*(-x for x in damage(c.judged)), sorted(c.state)))
    mixed = [c for pair in zip(by_value, by_accuracy, strict=True) for c in pair]
    return list({c.state: c for c in mixed}.values())[:count]


def picks_of(state: State) -> tuple[Pick, ...]:
    """Return the picks in ascending order."""
    return tuple(sorted(state))
