"""`Entry`: one place where faults enter the sweep, with the pieces that compute on. Trials are scheduled elsewhere.

Every piece is tried on clean activations first: an entry is used only where all its pieces give the clean activations
and the clean output *bit by bit*. Then what comes out of it is what the whole graph would have given.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.data.spec import even
from faultsim.engine.sweep.flow import Flow, TensorType
from faultsim.engine.sweep.golden import Clean
from faultsim.engine.sweep.join import Join
from faultsim.engine.sweep.parts import BLOCK, Opener, Part
from faultsim.engine.sweep.slices import PAD, Channel, SliceTemplate, Sparse, patched
from faultsim.engine.sweep.twin import Twin
from faultsim.errors import FaultsimError

Array = NDArray[Any]
_NONE = Sparse(np.zeros(0, np.int64), np.zeros(0))


MAXIMA = frozenset({"MaxPool", "GlobalMaxPool", "MaxRoiPool", "ReduceMax", "ReduceMin", "Max", "Min"})
"""Ops that drop a NaN or keep it, as the kernel wants: a slice of channels may get another one than the layer."""


class Way(NamedTuple):
    """How a join is run.

    Attributes:
        fused: Whether the runtime may optimise it.
        convolved: See `SliceTemplate.build`.
    """

    fused: bool
    convolved: bool = False


SINGLES = 8
"""Samples that are tried alone: of those that round otherwise one may look the same by chance."""

FUSED, CONVOLVED, AS_IT_IS = Way(True), Way(True, True), Way(False)


class Tail(NamedTuple):
    """What is left to compute behind a boundary.

    Attributes:
        nodes: Positions of its nodes; empty where the boundary is the output itself, or never gets there.
        feeds: Activations that it reads, those of the boundary among them.
    """

    nodes: frozenset[int]
    feeds: tuple[str, ...]


def tail(flow: Flow, boundary: Sequence[str], output: str) -> Tail:
    """Return what computes *output* once the tensors of *boundary* are known."""
    makers = {flow.makers[name] for name in boundary if name in flow.makers}
    reached = (flow.descendants(boundary) & flow.ancestors([output])) - makers
    if not reached or output in boundary:
        return Tail(frozenset(), tuple(boundary))
    nodes, feeds = flow.needed(reached, boundary)
    return Tail(frozenset(nodes), feeds)


class Entry:
    """The way of the faults in one stored tensor.

    Attributes:
        join: Where they enter.
        boundary: Names of the tensors at the end of the join, in the deployed graph.
        forms: How the twin holds them, by the same names.
        plain: Clean activations that the join needs, in the deployed graph.
        held: Clean activations that the tail needs, in the twin.
        output: The output that is scored.
        block: Rows of a call of the tail, at most.
    """

    def __init__(
        self,
        flow: Flow,
        types: Mapping[str, TensorType],
        join: Join,
        twin: Twin,
        output: str,
        opener: Opener,
        *,
        block: int = BLOCK,
        many: bool = False,
    ) -> None:
        self.block = block
        self._many = many
        self.flow = flow
        self.types = types
        self.join = join
        self.output = output
        self._twin = twin
        self._opener = opener
        self.boundary = tuple(join.boundary)
        self._template = SliceTemplate(flow, types, join) if join.by_channel else None
        self._whole_nodes, self._whole_feeds = flow.needed(join.nodes)
        self.plain = frozenset(self.boundary) | set(self._whole_feeds)
        if self._template is not None:
            self.plain |= {one.source for one in self._template.feeds}
        self.usable = self.plain <= twin.forms.keys() and self.plain <= types.keys()
        self.forms = {name: twin.forms[name] for name in self.boundary} if self.usable else {}
        ends = tuple(one.name for one in self.forms.values())
        self.tail = tail(twin.flow, ends, output) if self.usable else Tail(frozenset(), ())
        self.held = frozenset(self.tail.feeds) | set(ends)
        self.usable = self.usable and self.held <= twin.types.keys() and len(set(ends)) == len(ends)
        self._tail_part: Part | None = None
        self._opening = Lock()
        self._exact: dict[str, bool] = {}
        self._ways: dict[str, Way] = {}
        sums = self._template is not None and self._template.has_sums
        self._variants = {"slice": [FUSED, *([CONVOLVED] if sums else []), AS_IT_IS], "whole": [FUSED, AS_IT_IS]}
        self._least = 1

    @property
    def tail_bytes(self) -> int:
        """Memory of the stored tensors behind the boundary."""
        stored = self._twin.flow.initializers
        users = self._twin.flow.users
        inside = self.tail.nodes
        return sum(t.ByteSize() for name, t in stored.items() if any(i in inside for i in users.get(name, ())))

    @property
    def least(self) -> int:
        """Rows that a call of the tail needs at least to round as calls of many do; known once `exact` has run."""
        return self._least

    def most(self, samples: int) -> int:
        """Return the rows of a call that rounds as a batch of *samples* does; known once `exact` has run.

        More than the batch has only where calls of more rows are known to round as those of few do.
        """
        return self.block if self._many and self._least <= samples else min(self.block, samples)

    @property
    def drops_nan(self) -> bool:
        """Whether an op of the join may drop numbers that are not finite."""
        return any(self.flow.nodes[i].op_type in MAXIMA for i in self.join.nodes)

    def release(self) -> None:
        """Give the memory of the tail back; it is opened again when it is needed."""
        self._tail_part = None

    def exact(self, clean: Clean, golden: Array, *, by_channel: bool, fewest: Sequence[Clean] = ()) -> bool:
        """Whether the pieces give the clean numbers bit by bit on a few clean samples, at least 2.

        Where a batch can have fewer samples still, *fewest* has the clean activations of some such batches: kernels for
        few rows may round otherwise, and may do so in a layer and not in a slice of it that is filled up.

        A join is tried as the runtime would fuse it in several ways, then as it stands: the whole graph does one of it.
        """
        way: Literal["slice", "whole"] = "slice" if by_channel else "whole"
        if "tail" not in self._exact:
            self._exact["tail"] = self._check_tail(clean, golden)
        if self._exact["tail"] and way not in self._exact:
            self._exact[way] = False
            while self._variants[way] and not self._exact[way]:
                self._ways[way] = self._variants[way].pop(0)
                self._exact[way] = all(self._check_join(one, way) for one in (clean, *fewest))
        return self._exact["tail"] and self._exact[way]

    def reject(self, *, by_channel: bool) -> None:
        """Give up the way that `exact` has found, as it fails under faults; `exact` then looks for another."""
        self._exact.pop("slice" if by_channel else "whole", None)

    def _check_tail(self, clean: Clean, golden: Array) -> bool:
        everything = np.arange(len(golden))[::-1]  # other neighbours and other batches than in the clean run
        if not self._finishes(everything[:-1], clean, golden):
            return False
        few = [everything[i : i + 1] for i in range(min(SINGLES, len(golden)))]
        if self.block > max(BLOCK, len(golden)):  # a device that takes more at once may round otherwise then
            few.append(np.resize(everything, self.block))
        for least in (1, 2, 4, 8, 16):  # kernels for few rows may round otherwise: such calls are filled up
            self._least = least
            if least < len(golden) and all(self._finishes(n, clean, golden) for n in (*few, everything[:least])):
                wide = [np.resize(everything, self.block // k) for k in (1, 2, 4)]
                self._many = self._many and all(self._finishes(n, clean, golden) for n in wide)
                return True
        return False

    def _finishes(self, order: NDArray[np.int64], clean: Clean, golden: Array) -> bool:
        rows = {name: clean.held[form.name][order] for name, form in self.forms.items()}
        try:
            return same(self.finish(rows, clean, order, most=self.block), golden[order])
        except FaultsimError:
            return False

    def _check_join(self, clean: Clean, way: Literal["slice", "whole"]) -> bool:
        try:
            if way == "whole":
                found = self.whole(clean, None)
                return all(same(found[name], clean.plain[name]) for name in self.boundary)
            count = min(PAD, self.join.channels)
            channels = [Channel(int(c), _NONE) for c in np.linspace(0, self.join.channels - 1, count).astype(int)]
            found = self.slice(clean, channels)
        except FaultsimError:
            return False
        numbers = np.array([one.number for one in channels])
        return all(
            same(found[name], np.take(clean.plain[name], numbers + offset, axis=self.join.axis))
            for name, offset in self.join.boundary.items()
        )

    def channels_of(self, faults: Sparse) -> list[Channel]:
        """Return the faulty channels of one trial; empty where the join cannot be cut."""
        return [] if self._template is None else self._template.channels_of(faults)

    def slice(self, clean: Clean, channels: Sequence[Channel]) -> dict[str, Array]:
        """Return each tensor of the boundary with one channel for each of *channels*, faults and all."""
        if self._template is None:
            raise ValueError(f"the join of {self.join.site!r} cannot be cut into channels; see Join.by_channel")
        padded = [*channels, *[channels[-1]] * (-len(channels) % PAD)]
        numbers = np.array([one.number for one in padded], dtype=np.int64)
        way = self._ways.get("slice", FUSED)
        part = self._opener(self._template.build(padded, convolved=way.convolved), fused=way.fused)
        found = part({one.name: one.cut(clean.plain[one.source], numbers) for one in self._template.feeds})
        kept = [slice(None)] * self.join.axis + [slice(0, len(channels))]
        return {name: one[tuple(kept)] for name, one in zip(self._template.outputs, found, strict=True)}

    def whole(self, clean: Clean, faults: Sparse | None) -> dict[str, Array]:
        """Return the boundary under *faults*, all channels, in the deployed graph's layout."""
        site = self.join.site
        packed = self.flow.packed.get(site)
        numbers = {} if faults is None else {site: patched(self.flow.initializers[site], faults, packed)}
        inputs = {name: self.types[name] for name in self._whole_feeds}
        outputs = {name: self.types[name] for name in self.boundary}
        piece = self.flow.piece(self._whole_nodes, inputs, outputs, numbers=numbers)
        part = self._opener(piece, fused=self._ways.get("whole", FUSED).fused)
        return dict(zip(self.boundary, part({name: clean.plain[name] for name in self._whole_feeds}), strict=True))

    def finish(
        self,
        rows: Mapping[str, Array],
        clean: Clean,
        samples: NDArray[np.int64] | None,
        *,
        among: bool = False,
        most: int | None = None,
    ) -> Array:
        """Return the output behind a boundary.

        Args:
            rows: The tensors of the boundary as the twin holds them, by the deployed names; not written to.
            clean: Clean activations of the batch.
            samples: The sample behind each row; None where the rows are all samples of the batch in order.
            among: Whether the rows are those of the whole batch, of which *samples* alone are computed.
            most: Rows of a call, where they are not to be as many as is known to be exact.
        """
        count = len(samples) if samples is not None and among else len(next(iter(rows.values())))
        given = {self.forms[name].name: one for name, one in rows.items()}
        if not self.tail.nodes and self.output in given:
            return given[self.output][samples] if among else given[self.output]
        if not self.tail.nodes:  # a head that is not scored: nothing of it gets to the output
            return clean.held[self.output][slice(0, count) if samples is None else samples]
        batch = len(clean.held[self.output])
        least = min(self._least, batch)  # a batch that is smaller itself is computed as it is
        part = self._opened()
        found = []
        for low, high in even(count, self.most(batch) if most is None else most):
            own, row = _picked(samples, low, high, least, among=among)
            feeds = {n: given[n][row] if n in given else clean.held[n][own] for n in self.tail.feeds}
            found.append(part(feeds)[0][: high - low])
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _opened(self) -> Part:
        with self._opening:  # another lane may want it too
            if self._tail_part is None:
                inputs = {name: self._twin.types[name] for name in self.tail.feeds}
                piece = self._twin.flow.piece(self.tail.nodes, inputs, {self.output: self._twin.types[self.output]})
                self._tail_part = self._opener(piece, fused=False)
            return self._tail_part


def _picked(
    samples: NDArray[np.int64] | None, low: int, high: int, least: int, *, among: bool
) -> tuple[slice | NDArray[np.int64], slice | NDArray[np.int64]]:
    """Return the samples of a call and their rows, the first of them again where they are fewer than *least*."""
    if high - low >= least:
        own = slice(low, high) if samples is None else samples[low:high]
        return own, own if among else slice(low, high)
    wide = low + np.arange(least) % (high - low)
    chosen = wide if samples is None else samples[wide]
    return chosen, chosen if among else wide


def same(one: Array, other: Array) -> bool:
    """Whether two arrays hold the same bits."""
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()
