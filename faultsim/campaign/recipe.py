"""`Recipe`: all that a worker needs to evaluate trials, small enough to be sent; `Prepared`, what it makes of it.

The parent and every worker prepare the same way, so that a row is the same wherever it is computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from faultsim.assessment.chips import clean_scores
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.campaign.draw import Draws
from faultsim.campaign.evaluator import Evaluator, PlainEvaluator, Row, SweepEvaluator
from faultsim.campaign.options import CampaignOptions
from faultsim.campaign.population import population_of
from faultsim.campaign.screened import ScreenEvaluator
from faultsim.campaign.storage import Storage
from faultsim.data.spec import DataSet, InputSpec
from faultsim.engine.executors import Chunk, Job
from faultsim.errors import DeviceError, OptionError
from faultsim.metrics import Tally
from faultsim.model import load_model


@dataclass(frozen=True, eq=False)
class Answer:
    """What a worker sends back for a chunk.

    Attributes:
        rows: In the order of the chunk.
        ways: Its trials by way of evaluation.
        shared_s: Seconds of it that more trials would not have made more.
    """

    rows: list[Row]
    ways: Mapping[str, int]
    shared_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Prepared:
    """A campaign's model, data and draws, checked and ready.

    Attributes:
        setting: Model, data, task and storage.
        draws: The faults of every trial.
        clean: The deployed model without faults.
        clean_stored: The stored one, where storage changes it.
        screened: What scores screened trials in this process: one, or none so far.
    """

    setting: Setting
    draws: Draws
    clean: Tally
    clean_stored: Tally | None
    screened: list[ScreenEvaluator] = field(default_factory=list)

    def evaluator(self, campaign: CampaignOptions, *, memory_bytes: int) -> Evaluator:
        """Return what scores trials."""
        if campaign.screen:
            self.screened[:] = [ScreenEvaluator(self.setting, self.draws, memory_bytes=memory_bytes)]
            return self.screened[0]
        if campaign.engine == "plain":
            return PlainEvaluator(self.setting, self.draws)
        return SweepEvaluator(self.setting, self.draws, memory_bytes=memory_bytes)

    def whole(self, trials: Sequence[int], *, memory_bytes: int) -> list[Row]:
        """Return rows of a few trials, each on every sample; with the pieces that a screen has opened, if one has."""
        if self.screened:
            return self.screened[0].whole(trials)
        return SweepEvaluator(self.setting, self.draws, memory_bytes=memory_bytes).evaluate(trials)


@dataclass(frozen=True, eq=False)
class Recipe:
    """How to prepare a campaign in any process.

    Attributes:
        source: Path of the model, or the serialized model; a `Model` in this process alone.
        storage: What holds the bits.
        data: As for `make_setting`.
        options: As for an assessment; seed, batch size, task, sites.
        campaign: How to inject.
        torch_device: Where torch computes.
        name: What a serialized model is called.
        axes: Which axes of its inputs and outputs count the samples, where its user had named them.
        judged: The output that decides where axes have to be tried.
    """

    source: Any
    storage: Storage
    data: Any
    options: Options
    campaign: CampaignOptions
    torch_device: str = "cpu"
    name: str | None = None
    axes: Mapping[str, int | None] = field(default_factory=dict)
    judged: str | None = None

    def prepare(self) -> Prepared:
        """Load and check everything, and score the model without faults.

        Raises:
            FaultsimError: If model, data, storage or an option cannot be used.
        """
        source = self.source
        if isinstance(source, bytes):
            source = load_model(onnx.load_from_string(source), torch_device=self.torch_device, name=self.name)
            source = source.with_batch_axes(self.axes, judged=self.judged)
        try:
            setting = make_setting(source, self.storage, self.data, self.options, torch_device=self.torch_device)
        except DeviceError as error:
            if not self.storage.as_deployed:
                raise
            said = f"no tensor of the model has a role of --roles {','.join(self.campaign.roles)}; give other roles"
            raise OptionError(said) from error
        if len(setting.data) < 1:
            raise OptionError("a campaign needs at least one sample; give --data")
        clean, clean_stored = clean_scores(setting)
        population = population_of(setting.stored, self.campaign.roles, self.campaign.stratify, where=self.storage.name)
        draws = Draws(population, self.options.seed, self.campaign.flips, independent=self.campaign.screen)
        return Prepared(setting, draws, clean, clean_stored)

    def __call__(self) -> Job:
        """Return the job of a worker."""
        return job_of(self.prepare(), self.campaign)

    def shared(self, setting: Setting, *, threads: int, everything: bool) -> "Recipe":
        """Return the recipe for other processes.

        Args:
            setting: What this process has loaded.
            threads: Threads of a worker.
            everything: Whether model and data are to be held in it, for machines that do not see our files.
        """
        source, data = self.source, self.data
        if everything or not isinstance(source, str | Path):
            source = setting.model.proto.SerializeToString(deterministic=True)
        readable = isinstance(data, str | Path) or (data is None and not isinstance(source, bytes))
        if everything or not readable:
            data = HeldData(setting.data, setting.model.inputs)
        options = replace(self.options, threads=threads)
        if isinstance(data, HeldData):  # what these options ask for has been done to it
            options = replace(options, preprocess=None, input_shape=(), limit=None)
        model = setting.model
        return replace(
            self, source=source, data=data, options=options, name=model.name, axes=model.given_axes, judged=model.judged
        )


class HeldData:
    """A whole data set in memory (`data.spec.DataSet`), to be sent to a worker."""

    def __init__(self, data: DataSet, specs: Sequence[InputSpec]) -> None:
        self.source = data.source
        self.notes = data.notes
        self.golden_labels = bool(getattr(data, "golden_labels", False))
        self.language_model = bool(getattr(data, "language_model", False))
        self._axes = {spec.name: spec.batch_axis for spec in specs}
        self._inputs = data.inputs(0, len(data))
        self._labels = data.labels(0, len(data))
        self._length = len(data)

    def __len__(self) -> int:
        return self._length

    def inputs(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Return the inputs of samples ``start … stop - 1``."""
        return {name: self._cut(name, array, start, stop) for name, array in self._inputs.items()}

    def labels(self, start: int, stop: int) -> NDArray[Any] | None:
        """Return their labels."""
        return None if self._labels is None else self._labels[start:stop]

    def _cut(self, name: str, array: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        axis = self._axes.get(name, 0)
        if axis is None:
            return array
        return np.take(array, range(start, min(stop, self._length)), axis=axis)


def job_of(prepared: Prepared, campaign: CampaignOptions, tell: Callable[[int], None] | None = None) -> Job:
    """Return the function from a chunk of trials to its `Answer`; *tell* hears how many of them are as good as done."""
    memory = campaign.memory_mib * (1 << 20) // campaign.workers
    evaluator = prepared.evaluator(campaign, memory_bytes=memory)
    size = 0

    def told(part: float) -> None:
        if tell is not None and part < 1:  # what is whole is told once it is kept
            tell(int(part * size))

    evaluator.watch(told)

    def job(chunk: Chunk) -> Answer:
        nonlocal size
        size = len(chunk)
        before = evaluator.shared_s
        rows = evaluator.evaluate(chunk)
        return Answer(rows, dict(evaluator.spent), evaluator.shared_s - before)

    return job
