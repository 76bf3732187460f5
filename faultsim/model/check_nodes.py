"""The check node by node: each node of the main graph alone, on the inputs that it has in our own run.

Errors do not pile up that way, and the first node that differs is known. Whole graphs are compared in `check.py`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import ModelError
from faultsim.model.judge import Case, judged
from faultsim.model.lone import FLOATS, HALVES, Lone, lone, typed, widened
from faultsim.model.model import Model
from faultsim.model.nodes import Node, needs
from faultsim.model.references import (
    ONNXRUNTIME,
    QONNX,
    QONNX_DOMAINS,
    REFERENCE,
    run_onnxruntime,
    run_qonnx,
    run_reference,
)
from faultsim.model.tolerance import Difference
from faultsim.model.values import Value, from_numpy, to_numpy

Array = NDArray[Any]
Attempt = tuple[str, Callable[[], dict[str, Any]]]

_WIDE = " in float32"

_CASTS = {"Cast", "CastLike", "QuantizeLinear", "DynamicQuantizeLinear", "BitCast"}
_LOOPS = {"LSTM", "GRU", "RNN", "RoiAlign", "MaxRoiPool", "NonMaxSuppression", "DeformConv", "Col2Im", "GridSample",
          "Resize", "Upsample", "Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool",
          "LpPool", "MaxUnpool", "Scan", "Loop"}  # fmt: skip
_MOST_IN_LOOPS = 50_000
_MOST_AT_ONCE = 20_000_000
"""Most elements of a result that onnx.reference is asked for: of ops that it computes in loops, and of the others."""


class Walk(NamedTuple):
    """What the comparison node by node found.

    Attributes:
        guilty: The first node that differs, with its output and by how much; empty where none does.
        runtime: What the guilty node differs from.
        worst: |Δ| of the node that comes closest to its tolerance, or that is guilty.
        allowed: Its tolerance.
        checked: Nodes compared, by reference runtime.
        unchecked: Nodes that no runtime can run alone or repeat, by op type.
    """

    guilty: str
    runtime: str
    worst: float
    allowed: float
    checked: Mapping[str, int]
    unchecked: Mapping[str, int]

    @property
    def runtimes(self) -> str:
        """The runtimes and how many nodes each checked, such as ``onnxruntime 1.31.1, 7 of 8 nodes one by one``."""
        done, all_ = sum(self.checked.values()), sum(self.checked.values()) + sum(self.unchecked.values())
        counted: Counter[str] = Counter()
        for name, count in self.checked.items():
            counted[name.removesuffix(_WIDE)] += count
        said = " and ".join(counted)
        details = []
        if len(counted) > 1:
            details.append(", ".join(f"{count} by {name}" for name, count in counted.items()))
        if ONNXRUNTIME + _WIDE in self.checked:
            details.append(f"{self.checked[ONNXRUNTIME + _WIDE]} in float32")
        if self.unchecked:
            details.append("not checked: " + ", ".join(sorted(self.unchecked)))
        return f"{said}, {done} of {all_} nodes one by one" + (f" ({'; '.join(details)})" if details else "")


def check_nodes(model: Model, feeds: Mapping[str, Array], *, loosest: float = 0.0) -> Walk:
    """Compare every node of the main graph with a reference runtime on the inputs that it has here.

    onnxruntime runs the node as it is or, where it lacks a kernel for 16-bit floats, on the same numbers in float32:
    what is then compared lies within one rounding of the narrow type. What it cannot run goes to onnx.reference, QONNX
    ops go to the qonnx executor. The search ends at the first node that differs.

    Args:
        model: The model.
        feeds: A few samples: every value is held while a node still reads it.
        loosest: Tolerance in float terms of a node that holds a graph of its own, whose errors pile up.
    """
    checker = _Checker(model, feeds, loosest)
    try:
        model.run(feeds, observer=checker)
        checker.flush()
    except _FoundError:
        pass
    return checker.result()


class _FoundError(Exception):
    """The guilty node is known: the rest of the run would tell nothing, and may fail on what it made."""


class _Checker:
    """Sees every output of a run, and compares a node as soon as its last one is there."""

    def __init__(self, model: Model, feeds: Mapping[str, Array], loosest: float) -> None:
        self.model = model
        self.loosest = loosest
        self.values: dict[str, Value] = {name: from_numpy(np.asarray(a)) for name, a in feeds.items()}
        self.node: Node | None = None
        self.outputs: dict[str, Value] = {}
        self.guilty = ("", "")
        self.closest = Difference(0.0, 0.0, 0.0)
        self.checked: Counter[str] = Counter()
        self.unchecked: Counter[str] = Counter()

    def __call__(self, node: Node, name: str, value: Value) -> Value:
        if node is not self.node:
            self.flush()
            self.node = node
        self.outputs[name] = value
        if name == next(o for o in reversed(node.outputs) if o):
            self.flush()
        return value

    def flush(self) -> None:
        """Compare the node whose outputs are there."""
        if self.node is not None and self.outputs:
            self._check(self.node)
            self.values.update(self.outputs)
            for name in self.node.free:
                self.values.pop(name, None)
        self.node, self.outputs = None, {}

    def result(self) -> Walk:
        """Return what was found so far."""
        return Walk(*self.guilty, self.closest.worst, self.closest.allowed, self.checked, self.unchecked)

    def _check(self, node: Node) -> None:
        inputs = {name: self.values[name] for name in needs(node) if name in self.values}
        case = Case(self.model, node, inputs, self.outputs, self.loosest)
        found = None if case.is_random else _asked(case)
        if found is None:
            self.unchecked[node.op_type] += 1
            return
        self.checked[found.runtime] += 1
        gap = found.gap
        if gap.worst > gap.allowed:
            self.closest = gap
            told = f"node {node.name!r} ({node.op_type}, output {found.output!r}, difference {gap.worst:.3g})"
            self.guilty = told, found.runtime.removesuffix(_WIDE)
            raise _FoundError
        if not self.closest.allowed or gap.worst * self.closest.allowed > self.closest.worst * gap.allowed:
            self.closest = gap


class _Verdict(NamedTuple):
    """What one runtime says of a node, and the output that comes closest to its tolerance or is beyond it."""

    runtime: str
    output: str
    gap: Difference


def _asked(case: Case) -> _Verdict | None:
    """The verdict of the first group of runtimes of which one can run the node; None if none can.

    Within a group one that agrees is enough: they are the same reference, at two precisions.
    """
    try:
        one = lone(case.model, case.node, case.inputs, case.outputs)
    except (ValueError, KeyError, TypeError, NotImplementedError):  # a value that no file format holds
        return None
    for group in _groups(case, one):
        refused: _Verdict | None = None
        for runtime, run in group:
            try:
                theirs = {one.outputs[name]: array for name, array in run().items()}
            except ModelError:
                continue
            verdict = _verdict(case, runtime, theirs)
            if verdict.gap.worst <= verdict.gap.allowed:
                return verdict
            refused = refused or verdict
        if refused is not None:
            return refused
    return None


def _verdict(case: Case, runtime: str, theirs: Mapping[str, Any]) -> _Verdict:
    gaps = [
        _Verdict(runtime, name, judged(case, to_numpy(value), theirs[name], stepwise=runtime == REFERENCE))
        for name, value in case.outputs.items()
    ]
    return max(gaps, key=lambda one: (one.gap.worst > one.gap.allowed, one.gap.worst / max(one.gap.allowed, 1e-30)))


def _groups(case: Case, one: Lone) -> Iterator[list[Attempt]]:
    """The runtimes to ask, the most telling ones first."""
    node = case.node
    if node.domain in QONNX_DOMAINS:
        yield [(QONNX, lambda: run_qonnx(typed(one, case.outputs).proto, one.feeds))]
        return
    plain: list[Attempt] = [(ONNXRUNTIME, functools.partial(run_onnxruntime, one.proto, one.feeds, threads=1))]
    halves = [] if node.op_type == "BitCast" else _widened(one, HALVES)
    if node.op_type in _CASTS:  # to round is what they are for
        yield plain
        yield halves
    else:
        yield halves + plain
    last = [] if node.op_type in _CASTS else _widened(one, FLOATS)
    # Where we fell back on onnx.reference ourselves it proves nothing.
    if (node.op is not None or node.bodies) and _affordable(case):
        last.append((REFERENCE, functools.partial(run_reference, one.proto, one.feeds)))
    yield last


def _widened(one: Lone, types: Collection[int]) -> list[Attempt]:
    wide = widened(one, types)
    if wide is None:
        return []
    return [(ONNXRUNTIME + _WIDE, functools.partial(run_onnxruntime, wide.proto, wide.feeds, threads=1))]


def _affordable(case: Case) -> bool:
    arrays = [to_numpy(value) for value in case.outputs.values()]
    size = sum(array.size for array in arrays if isinstance(array, np.ndarray))
    return size <= (_MOST_IN_LOOPS if case.node.op_type in _LOOPS else _MOST_AT_ONCE)
