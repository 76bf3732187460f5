"""`Rides`: the few faulty samples of many layers travel on together. Which samples are few is said in `sweep.py`.

Where the trials of a layer changed too few samples to fill a call, these go on only as far as the next *stop*: an
activation that everything behind passes through, right before a layer. There they board, and from stop to stop they
share the calls with those of earlier layers: behind its boundary a trial has clean weights alone, whichever it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.data.spec import even
from faultsim.engine.sweep.entry import SINGLES, Entry, Tail, same, tail
from faultsim.engine.sweep.flow import Flow
from faultsim.engine.sweep.golden import Clean, CleanRun
from faultsim.engine.sweep.lanes import Counted, Task
from faultsim.engine.sweep.parts import Opener, Part
from faultsim.engine.sweep.proof import alike
from faultsim.engine.sweep.routes import Route, Router
from faultsim.engine.sweep.rows import Left, Take
from faultsim.engine.sweep.twin import Twin
from faultsim.errors import FaultsimError

Array = NDArray[Any]
Alone = Callable[[Left], Array]
"""Computes samples by themselves, to the output."""


class _Stretch:
    """A piece of the twin that ends in one activation; opened when it is first called."""

    def __init__(self, twin: Twin, piece: Tail, end: str, opener: Opener) -> None:
        self.piece = piece
        self._twin = twin
        self._end = end
        self._opener = opener
        self._part: Part | None = None
        self._opening = Lock()

    def __call__(self, feeds: Mapping[str, Array], *, most: int, least: int) -> Array:
        """Return the end for each row; calls take at most *most* rows, and are filled up to *least*."""
        count = len(next(iter(feeds.values())))
        part = self._opened()
        found = []
        for low, high in even(count, most):
            row = low + np.arange(max(least, high - low)) % (high - low)
            found.append(part({name: one[row] for name, one in feeds.items()})[0][: high - low])
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _opened(self) -> Part:
        with self._opening:  # another lane may want it too
            if self._part is None:
                flow, types = self._twin.flow, self._twin.types
                inputs = {name: types[name] for name in self.piece.feeds}
                piece = flow.piece(self.piece.nodes, inputs, {self._end: types[self._end]})
                self._part = self._opener(piece, fused=False)
            return self._part


class _Way(NamedTuple):
    """How the samples of an entry board: at which stop, and what brings them there; None where they stand there."""

    stop: int
    bridge: _Stretch | None


class Rides:
    """Computes the few samples that entries have left, those of several layers in the same calls.

    Args:
        router: Of the entries: its graph, and clean samples, whose activations every stretch has to give bit by bit.
        room: Bytes for the weights of all stretches and bridges together; beyond it nothing rides.

    Attributes:
        stops: Activations at which samples board, in order.
    """

    def __init__(self, router: Router, room: int) -> None:
        self._twin = twin = router.twin
        self._opener = router.opener
        self._block = router.block
        self._output = router.output
        self._least = 1
        self._many = router.many
        chain = _chain(twin, router.output)
        self.stops = tuple(start for start, _ in chain)
        ends = [*self.stops, router.output][1:]
        self._stretches = [_Stretch(twin, one, end, router.opener) for (_, one), end in zip(chain, ends, strict=True)]
        self._ways: dict[str, _Way | None] = {}
        self._seen: set[str] = set()
        self._usable = 2 * _stored_bytes(twin.flow, chain) <= room and self._exact(router)

    def boards(self, entry: Entry, samples: int) -> bool:
        """Whether samples behind *entry* can ride, of a batch of so many *samples*.

        A batch of fewer samples than its kernels need to round as they do for many is left alone.
        """
        return self._usable and max(self._least, entry.least) <= samples and self._way(entry) is not None

    def groups(self, lefts: Sequence[Left], most: int) -> list[list[Left]]:
        """Return samples that ride in groups, at most *most* of them and each of a block of rows or more."""
        ordered = sorted(lefts, key=lambda left: self._stop(left.entry))
        count = max(min(sum(len(left) for left in lefts) // self._block, most), 1)
        return [one for one in (ordered[i::count] for i in range(count)) if one]

    def carry(self, group: Sequence[Left], clean: Clean, take: Take, alone: Alone) -> Counted:
        """Compute a group to the output and hand it to *take*.

        What comes from an entry for the first time is computed *alone* as well, and nothing rides any more where that
        gives other bits.
        """
        try:
            order, output = self._ridden(group, clean)
            ends = np.cumsum([len(left) for left in order])
            parts = dict(zip(map(id, order), np.split(output, ends[:-1]), strict=True))
            fresh = [left for left in order if left.entry.join.site not in self._seen]
            exact = all(alike(parts[id(left)], alone(left)) for left in fresh)
        except (FaultsimError, MemoryError):
            exact = False
        if not exact:
            self._usable = False
            for left in group:
                left.hand(alone(left), take)
            return Counted(rows=sum(map(len, group)), calls=len(group))
        self._seen |= {left.entry.join.site for left in fresh}
        for left in order:
            left.hand(parts[id(left)], take)
        return Counted(rows=len(output), shared=len(output))

    def _ridden(self, group: Sequence[Left], clean: Clean) -> tuple[list[Left], Array]:
        least = max(self._least, *(left.entry.least for left in group))
        samples = len(clean.held[self._output])
        own = self._block if self._many else min(self._block, samples)
        most = min(own, *(left.entry.most(samples) for left in group))
        order: list[Left] = []
        at: list[Array] = []
        for i, stretch in enumerate(self._stretches):
            for left in group:
                if self._stop(left.entry) == i:
                    order.append(left)
                    at.append(self._boarded(left, clean, most, least))
            if at:
                at = [stretch({self.stops[i]: np.concatenate(at)}, most=most, least=least)]
        return order, at[0]

    def _boarded(self, left: Left, clean: Clean, most: int, least: int) -> Array:
        way = self._way(left.entry)
        assert way is not None
        given = {left.entry.forms[name].name: one for name, one in left.rows.items()}
        if way.bridge is None:
            return given[self.stops[way.stop]]
        feeds = {n: given[n] if n in given else clean.held[n][left.samples] for n in way.bridge.piece.feeds}
        return way.bridge(feeds, most=most, least=least)

    def _stop(self, entry: Entry) -> int:
        way = self._way(entry)
        return len(self.stops) if way is None else way.stop

    def _way(self, entry: Entry) -> _Way | None:
        site = entry.join.site
        if site not in self._ways:
            self._ways[site] = self._find(entry)
        return self._ways[site]

    def _find(self, entry: Entry) -> _Way | None:
        """Return the first stop that is behind everything that *entry* makes."""
        flow = self._twin.flow
        ends = tuple(form.name for form in entry.forms.values())
        made = max(flow.makers.get(name, -1) for name in ends)
        for i, stop in enumerate(self.stops):
            if ends == (stop,):
                return _Way(i, None)
            if flow.makers[stop] > made:
                bridge = tail(flow, ends, stop)
                fed = bool(bridge.nodes) and set(bridge.feeds) <= entry.held
                return _Way(i, _Stretch(self._twin, bridge, stop, self._opener)) if fed else None
        return None

    def _exact(self, router: Router) -> bool:
        if not self.stops:
            return False
        output, golden = router.output, router.golden
        try:
            run = CleanRun(self._twin, router.types, (), self.stops, output, self._opener)
            held = run(router.probe).held
            if not same(held[output], golden):
                return False
            for least in (1, 2, 4, 8, 16):  # kernels for few rows may round otherwise: such calls are filled up
                self._least = least
                if all(self._gives(order, held, output) for order in _orders(len(golden), least)):
                    wide = [np.resize(np.arange(len(golden))[::-1], self._block // k) for k in (1, 2, 4)]
                    self._many = self._many and all(self._gives(order, held, output) for order in wide)
                    return True
        except (FaultsimError, MemoryError):
            return False
        return False

    def _gives(self, order: NDArray[np.int64], held: Mapping[str, Array], output: str) -> bool:
        """Whether every stretch gives some clean samples, in another order and company, bit by bit."""
        ends = [*self.stops, output][1:]
        return all(
            same(stretch({start: held[start][order]}, most=self._block, least=self._least), held[end][order])
            for stretch, start, end in zip(self._stretches, self.stops, ends, strict=True)
        )


def last_tasks(
    lefts: Sequence[Left],
    rides: Rides | None,
    clean: Clean,
    samples: int,
    take: Take,
    alone: Alone,
    routes: Mapping[int, Route],
    *,
    lanes: int,
) -> list[Task]:
    """Return what computes the samples that entries have left: together where those of several can ride, else alone.

    Args:
        lefts: The samples.
        rides: Where they may ride.
        clean: Clean activations of the batch.
        samples: Samples of the batch.
        take: Gets the output of each trial.
        alone: Computes samples by themselves.
        routes: The way of each trial.
        lanes: Tasks that run at a time.
    """

    def by_itself(left: Left) -> Counted:
        left.hand(alone(left), take)
        return Counted(len(left), 0, 1)

    riding = [left for left in lefts if rides is not None and rides.boards(left.entry, samples)]
    if rides is None or len({left.entry.join.site for left in riding}) < 2:
        riding = []
    tasks = [(len(left), [left], partial(by_itself, left)) for left in lefts if left not in riding]
    if rides is not None and riding:
        for group in rides.groups(riding, lanes):
            tasks.append((sum(map(len, group)), group, partial(rides.carry, group, clean, take, alone)))
    return [
        Task(cost, [(trial, routes[trial]) for left in group for trial, _ in left.members], run)
        for cost, group, run in tasks
    ]


def _orders(count: int, least: int) -> Iterator[NDArray[np.int64]]:
    everything = np.arange(count)[::-1]
    yield everything[:-1]
    yield everything[:least]
    yield from (everything[i : i + 1] for i in range(min(SINGLES, count)))


def _chain(twin: Twin, output: str) -> list[tuple[str, Tail]]:
    """Return the stops, each with the nodes from there to the next one or to the output: at least one layer."""
    flow = twin.flow
    found: list[tuple[str, Tail]] = []
    end = output
    for name in reversed(flow.waists(output)):
        piece = tail(flow, [name], end)
        if name in twin.types and piece.feeds == (name,) and any(_has_weight(flow, i) for i in piece.nodes):
            found.append((name, piece))
            end = name
    return found[::-1]


def _has_weight(flow: Flow, position: int) -> bool:
    return any(len(flow.initializers[n].dims) > 1 for n in flow.reads[position] if n in flow.initializers)


def _stored_bytes(flow: Flow, chain: Sequence[tuple[str, Tail]]) -> int:
    names = {name for _, piece in chain for i in piece.nodes for name in flow.reads[i] if name in flow.initializers}
    return sum(flow.initializers[name].ByteSize() for name in names)
