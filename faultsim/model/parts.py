"""What a stored tensor is to its layer: the role that the op at the end of its way gives, and its part in what is made.

The rule, where ops of stored numbers alone make what a layer computes with (`follow.py`):

- What the layer reads at that place tells the role: a weight, a bias, a norm.
- The tensors that carry its numbers have that role: ``v`` of ``v / |v| * g``, ``W`` of ``Round(W / s) * s``, the codes
  of ``Cast(codes) * s``, both of ``W + V``. Both factors of ``A @ B`` are weights.
- A tensor that an op lays over one of more numbers is a factor beside them. Beside codes, or beside what is rounded, it
  is the ``scale``, or the ``zero_point`` where it is added; else ``norm`` where it multiplies and ``bias`` where it is
  added. One number alone, such as an epsilon, is a ``constant`` there.
- A mask of pruned weights, zeros and ones that multiply, is a factor too.
- All that makes a scale or a zero point is one.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from faultsim.corruption import Role
from faultsim.model.follow import Step, Way
from faultsim.model.layout import shape_of
from faultsim.model.nodes import Graph, Program
from faultsim.model.reading import Use
from faultsim.model.roles import ARITHMETIC, CODES, PICKS, POSITIONS
from faultsim.model.values import Codes, Value

ROUNDS = frozenset({"Round", "Floor", "Ceil", "Sign"})
"""Ops by which a graph quantizes in plain arithmetic."""


def role_of(
    way: Way,
    value: Value,
    shape: tuple[int, ...],
    program: Program,
    views: Mapping[int, Graph],
    *,
    after_first_layer: bool,
    largest: int,
) -> Role | None:
    """Return the role of a stored tensor; None for codes that no op reads as such.

    Args:
        way: Its way to the op that computes with it.
        value: Its numbers.
        shape: Of the tensor.
        program: The program.
        views: By node what can be seen from it.
        after_first_layer: Whether that op comes behind the first layer with a weight.
        largest: Numbers of the largest tensor that makes what is read there.
    """
    if way.use is None:
        return None
    role = _at_end(way.use, value, shape, after_first_layer=after_first_layer and not _is_mask(value))
    if role == "weight" and any(step.node.op_type == "Where" for step in way.steps) and _is_mask(value):
        return "constant"
    if role in (None, "scale", "zero_point", "constant"):
        return role
    for step in way.steps:
        if (step.makes or step.node.op_type == "Where") and _is_factor(step, value, shape, program, views, largest):
            return _beside(step, way, shape, program, views)
    return role


def _at_end(use: Use, value: Value, shape: tuple[int, ...], *, after_first_layer: bool) -> Role | None:
    role = POSITIONS.get(use.node.op_type, {}).get(use.position)
    if role == "weight" and use.node.op_type in PICKS and len(shape) < 2:
        return "constant"
    if role is not None:
        return role
    if use.node.op_type in ARITHMETIC:
        if int(np.prod(shape, dtype=np.int64)) <= 1 or not after_first_layer:
            return "constant"
        return "bias" if use.node.op_type in ("Add", "Sum") else "norm"
    return None if isinstance(value, Codes) else "constant"


def _is_mask(value: Value) -> bool:
    """Whether a float constant shuts positions out (an attention mask of -inf or the like): no parameter does."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
        return False
    return bool((value.abs() >= 0.9e4).any()) and bool(((value == 0) | (value == value.min())).all())


def _is_factor(
    step: Step, value: Value, shape: tuple[int, ...], program: Program, views: Mapping[int, Graph], largest: int
) -> bool:
    """Whether an op lays the tensor over one of more numbers, or masks one of as many with it."""
    others = [n for i, n in enumerate(step.node.inputs) if i != step.position and n]
    others = others[1:] if step.node.op_type == "Where" else others
    if not others or step.node.op_type.startswith("Reduce"):
        return False
    graph = views[id(step.node)]
    own, *rest = (_count(name, program, graph) for name in (step.node.inputs[step.position], *others))
    if own is None or None in rest:
        return int(np.prod(shape, dtype=np.int64)) < max(largest, 2)
    most = max(count for count in rest if count is not None)
    masks = step.node.op_type == "Mul" and isinstance(value, Tensor) and bool(((value == 0) | (value == 1)).all())
    return own < most or (masks and own == most)


def _count(name: str, program: Program, graph: Graph) -> int | None:
    sizes = shape_of(name, program, graph)
    if sizes is None or None in sizes:
        return None
    return int(np.prod([size for size in sizes if size is not None], dtype=np.int64))


def _beside(step: Step, way: Way, shape: tuple[int, ...], program: Program, views: Mapping[int, Graph]) -> Role:
    graph, name = views[id(step.node)], step.node.op_type
    others = [n for i, n in enumerate(step.node.inputs) if i != step.position and n]
    coded = any(one.node.op_type in ROUNDS for one in way.steps) or any(_coded(n, program, graph) for n in others)
    added = name in ("Add", "Sub", "Sum")
    if coded and (added or name in ("Mul", "Div")):
        return "zero_point" if added else "scale"
    if int(np.prod(shape, dtype=np.int64)) <= 1:
        return "constant"
    return "bias" if added else "norm"


def _coded(name: str, program: Program, graph: Graph, depth: int = 8) -> bool:
    """Whether a value that stored numbers make is codes, or is rounded, by plain arithmetic."""
    if name in graph.constants:
        return isinstance(program.tensors[graph.constants[name]], Codes)
    maker = next((node for node in graph.nodes if name in node.outputs), None)
    if maker is None or maker.op_type in CODES or not depth:
        return False
    return maker.op_type in ROUNDS or any(_coded(n, program, graph, depth - 1) for n in maker.inputs if n)
