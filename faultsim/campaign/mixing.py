"""Does a row hang on the batch size? Only where a graph mixes the samples of a batch, as its nodes or a probe tell.

No trial is scored here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.setting import Setting
from faultsim.engine.sweep.apart import stays_apart
from faultsim.errors import FaultsimError

Array = NDArray[Any]
PROBE = 16
"""Samples that a graph is tried on, at most."""
ROUNDING = 1e-4
"""Part of the largest output by which a sample may differ with its place in the batch, as kernels round."""
FEW = 0.1
"""Part of the samples that may differ by more, as where rounding moves a code to the next one."""


def mixes_batch(setting: Setting) -> bool:
    """Whether what a sample gives hangs on those beside it in its batch, so that a row hangs on the batch size.

    A graph that takes batches of one size alone, or fails on the probe, counts as one that does not. Differences in
    rounding count for nothing: a campaign must have the same identity on every machine.
    """
    model, count = setting.model, min(len(setting.data), PROBE)
    if any(node.op_type.startswith("Dynamic") for node in model.program.nodes()):
        return True
    if count < 2 or model.fixed_batch:
        return False
    return not stays_apart(model.proto) or _seen_to_mix(setting, count)


def _seen_to_mix(setting: Setting, count: int) -> bool:
    axes = {spec.name: spec.batch_axis for spec in setting.model.inputs}
    feeds = {name: np.asarray(array) for name, array in setting.data.inputs(0, count).items()}

    def picked(order: Array) -> dict[str, Array]:
        taken = {name: (one, axes.get(name, 0)) for name, one in feeds.items()}
        return {
            name: one if axis is None else np.ascontiguousarray(one.take(order, axis))
            for name, (one, axis) in taken.items()
        }

    half = count // 2
    front, back = np.arange(half), np.arange(half, count)
    try:
        run = setting.scorer.runner.open(setting.fault_free())
        golden = setting.scorer.output.real(run(feeds))
        if golden.shape[:1] != (count,):
            return False
        orders = (np.resize(front, count), np.resize(back, count), np.full(count, count - 1))
        return any(_strays(setting.scorer.output.real(run(picked(one))), golden[one]) > FEW for one in orders)
    except (FaultsimError, MemoryError, ValueError):
        return False


def _strays(found: Array, wanted: Array) -> float:
    """Return the part of samples that differ by more than rounding."""
    if found.dtype.kind not in "biuf" or wanted.dtype.kind not in "biuf":
        return float(np.mean([not np.array_equal(*pair) for pair in zip(found, wanted, strict=True)]))
    one, other = found.astype(np.float64), wanted.astype(np.float64)
    room = ROUNDING * float(np.abs(other[np.isfinite(other)]).max(initial=0.0))
    near = np.isclose(one, other, rtol=0.0, atol=room, equal_nan=True)
    return float(np.mean(~near.reshape(len(near), -1).all(axis=1)))
