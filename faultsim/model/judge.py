"""Whether what one node made agrees with what a reference makes of the same inputs: the tolerance by op and type.

Nothing runs here; `check_nodes.py` does that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.model.model import Model
from faultsim.model.nodes import Node, walk
from faultsim.model.references import QONNX_DOMAINS
from faultsim.model.tolerance import LEAST, RELATIVE, ROUNDING, Difference, difference, is_text
from faultsim.model.values import Value, to_numpy

Array = NDArray[Any]

_QUANTIZERS = ("Quantize", "QLinear", "Integer", "QGemm", "NBits", "QAttention", "QEmbed")
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
_ROUNDS = {"Resize", "Upsample", "GridSample", "RoiAlign", "AveragePool", "GlobalAveragePool", "ReduceMean", "Mean"}
"""Ops without codes in their name that may round integers."""

_STEPWISE = {"ReduceProd"}
"""Ops of ours that round to a narrow type more than once."""

_EDGES = 0.05
"""Most of a quantizer's results that may lie on a rounding edge and fall the other way: far more than do by chance, for
the samples that are looked at are those that differ, and far fewer than another way of rounding moves."""

_SAME = Difference(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Case:
    """One node of a run.

    Attributes:
        model: The model.
        node: The node, of the main graph.
        inputs: What it and its subgraphs read, by name, constants of the graph left out.
        outputs: What it made here.
        loosest: Tolerance in float terms of a node that holds a graph of its own, whose errors pile up.
    """

    model: Model
    node: Node
    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]
    loosest: float = 0.0

    def read(self, position: int) -> Any:
        """Return an input as NumPy has it, None where there is none."""
        name = self.node.inputs[position] if position < len(self.node.inputs) else ""
        if name in self.inputs:
            return to_numpy(self.inputs[name])
        key = self.model.program.graph.constants.get(name)
        return None if key is None else to_numpy(self.model.program.tensors[key])

    @property
    def is_random(self) -> bool:
        """Whether two runs need not give the same: draws, and Dropout of a graph that is still in training."""
        if self.node.op_type == "Dropout":
            return bool(np.any(np.asarray(self.read(2) or 0)))
        return self.node.op_type in _RANDOM

    @property
    def is_composite(self) -> bool:
        """Whether the node holds a graph of its own: a call, a branch, a loop, an op that its schema's body runs."""
        return self.node.op is None or any(True for _ in self.node.subgraphs())


def quantizes(node: Node) -> bool:
    """Return whether *node* or a graph inside it rounds to codes or computes with them."""
    names = [node.op_type, *(n.op_type for g in node.subgraphs() for n in walk(g))]
    names += [n.op_type for n in node.body.nodes()] if node.body else []
    return any(part in name for name in names for part in _QUANTIZERS)


def judged(case: Case, ours: Any, theirs: Any, *, stepwise: bool) -> Difference:
    """Compare one output of a node with a reference's.

    16-bit floats and narrower may lie one rounding apart, codes one step, results of a QONNX quantizer one step in a
    few elements; other integers must be equal.

    Args:
        case: The node.
        ours: Its output as NumPy has it: an array, or a list for a sequence.
        theirs: The reference's, in the same type or in float32.
        stepwise: Whether the reference rounds to a narrow type at every step of its own.
    """
    if ours is None or theirs is None:
        return _SAME
    if isinstance(ours, list):
        if not isinstance(theirs, list) or len(ours) != len(theirs):
            return Difference(np.inf, 0.0, 1.0)
        gaps = [judged(case, a, b, stepwise=stepwise) for a, b in zip(ours, theirs, strict=True)]
        return max(gaps, key=lambda gap: gap.worst - gap.allowed, default=_SAME)
    if is_text(theirs):
        same = np.array_equal(np.asarray(ours, dtype=object), np.asarray(theirs, dtype=object))
        return _SAME if same else Difference(np.inf, 0.0, 1.0)
    mine, other = np.asarray(ours), np.asarray(theirs)
    if mine.dtype.name in ROUNDING:
        return _narrow(case, mine, other, stepwise=stepwise)
    if mine.dtype.kind in "fc":
        return _wide(case, mine, other)
    return _integers(case, mine, other)


def _narrow(case: Case, mine: Array, other: Array, *, stepwise: bool) -> Difference:
    kind = mine.dtype.name
    with np.errstate(all="ignore"):
        other = other.astype(mine.dtype)  # beyond the type's range both are infinite
    relative = RELATIVE["float32"]
    if stepwise or case.is_composite or case.node.op_type in _STEPWISE:
        relative = max(RELATIVE.get(kind, 2 * ROUNDING[kind]), case.loosest)
    elif case.model.device.type != "cpu":  # a GPU may add up the parts of a product in the narrow type
        relative = max(relative, ROUNDING[kind])
    return difference(mine, other, relative=relative, rounding=ROUNDING[kind], step=LEAST.get(kind, 0.0))


def _wide(case: Case, mine: Array, other: Array) -> Difference:
    relative = RELATIVE.get(other.dtype.name, RELATIVE["float32"])
    step = 0.0
    if case.is_composite:
        relative = max(relative, case.loosest)
        step = _largest(other) / 127 if quantizes(case.node) else 0.0
    if mine.dtype == np.float64 and other.dtype == np.float32:  # its inputs were rounded
        step = max(
            step, 1e-6 * max((_largest(a) for a in map(_floats, case.inputs.values()) if a is not None), default=0)
        )
    found = difference(mine, other, relative=relative, step=step)
    return _past_edges(found, mine, other, relative, _quantum(case, other))


def _integers(case: Case, mine: Array, other: Array) -> Difference:
    name = case.node.op_type
    if mine.dtype.kind == "b" or mine.dtype.itemsize > 2 or not (quantizes(case.node) or name in _ROUNDS):
        return difference(mine, other)
    narrow = [ROUNDING.get(a.dtype.name, 0.0) for a in map(_floats, case.inputs.values()) if a is not None]
    if name == "QuantizeLinear" and not any(narrow):
        return _past_edges(difference(mine, other), mine, other, 0.0, 1.0)
    return difference(mine, other, rounding=max(narrow, default=0.0), step=1.0)


def _past_edges(found: Difference, mine: Array, other: Array, relative: float, quantum: float) -> Difference:
    """Forgive one step of a quantizer in a few elements: numbers on a rounding edge."""
    if not quantum or found.worst <= found.allowed or found.beyond * mine.size > max(2.0, _EDGES * mine.size):
        return found
    return difference(mine, other, relative=relative, step=quantum * (1 + 1e-3))


def _quantum(case: Case, other: Array) -> float:
    """Largest step between two neighbouring results of a QONNX quantizer, 0 for every other node."""
    node = case.node
    if node.domain not in QONNX_DOMAINS:
        return 0.0
    if node.op_type == "MultiThreshold":
        return float(node.attributes.get("out_scale", 1.0))
    place = {"Trunc": 4 if len(node.inputs) > 5 else 1, "FloatQuant": 3}.get(node.op_type, 1)
    number = np.asarray(case.read(place), dtype=np.float64)
    if node.op_type == "FloatQuant":  # its step grows with the number
        return _largest(other) * float(np.exp2(-number.min()))
    return _largest(number) * (2 if node.op_type == "BipolarQuant" else 1)


def _floats(value: Value) -> Array | None:
    """A float tensor, of any width, as NumPy has it."""
    array = to_numpy(value)
    is_float = isinstance(array, np.ndarray) and (array.dtype.kind == "f" or array.dtype.name in ROUNDING)
    return array if is_float else None


def _largest(array: Array) -> float:
    wide = np.abs(np.asarray(array, dtype=np.float64))
    finite = wide[np.isfinite(wide)]
    return float(finite.max()) if finite.size else 1.0
