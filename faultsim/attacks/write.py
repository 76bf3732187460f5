"""The worst corruption as a model file, scored by itself in onnxruntime. What is wrong in it is found elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.setting import Setting
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.errors import FaultsimError, OptionError
from faultsim.formats import ConductanceMapping
from faultsim.model import load_model
from faultsim.results.attack import Written

NOT_WRITTEN = "The worst model was not written"
"""How the note begins where that was asked for and failed."""


def check_writable(setting: Setting, target: Path) -> None:
    """Refuse to search for a worst model that no file can hold, or that would be written over the model itself.

    Raises:
        OptionError: If *target* is the model's own file, or a device stores codes of the file as conductances.
    """
    path = setting.model.path
    if path is not None and target.exists() and target.samefile(path):
        raise OptionError(f"-o {target}: that is the model itself, which is never overwritten; give another name")
    numbers = setting.model.numbers
    for name, one in setting.stored.items():
        if isinstance(one.format, ConductanceMapping) and numbers[name].dtype.kind in "iu":
            raise OptionError(
                f"-o: {name} holds {numbers[name].dtype} codes in the file, which cannot hold what conductances are "
                "worth; leave -o out, or attack the float model"
            )


def write_model(setting: Setting, numbers: Mapping[str, NDArray[Any]], target: Path) -> Written:
    """Write the graph with new *numbers*, load that file again and score it.

    No file is left where that fails after it was written.

    Raises:
        OptionError: If the file cannot be written, or would hold a NaN, which no model is read with.
        ModelError: If a number does not fit the file (an analog value behind an integer code).
    """
    for name, values in numbers.items():
        with np.errstate(invalid="ignore"):  # a signalling NaN
            nans = int(np.isnan(values.astype(np.float64)).sum())
        if nans:
            raise OptionError(
                f"-o {target}: {name} would hold {nans} NaN, and a file with one is not read as a model; leave "
                "--allow-nonfinite out to search for numbers that a file can hold"
            )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        setting.model.write(target, numbers)
    except OSError as error:
        raise OptionError(f"-o {target}: cannot be written ({error.strerror})") from None
    full = setting.scorer
    try:
        broken = load_model(target)
        runner = Runner(broken, full.output.name, threads=full.runner.threads)
        size = broken.fixed_batch or full.batch_size
        alone = Scorer(runner, full.output, full.task, full.data, size, golden=full.golden, labels=full.labels)
        tally, expected = alone.score(), full.score(numbers)
    except FaultsimError:
        target.unlink(missing_ok=True)
        raise
    same = (tally.counts.correct, tally.counts.nonfinite) == (expected.counts.correct, expected.counts.nonfinite)
    return Written(
        path=str(target),
        sha256=broken.sha256,
        runtime=runner.runtime,
        accuracy=tally.counts.accuracy if full.task.counts_correct else None,
        loss=tally.mean_loss,
        same=same,
    )
