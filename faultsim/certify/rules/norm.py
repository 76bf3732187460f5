"""Rule of batch normalisation at inference, whose four parameters may all move. No other normalisation has one."""

from typing import Any

import torch

from faultsim.certify.rules.base import Compute, finish, no_param, refuse, rule, summing
from faultsim.certify.tape import Tape
from faultsim.model.nodes import Node


@rule("BatchNormalization")
def batch_normalization(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
    """(x - mean) · scale · r + bias with r = (var + epsilon)^(-1/2).

    With f = scale · r the change is f d_x - f a_mean + a_bias + (x - mean) d_f + (d_x - a_mean) d_f, and d_f is
    linear in scale and var up to a_scale · (r̂ - r) + scale · (r̂ - r - r' a_var).
    """
    x, *stored = arguments
    if sum(map(bool, node.outputs)) > 1 or node.attributes.get("training_mode", 0):
        raise refuse(node, "it normalises by the statistics of the batch, which couples its samples")
    if any(map(tape.moves, stored)) or any(s.ndim != 1 for s in stored) or not node.attributes.get("spatial", 1):
        raise refuse(node, "bounds are known for one stored scale, bias, mean and variance a channel")
    no_param(tape, node, [x])
    y = compute(arguments)[0]
    shape = (-1, *[1] * (x.ndim - 2))
    scale, bias, mean, var = (s.detach().reshape(shape) for s in stored)
    by_scale, by_bias, by_mean, by_var = (tape.param_radius(s).reshape(shape) for s in stored)
    var = var + float(node.attributes.get("epsilon", 1e-5))
    if bool((var - by_var <= 0).any()):
        raise refuse(node, "the set holds corruptions that make a variance negative, and the output unbounded")
    r, most = var.rsqrt(), (var - by_var).rsqrt()
    slope = -0.5 * r / var
    past_linear = scale.abs() * (most - r + slope * by_var).clamp(min=0) + by_scale * (most - r)
    centred, moved = (x - mean).detach(), tape.radius(x) + by_mean
    beyond = (centred.abs() + moved) * past_linear
    one = torch.ones((), dtype=torch.float64)
    by_factor = moved if tape.moves(x) or bool((by_mean > 0).any()) else None
    for operand, factor, radius in (
        (stored[0], centred * r, None if by_factor is None else by_factor * r),
        (stored[1], one, None),
        (stored[2], -scale * r, None),
        (stored[3], centred * scale * slope, None if by_factor is None else by_factor * (scale * slope).abs()),
    ):
        tape.use(operand, y, factor, radius, summing(node, operand.reshape(shape), y))
    tape.remain(y, -beyond, beyond)
    by_f = r * by_scale + (scale * slope).abs() * by_var
    radius = (scale * r).abs() * moved + by_bias + (centred.abs() + moved) * by_f + beyond
    magnitude = (x.detach().abs() + mean.abs() + moved) * ((scale.abs() + by_scale) * most) + bias.abs() + by_bias
    return [finish(tape, node, y, radius, magnitude=magnitude, terms=6)]
