"""What an attack stands on: model, storage, samples to search on and samples to score on. Nothing is searched here."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.chips import clean_scores
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.attacks.options import one_of
from faultsim.campaign.storage import Storage, deployed_storage, device_storage
from faultsim.data.spec import DataSet
from faultsim.device import Device, load_device
from faultsim.engine.evaluate import Progress, Scorer
from faultsim.errors import DataError, OptionError
from faultsim.metrics import Classification, GoldenAgreement, Tally
from faultsim.specs.storage import ROLES

Stopped = Callable[[], bool]
"""Whether the user wants to stop: asked before every gradient and forward pass."""


@dataclass(eq=False)
class Prepared:
    """Everything that the phases of an attack share.

    Attributes:
        setting: Model, storage and the samples that everything is scored on.
        search: Scores on the samples that the search sees.
        searched_on: What those are, in words.
        separate: Whether they are other samples than those scored on.
        clean: The fault-free model on the samples scored on.
        device: The profile; None for the deployed format.
        tell: Told of every step.
        stopped: Whether to stop.
        notes: What a careful reader must know.
    """

    setting: Setting
    search: Scorer
    searched_on: str
    separate: bool
    clean: Tally
    device: Device | None
    tell: Progress
    stopped: Stopped
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether the search sees the very samples that are scored on."""
        return self.search is self.setting.scorer

    @property
    def counted(self) -> bool:
        """Whether the task counts correct answers."""
        return self.setting.task.counts_correct


def prepare(
    model: Any,
    data: str | Path | DataSet | None,
    *,
    device: str | Path | Device | None,
    search_data: str | Path | DataSet | None,
    options: Options,
    roles: tuple[str, ...],
    samples: int,
    samples_option: str = "--search-samples",
    bits_only: bool,
    torch_device: str,
    tell: Progress,
    stopped: Stopped,
) -> Prepared:
    """Load and check everything.

    Args:
        model: As for `assess`.
        data: Samples that everything is scored on.
        device: Profile that stores the numbers; None: the deployed format.
        search_data: Samples that the search sees; None: some of *data*.
        options: As for `assess`.
        roles: Roles of the tensors under attack; with a device among those that it stores, all of them where empty.
        samples: Most samples that the search sees.
        samples_option: What the user calls that.
        bits_only: Whether only the device's storage counts, not its faults.
        torch_device: Where gradients are computed.
        tell: Told of every step.
        stopped: Whether to stop.

    Raises:
        FaultsimError: If something cannot be used, or does not go together.
    """
    for role in roles:
        one_of("--roles", role, ROLES)
    if device is not None:
        options = replace(options, roles=roles or options.roles)
    tell("load and check", 0, 1)
    chip = None if device is None else device if isinstance(device, Device) else load_device(device)
    storage: Device
    if chip is None:
        storage = deployed_storage(roles)
    else:
        storage = device_storage(chip) if bits_only and chip.spec.storage.domain == "digital" else chip
    setting = make_setting(model, storage, data, options, torch_device=torch_device)
    clean, as_stored = clean_scores(setting)
    notes: list[str] = setting.notes()
    if setting.golden_labels:
        notes.append(
            "No labels: accuracy is agreement with the clean model's own answers, and the loss is taken to them."
        )
    if search_data is None:
        part = setting.subset(samples)
        seen = "all" if part is setting.scorer else f"{len(part.data)} evenly spaced ones of"
        on = f"{seen} the samples that it is scored on"
        notes.append("Gradients and scores are of the same samples: --search-data finds the worst case on others.")
        prepared = Prepared(setting, part, on, False, as_stored or clean, chip, tell, stopped, notes)
    else:
        other = _other(setting, storage, search_data, options, samples, torch_device)
        on = f"{len(other.data)} other samples ({Path(other.data.source).name})"
        if str(other.data.source) == str(setting.data.source):
            notes.append("--search-data and --data are the same file: the search saw what it is scored on.")
        prepared = Prepared(setting, other, on, True, as_stored or clean, chip, tell, stopped, notes)
    if prepared.search is not setting.scorer and not prepared.search.score(setting.fault_free()).counts.n:
        raise DataError(
            f"none of the {len(prepared.search.data)} samples that the search sees has a label that counts; raise "
            f"{samples_option}, or give other samples"
        )
    if not prepared.counted:
        notes.append("The task counts no correct answers: the loss decides.")
    tell("load and check", 1, 1)
    return prepared


def _other(
    setting: Setting, storage: Device, data: str | Path | DataSet, options: Options, samples: int, torch_device: str
) -> Scorer:
    plain = replace(options, limit=None)
    found = make_setting(setting.model, storage, data, plain, torch_device=torch_device)
    if found.golden_labels != setting.golden_labels:
        lacking, having = ("--search-data", "--data") if found.golden_labels else ("--data", "--search-data")
        raise DataError(f"{lacking} holds no labels and {having} does; give labels in both, or in neither")
    if found.task.name != setting.task.name:
        raise DataError(
            f"--search-data asks for the task {found.task.name}, --data for {setting.task.name}; name one with --task"
        )
    found.scorer.set_golden(found.fault_free())
    return found.subset(samples)


def classes_of(setting: Setting) -> int:
    """Return the number of classes.

    Raises:
        OptionError: If the model is no classifier.
    """
    task = setting.task.inner if isinstance(setting.task, GoldenAgreement) else setting.task
    if not isinstance(task, Classification):
        raise OptionError(f"--target and --victim are classes, and the task is {setting.task.name}; leave them out")
    batch = next(iter(setting.scorer.batches()))
    seen = setting.output.real(setting.scorer.runner.open()(batch.inputs, batch.start))
    return max(int(np.prod(seen.shape[1:], dtype=np.int64)), 2)


def picked(setting: Setting, full: Scorer, rows: NDArray[np.int64], labels: NDArray[Any] | None = None) -> Scorer:
    """Return a scorer on the samples *rows* of *full*, with other *labels* where given (one for each of *rows*).

    With these a sample is right where its first answer is the label, whatever k the task has.
    """
    from faultsim.assessment.setting import _Picked

    kept = full.labels[rows] if labels is None and full.labels is not None else labels
    task = setting.task
    if labels is not None and isinstance(task, GoldenAgreement):
        task = task.inner
    if labels is not None and isinstance(task, Classification):
        task = replace(task, top_k=1)  # taken for a class is what the first answer says
    return Scorer(
        full.runner,
        full.output,
        task,
        _Picked(full.data, rows, setting.model.inputs),
        full.batch_size,
        golden=None if full.golden is None else full.golden[rows],
        labels=kept,
        digests=None if full.digests is None else full.digests[rows],
    )


def whole_batches(prepared: Prepared, rows: NDArray[np.int64], scorer: Scorer, whose: str) -> NDArray[np.int64]:
    """Return those of some samples that fill batches: all, unless the graph takes so many at once and no other number.

    What is left out is told, but for a first look at some of the samples.

    Raises:
        DataError: If there is not one batch.
    """
    if not prepared.setting.model.fixed_batch:
        return rows
    fixed = scorer.batch_size
    whole = len(rows) - len(rows) % fixed
    if not whole:
        raise DataError(
            f"{scorer.data.source} has {len(rows)} samples {whose}, and the model runs on exactly {fixed} at once; "
            f"give at least {fixed} such samples, or export the model with a free batch"
        )
    out = len(rows) - whole
    note = f"The last {out} of {len(rows)} samples {whose} are left out: the model runs on exactly {fixed} at once."
    reported = scorer is prepared.search or scorer is prepared.setting.scorer
    if reported and out and note not in prepared.notes:
        prepared.notes.append(note)
    return rows[:whole]


def all_labels(full: Scorer) -> NDArray[Any]:
    """Return the labels of all samples, flat.

    Raises:
        DataError: If there are none.
    """
    return np.concatenate([np.asarray(full.batch_labels(batch)).reshape(-1) for batch in full.batches()])


def finite(value: float) -> float | None:
    """Return a number, None where it is not finite."""
    return value if math.isfinite(value) else None


def has_faults(device: Device | None) -> bool:
    """Whether a device is more than its storage."""
    return device is not None and not isinstance(device, Storage)
