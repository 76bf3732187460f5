"""`replay`: one trial of a result again, as a faulty model file. Campaigns live in `run.py`."""

import glob
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from faultsim.assessment.chips import chip_row, clean_scores, of_chip
from faultsim.assessment.fault_list import Record, records
from faultsim.assessment.given import IN_MEMORY
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.data.function import is_function
from faultsim.data.spec import DataSet
from faultsim.device import Conditions, Device, load_device
from faultsim.device.chip import Chip
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.errors import OptionError
from faultsim.library import find_model
from faultsim.model import Model, load_model
from faultsim.results import Rerun, Result, TrialRow


class Replayed(NamedTuple):
    """One trial again.

    Attributes:
        path: The faulty model; None where it was not written.
        row: The trial's counts, scored again; of the written file where that holds all that is wrong.
        expected: The trial's counts as the result has them; None where it kept none.
        chip: What was drawn.
        faults: Every fault as a record (see `fault_list.records`).
        runtime: What computed the counts.
        notes: What the written file does not hold.
    """

    path: Path | None
    row: TrialRow
    expected: TrialRow | None
    chip: Chip
    faults: tuple[Record, ...]
    runtime: str
    notes: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool | None:
        """Whether the counts are those of the result; None where it kept none."""
        return None if self.expected is None else counts(self.row) == counts(self.expected)


def counts(row: TrialRow) -> tuple[int, int, int, int]:
    """Return the whole numbers of a row: what a replay must meet exactly."""
    return row.correct, row.mismatch, row.nonfinite, row.n


def replay(
    result: Result,
    trial: int,
    out: Path | None = None,
    *,
    model: str | Path | None = None,
    device: str | Path | Device | None = None,
    data: str | DataSet | None = None,
    task: str | None = None,
) -> Replayed:
    """Draw a trial of *result* again, write the faulty model, and score that file.

    Args:
        result: Of `assess`.
        trial: Number of the chip, from 0; it need not be among those of the result.
        out: Where the faulty model goes; not written where None.
        model: In place of the result's path; it must be the same file by its digest.
        device: In place of the result's; the same by its digest.
        data: In place of the result's; scores are compared all the same.
        task: In place of the result's.

    Raises:
        OptionError: If the result says too little, model or device are not the ones it was made with, *out* is the
            model's own file, the result names a Python function that the caller did not, or it was made on data in
            memory and the caller gives none.
        ModelError: If the faulty numbers do not fit the file, such as a conductance behind an integer code.
    """
    rerun = result.rerun
    if rerun is None:
        raise OptionError(
            "this result was written by an older faultsim and does not say how to draw its chips; run it again"
        )
    if trial < 0:
        raise OptionError(f"--trial is {trial}, it must be at least 0")
    _refuse_functions(rerun, data, task)
    if data is None and rerun.data == IN_MEMORY:
        raise OptionError(
            "the result was made on a data set in memory, which no file leads back to; give it with --data"
        )
    chip_type = device if isinstance(device, Device) else load_device(device if device is not None else rerun.device)
    if chip_type.sha256 != result.device.sha256:
        raise OptionError(
            f"device {chip_type.name} is not the profile of the result (SHA-256 {chip_type.sha256[:12]}… against "
            f"{result.device.sha256[:12]}…); give the old file with --device"
        )
    source = load_model(find_model(str(model)) if model is not None else result.model.path)
    if source.sha256 != result.model.sha256:
        raise OptionError(
            f"{source.name} is not the model of the result (SHA-256 {source.sha256[:12]}… against "
            f"{result.model.sha256[:12]}…); give the old file with --model"
        )
    _refuse_original(source, out)
    options = Options(
        trials=1,
        seed=result.seed,
        batch_size=rerun.batch_size,
        level=result.level,
        sites=tuple(glob.escape(name) for name in rerun.sites),
        task=task if task is not None else rerun.task,
        output=rerun.output,
        preprocess=None if rerun.preprocess is None else Path(rerun.preprocess),
        limit=rerun.limit,
        input_shape=rerun.input_shape,
        batch_axis=rerun.batch_axis,
        reads=rerun.reads,
        conditions=_conditions(rerun),
    )
    setting = make_setting(source, chip_type, data if data is not None else rerun.data, options, torch_device="cpu")
    clean_scores(setting)
    row, drawn = chip_row(setting, trial)
    chip, numbers = drawn.chip, drawn.numbers
    runtime = setting.scorer.runner.runtime
    notes = []
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        setting.model.write(out, numbers)
        alone = _score_file(setting, out, trial, chip)
        if drawn.effects:
            acting = ", ".join(effect.mechanism for effect in drawn.effects)
            notes.append(
                f"{acting}: acts while the network runs and is not in the file, which by itself has "
                f"{alone.correct} of {alone.n} correct, {alone.mismatch} changed"
            )
        else:
            row, runtime = alone, f"{runtime} on {out}"
    expected = next((one for one in (result.random.per_trial if result.random else ()) if one.trial == trial), None)
    faults = tuple(records(trial, chip, setting.stored, row, drawn.upsets))
    return Replayed(out, row, expected, chip, faults, runtime, tuple(notes))


def _score_file(setting: Setting, path: Path, trial: int, chip: Chip) -> TrialRow:
    """Return the counts of the written file by itself: nothing of the draw is in it but the file's own numbers."""
    broken = load_model(path)
    full = setting.scorer
    scorer = Scorer(
        Runner(broken, full.output.name, threads=full.runner.threads),
        full.output,
        full.task,
        full.data,
        broken.fixed_batch or full.batch_size,
        golden=full.golden,
        labels=full.labels,
        digests=full.digests,
    )
    return of_chip(trial, scorer.score(), full.task, chip)


def _conditions(rerun: Rerun) -> Conditions:
    known = [field.name for field in fields(Conditions)]
    for name in rerun.conditions:
        if name not in known:
            raise OptionError(f"the result has a condition {name!r}, which there is not; there are: {', '.join(known)}")
    return Conditions(**rerun.conditions)


def _refuse_original(source: Model, out: Path | None) -> None:
    """Refuse to write the faulty model over the one that it is made from."""
    if out is not None and source.path is not None and out.exists() and out.samefile(source.path):
        raise OptionError(f"-o {out}: that is the model itself, which is never overwritten; give another name")


def _refuse_functions(rerun: Rerun, data: str | DataSet | None, task: str | None) -> None:
    """Refuse to import and run what a file names: it may be somebody else's."""
    named = {"--data": rerun.data if data is None else None, "--task": rerun.task if task is None else None}
    for option, name in named.items():
        if name is not None and is_function(name):
            raise OptionError(
                f"the result was made with {option} {name}, a Python function, which is not run on a file's word; "
                f"give {option} {name} again if you trust it"
            )
