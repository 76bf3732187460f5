"""`freed`: a graph of one batch size is run in any, where that gives the same bits. The rewriting lives elsewhere.

Edge networks are often exported for one sample at a time. Run like that, no work is shared between samples.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.data import DataSet
from faultsim.engine.runner import Runner
from faultsim.engine.sweep.apart import stays_apart
from faultsim.errors import FaultsimError
from faultsim.model import Model
from faultsim.model.any_batch import shapes_of, with_any_batch

Array = NDArray[Any]
PROBE = 8
"""Samples on which both graphs must give the same bits, or two batches of the fixed size."""
ROOM_BYTES = 1 << 30
"""Room for four of the largest activation of a batch: who exports for one sample may not have it for hundreds."""


class Freed(NamedTuple):
    """A model, and in what batches it is run."""

    model: Model
    batch_size: int


def freed(model: Model, samples: DataSet, output: str, *, batch_size: int, prefer: str, threads: int) -> Freed:
    """Return the network in a graph that takes any batch; *model* itself where it does, or where bits would differ.

    Args:
        model: The model.
        samples: Data that it runs on.
        output: The output that is scored.
        batch_size: What was asked for; a graph that is freed gets less where activations are large.
        prefer: What is to compute, as `Runner` takes it.
        threads: Threads of onnxruntime.
    """
    own = model.as_deployed
    size, axis = own.fixed_batch, own.axes.outputs.get(output)
    if size is None or axis is None or len(samples) < 2 * size or not stays_apart(own.proto):
        return Freed(own, size or batch_size)
    shapes = shapes_of(own, samples.inputs(0, size))
    free = model if model.deployed else with_any_batch(own, shapes)
    if free is None or not _same_bits(own, free, samples, output, axis, prefer=prefer, threads=threads):
        return Freed(own, size)
    largest = max(math.prod(shape) for shape in shapes.values()) * np.dtype(np.float32).itemsize / size
    return Freed(free, max(min(batch_size, int(ROOM_BYTES / (4 * largest))), size))


def _same_bits(own: Model, free: Model, samples: DataSet, output: str, axis: int, *, prefer: str, threads: int) -> bool:
    """Whether both graphs give the same output on what computes it here, in batches of several sizes."""
    size = own.fixed_batch or 1
    batches = min(len(samples) // size, max(PROBE // size, 2))
    count = batches * size
    try:
        run, other = (Runner(one, output, threads=threads, prefer=prefer).open() for one in (own, free))
        parts = [run(samples.inputs(i, i + size)) for i in range(0, count, size)]
        wanted = np.concatenate(parts, axis=axis)
        cuts = (
            (0, count),
            (0, size),
            (size, count),
            (1, min(size + 2, count)),
        )  # the last one is of no size of the file
        return all(_same(other(samples.inputs(*cut)), wanted.take(range(*cut), axis)) for cut in cuts)
    except (FaultsimError, MemoryError, ValueError):
        return False


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
