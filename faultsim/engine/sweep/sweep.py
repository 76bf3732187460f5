"""`Sweep`: scores many trials of sparse faults at a small part of a forward pass each, with the counts of a whole one.

Samples are outermost: the clean activations of a batch are computed once, and every trial computes only what its faults
change. Which pieces there are is planned in `join.py`, and tried on clean activations in `entry.py`.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.data.spec import even
from faultsim.engine.evaluate import Scorer
from faultsim.engine.sweep.entering import SLICE_BYTES, entered
from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.golden import Clean, bytes_per_sample
from faultsim.engine.sweep.judge import BatchJudge
from faultsim.engine.sweep.kept import Kept
from faultsim.engine.sweep.lanes import Counted, Members, Task, in_lanes
from faultsim.engine.sweep.opening import PROBE, make_router
from faultsim.engine.sweep.rides import Rides, last_tasks
from faultsim.engine.sweep.routes import Needs, Patch, Route, Router
from faultsim.engine.sweep.rows import Left, Take
from faultsim.engine.sweep.spans import LEAST
from faultsim.errors import FaultsimError, ModelError
from faultsim.metrics import Tally
from faultsim.processors import processors

Array = NDArray[Any]
WORTH = 4 * PROBE
"""Such samples before it pays to open and to try what they would share."""
HELD = 5
"""Batches of changed activations behind an entry that a thread holds: up to two wait, the same joined, and a buffer."""


class _Batch(NamedTuple):
    """A batch of the sweep: its verdicts and clean activations."""

    judge: BatchJudge
    clean: Clean


class Spent(NamedTuple):
    """What a sweep has computed so far.

    Attributes:
        trials: Trials by route: ``slice`` (faulty channels alone, then clean weights), ``layer`` (one faulty layer,
            then clean weights), ``suffix`` (faulty weights from the first faulty layer on), ``whole`` (a full pass).
        rows: Samples that went on behind the faulty layer, over all trials.
        masked: Samples that left there, as their activations equal the clean ones bit by bit.
        calls: Calls in which those that went on were computed, several trials of one layer together.
        shared: Samples among `rows` that were too few for such a call and went on with those of other layers.
    """

    trials: Mapping[str, int]
    rows: int
    masked: int
    calls: int
    shared: int


@dataclass
class Sweep:
    """Scores sparse faults on a fault-free chip.

    Attributes:
        scorer: The model's task on its data; `Scorer.set_golden` has run under *numbers*.
        numbers: The fault-free chip's numbers by site, where they are not the model's own.
        memory_bytes: Room for the clean activations of a batch and for open pieces of the graph, together.
        clean_s: Seconds spent so far on clean activations, which all trials of a call share.
        lanes: Pieces that run at a time, each on one thread; 1: one after the other, on all.
        few: A call that would be filled by less than this share waits for the samples of other layers; 0: none does.
        told: Hears, after every batch, how many samples a pass has gone over, and of how many.
    """

    scorer: Scorer
    numbers: Mapping[str, Array] | None = None
    memory_bytes: int = 1 << 30
    few: float = 0.25
    _router: Router | None = None
    _trials: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("slice", "layer", "suffix", "whole"), 0))
    _rows: int = 0
    _masked: int = 0
    _calls: int = 0
    _shared: int = 0
    _waited: int = 0
    clean_s: float = 0.0
    lanes: int = field(default=1, init=False)
    told: Callable[[int, int], None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Look at the graph; where no piece of it can run alone, every trial is a full pass."""
        if self.scorer.golden is None or self.scorer.digests is None:
            raise ValueError("a sweep needs the fault-free chip: call Scorer.set_golden first")
        self._kept = Kept(self.memory_bytes // 2)
        runner = self.scorer.runner
        self.lanes = (runner.threads or processors()) if runner.runtime == "onnxruntime" else 1
        self._router = make_router(
            self.scorer, self.numbers, self._whole, memory_bytes=self.memory_bytes, lanes=self.lanes
        )
        self._clean: tuple[Needs, dict[tuple[int, int], Clean]] | None = None
        self._rides: Rides | None = None

    @property
    def spent(self) -> Spent:
        """What has been computed so far."""
        return Spent(dict(self._trials), self._rows, self._masked, self._calls, self._shared)

    @property
    def shares(self) -> bool:
        """Whether trials share clean activations; else each is a full pass of its own."""
        return self._router is not None

    def score(self, patches: Sequence[Patch], *, outcomes: Sequence[NDArray[np.uint8]] | None = None) -> list[Tally]:
        """Return the tally of each trial, equal to that of `Scorer.score` on the same numbers.

        Args:
            patches: What is wrong in each trial: new numbers for a few elements, by site.
            outcomes: For each trial a vector that is filled with the class of each sample, as `Scorer.score` does.

        Raises:
            ModelError: If new numbers do not fit the model.
        """
        self.expect(patches)
        routes = [self._route(patch) for patch in patches]
        tallies = [Tally() for _ in patches]
        failed: set[int] = {t for t, route in enumerate(routes) if route.kind == "whole"}
        swept = [(t, route) for t, route in enumerate(routes) if route.kind != "whole"]
        if swept:
            needs = Needs()
            for _, route in swept:
                needs |= route.needs
            entries = {id(route.entry): route.entry for _, route in swept if route.entry is not None}
            widest = max((bytes_per_sample(one.types, one.boundary) for one in entries.values()), default=0)
            try:
                for batch in self._batches(needs, waiting=HELD * self.lanes * widest):
                    left = [one for one in swept if one[0] not in failed]
                    failed |= self._batch(batch, left, patches, tallies, outcomes)
                    del batch  # before the next one is computed: there is room for one
            except (FaultsimError, MemoryError):  # the clean run itself: a whole pass then says what is wrong
                failed = set(range(len(patches)))
                self._router, self._rides, self._clean, self._kept = None, None, None, Kept(self.memory_bytes // 2)
        for t, route in enumerate(routes):
            self._trials["whole" if t in failed else route.kind] += 1
            if t in failed:
                row = None if outcomes is None else outcomes[t]
                tallies[t] = self.scorer.score(self._dense(patches[t]), outcomes=row)
        return tallies

    def _batch(
        self,
        batch: _Batch,
        swept: Sequence[tuple[int, Route]],
        patches: Sequence[Patch],
        tallies: list[Tally],
        outcomes: Sequence[NDArray[np.uint8]] | None,
    ) -> set[int]:
        """Add the tallies of a batch; return the trials whose way failed, and use these ways no more."""
        judge = batch.judge
        failed: set[int] = set()

        def take(trial: int, samples: NDArray[np.int64] | None, output: Array | None) -> None:
            tally, classes = judge.tally(samples, output)
            tallies[trial] += tally
            if outcomes is not None and classes is not None:
                outcomes[trial][judge.start : judge.stop] = classes

        by_entry: dict[int, tuple[Entry, list[tuple[int, Route]]]] = {}
        tasks: list[Task] = []
        for t, route in swept:
            if route.entry is None:
                tasks.append(Task(math.inf, [(t, route)], partial(self._rest, t, route, batch, patches, take)))
            else:
                by_entry.setdefault(id(route.entry), (route.entry, []))[1].append((t, route))
        most = max(-(-len(swept) // (2 * self.lanes)), 1)
        lefts: list[Left] | None = [] if len(by_entry) > 1 else None
        for entry, members in by_entry.values():
            for some in (members[i : i + most] for i in range(0, len(members), most)):
                cost = len(some) * (len(entry.tail.nodes) + 1)
                tasks.append(Task(cost, some, partial(self._enter, entry, some, batch, patches, take, lefts)))
        failed |= self._all(tasks)
        if lefts:
            failed |= self._all(self._last(lefts, batch, dict(swept), take))
        return failed

    def _all(self, tasks: Sequence[Task]) -> set[int]:
        failed: set[int] = set()
        for done, counted in in_lanes(tasks, self.lanes):
            if counted is None:
                failed |= self._refuse(done)
            else:
                self._rows += counted.rows
                self._masked += counted.masked
                self._calls += counted.calls
                self._shared += counted.shared
        return failed

    def _last(self, lefts: Sequence[Left], batch: _Batch, routes: Mapping[int, Route], take: Take) -> list[Task]:
        """Return what computes the few samples that are left, those of several layers together where they can be."""
        self._waited += sum(map(len, lefts)) if len({id(left.entry) for left in lefts}) > 1 else 0
        if self._rides is None and self._router is not None and self._waited >= WORTH:
            self._rides = Rides(self._router, self.memory_bytes // 8)

        def alone(left: Left) -> Array:
            with self._kept.using(left.entry):
                return left.finish(batch.clean)

        return last_tasks(lefts, self._rides, batch.clean, len(batch.judge), take, alone, routes, lanes=self.lanes)

    def _rest(self, trial: int, route: Route, batch: _Batch, patches: Sequence[Patch], take: Take) -> Counted:
        """Compute one trial from its first faulty layer on."""
        assert route.rest is not None
        take(trial, None, route.rest(patches[trial], batch.clean))
        return Counted(len(batch.judge), 0, 1)

    def _enter(
        self,
        entry: Entry,
        members: Members,
        batch: _Batch,
        patches: Sequence[Patch],
        take: Take,
        lefts: list[Left] | None,
    ) -> Counted:
        """Compute the trials that enter at one place, but for samples that are put into *lefts*, being few."""
        with self._kept.using(entry):
            rows = entered(entry, members, patches, batch.clean, len(batch.judge), take)
            held = SLICE_BYTES if lefts is None else sum(left.nbytes for left in lefts)
            left = rows.left(few=math.ceil(self.few * entry.most(len(batch.judge))) if held < SLICE_BYTES else 0)
        if left is not None and lefts is not None:
            lefts.append(left)
        return Counted(rows.computed, rows.masked, rows.calls)

    def _refuse(self, members: Sequence[tuple[int, Route]]) -> set[int]:
        for _, route in members:
            if self._router is not None:
                self._router.refuse(route)
            if route.entry is not None:
                self._kept.drop(route.entry)
        return {t for t, _ in members}

    def _batches(self, needs: Needs, *, waiting: int = 0) -> Iterator[_Batch]:
        """Yield the clean activations of the data set, kept from one call to the next where they fit.

        Args:
            needs: Which.
            waiting: Bytes beside them for each sample of a batch: what trials change of it until that is computed.
        """
        assert self._router is not None
        run = self._router.clean_run(needs)
        size = run.sample_bytes
        most = max(self.memory_bytes // 2 // max(size + waiting, 1), LEAST)
        keep = size * len(self.scorer.data) <= self.memory_bytes // 4
        known = self._clean[1] if self._clean is not None and self._clean[0] == needs else {}
        fresh: dict[tuple[int, int], Clean] = {}
        for batch in self.scorer.batches():
            labels = self.scorer.batch_labels(batch)
            count = batch.stop - batch.start
            for low, high in even(count, most):
                feeds = {name: array[low:high] for name, array in batch.inputs.items()}
                span = batch.start + low, batch.start + high
                began = time.monotonic()
                clean = known[span] if span in known else run(feeds)
                self.clean_s += time.monotonic() - began
                if keep:
                    fresh[span] = clean
                golden = clean.held[self.scorer.output.name]
                judge = BatchJudge(self.scorer, golden, labels[low:high], batch.start + low)
                if not judge.is_clean:
                    raise ModelError("the clean run in pieces gives other numbers than the fault-free chip")
                yield _Batch(judge, clean)
                del judge, clean, golden
                if self.told is not None:
                    self.told(span[1], len(self.scorer.data))
        self._clean = (needs, fresh) if keep else None

    def expect(self, patches: Sequence[Patch]) -> None:
        """Say which trials will be asked for: what their proofs share is computed once."""
        if self._router is not None:
            self._router.expect({site for patch in patches if len(patch) == 1 for site in patch})

    def _route(self, patch: Patch) -> Route:
        return Route("whole") if self._router is None else self._router.route(patch)

    def _dense(self, patch: Patch) -> dict[str, Array]:
        model = self.scorer.runner.model
        numbers = dict(self.numbers or {})
        for name, faults in patch.items():
            base = numbers.get(name, model.numbers[name]).copy()
            base.reshape(-1)[faults.indices] = faults.values
            numbers[name] = base
        return numbers

    def _whole(self, patch: Patch, feeds: Mapping[str, Array]) -> Array:
        return self.scorer.runner.open(self._dense(patch))(feeds)
