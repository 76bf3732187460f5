"""Integer codes in real units: their step, and the code that stands for 0. No set and no search lives here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored
from faultsim.model import Model

_ZERO_POINTS = {
    "DequantizeLinear": ((0, 2),),
    "QLinearConv": ((3, 5),),
    "QLinearMatMul": ((3, 5),),
    "QGemm": ((3, 5),),
    "ConvInteger": ((1, 3),),
    "MatMulInteger": ((1, 3),),
    "DynamicQuantizeMatMul": ((1, 3),),
}
"""Inputs that are codes, and their zero points, by op."""


def real_unit(stored: Stored) -> NDArray[np.float64]:
    """Return how many stored units are 1 in real units: 1 over the step for integer codes, else 1; broadcastable."""
    step = stored.site.scale
    if step is None or stored.values.dtype.kind not in "iu":
        return np.ones(())
    steps = np.asarray(step, dtype=np.float64)
    return np.divide(1.0, steps, out=np.zeros_like(steps), where=steps > 0)


def real_values(stored: Stored, model: Model | None = None) -> NDArray[np.float64]:
    """Return the numbers in real units; the zero points of codes are those of *model*, 0 where it is not given."""
    values = stored.values.astype(np.float64)
    if stored.values.dtype.kind not in "iu":
        return values
    step = np.ones(()) if stored.site.scale is None else np.asarray(stored.site.scale, dtype=np.float64)
    return (values - zero_code(stored, model)) * step


def zero_code(stored: Stored, model: Model | None) -> NDArray[np.float64]:
    """Return what stands for 0 in the stored units, broadcastable: the zero point of codes, else 0."""
    name, shape = stored.site.name, stored.site.shape
    if stored.values.dtype.kind not in "iu" or model is None:
        return np.zeros(())
    tensors: dict[str, Any] = dict(model.numbers)
    for node in model.proto.graph.node:
        for codes, zero in _ZERO_POINTS.get(node.op_type, ()):
            if len(node.input) > zero and node.input[codes] == name and node.input[zero] in tensors:
                found = np.asarray(tensors[node.input[zero]], dtype=np.float64)
                if found.size == 1:
                    return found.reshape(())
                axis = next((int(a.i) for a in node.attribute if a.name == "axis"), stored.site.channel_axis)
                if -len(shape) <= axis < len(shape) and shape[axis] == found.size:
                    wide = [1] * len(shape)
                    wide[axis] = found.size
                    return found.reshape(wide)
    return np.zeros(())
