"""`make_router`: whether a graph can be swept at all, and with what its pieces compute. No trial is scored here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from faultsim.engine.evaluate import Scorer
from faultsim.engine.sweep.apart import rows_apart, stays_apart
from faultsim.engine.sweep.flow import Flow
from faultsim.engine.sweep.golden import bytes_per_sample, see
from faultsim.engine.sweep.parts import Part, Runtime, open_part
from faultsim.engine.sweep.proof import Whole
from faultsim.engine.sweep.routes import Router
from faultsim.engine.sweep.spans import LEAST, fewest_rows
from faultsim.errors import FaultsimError

Array = NDArray[Any]
PROBE = 32
"""Clean samples that every piece of the graph is tried on."""


def make_router(
    scorer: Scorer, numbers: Mapping[str, Array] | None, whole: Whole, *, memory_bytes: int, lanes: int
) -> Router | None:
    """Return what plans the ways of trials; None where every trial has to be a full pass.

    Args:
        scorer: The model's task on its data.
        numbers: The fault-free chip's numbers by site, where they are not the model's own.
        whole: A full pass under some faults.
        memory_bytes: Room of the sweep.
        lanes: Pieces that compute at a time, each on one thread; 1: one after the other, on all threads.
    """
    model, runner = scorer.runner.model, scorer.runner
    count = min(len(scorer.data), PROBE)
    sample_first = scorer.output.batch_axis == 0 and all(spec.batch_axis == 0 for spec in model.inputs)
    if count < 3 or not sample_first or model.fixed_batch:
        return None
    if not stays_apart(model.proto):
        return None
    runtime: Runtime = "onnxruntime" if runner.runtime == "onnxruntime" else "torch"

    def opener(proto: ModelProto, *, fused: bool) -> Part:
        threads = 1 if lanes > 1 else runner.threads
        return open_part(proto, runtime, fused=fused, threads=threads, device=model.device)

    def wide(proto: ModelProto, *, fused: bool) -> Part:
        return open_part(proto, runtime, fused=fused, threads=runner.threads, device=model.device)

    name = scorer.output.name
    try:
        count = min(count, _affordable(scorer, numbers, memory_bytes))
        feeds = {name: np.asarray(array) for name, array in scorer.data.inputs(0, count).items()}
        run = runner.open(numbers)
        golden = run(feeds)
        if golden.shape[:1] != (count,) or not rows_apart(run, feeds, golden):
            return None
        return Router(
            model,
            numbers,
            name,
            feeds,
            golden,
            opener,
            whole,
            wide=wide,
            runtime=runtime,
            threads=runner.threads,
            rows=fewest_rows(len(scorer.data), scorer.batch_size),
            batch_size=scorer.batch_size,
        )
    except (FaultsimError, MemoryError, ValueError):
        return None


def _affordable(scorer: Scorer, numbers: Mapping[str, Array] | None, memory_bytes: int) -> int:
    """Return how many samples of all activations together fit into an eighth of the memory.

    At least `LEAST`, as the sweep computes so many at once however small the memory is.
    """
    model = scorer.runner.model
    few = see(model, Flow(model.proto), scorer.data.inputs(0, 3), numbers)
    return max(memory_bytes // 8 // max(bytes_per_sample(few.types, few.types), 1), LEAST)
