"""The `faultsim assess` that gives a result again, for results that another command made. Nothing is judged here."""

import shlex
from pathlib import Path

from faultsim.criteria.parse import METRICS
from faultsim.errors import FaultsimError
from faultsim.library import find_device
from faultsim.report.words import plain
from faultsim.results import Judgement, Result
from faultsim.results.rerun import Rerun

_CONDITIONS = {"t_s": "--at", "v_norm": "--vdd", "v": "--vdd", "flux_factor": "--flux", "exposure_h": "--exposure",
               "temperature_c": "--temperature"}  # fmt: skip
_UNITS = {"exposure_h": "h"}


def assess_command(result: Result) -> str:
    """Return the command; without `Result.rerun`, as in files of older versions, little more than model and device.

    Conditions, data and requirements are in it; which tensors were left out, and what the search could spend, are not.
    """
    rerun = result.rerun
    words = ["faultsim", "assess", result.model.path, "--device", _device(result)]
    if rerun is not None:
        words += _options(rerun)
    if result.random is not None:
        words += ["--trials", str(result.random.trials)]
    if result.seed:
        words += ["--seed", str(result.seed)]
    for one in result.verdict.criteria:
        words += _requirement(one)
    return shlex.join(map(plain, words))


def _options(rerun: Rerun) -> list[str]:
    words: list[str] = []
    for name, value in rerun.conditions.items():
        if name in _CONDITIONS:
            words += [_CONDITIONS[name], f"{value:.12g}{_UNITS.get(name, '')}"]
    for option, text in (("--data", rerun.data), ("--preprocess", rerun.preprocess), ("--task", rerun.task),
                         ("--output", rerun.output)):  # fmt: skip
        words += [option, text] if text is not None else []
    words += ["--limit", str(rerun.limit)] if rerun.limit is not None else []
    words += ["--reads", rerun.reads] if rerun.reads != "chip" else []
    for option, texts in (("--input-shape", rerun.input_shape), ("--batch-axis", rerun.batch_axis)):
        words += [word for text in texts for word in (option, text)]
    return words


def _device(result: Result) -> str:
    """Return the device's name where the library's profile of that name is the one that was used, else its file."""
    if result.rerun is None:
        return result.device.name
    try:
        if find_device(result.device.name).samefile(Path(result.rerun.device)):
            return result.device.name
    except (FaultsimError, OSError, ValueError):
        pass
    return result.rerun.device


def _requirement(one: Judgement) -> list[str]:
    """Return a requirement in the grammar of ``--require``, however its author wrote it; nothing for one it lacks."""
    metric = METRICS.get(one.metric)
    if metric is None or metric.better == "either":
        return []
    chip = f"@{one.at}" if one.at not in (None, "mean") else ""
    return ["--require", f"{one.metric}{'>=' if metric.better == 'higher' else '<='}{one.limit:.12g}{chip}"]
