"""A linear classifier of two classes, small enough for closed forms, and an attack on it or on another tiny network."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tiny_nets
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from faultsim.assessment import Options
from faultsim.attacks import attack
from faultsim.results.attack import AttackResult

QUICK = Options(threads=1)


def two_classes(seed: int = 0, n: int = 60) -> tuple[ModelProto, dict[str, NDArray[Any]]]:
    """``y = x W + b`` with labels that are the network's own, so that every sample is right by its margin."""
    rng = np.random.default_rng(seed)
    weights = {"w": rng.normal(size=(5, 2)).astype(np.float32), "b": rng.normal(size=2).astype(np.float32)}
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "only")]
    shapes = {"inputs": {"x": (TensorProto.FLOAT, ("N", 5))}, "outputs": {"y": (TensorProto.FLOAT, ("N", 2))}}
    x = rng.normal(size=(n, 5)).astype(np.float32)
    labels = (x @ weights["w"] + weights["b"]).argmax(1)
    return tiny_nets.model(nodes, weights, **shapes), {"x": x, "labels": labels}


def cross_entropy(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """The mean over samples, in float64."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).mean())


def runtime_score(proto: ModelProto | Path, data: dict[str, NDArray[Any]]) -> tuple[float, float]:
    """Return accuracy and loss in onnxruntime, which shares no code with faultsim."""
    raw = proto.SerializeToString() if isinstance(proto, ModelProto) else proto.read_bytes()
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"x": data["x"]})[0]
    return float((logits.argmax(1) == data["labels"]).mean()), cross_entropy(logits, data["labels"])


def with_numbers(proto: ModelProto, name: str, values: NDArray[Any]) -> ModelProto:
    """Return a copy with one initializer replaced."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return changed


def numbers(proto: ModelProto) -> dict[str, NDArray[Any]]:
    """Return the initializers."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def attacked(tmp_path: Path, proto: ModelProto, data: dict[str, NDArray[Any]], **given: Any) -> AttackResult:
    """Save network and data, and attack it; options can be given as ``options=``."""
    path = tiny_nets.save(proto, tmp_path / "net.onnx", data)
    given.setdefault("options", QUICK)
    return attack(path, **given)
