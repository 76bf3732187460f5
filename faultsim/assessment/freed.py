"""`freed`: a graph of one batch size is run in any, where that gives the same bits. The rewriting lives elsewhere.

Edge networks are often exported for one sample at a time. Run like that, no work is shared between samples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.data import DataSet
from faultsim.engine.runner import Runner
from faultsim.engine.sweep.apart import stays_apart
from faultsim.errors import FaultsimError
from faultsim.model import Model
from faultsim.model.any_batch import with_any_batch

Array = NDArray[Any]
PROBE = 8
"""Samples on which both graphs must give the same bits, or two batches of the fixed size."""


def freed(model: Model, samples: DataSet, output: str, *, prefer: str, threads: int) -> Model:
    """Return the network in a graph that takes any batch; *model* itself where it does, or where bits would differ.

    Args:
        model: The model.
        samples: Data that it runs on.
        output: The output that is scored.
        prefer: What is to compute, as `Runner` takes it.
        threads: Threads of onnxruntime.
    """
    size = model.fixed_batch
    batches = 0 if size is None else min(len(samples) // size, max(PROBE // size, 2))
    axis = model.axes.outputs.get(output)
    if size is None or batches < 2 or axis is None or not stays_apart(model.proto):
        return model
    free = with_any_batch(model, samples.inputs(0, size))
    if free is None:
        return model
    try:
        run = Runner(model, output, threads=threads, prefer=prefer).open()
        other = Runner(free, output, threads=threads, prefer=prefer).open()
        wanted = [run(samples.inputs(i * size, (i + 1) * size)) for i in range(batches)]
        for first, last in ((0, batches), (0, 1), (1, batches)):
            found = other(samples.inputs(first * size, last * size))
            if not _same(found, np.concatenate(wanted[first:last], axis=axis)):
                return model
        found = other(samples.inputs(1, size + 2))  # a number of samples that the graph of the file does not take
        return free if _same(found, np.concatenate(wanted, axis=axis).take(range(1, size + 2), axis)) else model
    except (FaultsimError, MemoryError, ValueError):
        return model


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
