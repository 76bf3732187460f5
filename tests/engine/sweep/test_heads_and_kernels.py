"""Sweeps against plain passes: heads that are not scored, kernels for few rows and few channels, bare scales."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, run_campaign
from faultsim.model import exact_codes, load_model
from faultsim.model.references import run_onnxruntime

RNG = np.random.default_rng(0)
node = helper.make_node


def normal(*shape: int, scale: float = 0.3) -> NDArray[np.float32]:
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def save(
    path: Path,
    nodes: list[NodeProto],
    tensors: dict[str, NDArray[Any]],
    x: tuple[int, ...],
    outputs: dict[str, int],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *x])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def counts(model: Path, data: Path | None = None, *, engine: str, options: Options, **given: Any) -> list[int]:
    found = run_campaign(model, data, options=options, campaign=CampaignOptions(engine=engine, **given)).outcomes
    return [one.total for one in (found.masked, found.tolerable, found.critical, found.nonfinite)]


@pytest.mark.parametrize("flips", [1, 3])
def test_a_fault_in_a_head_that_is_not_scored_changes_nothing(tmp_path: Path, flips: int) -> None:
    nodes = [node("Gemm", ["x", "w1"], ["y"], "body", transB=1), node("Gemm", ["y", "w2"], ["z"], "head", transB=1)]
    model = save(tmp_path / "two.onnx", nodes, {"w1": normal(6, 3), "w2": normal(4, 6)}, (3,), {"y": 6, "z": 4})
    options = Options(limit=32, threads=1)
    plain, swept = (counts(model, engine=e, options=options, trials=50, flips=flips) for e in ("plain", "sweep"))
    assert plain == swept
    assert plain[0] > 32
    screened = run_campaign(model, options=options, campaign=CampaignOptions(trials=50, screen=True))
    assert screened.trials == 50


def test_numbers_that_are_not_finite_meet_the_kernel_of_the_whole_layer(tmp_path: Path) -> None:
    """A max pool over 20 channels and one over a slice of 16 treat a NaN in different ways."""
    rng = np.random.default_rng(1)
    tensors = {
        "w1": rng.normal(size=(20, 3, 3, 3)) * 0.3,
        "b1": rng.normal(size=20) * 0.3,
        "w3": rng.normal(size=(20, 4)),
    }
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], "conv", pads=[1] * 4),
        node("HardSwish", ["a"], ["b"], "swish"),
        node("GlobalMaxPool", ["b"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flat"),
        node("MatMul", ["f", "w3"], ["y"], "fc"),
    ]
    tensors["w3"] = tensors["w3"] * 1e-3
    floats = {name: array.astype(np.float32) for name, array in tensors.items()}
    model = save(tmp_path / "pool.onnx", nodes, floats, (3, 6, 6), {"y": 4})
    options = Options(seed=0, limit=32, threads=1)
    plain, swept = (counts(model, engine=engine, options=options, trials=600) for engine in ("plain", "sweep"))
    assert plain == swept
    assert plain[3] > 0


@pytest.mark.parametrize("batch_size", [20, 1])
def test_batches_of_one_row_meet_their_own_kernel(tmp_path: Path, batch_size: int) -> None:
    """41 samples: a Gemm whose weights are dequantized in the graph multiplies one row in another order than many."""
    rng = np.random.default_rng(5)
    codes = {"w1": rng.integers(-127, 128, (6, 3, 3, 3)).astype(np.int8)}
    codes["w2"] = rng.integers(-127, 128, (5, 54)).astype(np.int8)
    steps = {name: np.linspace(0.001, 0.01, len(array)).astype(np.float32) for name, array in codes.items()}
    nodes = [
        node("DequantizeLinear", ["w1", "s1", "z1"], ["d1"], "dq1", axis=0),
        node("Conv", ["x", "d1"], ["a"], "conv", pads=[1] * 4),
        node("Relu", ["a"], ["r"], "relu"),
        node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"], "flat"),
        node("QuantizeLinear", ["f", "as", "az"], ["fq"], "q"),
        node("DequantizeLinear", ["fq", "as", "az"], ["fd"], "dq"),
        node("DequantizeLinear", ["w2", "s2", "z2"], ["d2"], "dq2", axis=0),
        node("Gemm", ["fd", "d2", "b2"], ["y"], "fc", transB=1),
    ]
    tensors = {
        **codes,
        "s1": steps["w1"],
        "z1": np.zeros(6, np.int8),
        "s2": steps["w2"],
        "z2": np.zeros(5, np.int8),
        "b2": (rng.normal(size=5) * 0.3).astype(np.float32),
        "as": np.float32(0.05),
        "az": np.int8(-128),
    }
    model = save(tmp_path / "q.onnx", nodes, tensors, (3, 6, 6), {"y": 5})
    x = np.random.default_rng(1).normal(size=(41, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, labels=np.zeros((41, 5), np.float32))
    options = Options(batch_size=batch_size, task="regression", sites=("b2",), threads=1)
    given = {"data": tmp_path / "d.npz", "options": options, "trials": 60, "roles": ("bias",)}
    plain, swept = (counts(model, engine=engine, **given) for engine in ("plain", "sweep"))
    assert plain == swept


@pytest.mark.parametrize("told", [False, True])
def test_codes_of_a_scale_a_channel_without_zero_points_run_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """onnxruntime's own exact products give such codes a zero point of one number, and fail when they run."""
    monkeypatch.setattr(exact_codes, "saturates", lambda: True)
    codes = RNG.integers(-127, 128, (8, 5)).astype(np.int8)
    tensors = {"w": codes, "s": np.linspace(0.01, 0.02, 5).astype(np.float32)}
    zeros = {"z": np.zeros(5, np.int8)} if told else {}
    nodes = [
        node("DequantizeLinear", ["w", "s", *zeros], ["d"], "dq", axis=1),
        node("MatMul", ["x", "d"], ["y"], "fc"),
    ]
    path = save(tmp_path / "bare.onnx", nodes, tensors | zeros, (8,), {"y": 5})
    x = normal(4, 8)
    found = run_onnxruntime(load_model(path).proto, {"x": x}, optimised=True)["y"]
    theirs = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert found == pytest.approx(theirs, abs=1e-5)
    assert run_campaign(path, options=Options(limit=32, threads=1), campaign=CampaignOptions(trials=20)).trials == 20
