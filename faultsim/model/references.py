"""The reference runtimes: onnxruntime, the qonnx executor, onnx.reference. Nothing is compared here."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from faultsim.errors import ModelError
from faultsim.model import exact_codes

Array = NDArray[Any]

QONNX_DOMAINS = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"})

ONNXRUNTIME = f"onnxruntime {ort.__version__}"
REFERENCE = f"onnx.reference {onnx.__version__}"
QONNX = "qonnx executor"


def session(proto: onnx.ModelProto, *, optimised: bool = False, threads: int = 0) -> ort.InferenceSession:
    """Open an onnxruntime session on the CPU, silent, unoptimised unless asked.

    An unoptimised one gives its memory back after each run: the sweep holds dozens of them open. An optimised one
    multiplies 8-bit codes exactly on every processor (`exact_codes`).

    Raises:
        ModelError: If onnxruntime cannot run the graph; with its own reason.
    """
    if not optimised:
        return _open(proto, threads, optimised=False, exact=False)
    return exact_codes.exactly(lambda given, exact: _open(given, threads, optimised=True, exact=exact), proto)


def _open(proto: onnx.ModelProto, threads: int, *, optimised: bool, exact: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads or torch.get_num_threads()  # both runtimes hear OMP_NUM_THREADS
    options.enable_cpu_mem_arena = optimised
    if exact:
        exact_codes.ask(options)
    try:
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own, without a common base
        raise ModelError(f"onnxruntime cannot run the model: {reason(error)}") from None


def run_onnxruntime(
    proto: onnx.ModelProto, feeds: Mapping[str, Any], *, threads: int = 0, optimised: bool = False
) -> dict[str, Any]:
    """Return the graph's outputs by name as onnxruntime computes them; unoptimised, or as it would deploy them.

    Raises:
        ModelError: If it cannot open or run the graph.
    """
    opened = session(proto, optimised=optimised, threads=threads)
    names = [output.name for output in proto.graph.output]
    try:
        return dict(zip(names, opened.run(names, dict(feeds)), strict=True))
    except Exception as error:  # such as a float16 kernel that it lacks
        raise ModelError(f"onnxruntime failed on the data ({reason(error)})") from None


def has_qonnx() -> bool:
    """Return whether the package qonnx is there."""
    try:
        import qonnx.core.modelwrapper
        import qonnx.core.onnx_exec  # noqa: F401
    except ImportError:
        return False
    return True


def run_qonnx(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Any]:
    """Return the graph's outputs by name as the qonnx executor computes them.

    Raises:
        ModelError: If the executor cannot run the graph.
        ImportError: If the package qonnx is missing.
    """
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    sized = onnx.ModelProto()
    sized.CopyFrom(proto)
    _fix_sizes(sized, feeds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = execute_onnx(ModelWrapper(sized).transform(InferShapes()), dict(feeds))
        return {output.name: found[output.name] for output in proto.graph.output}
    except Exception as error:  # whatever the executor raises on a graph that it cannot run
        raise ModelError(f"the qonnx executor failed ({reason(error)})") from None


def run_reference(proto: onnx.ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the graph's outputs by name as ONNX's NumPy implementation computes them: slow on large tensors.

    Raises:
        ModelError: If it cannot run the graph.
    """
    # Importing onnx.reference costs a third of a second: only models that need it pay.
    from onnx.reference import ReferenceEvaluator

    names = [output.name for output in proto.graph.output]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return dict(zip(names, ReferenceEvaluator(proto).run(names, dict(feeds)), strict=True))
    except Exception as error:  # whatever NumPy or the evaluator raises
        raise ModelError(f"onnx.reference failed ({reason(error)})") from None


def _fix_sizes(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> None:
    """Declare the sizes of *feeds*: the qonnx executor takes a free size for 0."""
    del proto.graph.value_info[:]
    for value in proto.graph.input:
        if value.name in feeds:
            elem = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, elem, np.shape(feeds[value.name])))
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")


def reason(error: BaseException) -> str:
    """Return the first line of an error, or its type where it says nothing."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
