"""Whether training, validation and test data are apart: no file twice, and no sample in two of them."""

import hashlib
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faultsim.data.spec import DataSet, InputSpec
from faultsim.errors import OptionError
from faultsim.harden.hardening import Hardening

MOST_SHARED = 0.1
"""Part of some samples, beyond what is double by nature, from which on they are a copy; a few images are met twice."""
MOST_BYTES = 1 << 31
"""Of each part that is looked through."""
_READ, _CHUNK = 1024, 1 << 26
"""Samples and bytes that are read at once, at most."""
_ADVICE = (
    "what is trained or chosen by samples looks better on them; give others, or leave one out for a part of the data"
)


def check_sources(data: str | Path | DataSet | None, options: Hardening) -> None:
    """Refuse to choose by the samples that everything is judged on.

    Raises:
        OptionError: If two of training, validation and test data are one file, or one data set.
    """
    given = {"training": data, "validation": options.validation_data, "test": options.test_data}
    for (name, one), (other_name, other) in itertools.combinations(given.items(), 2):
        if one is None or other is None:
            continue
        paths = isinstance(one, str | Path) and isinstance(other, str | Path)
        if one is other or (paths and Path(str(one)).resolve() == Path(str(other)).resolve()):
            raise OptionError(
                f"{name} data and {other_name} data are both {one if paths else 'one data set'}: {_ADVICE}"
            )


def check_apart(
    parts: Mapping[str, DataSet], inputs: Sequence[InputSpec], *, given: Collection[str]
) -> tuple[str, ...]:
    """Return a sentence for each two parts that share samples, byte by byte.

    Args:
        parts: The data by what they are for, in the order training, validation, test.
        inputs: Of the model: the axis along which each counts samples.
        given: Parts that are data of their own, and not a part of the data that were split.

    Raises:
        OptionError: If more of a part is in another than the other holds double itself, by more than a tenth, and one
            of the two is of its own.
    """
    axes = {spec.name: spec.batch_axis for spec in inputs}
    seen = {name: list(_digests(data, axes)) for name, data in parts.items()}
    said = []
    for (name, one), (other, later) in itertools.combinations(seen.items(), 2):
        found = _way(later, one, other, name)
        turned = _way(one, later, name, other)
        worst = max(found, turned, key=lambda way: way.excess)
        if worst.excess > MOST_SHARED and {name, other} & set(given):
            raise OptionError(f"{worst.sentence}: {_ADVICE}")
        if found.shared:
            said.append(f"{found.sentence}.")
    return tuple(said)


class _Way(NamedTuple):
    """How many of some samples are among others; `excess` is their part, less the part of the others that is double."""

    shared: int
    excess: float
    sentence: str


def _way(these: Sequence[bytes], among: Sequence[bytes], name: str, other: str) -> _Way:
    known = set(among)
    shared = sum(digest in known for digest in these)
    double = 1 - len(known) / max(len(among), 1)
    sentence = f"{shared} of {len(these)} {name} samples are in the {other} data too"
    return _Way(shared, shared / max(len(these), 1) - double, sentence)


def _digests(data: DataSet, axes: Mapping[str, int | None]) -> Iterator[bytes]:
    """Yield a hash of each sample's inputs."""
    start, step, read = 0, 1, 0
    while start < len(data) and read <= MOST_BYTES:
        stop = min(start + step, len(data))
        arrays = [
            np.moveaxis(np.asarray(array), axis, 0)
            for name, array in sorted(data.inputs(start, stop).items())
            if (axis := axes.get(name, 0)) is not None
        ]
        for row in range(stop - start):
            whole = hashlib.blake2b(digest_size=16)
            for array in arrays:
                whole.update(np.ascontiguousarray(array[row]).tobytes())
            yield whole.digest()
        size = sum(array.nbytes for array in arrays)
        read += size
        step = min(max(_CHUNK * (stop - start) // max(size, 1), 1), _READ)
        start = stop
