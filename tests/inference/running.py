"""Small networks, and runs of them with laws in action: what the tests of inference laws share. No test here."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy import stats

from faultsim.engine.runner import Runner
from faultsim.inference import Effect, InferenceLaw
from faultsim.model import Model, load_model

Arrays = dict[str, NDArray[Any]]


def proto(
    nodes: Sequence[onnx.NodeProto],
    weights: Arrays,
    shape: Sequence[int | str] = ("N", 6),
    *,
    elem: int = TensorProto.FLOAT,
    out: int = TensorProto.FLOAT,
    rank: int = 2,
) -> onnx.ModelProto:
    """One input ``x``, one output ``y`` of free sizes."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", elem, shape)],
        [helper.make_tensor_value_info("y", out, [f"d{i}" for i in range(rank)])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def gemm(weight: NDArray[Any], bias: NDArray[Any] | None = None) -> Model:
    """``y = x w' + b``."""
    weights = {"w": weight} | ({} if bias is None else {"b": bias})
    node = helper.make_node("Gemm", ["x", *weights], ["y"], "fc", transB=1)
    return load_model(proto([node], weights, ("N", weight.shape[1])))


def effects(*laws: InferenceLaw, trial: int = 0, seed: int = 0) -> list[Effect]:
    """The laws on one chip."""
    return [Effect(mechanism=f"mechanism {i}", law=law, seed=seed, trial=trial) for i, law in enumerate(laws)]


def calibrated(model: Model, feeds: Arrays, output: str = "y") -> Runner:
    """A runner of a model that is calibrated on a batch."""
    runner = Runner(model, output, threads=1)
    runner.calibrate([feeds])
    return runner


def normals(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Seeded normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def chi_square_p(noise: NDArray[Any]) -> float:
    """How likely normal numbers of spread 1 have a sum of squares as far from its mean as these, two-sided."""
    below = float(stats.chi2.cdf(float(np.square(noise, dtype=np.float64).sum()), noise.size))
    return 2 * min(below, 1 - below)
