"""What an assessment stands on: model, data, task, device, chosen sites, all checked against each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faultsim.assessment.batch_axis import place_samples
from faultsim.assessment.freed import freed
from faultsim.assessment.given import IN_MEMORY, from_caller
from faultsim.assessment.options import Options
from faultsim.assessment.stores import stored_on
from faultsim.assessment.trusted import trusted_runner
from faultsim.corruption import Stored
from faultsim.data import check_labels, load_data, one_hot_as_classes
from faultsim.data.spec import Batch, DataSet, InputSpec
from faultsim.device import Device, load_device
from faultsim.engine.evaluate import Scorer
from faultsim.engine.scored import ScoredOutput, scored_output
from faultsim.errors import DataError, OptionError
from faultsim.library import find_model
from faultsim.metrics import Classification, GoldenAgreement, Task, TokenClassification, infer_task, named_task
from faultsim.model import Agreement, Model, check_agreement, load_model

CHECKED_SAMPLES = 256
"""Most samples that the model is checked on against onnxruntime."""


@dataclass(eq=False)
class Setting:
    """Everything that the phases of an assessment share."""

    model: Model
    device: Device
    data: DataSet
    options: Options
    task: Task
    output: ScoredOutput
    scorer: Scorer
    stored: dict[str, Stored]
    agreement: Agreement
    golden_labels: bool
    changed_by_storage: bool
    given_data: str | None = None
    said: tuple[str, ...] = ()

    def fault_free(self) -> dict[str, NDArray[Any]]:
        """The numbers of the chip without faults, by site."""
        return {name: one.values for name, one in self.stored.items()}

    def notes(self) -> list[str]:
        """What to know of the data, and of how the graph was run on them."""
        fixed = self.model.as_deployed.fixed_batch
        if fixed is None or self.model.fixed_batch:
            return [*self.said, *self.data.notes]
        samples = "one sample" if fixed == 1 else f"{fixed} samples"
        said = f"The graph takes {samples} at a time; it was run on up to {self.scorer.batch_size}, to the same bits."
        return [*self.said, *self.data.notes, said]

    def subset(self, samples: int) -> Scorer:
        """Return a scorer on evenly spaced samples of the data, *samples* at most, or on all.

        A graph with a fixed batch gets whole batches, at least one.
        """
        full = self.scorer
        whole = self.model.fixed_batch or 1
        samples = max(samples - samples % whole, whole)
        if samples >= len(self.data):
            return full
        picks = np.unique(np.linspace(0, len(self.data) - 1, samples).round().astype(np.int64))
        part = _Picked(self.data, picks, self.model.inputs)
        return Scorer(
            full.runner,
            full.output,
            full.task,
            part,
            full.batch_size,
            golden=None if full.golden is None else full.golden[picks],
            labels=None if full.labels is None else full.labels[picks],
            digests=None if full.digests is None else full.digests[picks],
        )


class _Picked:
    """Some samples of a data set, in order (`data.spec.DataSet`)."""

    def __init__(self, data: DataSet, picks: NDArray[np.int64], specs: Sequence[InputSpec]) -> None:
        self.data = data
        self._axes = {spec.name: spec.batch_axis for spec in specs}
        self.picks = picks
        self.source = data.source
        self.notes = data.notes
        self.golden_labels = bool(getattr(data, "golden_labels", False))

    def __len__(self) -> int:
        return len(self.picks)

    def inputs(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Return the inputs of the picked samples ``start … stop - 1``."""
        rows = [self.data.inputs(int(i), int(i) + 1) for i in self.picks[start:stop]]
        return {name: self._joined(name, [row[name] for row in rows]) for name in rows[0]}

    def labels(self, start: int, stop: int) -> NDArray[Any] | None:
        """Return their labels."""
        rows = [self.data.labels(int(i), int(i) + 1) for i in self.picks[start:stop]]
        return None if rows[0] is None else np.concatenate([row for row in rows if row is not None])

    def _joined(self, name: str, rows: list[NDArray[Any]]) -> NDArray[Any]:
        axis = self._axes.get(name, 0)
        return rows[0] if axis is None else np.concatenate(rows, axis=axis)


def make_setting(
    source: Any,
    device: str | Path | Device,
    data: str | Path | DataSet | None,
    options: Options,
    *,
    torch_device: str,
) -> Setting:
    """Load and check everything; nothing is scored yet.

    Raises:
        FaultsimError: If model, device or data cannot be used, or do not go together.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    chip = device if isinstance(device, Device) else load_device(device)
    if isinstance(source, str):
        source = find_model(source)
    loaded = source if isinstance(source, Model) else load_model(source, torch_device=torch_device)
    model, label_axis = place_samples(loaded, options)
    if data is None or isinstance(data, str | Path):
        samples = load_data(
            data,
            model_path=model.path,
            inputs=model.inputs,
            preprocess=options.preprocess,
            limit=options.limit,
            seed=options.seed,
            input_shape=_input_shapes(options.input_shape, model),
            label_axis=label_axis,
        )
    else:
        samples = from_caller(data, model.inputs, options)
    agreed = bool(getattr(samples, "golden_labels", False))
    if len(samples) == 0:
        raise DataError(f"{samples.source} holds no samples; give at least one")
    output = scored_output(model, options.output)
    agreement = check_agreement(model.as_deployed, _few(model.as_deployed, samples))
    # what acts while the network runs needs torch: the fault-free chip then runs there too, to the last bit the same
    prefer = "torch" if chip.acts_at_inference(reads=options.reads == "inference") else "auto"
    model, batch_size = freed(
        model, samples, output.name, batch_size=options.batch_size, prefer=prefer, threads=options.threads
    )
    first = Batch(
        samples.inputs(0, min(batch_size, len(samples))),
        samples.labels(0, min(batch_size, len(samples))),
        0,
        0,
    )
    raw = np.asarray(model.run(first.inputs)[output.name])
    _check_output(output, raw, min(batch_size, len(samples)))
    seen = output.real(raw)
    samples = one_hot_as_classes(samples, seen, options.task)
    labels = samples.labels(0, min(batch_size, len(samples)))
    task = _plain_margin(_task(options, output, seen, labels, text=getattr(samples, "language_model", False)))
    _check_scores(task, output.name, seen)
    _check_classes(task, seen, samples)
    runner, said = trusted_runner(model, output.name, first.inputs, raw, threads=options.threads, prefer=prefer)
    scorer = Scorer(runner, output, task, samples, batch_size)
    golden = isinstance(task, GoldenAgreement) or agreed
    if isinstance(task, GoldenAgreement):
        scorer.set_labels_from_clean(task)
    given = None if data is None else str(data) if isinstance(data, str | Path) else IN_MEMORY
    stored = stored_on(model, chip, options)
    numbers = model.numbers
    changed = any(not np.array_equal(one.values, numbers[name]) for name, one in stored.items())
    return Setting(model, chip, samples, options, task, output, scorer, stored, agreement, golden, changed, given, said)


def _check_output(output: ScoredOutput, seen: NDArray[Any], samples: int) -> None:
    axis = output.batch_axis
    if seen.ndim <= axis or seen.shape[axis] != samples:
        raise DataError(
            f"output {output.name!r} has shape {seen.shape} for a batch of {samples}: faultsim scores outputs that "
            "count the samples along one axis; choose another --output, or name the axis with "
            f"--batch-axis {output.name}=1"
        )


def _check_scores(task: Task, name: str, seen: NDArray[Any]) -> None:
    """Refuse to take one whole number a sample for the score of a class."""
    inner = task.inner if isinstance(task, GoldenAgreement) else task
    if isinstance(inner, Classification) and seen.dtype in (np.int32, np.int64, np.bool_) and seen.size == len(seen):
        raise OptionError(
            f"output {name!r} holds one whole number a sample, a class and no scores, which --task {inner.name} needs; "
            "give --task class-ids, or choose the logits with --output"
        )


def _input_shapes(texts: tuple[str, ...], model: Model) -> dict[str, tuple[int, ...]] | None:
    names = [spec.name for spec in model.inputs]
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        parts = sizes.split(",")
        if name not in names or not all(p.strip().isdecimal() and int(p) > 0 for p in parts):
            raise OptionError(
                f"--input-shape {text!r}: give NAME=SIZE,SIZE,… with whole numbers above 0; the inputs are {names}"
            )
        found[name] = tuple(int(p) for p in parts)
    return found or None


def _few(model: Model, samples: DataSet) -> dict[str, NDArray[Any]]:
    return samples.inputs(0, min(model.fixed_batch or CHECKED_SAMPLES, len(samples)))


def _task(
    options: Options, output: ScoredOutput, seen: NDArray[Any], labels: NDArray[Any] | None, *, text: bool
) -> Task:
    if options.task is not None:
        task = named_task(options.task, output_is_probability=output.is_probability, outputs=seen, labels=labels)
        return task if labels is not None else GoldenAgreement(task)
    sure = output.is_probability
    return infer_task(
        seen.shape, labels, output_dtype=_kind(seen), output_is_probability=sure, language_model=bool(text)
    )


def _check_classes(task: Task, seen: NDArray[Any], samples: DataSet) -> None:
    """Look at every label now, so that a campaign does not meet a wrong one after an hour."""
    if isinstance(task, Classification):
        classes = max(seen.shape[1], 2) if seen.ndim > 1 else 2
        if task.top_k >= classes:
            raise OptionError(
                f"task 'top{task.top_k}' is always right with {classes} classes; give a number below {classes}"
            )
        check_labels(samples, classes)
    elif isinstance(task, TokenClassification) and seen.ndim > 2:
        check_labels(samples, max(seen.shape[task.class_axis], 2), ignore_index=task.ignore_index)


def _plain_margin(task: Task) -> Task:
    """Let the search see by how much a sample is wrong: capped at 0, a batch that is all wrong has no gradient."""
    if isinstance(task, GoldenAgreement):
        return replace(task, inner=_plain_margin(task.inner))
    return replace(task, margin_cap=math.inf) if isinstance(task, Classification) else task


def _kind(seen: NDArray[Any]) -> np.dtype[Any]:
    # int8 logits of a quantized graph are scores, not tokens
    return np.dtype(np.float32) if seen.dtype in (np.int8, np.uint8) else seen.dtype


def parameters(stored: Mapping[str, Stored]) -> int:
    """Return the number of stored elements."""
    return sum(one.site.elements for one in stored.values())
