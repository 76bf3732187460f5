"""A network that a search asks, with an end: Ctrl-C stops it between two questions and keeps what was found."""

from collections.abc import Callable, Sequence

from faultsim.attacks.prepare import Stopped
from faultsim.engine.evaluate import Progress
from faultsim.engine.settle import Deltas
from faultsim.search import BudgetSpentError, Gradient, Loss, Objective, Score
from faultsim.search.bits import Aim, Edits, Judged


class WatchedObjective:
    """An objective that ends the search where the user stops it, and tells of every gradient (`search.Objective`)."""

    def __init__(self, inner: Objective, stopped: Stopped, tell: Progress, phase: str, total: int) -> None:
        """Wrap *inner*; *total* is the most gradients."""
        self._inner, self._stopped, self._tell = inner, stopped, tell
        self._phase, self._total, self._taken = phase, total, 0

    def gradient(self, delta: Deltas | None, loss: Loss) -> Gradient:
        """Return the loss and its gradient.

        Raises:
            BudgetSpentError: If the user has stopped.
        """
        self._check()
        self._tell(self._phase, min(self._taken, self._total), self._total)
        self._taken += 1
        return self._inner.gradient(delta, loss)

    def score(self, delta: Deltas | None) -> Score:
        """Return what the network does.

        Raises:
            BudgetSpentError: If the user has stopped.
        """
        self._check()
        return self._inner.score(delta)

    def _check(self) -> None:
        if self._stopped():
            raise BudgetSpentError


class WatchedAim:
    """An aim that ends the search where the user stops it (`search.bits.Aim`)."""

    def __init__(self, inner: Aim, stopped: Stopped, told: Callable[[int], None]) -> None:
        """Wrap *inner*; *told* hears how many judgements were made."""
        self._inner, self._stopped, self._told = inner, stopped, told
        self._judged = 0

    @property
    def finite_only(self) -> bool:
        """As the inner aim."""
        return self._inner.finite_only

    @property
    def passes(self) -> int:
        """As the inner aim."""
        return self._inner.passes

    @property
    def losses(self) -> tuple[Loss, ...]:
        """As the inner aim."""
        return self._inner.losses

    def gradient(self, edits: Edits, loss: Loss) -> Gradient:
        """Return the value and its gradient.

        Raises:
            BudgetSpentError: If the user has stopped.
        """
        self._check()
        return self._inner.gradient(edits, loss)

    def judge(self, candidates: Sequence[Edits]) -> list[Judged]:
        """Return the judgement of each candidate.

        Raises:
            BudgetSpentError: If the user has stopped.
        """
        self._check()
        found = self._inner.judge(candidates)
        self._judged += len(found)
        self._told(self._judged)
        return found

    def _check(self) -> None:
        if self._judged and self._stopped():
            raise BudgetSpentError
