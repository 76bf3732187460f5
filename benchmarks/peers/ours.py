"""faultsim runs the campaign: one whole forward pass a fault, and all faults in one sweep.

`NaiveFaultsim` goes through `Runner` and `Scorer`. A tool that shares work between faults sets ``whole = True`` and
gets the whole list in one call, as `SweptFaultsim` does.
"""

from collections.abc import Callable, Sequence

import numpy as np

from faultsim.corruption import Corruption, Stored, Xor, apply_edit
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.engine.scored import scored_output
from faultsim.engine.sweep.parts import BLOCK
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Spent, Sweep
from faultsim.metrics import Classification
from faultsim.metrics.outcomes import CRITICAL
from faultsim.model import Model, load_model
from peers.campaign import Array, Campaign, Fault, Flags, Tool


class Images:
    """The campaign's images as a data set (`faultsim.data.spec.DataSet`)."""

    source = "the campaign"
    notes: tuple[str, ...] = ()

    def __init__(self, campaign: Campaign, input_name: str) -> None:
        self._campaign = campaign
        self._input = input_name

    def __len__(self) -> int:
        return len(self._campaign.images)

    def inputs(self, start: int, stop: int) -> dict[str, Array]:
        """Return the images ``start … stop - 1``."""
        return {self._input: self._campaign.images[start:stop]}

    def labels(self, start: int, stop: int) -> Array:
        """Return their classes."""
        return self._campaign.labels[start:stop]


def corruption(model: Model, fault: Fault) -> Corruption:
    """Return the fault as the product's own value."""
    edit = Xor(indices=np.array([fault.element]), masks=np.array([1 << fault.bit], dtype=np.uint64))
    return Corruption({model.site(fault.site).name: edit})


class NaiveFaultsim:
    """One session and one forward pass a fault."""

    name = "faultsim, naive"
    whole = False

    def __init__(self, campaign: Campaign) -> None:
        self._model = load_model(campaign.path)
        output = scored_output(self._model)
        runner = Runner(self._model, output.name, threads=campaign.threads)
        data = Images(campaign, self._model.inputs[0].name)
        self._images = len(data)
        self._scorer = Scorer(runner, output, Classification(), data, campaign.batch_size)
        self._scorer.set_golden()
        clean = self._model.numbers
        self._stored = {site.name: Stored(site, site.format, clean[site.name]) for site in self._model.select()}

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Return the mismatches of each fault; see `Tool.run`."""
        outcomes = np.empty((len(faults), self._images), dtype=np.uint8)
        for row, fault in zip(outcomes, faults, strict=True):
            numbers = {
                name: apply_edit(edit, self._stored[name]) for name, edit in corruption(self._model, fault).items()
            }
            self._scorer.score(numbers, outcomes=row)
        return np.greater_equal(outcomes, CRITICAL)  # critical, or not finite


class SweptFaultsim(NaiveFaultsim):
    """All faults in one sweep over the graph."""

    name = "faultsim"
    whole = True

    def __init__(self, campaign: Campaign, **options: float) -> None:
        super().__init__(campaign)
        self._sweep = Sweep(self._scorer, **options)  # type: ignore[arg-type]

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Return the mismatches of each fault; see `Tool.run`."""
        outcomes = np.empty((len(faults), self._images), dtype=np.uint8)
        self._sweep.score([self._patch(fault) for fault in faults], outcomes=list(outcomes))
        return np.greater_equal(outcomes, CRITICAL)

    @property
    def spent(self) -> Spent:
        """What the sweep has computed."""
        return self._sweep.spent

    @property
    def fullness(self) -> str:
        """How many images went on behind the faulty layer, and how many of them a call held."""
        spent = self._sweep.spent
        each = f"{(spent.rows - spent.shared) / max(spent.calls, 1):.1f} of at most {BLOCK}"
        return f"{spent.rows:,} images of {sum(spent.trials.values()):,} trials went on, {each} a call"

    def _patch(self, fault: Fault) -> dict[str, Sparse]:
        edits = corruption(self._model, fault)
        where = np.array([fault.element])
        return {
            name: Sparse(where, apply_edit(edit, self._stored[name]).reshape(-1)[where]) for name, edit in edits.items()
        }


OURS: dict[str, Callable[[Campaign], Tool]] = {"faultsim-naive": NaiveFaultsim, "faultsim": SweptFaultsim}
"""Ours by the name on the command line. The last one is what the scaling section measures."""
