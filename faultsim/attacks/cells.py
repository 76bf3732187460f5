"""The worst flipped bits, confused levels or stuck cells: options to a search of `search.bits`. No files here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.attacks.limits import limits_of
from faultsim.attacks.many import SweepScorer
from faultsim.attacks.memory_cells import cell_shape, choices_of, tell_code
from faultsim.attacks.options import Cells, Search
from faultsim.attacks.prepare import Prepared, all_labels, classes_of, picked, whole_batches
from faultsim.attacks.watched import WatchedAim
from faultsim.corruption import Stored, apply_edit
from faultsim.engine.edits import NetworkEdits
from faultsim.engine.evaluate import Scorer
from faultsim.errors import DataError, OptionError
from faultsim.rng import generator
from faultsim.search import Loss, Score
from faultsim.search.bits import (
    Aim,
    Changed,
    Choices,
    Judged,
    Pick,
    Screen,
    Stealthy,
    Targeted,
    Untargeted,
    WorstCells,
    has_room,
    worst_cells,
)

GRADIENTS, FORWARDS = 200, 3000
"""What a search for cells spends at most, where nothing is asked for."""


SCREENED, _PART = 400, 8
"""Samples from which on candidates are looked at on a part of them first, one in so many."""


class Size(NamedTuple):
    """The worst corruption of so many cells.

    Attributes:
        changed: As the search has it, judged on the search's samples.
        judged: As the attacker sees it on the samples scored on.
        score: All samples scored on, by their true labels.
        gradients: Gradients spent until it was found.
        forwards: Forward passes spent until then.
    """

    changed: Changed
    judged: Judged
    score: Score
    gradients: int
    forwards: int


class Cell(NamedTuple):
    """One changed cell: where, and the number of its element before and with all changes."""

    pick: Pick
    low_bit: int
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class FoundCells:
    """What the search for cells came to.

    Attributes:
        aim: What the attacker wants, in words.
        limits: What he cannot do, in words; empty for nothing.
        clean: The fault-free model on the samples scored on.
        clean_aimed: The same as the attacker sees it.
        sizes: One for each number of cells, ascending.
        best: The one that is handed on: fewest cells that reach the goal, else the worst of all.
        reached: Whether it reaches the goal on the samples scored on; None without a goal.
        cells: The changed cells of the best.
        gradients: Gradients in all.
        forwards: Forward passes of the search.
        nonfinite: Corruptions tried with an output that is not finite.
        spent: Whether the search was cut short for want of gradients or forward passes.
        stopped: Whether the user ended it.
    """

    aim: str
    limits: str
    clean: Score
    clean_aimed: Judged
    sizes: tuple[Size, ...]
    best: Size | None
    reached: bool | None
    cells: tuple[Cell, ...]
    gradients: int
    forwards: int
    nonfinite: int
    spent: bool
    stopped: bool


def find_cells(prepared: Prepared, cells: Cells, search: Search, *, seed: int) -> FoundCells:
    """Search for the cells whose change does most, and score every number of them on the evaluation samples.

    Raises:
        OptionError: If classes, limits or storage do not go with the model.
    """
    setting = prepared.setting
    if not prepared.counted:
        raise OptionError(f"the task {setting.task.name} counts no correct answers, and cells are searched by them")
    shape = cell_shape(prepared.device, cells)
    choices = {name: choices_of(one, cells, shape) for name, one in setting.stored.items()}
    limits, limited = limits_of(setting, prepared.device, cells)
    tell_code(prepared)
    loss: Loss = "margin" if search.objective == "margin" else "cross_entropy"
    aim, words = _aim(prepared, prepared.search, cells, loss)
    judge = aim if prepared.whole else _aim(prepared, setting.scorer, cells, loss)[0]
    if cells.until_accuracy is not None:
        _check_goal(cells.until_accuracy, (aim,) if prepared.whole else (aim, judge))
    most = search.forwards or FORWARDS
    if most < aim.passes:
        raise OptionError(f"--forwards is {most}, and one look with --stealthy takes {aim.passes}; raise it")
    gradients = search.most_gradients(GRADIENTS)
    if cells.what == "bits" and limits.free and not has_room(aim, choices, cells.count, gradients, most):
        prepared.notes.append(
            f"Progressive bit search (the published one) was left out: a quarter of {gradients} gradients and {most} "
            "forward passes takes it too few bits; raise --gradients or --forwards."
        )
    watched = WatchedAim(aim, prepared.stopped, lambda done: prepared.tell("cells", min(done, most), most))
    found = worst_cells(
        watched,
        choices,
        cells.count,
        limits=limits,
        until_accuracy=cells.until_accuracy,
        screen=_screen(prepared, cells, loss, seed),
        budget_gradients=gradients,
        budget_forwards=most,
        restarts=1 if search.restarts is None else search.restarts,
        seed=seed,
    )
    plain = NetworkEdits(setting.model, setting.stored, setting.scorer)
    sizes = _sizes(found, judge, plain, prepared)
    best, reached = _best(found, sizes, cells.until_accuracy)
    return FoundCells(
        aim=words,
        limits=limited,
        clean=plain.score({}),
        clean_aimed=judge.judge([{}])[0],
        sizes=tuple(sizes),
        best=best,
        reached=reached,
        cells=() if best is None else tuple(_cells(best.changed, choices)),
        gradients=found.gradients,
        forwards=found.forwards,
        nonfinite=found.nonfinite,
        spent=found.cut,
        stopped=prepared.stopped(),
    )


def numbers_of(stored: Mapping[str, Stored], changed: Changed) -> dict[str, NDArray[Any]]:
    """Return the numbers of the chip with some cells changed, by site."""
    numbers = {name: one.values for name, one in stored.items()}
    for name, edit in changed.corruption.items():
        numbers[name] = apply_edit(edit, stored[name])
    return numbers


def _sizes(found: WorstCells, judge: Aim, plain: NetworkEdits, prepared: Prepared) -> list[Size]:
    """Score every size; of a search that the user ends the one that did most there, and what came before the end."""
    sizes = []
    known = [one for one in found.sizes if one.cells]
    best = min(known, key=lambda one: (one.judged.accuracy, -one.judged.value), default=None)
    spent: dict[tuple[int, float, float], tuple[int, int]] = {}
    for row in found.trace:  # later rows can be of another corruption of as many cells
        spent.setdefault((row.cells, row.accuracy, row.value), (row.gradients, row.forwards))
    for one in known:
        if one is not best and prepared.stopped():
            continue
        judged = one.judged if prepared.whole else judge.judge([one.corruption])[0]
        key = (one.cells, one.judged.accuracy, one.judged.value)
        cost = spent.get(key, (found.gradients, found.forwards))
        sizes.append(Size(one, judged, plain.score(one.corruption), *cost))
    return sizes


def _best(found: WorstCells, sizes: Sequence[Size], goal: float | None) -> tuple[Size | None, bool | None]:
    """Return the fewest cells that reach the goal on the samples scored on, else the least accurate of all."""
    if goal is not None:
        for one in sizes:
            if one.judged.accuracy <= goal and one.judged.allowed:
                return one, True
    allowed = [one for one in sizes if one.judged.allowed] or list(sizes)
    best = min(allowed, key=lambda one: (one.judged.accuracy, -one.judged.value, one.changed.cells), default=None)
    return best, None if goal is None else False


def _cells(changed: Changed, choices: Mapping[str, Choices]) -> list[Cell]:
    found = []
    for pick in changed.picks:
        choice = choices[pick.site]
        before = float(choice.stored.values.reshape(-1)[pick.element])
        with np.errstate(over="ignore", invalid="ignore"):
            after = float(apply_edit(changed.corruption[pick.site], choice.stored).reshape(-1)[pick.element])
        found.append(Cell(pick, int(choice.low_bit[pick.option]), before, after))
    return found


def _check_goal(goal: float, aims: Sequence[Aim]) -> None:
    """Refuse a goal that the fault-free chip meets.

    Raises:
        OptionError: If it does.
    """
    for aim in aims:
        clean = aim.judge([{}])[0].accuracy
        if clean <= goal:
            raise OptionError(
                f"--until-accuracy is {goal:g}, and without a fault {clean:.4g} of the samples aimed at stand already; "
                "give less"
            )


def _aim(prepared: Prepared, scorer: Scorer, cells: Cells, loss: Loss) -> tuple[Aim, str]:
    setting = prepared.setting
    finite = cells.finite_only
    if cells.target is None and cells.victim is None:
        network, many = _network(prepared, scorer), _many(prepared, scorer, loss)
        return Untargeted(objective=network, loss=loss, scorer=many, finite_only=finite), "any error"
    classes = classes_of(setting)
    for option, given in (("--target", cells.target), ("--victim", cells.victim)):
        if given is not None and not 0 <= given < classes:
            raise OptionError(f"{option} is {given}, the model has the classes 0 to {classes - 1}; give one of them")
    labels = all_labels(scorer)
    ours = np.flatnonzero(labels != cells.target if cells.victim is None else labels == cells.victim)
    theirs = np.flatnonzero(labels != cells.victim)
    whose = f"of class {cells.victim}" if cells.victim is not None else f"outside class {cells.target}"
    if not ours.size or (cells.stealthy and not theirs.size):
        raise DataError(f"{scorer.data.source} has no sample {whose}; give more samples, or another class")
    ours = whole_batches(prepared, ours, scorer, whose)
    aim: Untargeted | Targeted
    if cells.target is None:
        part = picked(setting, scorer, ours)
        network, many = _network(prepared, part), _many(prepared, part, loss)
        aim = Untargeted(objective=network, loss=loss, scorer=many, finite_only=finite)
        words = f"any error in samples of class {cells.victim}"
    else:
        part = picked(setting, scorer, ours, np.full(ours.size, cells.target, dtype=np.int64))
        network, many = _network(prepared, part), _many(prepared, part, loss)
        aim = Targeted(objective=network, loss=loss, scorer=many, finite_only=finite)
        whom = "all samples" if cells.victim is None else f"samples of class {cells.victim}"
        words = f"{whom} taken for class {cells.target}"
    if not cells.stealthy:
        return aim, words
    rest = picked(setting, scorer, whole_batches(prepared, theirs, scorer, f"outside class {cells.victim}"))
    others, many = _network(prepared, rest), _many(prepared, rest, "cross_entropy")
    clean = others.score({}).accuracy
    spared = Stealthy(aim=aim, others=others, clean_accuracy=clean, tolerance=cells.tolerance, scorer=many)
    return spared, f"{words}; accuracy of all others at most {100 * cells.tolerance:g} points lower"


def _screen(prepared: Prepared, cells: Cells, loss: Loss, seed: int) -> Screen | None:
    """Return a first look at some of the search's samples, so that hopeless candidates cost little; None for few."""
    samples = len(prepared.search.data)
    if samples < SCREENED:
        return None
    few = max(samples // _PART, SCREENED // _PART)
    if prepared.setting.model.fixed_batch:  # whole batches, at least one
        few = max(few - few % prepared.search.batch_size, min(prepared.search.batch_size, samples))
    rows = np.sort(generator(seed, -1, "screen").permutation(samples)[:few])
    try:
        aim, _ = _aim(prepared, picked(prepared.setting, prepared.search, rows), cells, loss)
    except DataError:  # none of these is of the victim's class, or too few for a batch
        return None
    return Screen(aim=WatchedAim(aim, prepared.stopped, lambda done: None), share=few / samples)


def _many(prepared: Prepared, scorer: Scorer, loss: Loss) -> SweepScorer | None:
    """Return what scores many candidates in one sweep; it knows no margins."""
    return SweepScorer(prepared.setting, scorer) if loss == "cross_entropy" else None


def _network(prepared: Prepared, scorer: Scorer) -> NetworkEdits:
    setting = prepared.setting
    return NetworkEdits(setting.model, setting.stored, scorer)
