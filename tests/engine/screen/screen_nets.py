"""A small random network with convolutions, its images, and flips of its weights. No test here."""

from collections.abc import Mapping

import numpy as np
import tiny_nets
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from faultsim.corruption import Stored
from faultsim.engine.screen.bitmap import flipped
from faultsim.engine.sweep.slices import Sparse
from faultsim.model import Model

Patch = Mapping[str, Sparse]


def cnn(seed: int = 5, classes: int = 4) -> ModelProto:
    """Conv, Relu, Conv, Add (a residual), Relu, mean, Gemm."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Conv", ["x", "first.weight", "first.bias"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "second.weight"], ["c"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "b"], ["d"], "add"),
        helper.make_node("Relu", ["d"], ["e"], "relu2"),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], "mean"),
        helper.make_node("Flatten", ["f"], ["g"], "flat"),
        helper.make_node("Gemm", ["g", "last.weight"], ["y"], "last", transB=1),
    ]
    weights = {
        "first.weight": rng.normal(size=(6, 2, 3, 3)).astype(np.float32) / 4,
        "first.bias": rng.normal(size=6).astype(np.float32) / 4,
        "second.weight": rng.normal(size=(6, 6, 3, 3)).astype(np.float32) / 7,
        "last.weight": rng.normal(size=(classes, 6)).astype(np.float32),
    }
    return tiny_nets.model(
        nodes,
        weights,
        inputs={"x": (TensorProto.FLOAT, ("N", 2, 6, 6))},
        outputs={"y": (TensorProto.FLOAT, ("N", classes))},
    )


def images(n: int = 48, seed: int = 3) -> dict[str, NDArray]:
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(n, 2, 6, 6)).astype(np.float32), "labels": rng.integers(0, 4, n)}


def stored_of(model: Model) -> dict[str, Stored]:
    """The weights and biases as the file holds them."""
    return {s.name: Stored(s, s.format, model.numbers[s.name]) for s in model.select(("weight", "bias"))}


def flips(model: Model, count: int, seed: int = 0, bits: tuple[int, ...] | None = None) -> list[Patch]:
    """Random single flips, uniform over tensors, elements and (some) bits."""
    rng, found = np.random.default_rng(seed), []
    stored = list(stored_of(model).values())
    for _ in range(count):
        one = stored[rng.integers(len(stored))]
        at = np.array([rng.integers(one.site.elements)])
        bit = int(rng.choice(bits)) if bits else int(rng.integers(one.format.bits))
        found.append({one.site.name: Sparse(at, flipped(one, at, bit))})
    return found


def numbers_of(model: Model, patch: Patch) -> dict[str, NDArray]:
    """The whole tensors under a patch, for a plain evaluation."""
    found = {}
    for name, faults in patch.items():
        found[name] = model.numbers[name].copy()
        found[name].reshape(-1)[faults.indices] = faults.values
    return found
