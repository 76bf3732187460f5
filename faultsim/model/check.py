"""The check of every model against onnxruntime on real input, and where the two part. No figure comes without it."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from faultsim.errors import DisagreementError, ModelError
from faultsim.model import proto as files
from faultsim.model.graph import Node
from faultsim.model.model import Model
from faultsim.model.values import Codes, Value, elem_type_of, from_numpy, to_numpy

Array = NDArray[Any]

QONNX_DOMAINS = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"})
_RELATIVE = {"float64": 1e-7, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Allowed |Δ| as a fraction of the output's largest magnitude, by the output's type."""

_NARROW: dict[int, str] = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16"}

_NODE_SAMPLES = 16
"""Samples of the comparison node by node, which holds every intermediate value."""


class Agreement(NamedTuple):
    """How far our execution and the reference runtime's lie apart.

    Attributes:
        max_abs_difference: Largest |Δ| over all outputs and samples; None where no runtime can run the graph.
        tolerance: What was allowed, absolute.
        samples: Samples compared.
        runtime: Name and version of the reference, or why there was none.
        differing: Share of the output elements that differ by more than the tolerance (quantized graphs alone).
    """

    max_abs_difference: float | None
    tolerance: float | None
    samples: int
    runtime: str
    differing: float = 0.0


def session(proto: onnx.ModelProto, *, optimised: bool = False, threads: int = 0) -> ort.InferenceSession:
    """Open an onnxruntime session on the CPU, silent, unoptimised unless asked.

    Raises:
        ModelError: If onnxruntime cannot run the graph; with its own reason.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    try:
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own, without a common base
        raise ModelError(f"onnxruntime cannot run the model: {_reason(error)}") from None


def check_agreement(model: Model, feeds: Mapping[str, Array]) -> Agreement:
    """Run *feeds* here and in onnxruntime and compare every output.

    Raises:
        DisagreementError: If they part by more than the tolerance; the message names the first node that differs.
    """
    samples = max((np.shape(a)[0] for a in feeds.values() if np.ndim(a)), default=1)
    ours = model.run(feeds)
    if files.domains(model.proto) & QONNX_DOMAINS:
        return _check_qonnx(model, feeds, ours, samples)
    try:
        reference = session(model.proto)
        theirs = dict(zip(model.output_names, reference.run(list(model.output_names), dict(feeds)), strict=True))
    except ModelError as error:
        return Agreement(None, None, 0, f"not checked: {error}")
    except Exception as error:  # a run-time failure of onnxruntime, such as a float16 kernel it lacks
        return Agreement(None, None, 0, f"not checked: onnxruntime failed on the data ({_reason(error)})")
    quantized = any(_quantizes(node) for node in model.program.nodes())
    worst, allowed, differing = _compare(ours, theirs, quantized=quantized, relative=_loosest(model))
    if worst <= allowed:
        return Agreement(worst, allowed, samples, f"onnxruntime {ort.__version__}", differing)
    # A value on a rounding edge may fall either way and send later codes apart, in onnxruntime's own two modes too.
    # Then every node must agree on the inputs that onnxruntime gave it: that admits rounding and nothing else.
    local = _compare_nodes(model, feeds, quantized=quantized)
    if local.guilty or (not quantized and worst > 10 * allowed):
        raise DisagreementError(
            f"{model.name}: faultsim and onnxruntime {ort.__version__} differ by {worst:.3g} on {samples} samples "
            f"({allowed:.3g} allowed), first at {local.guilty or 'a node that could not be found'}; "
            "please report the model: no figure would mean anything"
        )
    return Agreement(local.worst, local.allowed, samples, f"onnxruntime {ort.__version__}, node by node", differing)


def _loosest(model: Model) -> float:
    """Tolerance of the narrowest float type in the graph: an output cast to float32 is no more exact for it."""
    stored = {elem_type_of(t) for t in model.program.tensors.values() if isinstance(t, torch.Tensor)}
    cast = {n.attributes.get("to") for n in model.program.nodes() if n.op_type == "Cast"}
    return max((_RELATIVE[_NARROW[e]] for e in stored | cast if e in _NARROW), default=0.0)


def _quantizes(node: Node) -> bool:
    return any(part in node.op_type for part in ("Quantize", "QLinear", "Integer", "QGemm", "NBits"))


def _check_qonnx(model: Model, feeds: Mapping[str, Array], ours: Mapping[str, Any], samples: int) -> Agreement:
    try:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes
    except ImportError:
        return Agreement(
            None,
            None,
            0,
            "not checked: onnxruntime has no QONNX ops; install the package qonnx to check against it",
        )
    spec = model.inputs[0]
    fixed = spec.fixed_batch
    rows = samples if fixed is None else fixed
    theirs: dict[str, Any] = {}
    try:
        proto = onnx.ModelProto()
        proto.CopyFrom(model.proto)
        first = {name: np.asarray(array)[:rows] for name, array in feeds.items()}
        _fix_sizes(proto, first)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = execute_onnx(ModelWrapper(proto).transform(InferShapes()), first)
    except Exception as error:  # whatever the reference executor raises on a graph that it cannot run
        return Agreement(None, None, 0, f"not checked: the qonnx executor failed ({_reason(error)})")
    mine = model.run(first) if rows != samples else ours
    worst, allowed, differing = _compare(mine, {k: theirs[k] for k in model.output_names}, quantized=True)
    if worst > allowed and differing > 0.01:
        raise DisagreementError(
            f"{model.name}: faultsim and the qonnx executor differ by {worst:.3g} ({allowed:.3g} allowed) on {rows} "
            "samples; please report the model: no figure would mean anything"
        )
    return Agreement(worst, allowed, rows, "qonnx executor", differing)


def _fix_sizes(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> None:
    """Declare the sizes of *feeds*: the executor takes a free size for 0."""
    del proto.graph.value_info[:]
    for value in proto.graph.input:
        if value.name in feeds:
            elem = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, elem, feeds[value.name].shape))
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")


def _compare(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    *,
    quantized: bool,
    coarse: bool = True,
    relative: float = 0.0,
) -> tuple[float, float, float]:
    """Largest |Δ|, what is allowed, and the share of elements beyond it, over all outputs."""
    worst, allowed, beyond, count = 0.0, 0.0, 0, 0
    for name, other in theirs.items():
        if isinstance(other, list | dict) or np.asarray(other).dtype.kind in "OUS":
            continue
        theirs_ = np.asarray(other)
        mine = np.asarray(ours[name])
        if mine.shape != theirs_.shape:
            return float("inf"), 0.0, 1.0
        a, b = mine.astype(np.float64).reshape(-1), theirs_.astype(np.float64).reshape(-1)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        difference = np.where(same, 0.0, np.abs(a - b))
        difference[np.isnan(difference)] = np.inf
        finite = b[np.isfinite(b)]
        size = float(np.abs(finite).max()) if finite.size else 1.0
        if theirs_.dtype.kind in "iub":
            limit = 1.0 if quantized else 0.0
        else:
            limit = max(_RELATIVE.get(theirs_.dtype.name, 1e-3), relative) * max(size, 1e-6)
            if quantized and coarse:
                limit = max(limit, size / 127)
        beyond += int((difference > limit).sum())
        count += difference.size
        if difference.size and difference.max() >= worst:
            worst, allowed = float(difference.max()), limit
        allowed = max(allowed, limit) if worst == 0 else allowed
    return worst, allowed, beyond / max(count, 1)


class _Local(NamedTuple):
    """What the comparison node by node found: the first node that differs, else the largest difference."""

    guilty: str
    worst: float
    allowed: float


def _compare_nodes(model: Model, feeds: Mapping[str, Array], *, quantized: bool) -> _Local:
    """Compare every node of the main graph on the inputs that onnxruntime gave it, on a few samples."""
    fixed = any(spec.fixed_batch for spec in model.inputs)
    few = {n: a if fixed or not np.ndim(a) else np.asarray(a)[:_NODE_SAMPLES] for n, a in feeds.items()}
    names = [o for node in model.program.graph.nodes for o in node.outputs if o]
    probe = onnx.ModelProto()
    probe.CopyFrom(model.proto)
    known = {o.name for o in probe.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    try:
        theirs = dict(zip(names, session(probe).run(names, few), strict=True))
    except Exception as error:  # the search is a courtesy: the disagreement itself is what must be told
        return _Local(f"a node that could not be found ({_reason(error)})", math.inf, 0.0)
    found: list[_Local] = []

    def follow(node: Node, name: str, value: Value) -> Value:
        reference = theirs.get(name)
        if not isinstance(reference, np.ndarray) or reference.dtype.kind in "OUS" or isinstance(value, list):
            return value
        worst, allowed, _ = _compare({name: to_numpy(value)}, {name: reference}, quantized=quantized, coarse=False)
        guilty = (
            f"node {node.name!r} ({node.op_type}, output {name!r}, difference {worst:.3g})" if worst > allowed else ""
        )
        found.append(_Local(guilty, worst, allowed))
        if isinstance(value, Codes):
            return from_numpy(reference, elem_type=value.elem_type, codes=True)
        return value if isinstance(value, torch.Tensor) and value.device.type != "cpu" else from_numpy(reference)

    model.run(few, observer=follow)
    guilty = next((one for one in found if one.guilty), None)
    return guilty or max(found, key=lambda one: one.worst / max(one.allowed, 1e-30), default=_Local("", 0.0, 0.0))


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
