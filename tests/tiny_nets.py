"""Hand-built networks of a few dozen numbers, for tests that need a graph and no accuracy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

QONNX = "qonnx.custom_op.general"


def model(
    nodes: Sequence[NodeProto],
    weights: dict[str, NDArray],
    *,
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    outputs: dict[str, tuple[int, Sequence[int | str]]],
    domains: Sequence[str] = (),
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def dense(
    *, dtype: type = np.float32, features: int | str = 6, classes: int = 4, batch: int | str = "N", seed: int = 0
) -> ModelProto:
    """Gemm, Tanh, Gemm: smooth, so that finite differences mean something. Named features are 6, and not declared."""
    rng = np.random.default_rng(seed)
    width = features if isinstance(features, int) else 6
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = {
        "first.weight": rng.normal(size=(8, width)).astype(dtype),
        "first.bias": rng.normal(size=8).astype(dtype),
        "second.weight": rng.normal(size=(classes, 8)).astype(dtype),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "first.weight", "first.bias"], ["h"], "first", transB=1),
        helper.make_node("Tanh", ["h"], ["t"], "act"),
        helper.make_node("Gemm", ["t", "second.weight"], ["y"], "second", transB=1),
    ]
    return model(nodes, weights, inputs={"x": (kind, (batch, features))}, outputs={"y": (kind, (batch, classes))})


def insisting(proto: ModelProto, size: int) -> ModelProto:
    """The same network on *size* samples and no other number: it takes rows 0 to size - 1 of its first input."""
    made = ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    first = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["insisted" if name == first else name for name in node.input]
    graph.initializer.append(numpy_helper.from_array(np.arange(size), "rows"))
    graph.node.insert(0, helper.make_node("Gather", [first, "rows"], ["insisted"], "insist", axis=0))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    return made


def ending(*ops: str, output: int = TensorProto.FLOAT) -> ModelProto:
    """One Gemm, then *ops* in a row; QuantizeLinear has scale 0.25 and zero point 3."""
    rng = np.random.default_rng(1)
    weights: dict[str, NDArray] = {"w": rng.normal(size=(6, 4)).astype(np.float32)}
    nodes = [helper.make_node("Gemm", ["x", "w"], ["v0"], "gemm")]
    for i, op in enumerate(ops):
        extra: list[str] = []
        attributes = {"axis": -1} if op == "Softmax" else {}
        if op in ("QuantizeLinear", "DequantizeLinear"):
            weights |= {"scale": np.float32(0.25).reshape(()), "zero": np.int8(3).reshape(())}
            extra = ["scale", "zero"]
        nodes.append(helper.make_node(op, [f"v{i}", *extra], [f"v{i + 1}"], f"{op}{i}", **attributes))
    nodes[-1].output[0] = "y"
    return model(nodes, weights, inputs={"x": (TensorProto.FLOAT, ("N", 6))}, outputs={"y": (output, ("N", 4))})


def qonnx() -> ModelProto:
    """A Gemm whose weights pass a 4-bit QONNX Quant: onnxruntime has no such op."""
    rng = np.random.default_rng(2)
    weights = {
        "w": rng.normal(size=(6, 4)).astype(np.float32),
        "scale": np.float32(0.25).reshape(()),
        "zero": np.float32(0).reshape(()),
        "bits": np.float32(4).reshape(()),
    }
    quant = helper.make_node(
        "Quant",
        ["w", "scale", "zero", "bits"],
        ["wq"],
        "quant",
        domain=QONNX,
        signed=1,
        narrow=0,
        rounding_mode="ROUND",
    )
    nodes = [quant, helper.make_node("MatMul", ["x", "wq"], ["y"], "matmul")]
    return model(
        nodes,
        weights,
        inputs={"x": (TensorProto.FLOAT, ("N", 6))},
        outputs={"y": (TensorProto.FLOAT, ("N", 4))},
        domains=[QONNX],
    )


def save(proto: ModelProto, path: Path, data: dict[str, NDArray] | None = None) -> Path:
    """Write the network to *path*, and *data* beside it as the sidecar that is found by itself."""
    onnx.save(proto, path)
    if data is not None:
        np.savez(path.with_suffix(".npz"), **data)
    return path


def samples(n: int = 30, features: int = 6, classes: int = 4, seed: int = 3) -> dict[str, NDArray]:
    """Inputs ``x`` and random labels."""
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(n, features)).astype(np.float32), "labels": rng.integers(0, classes, n)}
