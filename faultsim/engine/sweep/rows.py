"""`Rows`: faulty samples on their way behind one entry, gathered over trials until a call is worth it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.golden import Clean

Array = NDArray[Any]
Take = Callable[[int, NDArray[np.int64] | None, Array | None], None]
_MOST = 0.5
"""A trial that changes more samples than this share, and than of a call, does not wait for others to fill a call."""


@dataclass(frozen=True, eq=False)
class Left:
    """Samples that wait behind one entry.

    Attributes:
        entry: Where the faults entered.
        members: Trials, each with its samples.
        rows: The tensors of the boundary as the twin holds them, by the deployed names, a row for each sample.
    """

    entry: Entry
    members: Sequence[tuple[int, NDArray[np.int64]]]
    rows: Mapping[str, Array]

    @cached_property
    def samples(self) -> NDArray[np.int64]:
        """The sample behind each row."""
        return np.concatenate([samples for _, samples in self.members])

    @property
    def nbytes(self) -> int:
        """Memory of the rows."""
        return sum(one.nbytes for one in self.rows.values())

    def __len__(self) -> int:
        return sum(samples.size for _, samples in self.members)

    def finish(self, clean: Clean) -> Array:
        """Return the output of each row, computed by itself."""
        return self.entry.finish(self.rows, clean, self.samples)

    def hand(self, output: Array, take: Take) -> None:
        """Give every trial its outputs."""
        at = 0
        for trial, samples in self.members:
            take(trial, samples, output[at : at + samples.size])
            at += samples.size


class Rows:
    """Lets the samples that a trial did not change leave, and computes the rest, of many trials in one call.

    Args:
        entry: Where the faults enter.
        clean: Clean activations of the batch.
        samples: Samples of the batch.
        take: Is given each trial's changed samples (None: all, in order) and their outputs (None: nothing changed).
        most: Rows that wait for others at least, where that is more than the samples of the batch.

    Attributes:
        computed: Samples computed so far.
        masked: Samples that left so far.
        calls: Calls so far.
    """

    def __init__(self, entry: Entry, clean: Clean, samples: int, take: Take, *, most: int = 0) -> None:
        self._entry = entry
        self._clean = clean
        self._samples = samples
        self._take = take
        self._most = max(samples, most)
        self._axis = entry.join.axis
        self._buffers: dict[str, Array] = {}
        self._waiting: list[tuple[int, NDArray[np.int64], dict[str, Array]]] = []
        self.computed = 0
        self.masked = 0
        self.calls = 0

    def add_channels(self, trial: int, found: Mapping[str, Array], at: int, numbers: Sequence[int]) -> None:
        """Take a trial in whose faulty channels stand at ``at …`` of the slice *found*."""
        axis, forms = self._axis, self._entry.forms
        faulty: list[tuple[str, int, Array]] = []
        changed = np.zeros(self._samples, bool)
        for name, one in found.items():
            clean = self._clean.held[forms[name].name]
            for k, number in enumerate(numbers):
                place = number + self._entry.join.boundary[name]
                channel = forms[name].code(one[(slice(None),) * axis + (at + k,)])
                changed |= differs(channel, forms[name].channel(clean, axis, place))
                faulty.append((name, place, channel))
        samples = self._left(trial, changed)
        if samples is None:
            return
        if samples.size > _MOST * self._most:
            self._at_once(trial, samples, faulty)
            return
        rows = {name: self._clean.held[forms[name].name][samples] for name in found}
        for name, place, channel in faulty:
            forms[name].channel(rows[name], axis, place)[...] = channel[samples]
        self._wait(trial, samples, rows)

    def _at_once(self, trial: int, samples: NDArray[np.int64], faulty: Sequence[tuple[str, int, Array]]) -> None:
        """Compute a trial's samples by themselves, in buffers that hold the clean boundary in between."""
        axis, forms = self._axis, self._entry.forms
        for name, place, channel in faulty:
            if name not in self._buffers:
                self._buffers[name] = self._clean.held[forms[name].name].copy()
            forms[name].channel(self._buffers[name], axis, place)[...] = channel
        every = samples.size == self._samples
        output = self._entry.finish(self._buffers, self._clean, None if every else samples, among=not every)
        if not self._entry.tail.nodes:
            output = output.copy()  # the buffer itself
        self._take(trial, None if every else samples, output)
        for name, place, _ in faulty:
            clean = forms[name].channel(self._clean.held[forms[name].name], axis, place)
            forms[name].channel(self._buffers[name], axis, place)[...] = clean
        self._count(samples.size)

    def add_whole(self, trial: int, found: Mapping[str, Array]) -> None:
        """Take a trial in whose whole boundary is *found*."""
        changed = np.zeros(self._samples, bool)
        for name, one in found.items():
            changed |= differs(one, self._clean.plain[name])
        samples = self._left(trial, changed)
        if samples is not None:
            self._wait(trial, samples, {name: self._entry.forms[name].of(one[samples]) for name, one in found.items()})

    def _count(self, rows: int) -> None:
        self.computed += rows
        self.calls += -(-rows // self._entry.block)

    def _left(self, trial: int, changed: NDArray[np.bool_]) -> NDArray[np.int64] | None:
        samples = np.flatnonzero(changed)
        self.masked += self._samples - samples.size
        if samples.size == 0:
            self._take(trial, None, None)
            return None
        return samples

    def _wait(self, trial: int, samples: NDArray[np.int64], rows: dict[str, Array]) -> None:
        self._waiting.append((trial, samples, rows))
        if sum(s.size for _, s, _ in self._waiting) >= self._most:
            self.flush()

    def flush(self) -> None:
        """Compute what waits."""
        left = self.left()
        if left is not None:
            left.hand(left.finish(self._clean), self._take)
            self._count(len(left))

    def left(self, *, few: int | None = None) -> Left | None:
        """Let what waits go: return it, or compute it and return None where it is *few* samples or more."""
        if not self._waiting:
            return None
        if few is not None and sum(s.size for _, s, _ in self._waiting) >= few:
            self.flush()
            return None
        names = list(self._waiting[0][2])
        joined = {name: np.concatenate([rows[name] for _, _, rows in self._waiting]) for name in names}
        left = Left(self._entry, [(trial, samples) for trial, samples, _ in self._waiting], joined)
        self._waiting = []
        return left


def differs(one: Array, other: Array) -> NDArray[np.bool_]:
    """Return for each sample (axis 0) whether any bit differs: 0.0 and -0.0 do, as 1/x does."""
    size = one.dtype.itemsize
    if size in (1, 2, 4, 8) and one.dtype.kind not in "bOU":  # bfloat16 is no float to NumPy: compare words
        one, other = one.view(f"u{size}"), other.view(f"u{size}")
    return np.asarray((one != other).reshape(len(one), -1).any(axis=1))
