"""Rules of ops that select the largest: the choice written out, so that the one that is selected is ours to name."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.certify.reverse import sharpen
from faultsim.certify.rules.base import Compute, aligned, finish, no_param, refuse, rule
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
    with torch.no_grad():
        shape = compute([x])[0].shape
    found = _largest(_windows(x, at, -math.inf), _windows(tape.radius(x), at, 0.0), 2)
    y, beyond, radius = (part.reshape(shape) for part in found)
    tape.remain(y, torch.zeros_like(beyond), beyond)
    return [finish(tape, node, y, radius, magnitude=y.detach().abs() + radius)]


@rule("Max", "Min")
def extreme(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """The largest or the smallest of several values, element by element, as in a window of as many."""
    no_param(tape, node, arguments)
    with torch.no_grad():
        like = compute(arguments)[0]
    for term in arguments:
        aligned(tape, node, term, like)
        sharpen(tape, term)
    sign = 1.0 if node.op_type == "Max" else -1.0
    values = torch.stack([sign * term.expand(like.shape) for term in arguments])
    found = _largest(values, torch.stack([tape.radius(term).expand(like.shape) for term in arguments]), 0)
    y, none = sign * found.value.squeeze(0), torch.zeros_like(like)
    beyond, radius = found.beyond.squeeze(0), found.radius.squeeze(0)
    tape.remain(y, *((none, beyond) if sign > 0 else (-beyond, none)))
    return [finish(tape, node, y, radius, magnitude=y.detach().abs() + radius)]


class _Largest(NamedTuple):
    """The selected element, the most that another can come above its own change, and how far the largest can move."""

    value: Tensor
    beyond: Tensor
    radius: Tensor


def _largest(values: Tensor, moved: Tensor, dim: int) -> _Largest:
    """Select the largest along *dim*, kept with size 1; *moved* is how far each can move."""
    size = values.detach()
    chosen = size.argmax(dim, keepdim=True)
    value = values.gather(dim, chosen)
    own_least = (size - moved).gather(dim, chosen)
    others = (size + moved).scatter(dim, chosen, -math.inf).amax(dim, keepdim=True)
    most, least = (size + moved).amax(dim, keepdim=True), (size - moved).amax(dim, keepdim=True)
    now = value.detach()
    return _Largest(value, (others - own_least).clamp(min=0), torch.maximum(most - now, now - least))


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
    whole = at.kernel == list(x.shape[2:]) and not any(at.begin) and math.prod(at.out) == 1
    if whole and set(at.dilations) <= {1}:  # spread out, a window as large as the data reaches beyond them
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
