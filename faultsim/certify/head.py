"""The softmax or sigmoid that an output ends in: which node it is, and what its rounding adds. No logits are bounded.

Bounds are of the logits before it. Deployed, it rounds, and so does the other class of a sigmoid, ``1 - p``.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from onnx import TensorProto
from torch import Tensor

from faultsim.certify.rules.movement import MOVES
from faultsim.certify.tape import EXACT
from faultsim.model.nodes import Node

PROBABILITIES = ("Softmax", "Sigmoid")
HEADS = (*PROBABILITIES, "LogSoftmax")
_WIDE = (TensorProto.FLOAT, TensorProto.DOUBLE)
_TINY = torch.finfo(torch.float32).tiny  # where scoring clamps probabilities
_SIGMOID = 8  # roundoffs, of p and of 1 - p: measured 2.8 in onnxruntime, whose sigmoid has no relative accuracy
_OPS = 16  # roundoffs of exp, the difference before it, the sum's own and the division: measured 6


class Rounding(NamedTuple):
    """What rounding in the head adds to the bounds.

    Attributes:
        loss: To the increase of each sample's loss, in nats, shape ``(B,)``.
        margin: To every difference of logits, where classes are compared.
    """

    loss: Tensor
    margin: float


def head_of(nodes: Sequence[Node], output: str) -> Node | None:
    """Return the softmax, log-softmax or sigmoid whose result, moved about at most, is the output; None without one."""
    makers = {name: node for node in nodes for name in node.outputs if name}
    node = makers.get(output)
    while node is not None and _keeps(node):
        node = makers.get(node.inputs[0])
    return node if node is not None and node.op_type in HEADS and node.domain == "" else None


def _keeps(node: Node) -> bool:
    """Say whether a node hands on every number as it is; a cast to a narrower type does not."""
    if node.op_type == "Cast":
        return node.domain == "" and node.attributes.get("to") in _WIDE
    return node.domain == "" and (node.op_type in MOVES or node.op_type == "Identity")


def rounding(head: Node | None, value: Tensor, labels: Tensor, low: Tensor, high: Tensor, roundoff: float) -> Rounding:
    """Bound what the head's rounding adds to the loss's increase, with and without corruption, and to the margins.

    Args:
        head: The node, None without one.
        value: Fault-free logits, shape ``(B, C)``.
        labels: True classes, shape ``(B,)``.
        low: How far each logit can fall against the predicted class's, at most 0, shape ``(B, C)``.
        high: How far it can rise.
        roundoff: Unit roundoff of the deployed arithmetic.
    """
    if head is None or roundoff <= EXACT:
        return Rounding(torch.zeros(len(value), dtype=torch.float64), 0.0)
    rows = torch.arange(len(value))
    above = value - value.amax(1, keepdim=True)
    clean = -above[rows, labels]
    others = (above + high).scatter(1, labels[:, None], -torch.inf).amax(1)
    own = above[rows, labels] + low[rows, labels]
    if head.op_type == "Sigmoid":
        off = _SIGMOID * roundoff
        kept = torch.sigmoid(own - others)  # least probability of the true class over the set
        clamped = math.log(2 * off / _TINY)  # from 2·off on nothing is known but where scoring clamps it
        sure = -torch.log1p(-off / kept.clamp(min=2 * off))
        more = torch.where(kept > 2 * off, sure, torch.full_like(sure, clamped))
        return Rounding(more + torch.log1p(off / torch.sigmoid(-clean)) + _OPS * roundoff, 4.1 * off)
    classes = value.shape[1]
    gap = clean + (others - own).clamp(min=0)  # how far the true class lies below the largest: exp of it rounds by that
    margin = 2 * (_SIGMOID * 4 + math.log(classes)) * roundoff
    return Rounding((2 * gap + 8 * (classes + _OPS)) * roundoff * 1.01, margin)
