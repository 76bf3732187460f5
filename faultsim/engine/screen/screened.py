"""`ScreenedSweep`: trials at a small part of the one-sweep engine's cost, by evaluating few images of each.

A first pass over the data computes each trial's faulty channels and parts its images (`strata.py`); a second one
evaluates the suspects and an audit of the others. What a piece of the graph is, and whether it is exact, is up to
`sweep`; what has no exact piece is in `apart.py`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.evaluate import Scorer
from faultsim.engine.screen.apart import ROOM_BYTES, evaluate_apart, inexact_way
from faultsim.engine.screen.parting import part_images
from faultsim.engine.screen.rivals import classification_of
from faultsim.engine.screen.slopes import Slopes, slope_bytes, slopes
from faultsim.engine.screen.strata import Screen
from faultsim.engine.screen.tally import ScreenedTally
from faultsim.engine.screen.trial import Trial, by_entry, needs_of
from faultsim.engine.screen.verdicts import Verdicts
from faultsim.engine.screen.waiting import Waiting, calls
from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.golden import bytes_per_sample
from faultsim.engine.sweep.lanes import Counted, Task, in_lanes
from faultsim.engine.sweep.routes import Needs, Patch, Router
from faultsim.engine.sweep.spans import grouped
from faultsim.engine.sweep.sweep import Sweep
from faultsim.errors import FaultsimError, ModelError, OptionError
from faultsim.metrics import Tally
from faultsim.model.graph import Program, compile_model

Array = NDArray[Any]
BATCH = 250
"""Most images a batch, whatever the scorer's own batches: the strata then do not depend on those."""
WAITING_SHARE = 4
"""One part in so many of the memory is for the faulty activations that wait for the second pass."""
BACKWARD_SHARE = 8
"""One part in so many of it is for what torch keeps for a backward pass."""


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


@dataclass
class ScreenedSweep:
    """Scores sparse faults on a fault-free chip, with a screen.

    Attributes:
        scorer: The model's task on its data; `Scorer.set_golden` has run under *numbers*.
        numbers: The fault-free chip's numbers by site, where they are not the model's own.
        options: How to screen.
        memory_bytes: Room for the clean activations of a batch, their slopes, open pieces of the graph, and what waits
            for the second pass: trials go through both passes in groups that fit, a single one at least.
    """

    scorer: Scorer
    numbers: dict[str, Array] | None = None
    options: ScreenOptions = field(default_factory=ScreenOptions)
    memory_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        """Look at the graph."""
        own = replace(self.scorer)
        self._waiting_bytes = self.memory_bytes // WAITING_SHARE
        room = self.memory_bytes - self._waiting_bytes - self.memory_bytes // BACKWARD_SHARE
        self._sweep = Sweep(own, self.numbers, room)
        router = self._sweep._router
        self._program: Program | None = None
        self._verdicts = Verdicts(self.scorer, self.numbers)
        self._slopes_s = 0.0
        if router is not None and classification_of(own.task) is not None:  # else a graph may mix a batch, or fix it
            self._program = compile_model(router.flow.proto)
            own.batch_size = _batch_size(router, self.scorer, self._sweep.memory_bytes // 2, self.options.rivals)
            own._kept = []

    @property
    def shared_s(self) -> float:
        """Seconds so far on clean activations and their slopes, which all trials of a call share."""
        return self._sweep.clean_s + self._slopes_s

    @property
    def exact(self) -> Sweep:
        """What evaluates trials on every image, in pieces that it has proved."""
        return self._sweep

    def score(self, patches: Sequence[Patch], *, trials: Sequence[int] | None = None) -> list[ScreenedTally]:
        """Return the counts of each trial: `score_some_whole` where none is evaluated on every image besides."""
        return self.score_some_whole(patches, (), trials=trials)[0]

    def score_some_whole(
        self, patches: Sequence[Patch], whole: Sequence[int], *, trials: Sequence[int] | None = None
    ) -> tuple[list[ScreenedTally], list[Tally]]:
        """Return the screened counts of each trial, and the exact ones of some; many at once share the slopes.

        Args:
            patches: What is wrong in each trial: new numbers for a few elements, by site.
            whole: Positions of the trials that are evaluated on every image too, in order.
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
        self._sweep.expect(patches)
        for t, patch in enumerate(patches):
            trial = self._trial(patch, numbers[t])
            if trial is not None:
                found[t] = trial
        ordered = [one for members in by_entry(found.values()) for one in members]
        needs = needs_of(ordered)  # of all groups: what is computed for one of them then serves the others
        for group in grouped(ordered, lambda one: one.waiting_bytes, self._waiting_bytes):
            self._pass_or_fail(group, needs)
        found = {t: one for t, one in found.items() if not one.failed}
        asked = frozenset(whole)
        every = [t for t in range(len(patches)) if t not in found or t in asked]
        exact = dict(zip(every, self._sweep.score([patches[t] for t in every]) if every else (), strict=True))
        screened = [
            found[t].tally(images, right) if t in found else ScreenedTally.exact(exact[t], right)
            for t in range(len(patches))
        ]
        return screened, [exact[t] for t in whole]

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

    def _pass_or_fail(self, trials: Sequence[Trial], needs: Needs) -> None:
        """Pass over trials; where a clean piece fails, over those of each entry by themselves, whatever shares a call.

        Those of an entry that fails alone are evaluated exactly, which then says what is wrong.
        """
        try:
            self._pass_over(trials, needs)
        except (FaultsimError, MemoryError):
            entries = by_entry(trials)
            alone = len(entries) == 1 and needs == needs_of(trials)
            for one in trials:
                one.restart()
                one.failed = alone
            for members in () if alone else entries:
                self._pass_or_fail(members, needs_of(members))

    def _pass_over(self, trials: Sequence[Trial], needs: Needs) -> None:
        groups = [(members[0].entry, members) for members in by_entry(trials)]
        boundary = frozenset(name for entry, _ in groups for name in entry.boundary)
        for batch in self._sweep._batches(needs):
            began = time.monotonic()
            slope = self._slopes(batch.judge.start, batch.judge.stop, boundary)
            self._slopes_s += time.monotonic() - began
            self._in_lanes(
                [
                    partial(part_images, entry, members, batch, self._screen_of(batch, entry, slope))
                    for entry, members in groups
                ],
                groups,
            )
            del batch, slope  # before the next ones are computed: there is room for one
        for batch in self._sweep._batches(needs):
            self._in_lanes([partial(self._evaluate_all, entry, members, batch) for entry, members in groups], groups)
            del batch
        for one in trials:
            one.let_go()
        apart = [one for one in trials if not one.exact and not one.failed]
        room = min(ROOM_BYTES, self._waiting_bytes)
        evaluate_apart(self._sweep.scorer, apart, self._sweep._dense, self._verdicts, room_bytes=room)

    def _slopes(self, start: int, stop: int, boundary: frozenset[str]) -> Slopes:
        assert self._program is not None
        scorer = self._sweep.scorer
        feeds, device = scorer.data.inputs(start, stop), scorer.runner.model.device
        return slopes(self._program, feeds, boundary, scorer.output, count=self.options.rivals, device=device)

    def _in_lanes(self, acts: Sequence[Callable[[], None]], groups: Sequence[tuple[Entry, list[Trial]]]) -> None:
        """Run what each entry has to do, some side by side: trials of one entry are in one lane alone."""

        def counted(act: Callable[[], None]) -> Counted:
            act()
            return Counted()

        tasks = [
            Task(len(members) * (len(entry.tail.nodes) + 1), (), partial(counted, act))
            for act, (entry, members) in zip(acts, groups, strict=True)
        ]
        failed = [done is None for _, done in in_lanes(tasks, self._sweep.lanes)]  # all of them end first
        if any(failed):
            raise ModelError("a piece of the graph failed")

    def _screen_of(self, batch: Any, entry: Entry, slope: Slopes) -> Screen:
        return Screen(batch.clean.plain, entry.boundary, slope, fall=self.options.fall, reach=self.options.reach)

    def _evaluate_all(self, entry: Entry, members: Sequence[Trial], batch: Any) -> None:
        with self._sweep._kept.using(entry):
            for waiting in calls(members, batch.judge.start, batch.judge.stop):
                self._evaluate_or_fail(entry, waiting, batch)

    def _evaluate_or_fail(self, entry: Entry, waiting: Sequence[Waiting], batch: Any) -> None:
        """Evaluate a call; where it fails, each of its trials by itself; one that fails alone is evaluated exactly."""
        try:
            self._evaluate(entry, waiting, batch)
        except (FaultsimError, MemoryError):
            each: dict[int, list[Waiting]] = {}
            for one in waiting:
                each.setdefault(id(one.part.trial), []).append(one)
            if len(each) == 1:
                waiting[0].part.trial.failed = True
                return
            for own in each.values():
                self._evaluate_or_fail(entry, own, batch)

    def _evaluate(self, entry: Entry, waiting: Sequence[Waiting], batch: Any) -> None:
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


def _batch_size(router: Router, scorer: Scorer, room: int, rivals: int) -> int:
    """Return batches of one size that fit into *room* bytes whatever the trials: the strata do not depend on those."""
    entries = [one for one in (router.entry(site.name) for site in scorer.runner.model.sites) if one is not None]
    plain = frozenset[str]().union(*(one.plain for one in entries))
    held = frozenset[str]().union(*(one.held for one in entries))
    boundary = frozenset[str]().union(*(one.boundary for one in entries))
    size = bytes_per_sample(router.types, plain) + bytes_per_sample(router.twin.types, held)
    size += rivals * slope_bytes(router.types, boundary)
    most = int(np.clip(room // max(size, 1), 2, BATCH))
    images = len(scorer.data)
    return -(-images // -(-images // most))
