"""`Rows`: faulty samples on their way behind one entry, gathered over trials until a call is worth it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.sweep.entry import Entry
from faultsim.engine.sweep.golden import Clean

Array = NDArray[Any]
Take = Callable[[int, NDArray[np.int64] | None, Array | None], None]
_MOST = 0.5
"""A trial that changes more samples than this share does not wait for others to fill a call."""


class Rows:
    """Lets the samples that a trial did not change leave, and computes the rest, of many trials in one call.

    Args:
        entry: Where the faults enter.
        clean: Clean activations of the batch.
        samples: Samples of the batch.
        take: Is given each trial's changed samples (None: all, in order) and their outputs (None: nothing changed).

    Attributes:
        computed: Samples computed so far.
        masked: Samples that left so far.
        calls: Calls so far.
    """

    def __init__(self, entry: Entry, clean: Clean, samples: int, take: Take) -> None:
        self._entry = entry
        self._clean = clean
        self._samples = samples
        self._take = take
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
        if samples.size > _MOST * self._samples:
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
        if sum(s.size for _, s, _ in self._waiting) >= self._samples:
            self.flush()

    def flush(self) -> None:
        """Compute what waits."""
        if not self._waiting:
            return
        names = list(self._waiting[0][2])
        joined = {name: np.concatenate([rows[name] for _, _, rows in self._waiting]) for name in names}
        samples = np.concatenate([s for _, s, _ in self._waiting])
        output = self._entry.finish(joined, self._clean, samples)
        self._count(samples.size)
        at = 0
        for trial, own, _ in self._waiting:
            self._take(trial, own, output[at : at + own.size])
            at += own.size
        self._waiting = []


def differs(one: Array, other: Array) -> NDArray[np.bool_]:
    """Return for each sample (axis 0) whether any bit differs: 0.0 and -0.0 do, as 1/x does."""
    size = one.dtype.itemsize
    if size in (1, 2, 4, 8) and one.dtype.kind not in "bOU":  # bfloat16 is no float to NumPy: compare words
        one, other = one.view(f"u{size}"), other.view(f"u{size}")
    return np.asarray((one != other).reshape(len(one), -1).any(axis=1))
