"""Many corruptions in one sweep over the samples: the engine of campaigns, as the search over cells asks for it."""

from collections.abc import Sequence

import numpy as np

from faultsim.assessment.setting import Setting
from faultsim.corruption import Add, Stored, apply_edit
from faultsim.engine.evaluate import Scorer
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep
from faultsim.search import Score
from faultsim.search.bits import Edits

_MEMORY_BYTES = 1 << 29
"""Room for the clean activations of a batch: a stealthy attack with a first look has four sweeps at once."""


class SweepScorer:
    """Scores candidates by loss and accuracy, each at a part of a forward pass (`search.bits.ManyScorer`).

    The margin is not computed and stands as 0: for aims that raise the cross-entropy.
    """

    def __init__(self, setting: Setting, scorer: Scorer) -> None:
        """Prepare a sweep over the samples of *scorer*."""
        self._stored = setting.stored
        if scorer.golden is None:
            scorer.set_golden(setting.fault_free())
        self._sweep = Sweep(scorer, setting.fault_free(), memory_bytes=_MEMORY_BYTES)
        self._counted = setting.task.counts_correct

    def scores(self, candidates: Sequence[Edits]) -> list[Score]:
        """Return the score of each candidate, in their order."""
        patches = [{name: _sparse(self._stored[name], edit) for name, edit in one.items()} for one in candidates]
        found = []
        for tally in self._sweep.score(patches):
            counts = tally.counts
            accuracy = counts.accuracy if self._counted else float("nan")
            found.append(Score(tally.mean_loss, 0.0, accuracy, counts.nonfinite))
        return found


def _sparse(stored: Stored, edit: object) -> Sparse:
    indices = getattr(edit, "indices", None)
    with np.errstate(over="ignore", invalid="ignore"):  # a flipped exponent may give what it will
        whole = apply_edit(edit, stored).reshape(-1)  # type: ignore[arg-type]
    if indices is None or isinstance(edit, Add):
        indices = np.flatnonzero(whole != stored.values.reshape(-1))
    return Sparse(np.asarray(indices, dtype=np.int64), whole[indices])
