"""Rules of ops that only move numbers, or average them within a sample."""

import math
from typing import Any

import torch
from torch import Tensor

from faultsim.certify.rules.base import Compute, check_width, finish, no_param, plain, refuse, rule
from faultsim.certify.tape import Param, Tape
from faultsim.model.nodes import Node

MOVES = frozenset({"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"})
_PICKS = ("Slice", "Split", "Gather", "Tile", "Expand", "DepthToSpace", "SpaceToDepth")


@rule(*MOVES, *_PICKS)
def move(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """The same numbers in another shape, some perhaps left out or repeated; a stored tensor stays what it is."""
    x, *rest = arguments
    if any(tape.moves(other) for other in rest):
        raise refuse(node, "where it takes its numbers from depends on the input")
    no_param(tape, node, rest)
    outputs = list(compute(arguments))
    param = tape.param(x)
    if param is not None:
        places = torch.arange(x.numel()) if param.places is None else param.places.reshape(-1)
        with torch.no_grad():
            for y, part in zip(outputs, compute([places.reshape(x.shape), *rest]), strict=True):
                tape.set_param(y, Param(param.leaf, part, once=len(part.unique()) == part.numel()))
        return outputs
    with torch.no_grad():
        radii, owners = compute([tape.radius(x), *rest]), compute([_owners(x), *rest])
    for y, radius, owner in zip(outputs, radii, owners, strict=True):
        _check_owners(node, owner)
        finish(tape, node, y, radius)
    return outputs


def _owners(x: Tensor) -> Tensor:
    """Return a tensor like *x* that says of every element which sample it belongs to, counted from 1."""
    numbers = torch.arange(1.0, len(x) + 1, dtype=torch.float64)
    return numbers.reshape(-1, *[1] * (x.ndim - 1)).expand(x.shape).contiguous()


def _check_owners(node: Node, owner: Tensor) -> None:
    """Check that every sample's row holds numbers of that sample, or constants, which are 0."""
    mine = torch.arange(1.0, len(owner) + 1, dtype=torch.float64).reshape(-1, *[1] * (owner.ndim - 1))
    if not bool(((owner == mine) | (owner == 0)).all()):
        raise refuse(node, "it moves numbers between samples; bounds are known where the first axis counts the samples")


@rule("Cast")
def cast(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """A change of float type, which is part of the rounding that the bounds leave out or cover as a whole."""
    with torch.no_grad():
        found = compute(arguments)[0]
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise refuse(node, "it rounds to whole numbers: a corruption however small can move them by one")
    check_width(tape, node, found)
    return [arguments[0]]


@rule("Identity")
def same(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """The same numbers under another name."""
    return [arguments[0]]


@rule("Shape", "Size")
def size(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """How large a tensor is, which no corruption changes."""
    return list(compute(arguments))


@rule("Concat")
def concat(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """Tensors one after the other along an axis within a sample."""
    no_param(tape, node, arguments)
    y = compute(arguments)[0]
    parts = [_owners(part) if tape.moves(part) else torch.zeros_like(part.detach()) for part in arguments]
    _check_owners(node, plain(compute, parts))
    return [finish(tape, node, y, plain(compute, [tape.radius(part) for part in arguments]))]


@rule("Pad")
def pad(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """Zeros, another constant, or the tensor's own edge around it."""
    x, *rest = arguments
    no_param(tape, node, arguments)
    if any(tape.moves(other) for other in rest):
        raise refuse(node, "what it pads with depends on the input")
    if node.attributes.get("value", 0.0):
        raise refuse(node, "it pads with a number other than 0 that an attribute gives; export with opset 11 or later")
    y = compute(arguments)[0]
    around = rest if len(rest) < 2 else [rest[0], None, *rest[2:]]
    _check_owners(node, plain(compute, [_owners(x), *around]))
    return [finish(tape, node, y, plain(compute, [tape.radius(x), *around]))]


@rule("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum")
def average(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """Means or sums of elements of one sample."""
    x, *rest = arguments
    no_param(tape, node, [x])
    if node.op_type.startswith("Reduce"):
        axes = node.attributes.get("axes")
        axes = axes if axes is not None else (rest[0].tolist() if rest and rest[0] is not None else [])
        if not axes or any(int(axis) % x.ndim == 0 for axis in axes):
            raise refuse(node, "it reduces the samples' axis too, which couples the samples")
    y = compute(arguments)[0]
    radius = plain(compute, [tape.radius(x), *rest])
    magnitude = plain(compute, [x.detach().abs(), *rest]) + radius
    return [finish(tape, node, y, radius, magnitude=magnitude, terms=math.prod(x.shape[1:]))]
