"""One chip of the device on the model under test: its numbers, what acts while it runs, its row. No phases here."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.setting import Setting
from faultsim.corruption import apply_edit
from faultsim.device import Chip
from faultsim.engine.ahead import ahead
from faultsim.engine.beside import beside
from faultsim.engine.runner import Run
from faultsim.engine.summary import row
from faultsim.inference import ActivationLaw, ActivationUpset, Effect, StuckOutput, Upset, fault_free
from faultsim.metrics import Tally, Task
from faultsim.results import TrialRow

CALIBRATION_SAMPLES = 256
"""Most samples that ranges of layers and activations are taken from."""

Numbers = dict[str, NDArray[Any]]


class Drawn(NamedTuple):
    """One chip, ready to be scored.

    Attributes:
        chip: What the device drew.
        numbers: What it computes with, by site.
        effects: What acts while it computes.
        upsets: Of these, each struck activation and each law of broken processing elements, with its mechanism.
    """

    chip: Chip
    numbers: Numbers
    effects: tuple[Effect, ...]
    upsets: tuple[tuple[str, Upset | StuckOutput], ...] = ()

    @property
    def acts(self) -> bool:
        """Whether something of this chip acts while it computes: its numbers alone are then not all that it is."""
        struck = {mechanism for mechanism, _ in self.upsets}
        idle = [one.mechanism not in struck for one in self.effects]
        return any(
            not one.law.is_null and not (missed and isinstance(one.law, ActivationUpset) and one.law.bits is None)
            for one, missed in zip(self.effects, idle, strict=True)
        )


def draw_chip(setting: Setting, trial: int, names: Sequence[str] | None = None) -> Drawn:
    """Draw chip *trial*; with faults in the tensors *names* alone where given.

    Where chips are drawn given a rare event, the event is then one in *names*: nearly every chip's own is elsewhere.
    Upsets of activations belong to no tensor, and are then left out.
    """
    device, options = setting.device, setting.options
    stored, conditions, reads = setting.stored, options.conditions, options.reads == "inference"
    if names is not None and device.is_conditional(stored, conditions=conditions):
        stored = {name: stored[name] for name in names}
    chip = device.draw(stored, options.seed, trial, reads=reads, conditions=conditions)
    numbers = setting.fault_free()
    for name, edit in chip.corruption.items():
        if names is None or name in names:
            numbers[name] = apply_edit(edit, setting.stored[name])
    effects = device.effects(setting.stored, options.seed, trial, reads=reads, conditions=conditions)
    if names is not None:
        confined = [one for one in effects if not isinstance(one.law, ActivationLaw)]
        effects = tuple(replace(one, sites=frozenset(names)) for one in confined)
    return Drawn(chip, numbers, effects, _upsets(setting, effects))


def _upsets(setting: Setting, effects: Sequence[Effect]) -> tuple[tuple[str, Upset | StuckOutput], ...]:
    seen = setting.scorer.runner.calibration
    found: list[tuple[str, Upset | StuckOutput]] = []
    for one in effects:
        if isinstance(one.law, StuckOutput):
            found.append((one.mechanism, one.law))
        elif isinstance(one.law, ActivationUpset) and seen is not None:
            found += [(one.mechanism, upset) for upset in one.law.draw(seen.activations, one)]
    return tuple(found)


def chip_numbers(setting: Setting, trial: int, names: Sequence[str] | None = None) -> Numbers:
    """Return the numbers of `draw_chip` alone."""
    return draw_chip(setting, trial, names).numbers


def chip_row(setting: Setting, trial: int, outcomes: NDArray[np.uint8] | None = None) -> tuple[TrialRow, Drawn]:
    """Draw and score chip *trial*; *outcomes* is filled with the class of each sample (see `Scorer.score`)."""
    drawn = draw_chip(setting, trial)
    tally = setting.scorer.score(drawn.numbers, effects=drawn.effects, outcomes=outcomes)
    return drawn_row(setting, trial, drawn, tally), drawn


def drawn_row(setting: Setting, trial: int, drawn: Drawn, tally: Tally) -> TrialRow:
    """Return the row of a chip that was scored."""
    return of_chip(trial, tally, setting.task, drawn.chip)


def of_chip(trial: int, tally: Tally, task: Task, chip: Chip) -> TrialRow:
    """Return the row of a scored chip, with what its memory's code and the machine noticed."""
    noticed = {"detected": chip.detected_words, "corrected": chip.corrected_words, "crashed": int(chip.crashed)}
    return row(trial, tally, task, **noticed)


class Scored(NamedTuple):
    """One chip: its row, what was drawn, the class of each sample where they were asked for."""

    row: TrialRow
    drawn: Drawn
    outcomes: NDArray[np.uint8] | None


def dense_chips(setting: Setting, trials: Sequence[int], *, outcomes: bool) -> Iterator[Scored]:
    """Draw and score chips by whole passes, in order: several side by side, or the next drawn while one is scored.

    Args:
        setting: What the assessment stands on; its scorer knows the fault-free chip.
        trials: Numbers of the chips.
        outcomes: Whether the class of each sample is wanted.
    """
    if not trials:
        return
    held = [draw_chip(setting, trials[0])]
    way = beside(setting.scorer, held[0].numbers, held[0].effects, setting.options.trials)

    def drawn_of(trial: int) -> Drawn:
        return held.pop() if trial == trials[0] else draw_chip(setting, trial)

    def opened(trial: int) -> tuple[Drawn, Run]:
        drawn = drawn_of(trial)
        return drawn, way.scorer.runner.open(drawn.numbers, drawn.effects)

    def scored(trial: int, drawn: Drawn, run: Run) -> Scored:
        kept = np.zeros(len(setting.data), np.uint8) if outcomes else None
        tally = way.scorer.score(drawn.numbers, drawn.effects, outcomes=kept, run=run)
        return Scored(drawn_row(setting, trial, drawn, tally), drawn, kept)

    if way.at_once > 1:
        yield from way.each(lambda trial: scored(trial, *opened(trial)), trials)
    else:
        for trial, (drawn, run) in ahead(opened, trials):
            yield scored(trial, drawn, run)


def clean_scores(setting: Setting) -> tuple[Tally, Tally | None]:
    """Score the deployed model and, where storage rounds it, the fault-free chip; the last one becomes golden."""
    scorer = setting.scorer
    effects = _without_faults(setting)
    if not setting.changed_by_storage and not effects:
        scorer.set_golden()
        return scorer.score(), None
    clean = scorer.score()
    scorer.set_golden(setting.fault_free(), effects)
    return clean, scorer.score(setting.fault_free(), effects=effects)


def _without_faults(setting: Setting) -> tuple[Effect, ...]:
    """Calibrate where the device acts on a running network; return what is left of it on a chip without faults."""
    device, options = setting.device, setting.options
    reads = options.reads == "inference"
    effects = device.effects(setting.stored, options.seed, 0, reads=reads, conditions=options.conditions)
    if not effects:
        return ()
    seen = 0
    batches = []
    for batch in setting.scorer.batches():
        batches.append(batch.inputs)
        seen += batch.stop - batch.start
        if seen >= CALIBRATION_SAMPLES:
            break
    setting.scorer.runner.calibrate(batches, setting.fault_free())
    return fault_free(effects)
