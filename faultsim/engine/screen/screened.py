"""`ScreenedSweep`: trials at a small part of the one-sweep engine's cost, by evaluating few images of each.

A first pass over the data computes each trial's faulty channels and parts its images (`strata.py`); a second one
evaluates the suspects and an audit of the others. What a piece of the graph is, and whether it is exact, is up to
`sweep`; what has no exact piece is in `apart.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.evaluate import Scorer
from faultsim.engine.screen.apart import ROOM_BYTES, evaluate_apart, inexact_way
from faultsim.engine.screen.reservoir import Rows
from faultsim.engine.screen.rivals import classification_of
from faultsim.engine.screen.slopes import Slopes, slopes
from faultsim.engine.screen.strata import Screen, Strata
from faultsim.engine.screen.tally import ScreenedTally
from faultsim.engine.screen.trial import Trial
from faultsim.engine.screen.verdicts import Evaluated, Verdicts
from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.golden import bytes_per_sample
from faultsim.engine.sweep.routes import Needs, Patch, Router
from faultsim.engine.sweep.spans import grouped
from faultsim.engine.sweep.sweep import Sweep
from faultsim.errors import FaultsimError, OptionError
from faultsim.model.graph import Program, compile_model

Array = NDArray[Any]
BATCH = 250
"""Most images a batch, whatever the scorer's own batches: the strata then do not depend on those."""


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """How to screen.

    Attributes:
        seed: Seed of the audit's draw.
        rivals: Nearest classes that each image is screened against, at least 1.
        fall: Share of a lead, in (0, 1], that a first-order change may take before the image is suspect.
        reach: See `strata.Screen`.
        audit: Screened images of each trial that are evaluated, at least 1.
        suspects: Most suspects of each trial that are evaluated, at least 1; a random sample where there are more.
    """

    seed: int = 0
    rivals: int = 2
    fall: float = 0.5
    reach: float = 1.0
    audit: int = 4
    suspects: int = 128

    def __post_init__(self) -> None:
        for name in ("rivals", "audit", "suspects"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} = {getattr(self, name)} is out of range: give at least 1")
        if not 0 < self.fall <= 1:
            raise OptionError(f"fall = {self.fall} is out of range: give a share above 0, at most 1")
        if not self.reach > 0:
            raise OptionError(f"reach = {self.reach} is out of range: give a number above 0")


class _Waiting(NamedTuple):
    """Images of one trial, ready to be evaluated, and their faulty activations."""

    part: Evaluated
    rows: Rows


@dataclass
class ScreenedSweep:
    """Scores sparse faults on a fault-free chip, with a screen.

    Attributes:
        scorer: The model's task on its data; `Scorer.set_golden` has run under *numbers*.
        numbers: The fault-free chip's numbers by site, where they are not the model's own.
        options: How to screen.
        memory_bytes: Room for the clean activations of a batch, their slopes, and open pieces of the graph. What
            waits for the second pass comes on top: `ScreenOptions.suspects` rows of the faulty channels a trial.
    """

    scorer: Scorer
    numbers: dict[str, Array] | None = None
    options: ScreenOptions = field(default_factory=ScreenOptions)
    memory_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        """Look at the graph."""
        own = replace(self.scorer, batch_size=min(BATCH, len(self.scorer.data)))
        self._sweep = Sweep(own, self.numbers, self.memory_bytes // (1 + self.options.rivals), side_by_side=False)
        router = self._sweep._router
        self._program: Program | None = None
        self._verdicts = Verdicts(self.scorer, self.numbers)
        if router is not None and classification_of(own.task) is not None:
            self._program = compile_model(router.flow.proto)
            own.batch_size = _batch_size(router, self.scorer, self._sweep.memory_bytes // 2)
            own._kept = []

    def score(self, patches: Sequence[Patch], *, trials: Sequence[int] | None = None) -> list[ScreenedTally]:
        """Return the counts of each trial; give many trials at once, they share the slopes.

        Args:
            patches: What is wrong in each trial: new numbers for a few elements, by site.
            trials: Numbers of the trials, which key the audit's draw; 0, 1, … where None.

        Raises:
            ModelError: If new numbers do not fit the model.
            ValueError: If there is not one number a trial.
        """
        numbers = range(len(patches)) if trials is None else trials
        if len(numbers) != len(patches):
            raise ValueError(f"{len(numbers)} trial numbers do not go with {len(patches)} patches: give one each")
        images, right = len(self.scorer.data), int(self._verdicts.right.sum())
        found: dict[int, Trial] = {}
        for t, patch in enumerate(patches):
            trial = self._trial(patch, numbers[t])
            if trial is not None:
                found[t] = trial
        if found:
            try:
                self._pass_over(list(found.values()))
            except (FaultsimError, MemoryError):  # a clean piece: the exact sweep then says what is wrong
                found = {}
        found = {t: one for t, one in found.items() if not one.failed}
        rest = [t for t in range(len(patches)) if t not in found]
        exact = dict(zip(rest, self._sweep.score([patches[t] for t in rest]) if rest else (), strict=True))
        return [
            found[t].tally(images, right) if t in found else ScreenedTally.exact(exact[t], right)
            for t in range(len(patches))
        ]

    def _trial(self, patch: Patch, number: int) -> Trial | None:
        """Return a trial on its way; None where there is nothing to save, or no way to save it."""
        router = self._sweep._router
        if self._program is None or router is None:
            return None
        route = self._sweep._route(patch)
        exact = route.entry is not None
        way = route if exact else inexact_way(router, patch)
        if way is None or way.entry is None or not way.entry.tail.nodes:  # else the boundary is the output
            return None
        return Trial(
            patch,
            way.entry,
            way,
            exact=exact,
            seed=self.options.seed,
            number=number,
            images=len(self.scorer.data),
            audit=self.options.audit,
            suspects=self.options.suspects,
        )

    def _pass_over(self, trials: Sequence[Trial]) -> None:
        entries: dict[int, list[Trial]] = {}
        for one in trials:
            entries.setdefault(id(one.entry), []).append(one)
        groups = [(members[0].entry, members) for members in entries.values()]
        needs = Needs()
        for one in trials:
            needs |= one.route.needs
        boundary = frozenset(name for entry, _ in groups for name in entry.boundary)
        for batch in self._sweep._batches(needs):
            slope = self._slopes(batch.judge.start, batch.judge.stop, boundary)
            for entry, members in groups:
                screen = Screen(
                    batch.clean.plain, entry.boundary, slope, fall=self.options.fall, reach=self.options.reach
                )
                self._part(entry, members, batch, screen)
        for batch in self._sweep._batches(needs):
            for entry, members in groups:
                with self._sweep._kept.using(entry):
                    for waiting in _calls(members, batch.judge.start, batch.judge.stop):
                        self._evaluate_or_fail(entry, waiting, batch)
        apart = [one for one in trials if not one.exact and not one.failed]
        room = min(ROOM_BYTES, self.memory_bytes // 4)
        evaluate_apart(self._sweep.scorer, apart, self._sweep._dense, self._verdicts, room_bytes=room)

    def _slopes(self, start: int, stop: int, boundary: frozenset[str]) -> Slopes:
        assert self._program is not None
        scorer = self._sweep.scorer
        feeds, device = scorer.data.inputs(start, stop), scorer.runner.model.device
        return slopes(self._program, feeds, boundary, scorer.output, count=self.options.rivals, device=device)

    def _part(self, entry: Entry, members: Sequence[Trial], batch: Any, screen: Screen) -> None:
        """Part the images of a batch and keep what may be evaluated."""
        axis, start = entry.join.axis, batch.judge.start
        sliced = [one for one in members if one.places is not None]
        most = self._sweep._most_channels(entry, len(batch.judge))
        for chunk in grouped(sliced, lambda one: len(one.route.channels), most):
            try:
                found = entry.slice(batch.clean, [one for trial in chunk for one in trial.route.channels])
            except (FaultsimError, MemoryError):
                for trial in chunk:
                    trial.failed = True
                continue
            at = 0
            for trial in chunk:
                part = (*(slice(None),) * axis, slice(at, at + len(trial.route.channels)))
                at += len(trial.route.channels)
                _offer(trial, start, {name: one[part] for name, one in found.items()}, screen, axis)
        for trial in members:
            if trial.places is None:
                try:
                    own = entry.whole(batch.clean, trial.faults)
                except (FaultsimError, MemoryError):
                    trial.failed = True
                    continue
                _offer(trial, start, own, screen, axis)

    def _evaluate_or_fail(self, entry: Entry, waiting: Sequence[_Waiting], batch: Any) -> None:
        """Evaluate a call; where it fails, each of its trials by itself; one that fails alone is evaluated exactly."""
        try:
            self._evaluate(entry, waiting, batch)
        except (FaultsimError, MemoryError):
            each: dict[int, list[_Waiting]] = {}
            for one in waiting:
                each.setdefault(id(one.part.trial), []).append(one)
            if len(each) == 1:
                waiting[0].part.trial.failed = True
                return
            for own in each.values():
                self._evaluate_or_fail(entry, own, batch)

    def _evaluate(self, entry: Entry, waiting: Sequence[_Waiting], batch: Any) -> None:
        axis = entry.join.axis
        samples = np.concatenate([one.part.images for one in waiting]) - batch.judge.start
        rows = {name: batch.clean.held[form.name][samples] for name, form in entry.forms.items()}
        end = 0
        for (trial, _, images), own in waiting:
            part = slice(end, end + images.size)
            end = part.stop
            for name, faulty in own.items():
                form = entry.forms[name]
                if trial.places is None:
                    rows[name][part] = form.of(faulty)
                    continue
                for k, place in enumerate(trial.places[name]):
                    channel = faulty[(slice(None),) * axis + (k,)]
                    form.channel(rows[name][part], axis, place)[...] = form.code(channel)
        self._verdicts.count([one.part for one in waiting], entry.finish(rows, batch.clean, samples))


def _offer(trial: Trial, start: int, own: Rows, screen: Screen, axis: int) -> None:
    """Part the images of a batch for one trial."""
    strata = screen.part(own, axis, trial.places)
    if trial.exact:
        trial.offer(start, own, strata)
    else:  # rounded otherwise: no image is known to be unchanged, and none goes on from here
        trial.offer(start, {}, Strata(~strata.suspects, strata.suspects))


def _batch_size(router: Router, scorer: Scorer, room: int) -> int:
    """Return batches of one size that fit into *room* bytes whatever the trials: the strata do not depend on those."""
    entries = [router.entry(site.name) for site in scorer.runner.model.sites]
    plain = frozenset[str]().union(*(one.plain for one in entries if one is not None))
    held = frozenset[str]().union(*(one.held for one in entries if one is not None))
    size = bytes_per_sample(router.types, plain) + bytes_per_sample(router.twin.types, held)
    most = int(np.clip(room // max(size, 1), 2, BATCH))
    images = len(scorer.data)
    return -(-images // -(-images // most))


def _calls(members: Sequence[Trial], start: int, stop: int) -> Iterator[list[_Waiting]]:
    """Yield what trials have to be evaluated of the images ``start … stop - 1``, in groups that fill a call."""
    waiting: list[_Waiting] = []
    for trial in members:
        for kept in trial.samples if trial.exact and not trial.failed else ():
            here = np.flatnonzero((kept.images >= start) & (kept.images < stop))
            if here.size:
                rows = {name: one[here] for name, one in kept.rows.items()}
                waiting.append(_Waiting(Evaluated(trial, kept, kept.images[here]), rows))
        if sum(one.part.images.size for one in waiting) >= stop - start:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
