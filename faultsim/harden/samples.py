"""`Samples`: a data set whose samples can be taken in any order, and its split into parts. No training lives here."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.data.spec import DataSet, InputSpec
from faultsim.errors import OptionError
from faultsim.rng import generator

Array = NDArray[Any]
MOST_BYTES = 1 << 31
"""Data sets up to this many bytes are kept in memory while a model trains; larger ones are read sample by sample."""
_READ = 1024
_LOOKED_AT = 64


class Samples:
    """Some samples of a data set, in an order of their own (`data.spec.DataSet`).

    Attributes:
        data: All samples.
        picks: Which ones, in order.
        source: Where they come from, and which part.
        notes: As those of `data`.
    """

    def __init__(self, data: DataSet, picks: Array, specs: Sequence[InputSpec], *, part: str = "") -> None:
        """Take the samples at *picks*; *specs* tell along which axis each input counts them."""
        self.data = data
        self.picks = np.asarray(picks, dtype=np.int64)
        self.source = f"{data.source} ({part})" if part else data.source
        self.notes = tuple(data.notes)
        self.language_model = bool(getattr(data, "language_model", False))
        self.golden_labels = bool(getattr(data, "golden_labels", False))
        self._axes = {spec.name: spec.batch_axis for spec in specs}
        self._kept: tuple[dict[str, Array], Array | None] | None = None

    def __len__(self) -> int:
        return len(self.picks)

    def inputs(self, start: int, stop: int) -> dict[str, Array]:
        """Return the inputs of the samples ``start … stop - 1`` of this part."""
        return self.take(np.arange(start, min(stop, len(self))))[0]

    def labels(self, start: int, stop: int) -> Array | None:
        """Return their labels."""
        kept = self._memory()
        if kept is not None:
            return None if kept[1] is None else kept[1][start:stop]
        return self._labels(self.picks[start:stop])

    def take(self, rows: Array) -> tuple[dict[str, Array], Array | None]:
        """Return inputs and labels of the samples at *rows* of this part."""
        kept = self._memory()
        if kept is None:
            return self._read(self.picks[rows]), self._labels(self.picks[rows])
        inputs, labels = kept
        found = {}
        for name, array in inputs.items():
            axis = self._axes.get(name, 0)
            found[name] = array if axis is None else np.take(array, rows, axis=axis)
        return found, None if labels is None else labels[rows]

    def _memory(self) -> tuple[dict[str, Array], Array | None] | None:
        """All samples of this part, where they fit; read once, in the data set's own order."""
        if self._kept is None and len(self):
            one = self.data.inputs(int(self.picks[0]), int(self.picks[0]) + 1)
            if sum(array.nbytes for array in one.values()) * len(self) > MOST_BYTES:
                return None
            parts = [self._read(self.picks[i : i + _READ]) for i in range(0, len(self), _READ)]
            inputs = {name: self._joined(name, [part[name] for part in parts]) for name in parts[0]}
            self._kept = inputs, self._labels(self.picks)
        return self._kept

    def _read(self, picks: Array) -> dict[str, Array]:
        order = np.argsort(picks, kind="stable")
        runs = np.split(picks[order], np.flatnonzero(np.diff(picks[order]) != 1) + 1)
        parts = [self.data.inputs(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]
        back = np.argsort(order, kind="stable")
        found = {}
        for name in parts[0]:
            axis = self._axes.get(name, 0)
            joined = self._joined(name, [part[name] for part in parts])
            found[name] = joined if axis is None else np.take(joined, back, axis=axis)
        return found

    def _labels(self, picks: Array) -> Array | None:
        order = np.argsort(picks, kind="stable")
        runs = np.split(picks[order], np.flatnonzero(np.diff(picks[order]) != 1) + 1)
        parts = [self.data.labels(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]
        if not parts or parts[0] is None:
            return None
        back = np.argsort(order, kind="stable")
        return np.concatenate([part for part in parts if part is not None])[back]

    def _joined(self, name: str, parts: list[Array]) -> Array:
        axis = self._axes.get(name, 0)
        return parts[0] if axis is None or len(parts) == 1 else np.concatenate(parts, axis=axis)


def digest(data: DataSet) -> str:
    """Return what tells one data set from another: its length, and some samples with their labels."""
    seen = hashlib.sha256(str(len(data)).encode())
    for row in np.unique(np.linspace(0, max(len(data) - 1, 0), _LOOKED_AT).astype(np.int64)).tolist():
        labels = data.labels(row, row + 1)
        for array in (*data.inputs(row, row + 1).values(), *(() if labels is None else (labels,))):
            seen.update(np.ascontiguousarray(array).tobytes())
    return seen.hexdigest()


class Parts(NamedTuple):
    """A data set in three: what is trained on, what choices are made on, and what is neither."""

    train: Samples
    validation: Samples
    test: Samples


def split(
    data: DataSet, specs: Sequence[InputSpec], *, seed: int, validation: float, test: float, multiple: int = 1
) -> Parts:
    """Split a data set at random, keyed by *seed*.

    Args:
        data: All samples.
        specs: The model's inputs.
        seed: Seed of the split.
        validation: Part that choices are made on, in [0, 1).
        test: Part that nothing is trained or chosen on, in [0, 1).
        multiple: Every part holds a whole number of batches of this size, for graphs that insist on one.

    Raises:
        OptionError: If a part is out of its range or would be empty.
    """
    if not 0 <= validation < 1 or not 0 <= test < 1 or validation + test >= 1:
        raise OptionError(
            f"validation is {validation:g} and held out {test:g} of the data; give parts that are below 1 together"
        )
    order = generator(seed, -1, "harden", "split").permutation(len(data))
    sizes = [int(len(data) * part) // multiple * multiple for part in (test, validation)]
    if any(part and not size for part, size in zip((test, validation), sizes, strict=True)):
        raise OptionError(f"{data.source} holds {len(data)} samples, too few to split; give more")
    rest = (len(data) - sum(sizes)) // multiple * multiple
    if not rest:
        batch = f" in whole batches of {multiple}" if multiple > 1 else ""
        raise OptionError(
            f"{data.source} holds {len(data)} samples, of which none is left to train on{batch}; "
            "give more, or smaller parts to choose by and to hold out"
        )
    held, chosen = np.sort(order[: sizes[0]]), np.sort(order[sizes[0] : sum(sizes)])
    trained = np.sort(order[sum(sizes) : sum(sizes) + rest])
    return Parts(
        Samples(data, trained, specs, part=f"{len(trained)} trained on"),
        Samples(data, chosen, specs, part=f"{len(chosen)} to choose by"),
        Samples(data, held, specs, part=f"{len(held)} held out"),
    )
