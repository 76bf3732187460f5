"""`NetworkEdits`: a model on its data under edits of its stored numbers, for `search.bits`. No search lives here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Edit, Stored, apply_edit
from faultsim.engine.evaluate import Scorer
from faultsim.engine.objective import NetworkObjective
from faultsim.engine.settle import Deltas
from faultsim.model import Model
from faultsim.search.objective import Gradient, Loss, Score


class NetworkEdits:
    """Losses, gradients and scores of a stored model under edits: exactly the numbers that the memory then holds.

    Attributes:
        stored: The tensors as the fault-free device holds them, by name.
    """

    def __init__(self, model: Model, stored: Mapping[str, Stored], scorer: Scorer) -> None:
        self._network = _Holding(model, stored, scorer)
        self.stored = self._network.stored

    @property
    def gradients(self) -> int:
        """Gradients taken so far, each over the whole data set of the scorer."""
        return self._network.gradients

    @property
    def forwards(self) -> int:
        """Forward passes scored so far."""
        return self._network.forwards

    def gradient(self, edits: Mapping[str, Edit], loss: Loss) -> Gradient:
        """Return the mean loss under *edits* and its gradient there, per unit of the stored numbers."""
        return self._network.hold(edits).gradient({} if edits else None, loss)

    def score(self, edits: Mapping[str, Edit]) -> Score:
        """Return mean loss, mean margin and accuracy under *edits*; a sample that is not finite is wrong."""
        return self._network.hold(edits).score({})


class _Holding(NetworkObjective):
    """An objective whose numbers are those of the edits that it holds."""

    def __init__(self, model: Model, stored: Mapping[str, Stored], scorer: Scorer) -> None:
        super().__init__(model, stored, scorer)
        self._clean_numbers: dict[str, NDArray[Any]] = {name: one.values for name, one in self.stored.items()}
        self._held = self._clean_numbers

    def hold(self, edits: Mapping[str, Edit]) -> "_Holding":
        with np.errstate(over="ignore", invalid="ignore"):  # a flipped exponent may give what it will
            changed = {name: apply_edit(edit, self.stored[name]) for name, edit in edits.items()}
        self._held = {**self._clean_numbers, **changed}
        return self

    def numbers(self, delta: Deltas | None) -> dict[str, NDArray[Any]]:
        return self._held
