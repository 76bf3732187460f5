"""The check of every model against onnxruntime on real input, and where the two part. No figure comes without it.

The whole graph is compared here; `check_nodes.py` compares node by node, where that cannot be done or says too little.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from faultsim.errors import DisagreementError, FaultsimError, ModelError
from faultsim.model import proto as files
from faultsim.model.check_nodes import check_nodes
from faultsim.model.exact_codes import saturates
from faultsim.model.judge import quantizes
from faultsim.model.model import Model
from faultsim.model.references import (
    ONNXRUNTIME,
    QONNX,
    QONNX_DOMAINS,
    has_qonnx,
    run_onnxruntime,
    run_qonnx,
    session,
)
from faultsim.model.tolerance import RELATIVE, Difference, difference, is_text
from faultsim.model.values import elem_type_of

__all__ = ["QONNX_DOMAINS", "Agreement", "check_agreement", "session"]

Array = NDArray[Any]

_HALVES: dict[int, float] = {
    onnx.TensorProto.FLOAT16: RELATIVE["float16"],
    onnx.TensorProto.BFLOAT16: RELATIVE["bfloat16"],
}

_NODE_SAMPLES = 16
"""Samples of the search for the node at which a whole graph parts: those that part most."""

_MOST = 0.25
"""Share of the output of a quantized graph that lies beyond the tolerance where another network computed it."""

_FAR = 10.0
"""Times the tolerance that a float graph must lie apart for it."""

_FEW = 2
"""Samples where there is no whole graph to compare with."""


class Agreement(NamedTuple):
    """How far our execution and the reference runtime's lie apart.

    Attributes:
        max_abs_difference: Largest |Δ| over all outputs and samples; node by node, that of the node that comes closest
            to its tolerance. None where no runtime can run the graph nor any node of it.
        tolerance: What was allowed, absolute.
        samples: Samples compared.
        runtime: Name and version of the reference and, node by node, how many nodes it checked; or why there was none.
        differing: Share of the output elements that differ by more than the tolerance (quantized graphs alone).
        unchecked: Op types of the nodes that no reference could check, sorted; none where the whole graph was compared.
    """

    max_abs_difference: float | None
    tolerance: float | None
    samples: int
    runtime: str
    differing: float = 0.0
    unchecked: tuple[str, ...] = ()


def check_agreement(model: Model, feeds: Mapping[str, Array]) -> Agreement:
    """Run *feeds* here and in the reference runtime and compare every output, or else every node.

    The reference is onnxruntime; the qonnx executor for QONNX. Where neither can run the graph (bfloat16, float8,
    kernels that onnxruntime's CPU build lacks), its nodes are checked one by one on two samples.

    Raises:
        DisagreementError: If they part by more than the tolerance; the message names the first node that differs.
    """
    loosest = _loosest(model)
    qonnx = bool(files.domains(model.proto) & QONNX_DOMAINS)
    runtime = QONNX if qonnx else ONNXRUNTIME
    if qonnx and not has_qonnx():
        why = "onnxruntime has no QONNX ops; install the package qonnx to check against it"
        return Agreement(None, None, 0, f"not checked: {why}")
    used = _fixed(model, feeds) if qonnx else dict(feeds)
    samples = _samples(model, used)
    ours = model.run(used)
    try:
        theirs = run_qonnx(model.proto, used) if qonnx else run_onnxruntime(model.proto, used)
    except ModelError as error:
        return _one_by_one(model, used, loosest, str(error))
    quantized = qonnx or any(quantizes(node) for node in model.program.graph.nodes)
    found = _compare(ours, theirs, quantized=quantized, relative=loosest)
    if found.worst > found.allowed and quantized and not qonnx and saturates():
        found = _with_exact_products(model, used, ours, loosest) or found
    if found.worst <= found.allowed:
        return Agreement(found.worst, found.allowed, samples, runtime, found.beyond)
    # A value on a rounding edge may fall either way and send later codes apart, in onnxruntime's own two modes too.
    # Then every node must agree on the inputs that it has here: that admits rounding and nothing else.
    local = check_nodes(model, _rows(model, used, _furthest(model, ours, theirs, samples)), loosest=loosest)
    if local.guilty or local.unchecked or (not quantized and found.worst > _FAR * found.allowed):
        first = local.guilty or "a node that could not be found"
        if local.unchecked and not local.guilty:
            first += f" (not checked: {', '.join(sorted(local.unchecked))})"
        raise _disagreement(model, runtime, found, samples, first)
    return Agreement(local.worst, local.allowed, samples, f"{runtime}, node by node", found.beyond)


def optimiser_gap(model: Model, ours: Mapping[str, Any], optimised: Mapping[str, Any]) -> Difference | None:
    """Return how far an optimised session lies off where it computes another network; None where it rounds otherwise.

    Codes on a rounding edge fall either way and send later ones apart, so that a quantized graph is another network
    only where most of its output lies beyond the tolerance.

    Args:
        model: The model.
        ours: Outputs as we compute them, by name.
        optimised: The same from onnxruntime's optimised session.
    """
    quantized = any(quantizes(node) for node in model.program.graph.nodes)
    found = _compare(ours, optimised, quantized=quantized, relative=_loosest(model))
    apart = found.beyond > _MOST if quantized else found.worst > _FAR * found.allowed
    return found if apart else None


def _with_exact_products(
    model: Model, feeds: Mapping[str, Array], ours: Mapping[str, Any], loosest: float
) -> Difference | None:
    """The comparison with a session that multiplies codes exactly, where an unoptimised one saturates; else None."""
    try:
        theirs = run_onnxruntime(model.proto, feeds, optimised=True)
    except ModelError:
        return None
    found = _compare(ours, theirs, quantized=True, relative=loosest)
    return found if found.worst <= found.allowed else None


def _one_by_one(model: Model, feeds: Mapping[str, Array], loosest: float, why: str) -> Agreement:
    """The check of a graph that no runtime can run as a whole; *why* it cannot."""
    used = _rows(model, feeds, range(_FEW))
    samples = _samples(model, used)
    local = check_nodes(model, used, loosest=loosest)
    if local.guilty:
        found = Difference(local.worst, local.allowed, 0.0)
        raise _disagreement(model, local.runtime, found, samples, local.guilty)
    unchecked = tuple(sorted(local.unchecked))
    if not local.checked:
        return Agreement(None, None, 0, f"not checked: {why}", unchecked=unchecked)
    return Agreement(local.worst, local.allowed, samples, local.runtimes, unchecked=unchecked)


def _disagreement(model: Model, runtime: str, found: Difference, samples: int, first: str) -> DisagreementError:
    name = f"the {runtime}" if runtime == QONNX else runtime
    return DisagreementError(
        f"{model.name}: faultsim and {name} differ by {found.worst:.3g} on {samples} samples "
        f"({found.allowed:.3g} allowed), first at {first}; please report the model: no figure would mean anything"
    )


def _loosest(model: Model) -> float:
    """Tolerance of the narrowest float type in the graph: an output cast to float32 is no more exact for it."""
    stored = {elem_type_of(t) for t in model.program.tensors.values() if isinstance(t, torch.Tensor)}
    cast = {n.attributes.get("to") for n in model.program.nodes() if n.op_type == "Cast"}
    fed = {int(onnx.helper.np_dtype_to_tensor_dtype(s.dtype)) for s in model.declared if s.dtype.kind != "O"}
    return max((_HALVES[e] for e in stored | cast | fed if e in _HALVES), default=0.0)


def _compare(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, quantized: bool, relative: float) -> Difference:
    """The largest difference over all outputs; quantized ones may lie a step apart."""
    found: list[tuple[Difference, int]] = []
    for name, other in theirs.items():
        if isinstance(other, list) or is_text(other):
            continue
        array = np.asarray(other)
        step = 0.0
        if quantized:
            finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.ones(1)
            step = float(finite.max(initial=1e-6)) / 127 if array.dtype.kind == "f" else 1.0
        part = max(RELATIVE.get(array.dtype.name, 1e-3), relative)
        found.append((difference(ours[name], array, relative=part, step=step), array.size))
    if not found:
        return Difference(0.0, 0.0, 0.0)
    worst = max((gap for gap, _ in found), key=lambda gap: (gap.worst - gap.allowed, gap.worst))
    elements = max(sum(size for _, size in found), 1)
    return Difference(worst.worst, worst.allowed, sum(gap.beyond * size for gap, size in found) / elements)


def _samples(model: Model, feeds: Mapping[str, Array]) -> int:
    """How many samples *feeds* hold; 1 where nothing counts them."""
    sizes = [np.shape(feeds[s.name])[s.batch_axis] for s in model.inputs if s.batch_axis is not None]
    return max(sizes, default=1)


def _fixed(model: Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """As many samples as one run of the graph insists on."""
    return _taken(model, feeds, range(model.fixed_batch)) if model.fixed_batch else dict(feeds)


def _rows(model: Model, feeds: Mapping[str, Array], rows: Sequence[int]) -> dict[str, Array]:
    """The samples at *rows*; all of them where the graph insists on their number, or does not run on others."""
    if model.fixed_batch is not None:
        return dict(feeds)
    few = _taken(model, feeds, rows)
    try:
        model.run(few)
    except FaultsimError:  # inputs whose sizes hang together in a way that the graph does not declare
        return dict(feeds)
    return few


def _taken(model: Model, feeds: Mapping[str, Array], rows: Sequence[int]) -> dict[str, Array]:
    taken = dict(feeds)
    for spec in model.inputs:
        if spec.batch_axis is not None:
            array = np.asarray(feeds[spec.name])
            kept = [row for row in rows if row < array.shape[spec.batch_axis]]
            taken[spec.name] = np.take(array, kept, axis=spec.batch_axis)
    return taken


def _furthest(model: Model, ours: Mapping[str, Any], theirs: Mapping[str, Any], samples: int) -> list[int]:
    """The samples whose outputs lie furthest apart, in order; the first ones where the outputs do not count them."""
    gaps = np.zeros(samples)
    for name, axis in model.axes.outputs.items():
        if any(isinstance(side[name], list) or is_text(side[name]) for side in (ours, theirs)):
            continue
        mine, other = (np.moveaxis(np.asarray(side[name]).astype(np.float64), axis, 0) for side in (ours, theirs))
        if mine.shape == other.shape and len(mine) == samples and mine.size:
            with np.errstate(invalid="ignore"):
                gap = np.nan_to_num(np.abs(mine - other), nan=np.inf).reshape(samples, -1).max(1)
            gaps = np.maximum(gaps, gap)
    return sorted(np.argsort(-gaps, kind="stable")[:_NODE_SAMPLES].tolist())
