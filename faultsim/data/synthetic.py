"""Inputs drawn from what the model declares, where there are no data.

They say how far faults move the answers, and nothing about accuracy on real data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from faultsim.data.convert import Conversion, family, fits, integer_range
from faultsim.data.dataset import ColumnData, Feed, named
from faultsim.data.spec import Array, DataSet, InputSpec, show_shape
from faultsim.errors import DataError
from faultsim.library import closest
from faultsim.rng import generator

DEFAULT_SAMPLES = 256
DEFAULT_SIZE = 32
DRAWN = "synthetic (drawn from the declared shapes"
"""What the source of such data begins with."""
_ONES = ("attention_mask", "input_mask")
_ZEROS = ("token_type_ids", "segment_ids")


def synthetic(
    inputs: Sequence[InputSpec],
    *,
    seed: int = 0,
    samples: int | None = None,
    input_shape: Mapping[str, Sequence[int]] | None = None,
) -> ColumnData:
    """Return drawn inputs without labels; sample *i* depends on the seed, the input's name and *i* alone.

    Floats are standard normal. Whole numbers are uniform: over the whole range for 8 bits and fewer, over
    ``0 … upper - 1`` where the graph shows an upper bound, over 0 and 1 otherwise. Truth values are fair
    coins. Inputs named like attention masks are ones, those named like segment ids zeros.

    Args:
        inputs: What the model declares.
        seed: The campaign's seed.
        samples: Number of samples, 256 by default; rounded up to whole batches of a model with a fixed batch.
        input_shape: Shapes by input name for dimensions that the model leaves open, the batch axis included
            (any number there). An open dimension without it is 32.

    Raises:
        DataError: If an input is of no numeric type, or a given shape does not go with the declared one.
    """
    given = dict(input_shape or {})
    unknown = [name for name in given if name not in {spec.name for spec in inputs}]
    if unknown:
        near = closest(unknown[0], [spec.name for spec in inputs])
        known = named(dict.fromkeys(spec.name for spec in inputs))
        raise DataError(
            f"an input shape is given for {unknown[0]!r}, which is no input of the model"
            + (f", did you mean {near!r}?" if near else f"; its inputs are {known}")
        )
    count = DEFAULT_SAMPLES if samples is None else samples
    if count < 1:
        raise DataError(f"{count} samples cannot be drawn; give a limit of at least 1")
    fixed = max((spec.fixed_batch or 1 for spec in inputs), default=1)
    count = -(-count // fixed) * fixed
    sizes = _sizes(inputs, given)
    feeds, open_ = [], []
    for spec in inputs:
        shape = tuple(size if isinstance(size, int) else sizes[_key(spec, i)] for i, size in enumerate(spec.shape))
        open_ += [
            f"{spec.name!r} axis {i} ({size or '?'})"
            for i, size in enumerate(spec.shape)
            if i != spec.batch_axis
            and not isinstance(size, int)
            and spec.name not in given
            and sizes[_key(spec, i)] == DEFAULT_SIZE
        ]
        feeds.append(_feed(spec, shape, count, seed))
    notes = ["inputs are drawn at random: the figures say how often faults change an answer, not how accurate it is"]
    if open_:
        listed = ", ".join(open_)
        notes.append(f"the model leaves sizes open, {DEFAULT_SIZE} was taken for {listed}; set them with --input-shape")
    return ColumnData(
        feeds,
        None,
        length=count,
        source=f"{DRAWN}, seed {seed})",
        notes=notes,
    )


def is_drawn(data: DataSet) -> bool:
    """Return whether the samples are drawn, as nothing was given and nothing lies beside the model."""
    return data.source.startswith(DRAWN)


class _Drawn:
    """Rows that are drawn when asked for."""

    def __init__(self, spec: InputSpec, sample: tuple[int, ...], count: int, seed: int) -> None:
        self.shape, self.dtype = (count, *sample), spec.dtype
        self._spec, self._seed = spec, seed

    def __getitem__(self, rows: slice, /) -> Array:
        start, stop, _ = rows.indices(self.shape[0])
        drawn = [draw(self._spec, self.shape[1:], self._seed, i) for i in range(start, stop)]
        return np.stack(drawn) if drawn else np.empty((0, *self.shape[1:]), self.dtype)


def _feed(spec: InputSpec, shape: tuple[int, ...], count: int, seed: int) -> Feed:
    same = Conversion(lambda rows, start: rows, None)
    what = f"drawn input {spec.name!r}"
    if spec.batch_axis is None:
        return Feed(spec, np.asarray(draw(spec, shape, seed, 0)), same, what)
    sample = shape[: spec.batch_axis] + shape[spec.batch_axis + 1 :]
    return Feed(spec, _Drawn(spec, sample, count, seed), same, what)


def draw(spec: InputSpec, shape: tuple[int, ...], seed: int, index: int) -> Array:
    """Return one drawn array for an input, of the type and in the range that `synthetic` says.

    Args:
        spec: The input.
        shape: What to draw.
        seed: The campaign's seed.
        index: Number of the draw: of the sample.

    Raises:
        DataError: If the input is of no numeric type.
    """
    kind = family(spec.dtype)
    if spec.name in _ONES or spec.name in _ZEROS:
        return np.full(shape, spec.name in _ONES).astype(spec.dtype)
    rng = generator(seed, -1, "data", spec.name, str(index))
    if kind == "float":
        return rng.standard_normal(shape).astype(spec.dtype)
    if kind == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if kind != "int":
        raise DataError(f"{spec} cannot be drawn: only numbers can; give data with --data")
    low, high = integer_range(spec.dtype)
    if spec.upper is not None:
        low, high = 0, min(high, spec.upper - 1)
    elif high > 255:
        low, high = 0, 1
    return rng.integers(low, high, shape, endpoint=True).astype(spec.dtype)


def _key(spec: InputSpec, axis: int) -> str:
    """Return what an open dimension is called: a symbolic name is shared by all inputs."""
    return str(spec.shape[axis] or f"\x00{spec.name}\x00{axis}")


def _sizes(inputs: Sequence[InputSpec], given: Mapping[str, Sequence[int]]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for spec in inputs:
        if spec.name not in given:
            continue
        shape = tuple(int(size) for size in given[spec.name])
        free = tuple(None if i == spec.batch_axis else size for i, size in enumerate(spec.shape))
        if not fits(shape, free) or min(shape, default=1) < 1:
            raise DataError(
                f"the given shape {show_shape(shape)} does not go with {spec}; give {len(spec.shape)} "
                "positive numbers"
                " that agree with it"
            )
        for axis, size in enumerate(shape):
            if axis != spec.batch_axis and not isinstance(spec.shape[axis], int):
                sizes.setdefault(_key(spec, axis), size)
    for spec in inputs:
        for axis, declared in enumerate(spec.shape):
            if axis != spec.batch_axis and not isinstance(declared, int):
                sizes.setdefault(_key(spec, axis), DEFAULT_SIZE)
            elif axis == spec.batch_axis:
                sizes.setdefault(_key(spec, axis), 1)
    return sizes
