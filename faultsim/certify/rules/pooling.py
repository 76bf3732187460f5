"""Rules of pools that select the largest: a window written out, so that the one that is selected is ours to name."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.certify.reverse import sharpen
from faultsim.certify.rules.base import Compute, finish, no_param, refuse, rule
from faultsim.certify.tape import Tape
from faultsim.model.nodes import Node
from faultsim.model.ops._window import Window, pad_spatial, window


@rule("MaxPool", "GlobalMaxPool")
def max_pool(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """The largest of a window: beyond the selected one's own change, at most how far another can come above it."""
    x = arguments[0]
    no_param(tape, node, arguments)
    if len(node.outputs) > 1 and node.outputs[1]:
        raise refuse(node, "it also gives the places of its maxima, which jump")
    if x.ndim > 4 and node.op_type == "MaxPool":
        raise refuse(node, f"bounds are known for 1 and 2 spatial axes, here are {x.ndim - 2}")
    sharpen(tape, x)
    at = _window(node, x)
    values = _windows(x, at, -math.inf)
    chosen = values.detach().argmax(2, keepdim=True)
    with torch.no_grad():
        shape = compute([x])[0].shape
    y = values.gather(2, chosen).reshape(shape)
    size = values.detach()
    moved = _windows(tape.radius(x), at, 0.0)
    own_least = (size - moved).gather(2, chosen)
    others = (size + moved).scatter(2, chosen, -math.inf).amax(2, keepdim=True)
    beyond = (others - own_least).clamp(min=0).reshape(shape)
    most, least = (size + moved).amax(2), (size - moved).amax(2)
    value = y.detach()
    radius = torch.maximum(most.reshape(shape) - value, value - least.reshape(shape))
    tape.remain(y, torch.zeros_like(beyond), beyond)
    return [finish(tape, node, y, radius, magnitude=value.abs() + radius)]


def _window(node: Node, x: Tensor) -> Window:
    if node.op_type == "GlobalMaxPool":
        size = list(x.shape[2:])
        return window(size, size, None, None, None, "NOTSET")
    given = node.attributes
    return window(
        x.shape[2:],
        given["kernel_shape"],
        given.get("strides"),
        given.get("dilations"),
        given.get("pads"),
        given.get("auto_pad", "NOTSET"),
        ceil_mode=given.get("ceil_mode", 0),
    )


def _windows(x: Tensor, at: Window, fill: float) -> Tensor:
    """Return the elements of every window, shape ``(B, C, elements, places)``; *fill* where it reaches beyond."""
    if at.kernel == list(x.shape[2:]) and not any(at.begin) and math.prod(at.out) == 1:
        return x.flatten(2).unsqueeze(-1)
    x = pad_spatial(x, at.begin, at.reach(x.shape[2:]), fill)
    kernel, spread, steps = at.kernel, at.dilations, at.strides
    if x.ndim == 3:
        x, kernel, spread, steps = x.unsqueeze(-1), [*kernel, 1], [*spread, 1], [*steps, 1]
    lead = x.shape[:2]
    columns = functional.unfold(
        x.reshape(-1, 1, *x.shape[2:]), tuple(kernel), dilation=tuple(spread), stride=tuple(steps)
    )
    return columns.reshape(*lead, -1, columns.shape[-1])
