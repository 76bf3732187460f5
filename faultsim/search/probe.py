"""`Probe`: the only door from a search to the network. It projects, scores, counts and remembers."""

import math
from typing import NamedTuple, Protocol

import numpy as np

from faultsim.constraints import Layout, Tensors, TensorSet
from faultsim.errors import OptionError
from faultsim.search.objective import COUNTED, Gradient, Loss, Objective, Score

_NONE = Gradient(math.nan, {})


class Candidate(NamedTuple):
    """A corruption that lies in the set, what the network does under it, and the search that proposed it."""

    delta: Tensors
    score: Score
    method: str


class TraceRow(NamedTuple):
    """One scored candidate: who proposed it, what had been spent by then, and what it did."""

    method: str
    gradients: int
    forwards: int
    loss: float
    accuracy: float
    nonfinite: int


class BudgetSpentError(Exception):
    """The gradients or forward passes of this search are used up; the frame catches it."""


class Method(Protocol):
    """A search: it proposes corruptions to the probe, as long as the probe lets it."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def search(self, probe: "Probe", restarts: int) -> None:
        """Propose corruptions to *probe*; again from *restarts* random ones where the search has a start."""
        ...


class Probe:
    """The network and the set, with a ledger.

    Attributes:
        constraint: The set of corruptions allowed.
        layout: Names and shapes of the tensors that may move, in the set's order.
        rng: The generator of the search that runs now.
        gradients: Gradients taken so far.
        forwards: Forward passes scored so far, the clean one included.
        nonfinite: Candidates so far with a non-finite output.
        trace: One row per candidate.
        clean: The score without a corruption.
        worst: The candidate of the largest finite loss so far; at first no corruption at all.
        least_accurate: The candidate of the lowest accuracy so far, among equals that of the larger loss.
        missed: Searches so far that made fewer random starts than they were asked for.
    """

    def __init__(self, objective: Objective, constraint: TensorSet, *, forwards: int | None = None) -> None:
        self.constraint = constraint
        self.gradients = self.forwards = self.nonfinite = 0
        self.trace: list[TraceRow] = []
        self.missed: list[str] = []
        self.rng = np.random.default_rng(0)
        self._objective = objective
        self._method = "none"
        self._may_gradients, self._may_forwards = 1, forwards
        self._at_clean: dict[Loss, Gradient] = {}
        self._lacking: set[Loss] = set()
        self.clean = self._score(None)
        start = self._ask(None, "cross_entropy")
        self._at_clean["cross_entropy"] = start
        self.layout = Layout.of(start.grads, constraint.names)
        self.worst = self.least_accurate = Candidate(self.zero(), self.clean, "none")

    def begin(self, method: str, rng: np.random.Generator, gradients: int) -> None:
        """Hand the probe to the next search, which may take *gradients* more gradients."""
        self._method, self.rng = method, rng
        self._may_gradients = self.gradients + gradients

    @property
    def gradients_left(self) -> int:
        """How many gradients the search that runs now may still take."""
        return self._may_gradients - self.gradients

    def gradient(self, at: Tensors | None, loss: Loss) -> Gradient:
        """Return the gradient of *loss* at *at*; that without a corruption is taken, and counted, only once.

        A smooth count of errors that the objective does not know gives one that is not usable.

        Raises:
            BudgetSpentError: If the search has no gradient left.
        """
        if at is not None:
            return self._ask(at, loss)
        if loss not in self._at_clean:
            self._at_clean[loss] = self._ask(None, loss)
        return self._at_clean[loss]

    def score(self, proposal: Tensors) -> Candidate:
        """Return *proposal*, projected into the set and scored.

        Raises:
            BudgetSpentError: If there is no forward pass left.
        """
        delta = self.constraint.project(proposal)
        candidate = Candidate(delta, self._score(delta), self._method)
        score = candidate.score
        row = (self.gradients, self.forwards, score.loss, score.accuracy, score.nonfinite)
        self.trace.append(TraceRow(self._method, *row))
        self.nonfinite += not score.finite
        if score.value("cross_entropy") > self.worst.score.value("cross_entropy"):
            self.worst = candidate
        if _damage(score) > _damage(self.least_accurate.score):
            self.least_accurate = candidate
        return candidate

    def miss_starts(self) -> None:
        """Note that the search that runs now has too few gradients left for all its random starts."""
        self.missed.append(self._method)

    def random(self) -> Tensors:
        """Return a random corruption of the set."""
        return self.constraint.random(self.rng, dict(zip(self.layout.names, self.layout.shapes, strict=True)))

    def zero(self) -> Tensors:
        """Return no corruption, as arrays."""
        return self.layout.split(np.zeros(self.layout.elements))

    def _ask(self, at: Tensors | None, loss: Loss) -> Gradient:
        if self.gradients >= self._may_gradients:
            raise BudgetSpentError
        if loss in self._lacking:
            return _NONE
        try:
            found = self._objective.gradient(at, loss)
        except OptionError:
            if loss not in COUNTED:
                raise
            self._lacking.add(loss)  # a task without classes counts no errors
            return _NONE
        self.gradients += 1
        self.forwards += found.forwards
        return found

    def _score(self, delta: Tensors | None) -> Score:
        if self._may_forwards is not None and self.forwards >= self._may_forwards:
            raise BudgetSpentError
        self.forwards += 1
        return self._objective.score(delta)


def _damage(score: Score) -> tuple[float, float]:
    return -score.accuracy, score.value("cross_entropy")
