"""One network twice: its codes packed several to a byte (com.microsoft), and as blocked DequantizeLinear."""

from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
N, BLOCK, BITS = 16, 16, 4


class Twins(NamedTuple):
    """Both graphs, and data for them; the packed one holds ``codes``, the other one too, turned for a product."""

    packed: ModelProto
    plain: ModelProto
    data: dict[str, NDArray[Any]]


def products(seed: int = 3, *, k: int = 32, zeros: bool = False) -> Twins:
    """MatMulNBits, and DequantizeLinear before a MatMul; then Relu and a float layer."""
    rng = np.random.default_rng(seed)
    blocks = -(-k // BLOCK)
    codes = rng.integers(0, 1 << BITS, (N, blocks, BLOCK))
    scales = rng.uniform(0.02, 0.12, (N, blocks)).astype(np.float32)
    zero = rng.integers(0, 1 << BITS, (N, blocks)) if zeros else np.full((N, blocks), 1 << (BITS - 1))
    head = numpy_helper.from_array((rng.normal(size=(N, 4)) * 0.5).astype(np.float32), "head")
    tail = [helper.make_node("Relu", ["h"], ["r"], "act"), helper.make_node("MatMul", ["r", "head"], ["y"], "last")]
    stored = [
        numpy_helper.from_array(packed(codes, BITS), "codes"),
        numpy_helper.from_array(scales, "scales"),
        *([numpy_helper.from_array(packed(zero, BITS), "zeros")] if zeros else []),
        head,
    ]
    read = ["x", "codes", "scales", *(["zeros"] if zeros else [])]
    size = {"K": k, "N": N, "bits": BITS, "block_size": BLOCK, "accuracy_level": 1}
    first = [helper.make_node("MatMulNBits", read, ["h"], "first", domain="com.microsoft", **size)]
    turned = codes.reshape(N, -1).T[:k]
    plain = [
        helper.make_tensor("codes", TensorProto.UINT4, turned.shape, turned.reshape(-1).tolist()),
        numpy_helper.from_array(np.ascontiguousarray(scales.T), "scales"),
        helper.make_tensor("zeros", TensorProto.UINT4, (blocks, N), zero.T.reshape(-1).tolist()),
        head,
    ]
    steps = [
        helper.make_node("DequantizeLinear", ["codes", "scales", "zeros"], ["w"], "dq", axis=0, block_size=BLOCK),
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
    ]
    ends = (helper.make_tensor_value_info("x", FLOAT, ("M", k)), helper.make_tensor_value_info("y", FLOAT, ("M", 4)))
    pair = _model([*first, *tail], ends, stored), _model([*steps, *tail], ends, plain)
    return Twins(*pair, labelled(pair[0], {"x": rng.normal(size=(200, k)).astype(np.float32)}))


def tables(seed: int = 5, *, rows: int = 24, k: int = 32, zeros: bool = False) -> Twins:
    """GatherBlockQuantized, and DequantizeLinear before a Gather; then the mean of the rows and a float layer."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << BITS, (rows, k))
    scales = rng.uniform(0.02, 0.12, (rows, k // BLOCK)).astype(np.float32)
    zero = rng.integers(0, 1 << BITS, scales.shape) if zeros else np.full(scales.shape, 1 << (BITS - 1))
    head = numpy_helper.from_array((rng.normal(size=(k, 4)) * 0.5).astype(np.float32), "head")
    tail = [
        helper.make_node("ReduceMean", ["e", "axes"], ["m"], "mean", keepdims=0),
        helper.make_node("MatMul", ["m", "head"], ["y"], "last"),
    ]
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    stored = [
        numpy_helper.from_array(packed(codes, BITS), "codes"),
        numpy_helper.from_array(scales, "scales"),
        *([numpy_helper.from_array(packed(zero, BITS), "zeros")] if zeros else []),
        head,
        axes,
    ]
    read = ["codes", "ids", "scales", *(["zeros"] if zeros else [])]
    size = {"bits": BITS, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
    first = [helper.make_node("GatherBlockQuantized", read, ["e"], "first", domain="com.microsoft", **size)]
    plain = [
        helper.make_tensor("codes", TensorProto.UINT4, codes.shape, codes.reshape(-1).tolist()),
        numpy_helper.from_array(scales, "scales"),
        helper.make_tensor("zeros", TensorProto.UINT4, zero.shape, zero.reshape(-1).tolist()),
        head,
        axes,
    ]
    steps = [
        helper.make_node("DequantizeLinear", ["codes", "scales", "zeros"], ["w"], "dq", axis=1, block_size=BLOCK),
        helper.make_node("Gather", ["w", "ids"], ["e"], "first"),
    ]
    ends = helper.make_tensor_value_info("ids", INT64, ("M", 5)), helper.make_tensor_value_info("y", FLOAT, ("M", 4))
    pair = _model([*first, *tail], ends, stored), _model([*steps, *tail], ends, plain)
    return Twins(*pair, labelled(pair[0], {"ids": rng.integers(0, rows, (200, 5))}))


def packed(codes: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Bytes of codes, written by hand: the first code of a byte in its lowest bits, the last byte filled up with 0."""
    each = 8 // bits
    filled = np.pad(codes, [*[(0, 0)] * (codes.ndim - 1), (0, -codes.shape[-1] % each)])
    parts = filled.reshape(*codes.shape[:-1], -1, each)
    return sum(parts[..., i] << (bits * i) for i in range(each)).astype(np.uint8)


def turned(array: NDArray[Any], like: tuple[int, ...]) -> NDArray[Any]:
    """Numbers of a packed tensor laid out as the plain one has them, of shape *like*; a product's last block is cut."""
    return array.reshape(len(array), -1).T[: like[0]] if array.ndim == 3 else array


def onnxruntime_run(proto: ModelProto, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Outputs of onnxruntime, nothing fused."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def labelled(proto: ModelProto, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inputs with the network's own answers as labels."""
    return {**feeds, "labels": onnxruntime_run(proto, feeds).argmax(1)}


def _model(nodes: list[onnx.NodeProto], ends: tuple[Any, Any], stored: list[TensorProto]) -> ModelProto:
    graph = helper.make_graph(nodes, "twin", [ends[0]], [ends[1]], stored)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
