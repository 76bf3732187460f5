"""The units of recurrent layers, each of several gates: where they lie in W, R, biases and peepholes. No draw here.

ONNX stacks the gates of all units, one gate after the other: W has shape (D, G·H, I), R (D, G·H, H), B (D, 2·G·H) with
the biases of W before those of R, and P (D, 3·H); D counts directions, H units.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored

GATES = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3, "RNN": 1}
"""Gates of a unit, by op."""


class Recurrent(NamedTuple):
    """A recurrent layer.

    Attributes:
        gates: Gates of a unit.
        units: Units of a direction, at least 1.
        directions: 1, or 2 where sequences are read backwards too.
    """

    gates: int
    units: int
    directions: int


def recurrent_layer(name: str, stored: Iterable[Stored], model: Any) -> Recurrent | None:
    """Return what a layer is, None where it is no recurrent one or none of *stored* tells how many units it has.

    Args:
        name: Of the layer.
        stored: Tensors, its own among them.
        model: The model; None for no recurrent layer.
    """
    nodes = () if model is None else model.program.nodes()
    node = next((node for node in nodes if node.name == name and node.op_type in GATES), None)
    if node is None:
        return None
    gates = GATES[node.op_type]
    units = int(node.attributes.get("hidden_size") or 0)
    for one in stored:
        shape, axis = one.site.shape, one.site.channel_axis
        if not units and one.site.layer == name and len(shape) == 3:
            units = shape[axis] // gates
    direction = node.attributes.get("direction", "forward")
    both = direction in ("bidirectional", b"bidirectional")
    return Recurrent(gates, units, 1 + both) if units else None


def take_out(
    values: NDArray[Any], zero: NDArray[Any], one: Stored, layer: Recurrent, gone: NDArray[np.int64]
) -> NDArray[Any]:
    """Return the numbers of one tensor without some units: every gate's row of W and R, biases and peepholes.

    The columns of R stay, as do the rows of a next layer: they read a unit that gives 0, or fades from its initial
    state.

    Args:
        values: Its numbers.
        zero: What stands for 0, of the same shape.
        one: The tensor.
        layer: The layer.
        gone: Units, shape (directions, removed).
    """
    axis = _axis(one, layer)
    if axis is None:
        return values
    found = values.copy()
    out, by = np.moveaxis(found, axis, -1), np.moveaxis(zero, axis, -1)
    stacks = np.arange(values.shape[axis] // layer.units)[:, None] * layer.units
    apart = layer.directions > 1 and axis > 0 and values.shape[0] == layer.directions
    for direction, units in enumerate(gone) if apart else [(slice(None), gone[0])]:
        places = (stacks + units).reshape(-1)
        out[direction][..., places] = by[direction][..., places]
    return found


def _axis(one: Stored, layer: Recurrent) -> int | None:
    """Return the axis along which the gates are stacked; None where there is none."""
    shape, given = one.site.shape, one.site.channel_axis
    stacked = layer.gates * layer.units
    if one.site.role == "weight" and len(shape) > 1:
        axes = [given % len(shape), *range(len(shape))] if -len(shape) <= given < len(shape) else range(len(shape))
        whole = next((axis for axis in axes if shape[axis] == stacked), None)
        if whole is not None or len(shape) > 2:
            return whole
    return len(shape) - 1 if 0 < len(shape) <= 2 and shape[-1] % layer.units == 0 and shape[-1] else None
