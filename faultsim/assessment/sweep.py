"""`sweep`: the same chips over one condition. One condition alone is `assess`; what is printed lives in `report`."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from faultsim.assessment.assemble import data_info, device_info, model_info, notes, provenance, score_of
from faultsim.assessment.chips import clean_scores
from faultsim.assessment.options import Options
from faultsim.assessment.over import parse_over
from faultsim.assessment.phases import random_chips, summary
from faultsim.assessment.setting import Setting, make_setting
from faultsim.data.spec import DataSet
from faultsim.device import Device, load_device
from faultsim.device.conditions import Conditions
from faultsim.engine.evaluate import Progress
from faultsim.errors import DeviceError, OptionError
from faultsim.results import SweepPoint, SweepResult, TrialRow


def sweep(
    model: Any,
    device: str | Path | Device,
    data: str | Path | DataSet | None = None,
    *,
    over: str,
    options: Options | None = None,
    progress: Progress | None = None,
    command: str = "faultsim.sweep(…)",
    finished: Callable[[SweepResult], None] | None = None,
) -> SweepResult:
    """Score the same chips at several values of one condition: a curve of accuracy bands.

    Chip *k* is drawn by the same keys at every value: a die whose cells fail at 0.9 V has the same failing cells and
    more at 0.8 V, and a programmed array is the same array a day later.

    Args:
        model: As in `assess`.
        device: As in `assess`.
        data: As in `assess`.
        over: The condition and its values, such as ``vdd=0.9:0.7:9`` (see `parse_over`).
        options: As in `assess`; what belongs to searches and tables is not used.
        progress: Told of every chip.
        command: The command that the result names.
        finished: Given the partial result before a KeyboardInterrupt goes on.

    Raises:
        FaultsimError: If model, device, data, condition or an option cannot be used.
        KeyboardInterrupt: On Ctrl-C.
    """
    options = options or Options()
    tell = progress or (lambda phase, done, total: None)
    started = time.perf_counter()
    chip = device if isinstance(device, Device) else load_device(device)
    knob, values = parse_over(over, chip.spec)
    if getattr(options.conditions, knob.field, None) is not None:
        raise OptionError(f"--over sweeps {knob.name}, and --{knob.name} is given too; leave one out")
    tell("load and check", 0, 1)
    setting = make_setting(model, chip, data, options, torch_device="cpu")
    clean, clean_stored = clean_scores(setting)
    tell("load and check", 1, 1)
    points: list[SweepPoint] = []
    left_out: list[str] = []

    def result(stopped: str | None) -> SweepResult:
        return SweepResult(
            model=model_info(setting),
            device=device_info(setting),
            data=data_info(setting),
            over=knob.name,
            unit=knob.unit,
            seed=options.seed,
            level=options.level,
            trials=options.trials,
            clean=score_of(setting, clean),
            clean_stored=None if clean_stored is None else score_of(setting, clean_stored, setting.stored.values()),
            points=tuple(points),
            stopped=stopped,
            notes=(*left_out, *_notes(setting, points)),
            provenance=provenance(setting, {}, time.perf_counter() - started, command),
        )

    total = options.trials * len(values)
    try:
        for position, value in enumerate(values):
            at = _at(setting, replace(options.conditions or Conditions(), **{knob.field: value}))
            rows: list[TrialRow] = []
            done = position * options.trials
            try:
                setting.device.draw(setting.stored, options.seed, 0, conditions=at.options.conditions)
            except (DeviceError, OptionError) as error:  # where the profile's data end: the other values stand
                left_out.append(f"{knob.show(value)} is left out: {error}")
                if len(left_out) == len(values):
                    raise
                continue
            random_chips(at, rows, lambda phase, step, _, done=done: tell(phase, done + step, total))  # type: ignore[misc]
            points.append(SweepPoint(value=value, label=knob.show(value), random=summary(at, rows)))
    except KeyboardInterrupt:
        if points and finished is not None:
            finished(result(f"interrupted after {len(points)} of {len(values)} values"))
        raise
    return result(None)


def _notes(setting: Setting, points: list[SweepPoint]) -> list[str]:
    kept = [note for note in notes(setting, None, None, tables=False) if not note.startswith("No SDC")]
    rare = [point.random.event_probability is not None for point in points]
    if any(rare) and not all(rare):
        kept.append("Chips are given an event where P(event) is shown, and drawn as they come at the other values.")
    return kept


def _at(setting: Setting, conditions: Conditions) -> Setting:
    """Return the setting under other conditions; model, data and fault-free answers are shared."""
    return replace(setting, options=replace(setting.options, conditions=conditions))
