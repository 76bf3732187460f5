"""One-node models, run by faultsim and by onnxruntime. Test modules beside this one import it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from faultsim.model.backend import FaultsimBackend
from faultsim.model.exact_codes import saturates

VERSIONS = {"com.microsoft": 1, "": 21}


def one_node(
    op_type: str,
    inputs: Mapping[str, Any],
    *,
    domain: str = "",
    opset: int = 21,
    outputs: Sequence[str] = ("y",),
    constants: Sequence[str] = (),
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node; inputs named in *constants* become initializers, None is an absent input."""
    names = [n if a is not None else "" for n, a in inputs.items()]
    node = helper.make_node(op_type, names, list(outputs), domain=domain, **attributes)
    given = {n: np.asarray(a) for n, a in inputs.items() if a is not None}
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in given.items()
            if n not in constants
        ],
        [onnx.ValueInfoProto(name=o) for o in outputs if o],
        [numpy_helper.from_array(a, n) for n, a in given.items() if n in constants],
    )
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, VERSIONS.get(domain, 1)))
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    """An onnxruntime session without optimisations, on one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def both(
    op_type: str, inputs: Mapping[str, Any], *, constants: Sequence[str] = (), **options: Any
) -> list[tuple[Any, Any]]:
    """(ours, onnxruntime's) for every output of one node."""
    model = one_node(op_type, inputs, constants=constants, **options)
    feeds = {n: np.asarray(a) for n, a in inputs.items() if a is not None and n not in constants}
    ours = FaultsimBackend.prepare(model).run(feeds)
    return list(zip(ours, session(model).run(None, feeds), strict=True))


def steps_apart(ours: Any, theirs: Any) -> int:
    """Greatest difference of two integer arrays of one type and shape."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    return int(np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max(initial=0))


exact_runtime = pytest.mark.skipif(saturates(), reason="onnxruntime's products of codes saturate on this processor")
