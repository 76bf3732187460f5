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
    free = model if model.deployed else _free(model, samples, output, prefer=prefer, threads=threads)
    if free is None or free.deployed is None:
        return Freed(model, model.fixed_batch or batch_size)
    size = free.deployed.fixed_batch or 1
    shapes = shapes_of(free.deployed, samples.inputs(0, size))
    largest = max(math.prod(shape) for shape in shapes.values()) * np.dtype(np.float32).itemsize / size
    return Freed(free, max(min(batch_size, int(ROOM_BYTES / (4 * largest))), size))


def _free(model: Model, samples: DataSet, output: str, *, prefer: str, threads: int) -> Model | None:
    """Return the graph that takes any batch; None where there is none that gives the same bits."""
    size = model.fixed_batch
    batches = 0 if size is None else min(len(samples) // size, max(PROBE // size, 2))
    axis = model.axes.outputs.get(output)
    if size is None or batches < 2 or axis is None or not stays_apart(model.proto):
        return None
    free = with_any_batch(model, samples.inputs(0, size))
    if free is None:
        return None
    try:
        run = Runner(model, output, threads=threads, prefer=prefer).open()
        other = Runner(free, output, threads=threads, prefer=prefer).open()
        wanted = [run(samples.inputs(i * size, (i + 1) * size)) for i in range(batches)]
        for first, last in ((0, batches), (0, 1), (1, batches)):
            found = other(samples.inputs(first * size, last * size))
            if not _same(found, np.concatenate(wanted[first:last], axis=axis)):
                return None
        found = other(samples.inputs(1, size + 2))  # a number of samples that the graph of the file does not take
        return free if _same(found, np.concatenate(wanted, axis=axis).take(range(1, size + 2), axis)) else None
    except (FaultsimError, MemoryError, ValueError):
        return None


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
