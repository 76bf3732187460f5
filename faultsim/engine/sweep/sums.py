"""`Sums`: the clean convolution right behind a faulty channel, from cached sums over the blocks that stay clean.

onnxruntime's convolution on blocked channels adds up its input channels block by block: the sum over one block is made
in registers and added to what the blocks before it gave. So a fault in one block leaves the sum before it and the terms
behind it as they are, and only that block is convolved anew; the additions are the same ones in the same order, bit by
bit. That this holds is seen on every layer before it is used, on clean channels and on wild ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.sweep.cut import Cut, Draft, cuts
from faultsim.engine.sweep.form import Form
from faultsim.engine.sweep.golden import Clean
from faultsim.engine.sweep.parts import Opener, Part
from faultsim.engine.sweep.twin import Twin
from faultsim.errors import FaultsimError

Array = NDArray[Any]
_TRIED = 16
"""Samples that a layer is tried on."""


class Sums:
    """One boundary's first convolution, cut by blocks of input channels.

    Args:
        twin: The graph that runs.
        tail: Positions of the nodes behind the boundary.
        feeds: Clean activations that they read, the boundary among them.
        form: How the twin holds the boundary.
        output: The output that is scored.
        opener: Opens a piece.
    """

    def __init__(
        self, twin: Twin, tail: frozenset[int], feeds: Sequence[str], form: Form, output: str, opener: Opener
    ) -> None:
        self._twin = twin
        self._form = form
        self._output = output
        self._opener = opener
        self._feeds = tuple(feeds)
        self._left = cuts(twin, tail, feeds, form)
        self._tail = tail
        self._cut: Cut | None = None
        self._parts: dict[str, Part] = {}

    @property
    def usable(self) -> bool:
        """Whether there is a convolution that is cut, or may be."""
        return self._cut is not None or bool(self._left)

    def release(self) -> None:
        """Give the memory of the pieces back."""
        self._parts = {}

    def over(self, clean: Clean, room: int) -> "Summed | None":
        """Return the sums of a batch; None where no convolution can be cut exactly, or the memory is too small.

        Args:
            clean: Its clean activations.
            room: Bytes that the sums may take.
        """
        while self._cut is None and self._left:
            few = Clean({}, {name: array[:_TRIED] for name, array in clean.held.items()})
            cut = self._left.pop(0)
            try:
                if self._exact(cut, few):
                    self._cut, self._left = cut, []
            except FaultsimError:
                pass
            if self._cut is None:
                self._parts = {}
        if self._cut is None or self._bytes(self._cut) * len(clean.held[self._form.name]) > room:
            return None
        return self._summed(self._cut, clean)

    def _bytes(self, cut: Cut) -> int:
        return 8 * (cut.count - 1) * int(np.prod(self._twin.types[self._made(cut)].shape))

    def _made(self, cut: Cut) -> str:
        return str(self._twin.flow.nodes[cut.layer.node].output[0])

    def _summed(self, cut: Cut, clean: Clean) -> "Summed":
        held = clean.held[self._form.name]
        terms = self._part(cut, "terms")({f"x{k}": cut.block(held, k) for k in range(cut.count)})
        before: list[Array | None] = [clean.held[cut.layer.added] if cut.layer.added else None]
        for term in terms[:-1]:
            last = before[-1]
            before.append(term if last is None else last + term)
        return Summed(self, cut, clean, before, terms)

    def _exact(self, cut: Cut, few: Clean) -> bool:
        """Whether the cut convolution gives the bits of the whole one, and the rest behind it the clean output."""
        held = few.held[self._form.name]
        summed = self._summed(cut, few)
        whole = self._part(cut, "whole")
        others = {cut.layer.added: few.held[cut.layer.added]} if cut.layer.added else {}
        for k in range(cut.count):
            for factor in (1.0, -3.0, 1e30):
                wild = held.copy()
                with np.errstate(all="ignore"):
                    cut.view(wild, k)[...] *= np.float32(factor)
                (want,) = whole({self._form.name: wild, **others})
                if not _alike(summed.layer(cut.block(wild, k), k), want):
                    return False
        found = summed.finish(held, 0)
        return found.tobytes() == few.held[self._output].tobytes()

    def _part(self, cut: Cut, key: str) -> Part:
        part = self._parts.get(key)  # another lane may release it meanwhile
        if part is None:
            part = self._parts[key] = self._open(cut, key)
        return part

    def rest(self, cut: Cut, made: Array, held: Array, clean: Clean) -> Array:
        """Return the output behind the convolution.

        Args:
            cut: The convolution.
            made: What it gives.
            held: The faulty boundary, for other nodes that read it.
            clean: Clean activations of the batch.
        """
        if self._made(cut) == self._output:
            return made
        _, feeds = self._behind(cut)
        given = {name: clean.held[name] for name in feeds if name not in (self._form.name, self._made(cut))}
        given |= {self._form.name: held} if self._form.name in feeds else {}
        return self._part(cut, "rest")({**given, self._made(cut): made})[0]

    def _behind(self, cut: Cut) -> tuple[frozenset[int], tuple[str, ...]]:
        flow = self._twin.flow
        nodes = self._tail - {cut.layer.node}
        if cut.layer.reorder is not None:
            brought = flow.nodes[cut.layer.reorder].output[0]
            if not any(i in nodes for i in flow.users.get(brought, ())):
                nodes -= {cut.layer.reorder}
        read = {name for i in nodes for name in flow.reads[i]}
        return nodes, (*(name for name in self._feeds if name in read), self._made(cut))

    def _open(self, cut: Cut, key: str) -> Part:
        twin, layer = self._twin, cut.layer
        made = self._made(cut)
        if key == "rest":
            nodes, feeds = self._behind(cut)
            piece = twin.flow.piece(nodes, {n: twin.types[n] for n in feeds}, {self._output: twin.types[self._output]})
            return self._opener(piece, fused=False)
        if key == "whole":
            both = [layer.node] if layer.reorder is None else [layer.reorder, layer.node]
            inputs = {n: twin.types[n] for n in (self._form.name, layer.added) if n}
            return self._opener(twin.flow.piece(both, inputs, {made: twin.types[made]}), fused=False)
        draft = Draft(twin, layer, cut, made)
        if key == "terms":
            for k in range(cut.count):
                draft.convolve(k, f"t{k}")
            return self._opener(draft.model([f"t{k}" for k in range(cut.count)]), fused=False)
        draft.faulty(int(key))
        return self._opener(draft.model(["made"]), fused=False)

    def layer(self, cut: Cut, number: int, feeds: Mapping[str, Array]) -> Array:
        """Return what the convolution gives under faults in block *number*."""
        return self._part(cut, str(number))(feeds)[0]


@dataclass(frozen=True, eq=False)
class Summed:
    """The sums of one batch.

    Attributes:
        sums: What they belong to.
        cut: The convolution.
        clean: Clean activations of the batch.
        before: Sum before each block; None where there is nothing before it.
        terms: What each block adds.
    """

    sums: Sums
    cut: Cut
    clean: Clean
    before: Sequence[Array | None]
    terms: Sequence[Array]

    def block_of(self, places: Sequence[int]) -> int | None:
        """Return the one block in which channels lie, None where they lie in several."""
        found = {place // self.cut.width for place in places}
        return found.pop() if len(found) == 1 else None

    def layer(self, block: Array, number: int) -> Array:
        """Return what the convolution gives when its block *number* is *block*."""
        feeds = {f"x{number}": block}
        before = self.before[number]
        if before is not None:
            feeds["before"] = before
        feeds |= {f"t{k}": self.terms[k] for k in range(number + 1, self.cut.count)}
        return self.sums.layer(self.cut, number, feeds)

    def finish(self, held: Array, number: int) -> Array:
        """Return the output when the boundary is *held*, which differs from the clean one in block *number* alone."""
        return self.sums.rest(self.cut, self.layer(self.cut.block(held, number), number), held, self.clean)


def _alike(one: Array, other: Array) -> bool:
    """Whether two arrays hold the same bits, one NaN as good as another."""
    known = ~np.isnan(other)
    return np.array_equal(np.isnan(one), ~known) and one[known].tobytes() == other[known].tobytes()
