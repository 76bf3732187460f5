"""Tiny models, a brute-force count of what every single bit does to one, and campaigns without a model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from faultsim.campaign.draw import Draws
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.population import Faults, Population, Region
from faultsim.journal import Table

SAMPLES = 40


@dataclass(frozen=True)
class Tiny:
    """One Gemm of 3 × 2 float16 numbers behind a cast: 96 stored bits."""

    path: Path
    data: Path
    weight: NDArray[np.float16]
    inputs: NDArray[np.float32]


def tiny(folder: Path) -> Tiny:
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(3, 2)).astype(np.float16)
    inputs = rng.normal(size=(SAMPLES, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["w"], ["wide"], "cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Gemm", ["x", "wide"], ["y"], "gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = folder / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    labels = np.argmax(inputs @ weight.astype(np.float32).T, axis=1)
    np.savez(folder / "tiny.npz", x=inputs, y=labels)
    return Tiny(path, folder / "tiny.npz", weight, inputs)


def changed_by_every_bit(net: Tiny) -> NDArray[np.int64]:
    """Predictions that each bit changes, shape (6, 16): numpy alone, one product a fault."""
    clean = np.argmax(net.inputs @ net.weight.astype(np.float32).T, axis=1)
    found = np.zeros((net.weight.size, 16), np.int64)
    for element in range(net.weight.size):
        for bit in range(16):
            words = net.weight.copy().reshape(-1).view(np.uint16)
            words[element] ^= np.uint16(1 << bit)
            with np.errstate(all="ignore"):
                scores = net.inputs @ words.view(np.float16).reshape(3, 2).astype(np.float32).T
            broken = ~np.isfinite(scores).all(axis=1)
            found[element, bit] = int((broken | (np.argmax(scores, axis=1) != clean)).sum())
    return found


def imaginary(stratify: str = "none", sizes: tuple[tuple[int, int], ...] = ((30, 8), (200, 8), (50, 4))) -> Population:
    """A population of sites that no model has."""
    regions = tuple(
        Region(f"site{i}", "conv" if i < 2 else "gemm", "weight", f"int{bits}", elements, bits)
        for i, (elements, bits) in enumerate(sizes)
    )
    return Population(regions, stratify)  # type: ignore[arg-type]


def scored(draws: Draws, trials: NDArray[np.int64], share: Callable[[Faults], NDArray[np.float64]]) -> Table:
    """Rows of trials of which *share* says what share of 100 predictions changes; sorted by trial."""
    trials = np.sort(trials)
    faults = draws.faults(trials)
    table = np.zeros(len(trials), COLUMNS.dtype)
    table["trial"] = trials
    table["stratum"] = 0 if draws.replacement else draws.population.stratum_of(trials)
    for name in ("site", "element", "bit"):
        table[name] = getattr(faults, name)[:, 0]
    table["n"] = 100
    table["mismatch"] = np.rint(100 * share(Faults(*(part[:, 0] for part in faults)))).astype(np.int64)
    table["correct"] = 100 - table["mismatch"]
    table["critical"] = table["mismatch"]
    table["masked"] = 100 - table["mismatch"]
    return table


def dynamic(net: Tiny, folder: Path) -> Path:
    """The same network, its inputs rounded with a scale of the whole batch."""
    proto = onnx.load(net.path)
    rounded = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "round"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["xr"], "back"),
    ]
    proto.graph.node[1].input[0] = "xr"
    nodes = [proto.graph.node[0], *rounded, proto.graph.node[1]]
    graph = helper.make_graph(
        nodes, "dynamic", proto.graph.input, proto.graph.output, initializer=proto.graph.initializer
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, folder / "dynamic.onnx")
    return folder / "dynamic.onnx"
