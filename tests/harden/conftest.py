"""Small networks and data for the hardening tests."""

from collections.abc import Callable
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from brevitas.quant import Int8WeightPerChannelFloat, Uint8ActPerTensorFloat
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from faultsim.engine.scored import scored_output
from faultsim.harden.batch import BatchAt
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.harden.trainable import Trainable
from faultsim.metrics import Classification
from faultsim.model import Model, load_model

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "scenarios" / "digits"


class Arrays:
    """A data set of arrays."""

    def __init__(self, name: str, x: NDArray, y: NDArray | None) -> None:
        self.name, self.x, self.y = name, x, y
        self.source, self.notes = "arrays", ()

    def __len__(self) -> int:
        return len(self.x)

    def inputs(self, start: int, stop: int) -> dict[str, NDArray]:
        return {self.name: self.x[start:stop]}

    def labels(self, start: int, stop: int) -> NDArray | None:
        return None if self.y is None else self.y[start:stop]


def smooth_mlp(seed: int = 0, sizes: tuple[int, int, int] = (5, 4, 3)) -> onnx.ModelProto:
    """Two float64 Gemm layers with tanh between them: every loss of it can be differentiated numerically."""
    rng = np.random.default_rng(seed)
    a, b, c = sizes
    numbers = {
        "w1": rng.normal(size=(a, b)),
        "b1": rng.normal(size=b),
        "w2": rng.normal(size=(b, c)),
        "b2": rng.normal(size=c),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "one"),
        helper.make_node("Tanh", ["h"], ["t"], "tanh"),
        helper.make_node("Gemm", ["t", "w2", "b2"], ["y"], "two"),
    ]
    graph = helper.make_graph(
        nodes,
        "smooth",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", a])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n", c])],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def one_layer(kind: str, codes: NDArray[np.int8], scale: NDArray[np.float32]) -> Model:
    """x @ w with int8 weights, a scale a column, as codes behind DequantizeLinear or floats before Quant."""
    if kind == "qdq":
        nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=1)]
        tensors, opsets = {"w": codes, "s": scale}, []
    else:
        nodes = [helper.make_node("Quant", ["w", "s", "z", "b"], ["d"], domain="qonnx.custom_op.general",
                                  rounding_mode="ROUND", signed=1, narrow=0)]  # fmt: skip
        zero, bits = np.array(0, np.float32), np.array(8, np.float32)
        tensors = {"w": codes * scale, "s": scale.reshape(1, -1) if scale.ndim else scale, "z": zero, "b": bits}
        opsets = [helper.make_opsetid("qonnx.custom_op.general", 1)]
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x", "d"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(codes)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", codes.shape[1]])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    imports = [helper.make_opsetid("", 17), *opsets]
    return load_model(helper.make_model(graph, opset_imports=imports, ir_version=9))


def zero_point_layer() -> Model:
    """One layer of uint8 weights around code 128, with a scale and a zero point for every output channel."""
    rng = np.random.default_rng(3)
    numbers = {
        "w": rng.integers(100, 157, (5, 3)).astype(np.uint8),
        "s": np.array([0.01, 0.02, 0.03], np.float32),
        "z": np.array([127, 128, 130], np.uint8),
        "b": np.zeros(3, np.float32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["real"], "dequantize", axis=1),
        helper.make_node("Gemm", ["x", "real", "b"], ["y"], "gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "zeros",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return load_model(model)


def brevitas_mlp(route: str, bits: int = 4) -> Model:
    """A trained-looking Brevitas module of two layers, through its export."""
    torch.manual_seed(1)
    module = nn.Sequential(
        qnn.QuantLinear(6, 8, bias=True, weight_quant=Int8WeightPerChannelFloat, weight_bit_width=bits),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits),
        qnn.QuantLinear(8, 3, bias=True, weight_quant=Int8WeightPerChannelFloat, weight_bit_width=bits),
    )
    module.train()
    for _ in range(3):
        module(torch.randn(16, 6))
    return load_model(module.eval(), torch.randn(2, 6), export=route)


def batch_of(model: Model, x: NDArray, y: NDArray, *, seed: int = 0, step: int = 0) -> BatchAt:
    """All of the data as one batch, at the deployed numbers, everything corruptible."""
    trainable = Trainable(model)
    data = Samples(Arrays(model.inputs[0].name, x, y), np.arange(len(x)), model.inputs)
    target = Target(model, Classification(), scored_output(model), data, towards="labels", batch_size=len(x))
    feeds, loss = target.batch(np.arange(len(x)))
    return BatchAt(trainable, trainable.leaves(), feeds, loss, names=tuple(trainable.parameters), seed=seed, step=step)


def mean_loss(model: Model, x: NDArray, y: NDArray, numbers: dict[str, NDArray] | None = None) -> float:
    """Mean cross-entropy in NumPy."""
    logits = next(iter(model.run({model.inputs[0].name: x}, numbers).values())).astype(np.float64)
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y]).mean())


def numeric_gradient(value: Callable[[dict[str, NDArray]], float], at: dict[str, NDArray], h: float = 1e-5) -> dict:
    """Central differences of a function of named arrays."""
    found = {}
    for name, array in at.items():
        grad = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            moved = {k: v.copy() for k, v in at.items()}
            moved[name][index] += h
            up = value(moved)
            moved[name][index] -= 2 * h
            grad[index] = (up - value(moved)) / (2 * h)
        found[name] = grad
    return found


@pytest.fixture
def smooth() -> Model:
    return load_model(smooth_mlp())


@pytest.fixture
def points() -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(6, 5)), rng.integers(0, 3, 6)


@pytest.fixture
def digits() -> tuple[NDArray, NDArray]:
    with np.load(DIGITS / "digits_int8.npz") as archive:
        return archive["image"], archive["labels"]


@pytest.fixture
def int8() -> Model:
    return load_model(DIGITS / "digits_int8.onnx")
