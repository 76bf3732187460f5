"""What a search over stored cells may ask of a network: `EditObjective` and `ManyScorer`. No search lives here."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from faultsim.corruption import Edit
from faultsim.search.objective import Gradient, Loss, Score

Edits = Mapping[str, Edit]
"""What is wrong with each tensor, by name; tensors that are not named stay as they are."""


class EditObjective(Protocol):
    """A network and its data under edits of what its memory holds. Both calls must be deterministic."""

    def gradient(self, edits: Edits, loss: Loss) -> Gradient:
        """Return the mean loss under *edits* and its gradient there, per unit of the stored numbers."""
        ...

    def score(self, edits: Edits) -> Score:
        """Return what the network does under *edits*, as the deployed number formats compute it."""
        ...


class ManyScorer(Protocol):
    """Scores many corruptions at once: where an engine shares work between them, it is plugged in here."""

    def scores(self, candidates: Sequence[Edits]) -> list[Score]:
        """Return the score of each candidate, in their order; each counts as one forward pass."""
        ...


class OneByOne:
    """The scorer that shares nothing: one call of the objective for each candidate."""

    def __init__(self, objective: EditObjective) -> None:
        self._objective = objective

    def scores(self, candidates: Sequence[Edits]) -> list[Score]:
        """Return the score of each candidate, in their order."""
        return [self._objective.score(edits) for edits in candidates]
