"""Chips with a few faults each, scored in waves by the one-sweep engine: the rows that whole passes give, for less.

Which chips there are is drawn in `chips.py`; the phases that use them live in `phases.py`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from faultsim.assessment.chips import Drawn, Scored, chip_row, draw_chip, drawn_row
from faultsim.assessment.setting import Setting
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep
from faultsim.metrics import Tally

WAVE = 32
"""Chips that share the clean activations of a batch."""
_MOST_FAULTS = 0.01
"""A chip with faults in more than this share of a tensor is no sparse one."""


def is_sparse(setting: Setting) -> bool:
    """Whether the device's chips are drawn given a rare event, and faults lie in stored numbers alone."""
    device, options = setting.device, setting.options
    if device.acts_at_inference(reads=options.reads == "inference"):
        return False
    return device.is_conditional(setting.stored, conditions=options.conditions)


def swept_chips(setting: Setting, trials: Sequence[int], *, outcomes: bool) -> Iterator[Scored]:
    """Draw and score chips a wave at a time, in order.

    Args:
        setting: What the assessment stands on; its scorer knows the fault-free chip.
        trials: Numbers of the chips.
        outcomes: Whether the class of each sample is wanted.
    """
    numbers = setting.fault_free() if setting.changed_by_storage else None
    sweep = Sweep(setting.scorer, numbers)
    fault_free: Tally | None = None
    at = 0
    while at < len(trials):
        wave = trials[at : at + (WAVE if sweep.shares else 1)]  # an interrupt loses the wave that is not done
        at += len(wave)
        drawn = [draw_chip(setting, trial) for trial in wave]
        kept = [np.zeros(len(setting.data), np.uint8) for _ in wave] if outcomes else None
        patches = [_patch(setting, one) for one in drawn]
        sparse = [i for i, patch in enumerate(patches) if patch]
        rows = None if kept is None else [kept[i] for i in sparse]
        scored = sweep.score([patch for patch in patches if patch], outcomes=rows)
        tallies = dict(zip(sparse, scored, strict=True))
        for i, trial in enumerate(wave):
            own = None if kept is None else kept[i]
            if patches[i] == {}:  # a code repaired all, or nothing changed: every sample is masked
                fault_free = fault_free or setting.scorer.score(numbers)
                tallies[i] = fault_free
            if i in tallies:
                yield Scored(drawn_row(setting, trial, drawn[i], tallies[i]), drawn[i], own)
            else:
                found, again = chip_row(setting, trial, own)
                yield Scored(found, again, own)


def _patch(setting: Setting, drawn: Drawn) -> dict[str, Sparse] | None:
    """Return what differs from the fault-free chip; None where that is no matter of a few stored numbers."""
    if drawn.effects:
        return None
    found: dict[str, Sparse] = {}
    for name in drawn.chip.corruption:
        clean, numbers = setting.stored[name].values, drawn.numbers[name]
        if numbers.dtype != clean.dtype or numbers.dtype != setting.model.numbers[name].dtype:
            return None
        words = np.dtype(f"u{numbers.dtype.itemsize}")
        indices = np.flatnonzero(np.ascontiguousarray(numbers).view(words) != np.ascontiguousarray(clean).view(words))
        if indices.size > max(_MOST_FAULTS * numbers.size, 64):
            return None
        if indices.size:
            found[name] = Sparse(indices, numbers.reshape(-1)[indices])
    return found
