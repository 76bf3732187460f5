"""Every matrix-vector op is the sum over its arrays, and its noise is that of its weights, whatever the op."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from running import Arrays, normals, proto

from faultsim.engine.inference.layers import find_layers
from faultsim.engine.inference.product import Product
from faultsim.engine.inference.products import BUILDERS, build
from faultsim.model import load_model
from faultsim.model.nodes import Node
from faultsim.model.run import Compute
from faultsim.model.values import Value, carried

MICROSOFT = "com.microsoft"


def codes(*shape: int, seed: int = 0, low: int = -127, high: int = 127, dtype: type = np.int8) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(dtype)


def floats(op: str, inputs: Sequence[str], weights: Arrays, shape: Sequence[int | str], rank: int, **attributes: Any):
    return proto([helper.make_node(op, inputs, ["y"], "layer", **attributes)], weights, shape, rank=rank)


def integers(
    op: str, tail: Sequence[str], weights: Arrays, shape: Sequence[int | str], rank: int, out: int, domain: str = "",
    **attributes: Any,
):  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"], "quantize"),
        helper.make_node(op, ["xq", *tail], ["y"], "layer", domain=domain, **attributes),
    ]
    quantizer: Arrays = {"sx": np.float32(0.02), "zx": np.uint8(120)}
    return proto(nodes, {**quantizer, **weights}, shape, rank=rank, out=out)


CONV_TAIL = ["sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
IMAGE = ("N", 4, 6, 5)
NETS: dict[str, Callable[[], onnx.ModelProto]] = {
    "conv": lambda: floats("Conv", ["x", "w", "b"], {"w": normals(3, 4, 3, 2), "b": normals(3)}, IMAGE, 4),
    "conv strided": lambda: floats(
        "Conv", ["x", "w"], {"w": normals(3, 4, 3, 3)}, IMAGE, 4, strides=[2, 1], pads=[1, 0, 0, 1], dilations=[1, 2]
    ),
    "conv same": lambda: floats("Conv", ["x", "w"], {"w": normals(3, 4, 2, 2)}, IMAGE, 4, auto_pad="SAME_UPPER"),
    "conv grouped": lambda: floats(
        "Conv", ["x", "w", "b"], {"w": normals(6, 2, 2, 2), "b": normals(6)}, IMAGE, 4, group=2
    ),
    "conv depthwise": lambda: floats("Conv", ["x", "w"], {"w": normals(4, 1, 3, 3)}, IMAGE, 4, group=4),
    "conv1d": lambda: floats("Conv", ["x", "w"], {"w": normals(3, 4, 3)}, ("N", 4, 9), 3),
    "conv transposed": lambda: floats(
        "ConvTranspose", ["x", "w", "b"], {"w": normals(4, 3, 3, 3), "b": normals(3)}, IMAGE, 4, strides=[2, 2]
    ),
    "conv transposed grouped": lambda: floats(
        "ConvTranspose", ["x", "w"], {"w": normals(4, 3, 2, 2)}, IMAGE, 4, group=2
    ),
    "gemm": lambda: floats("Gemm", ["x", "w", "b"], {"w": normals(6, 4), "b": normals(4)}, ("N", 6), 2),
    "gemm turned and scaled": lambda: floats(
        "Gemm", ["x", "w", "b"], {"w": normals(4, 6), "b": normals(4)}, ("N", 6), 2, transB=1, alpha=-0.5, beta=2.0
    ),
    "gemm of columns": lambda: floats("Gemm", ["x", "w"], {"w": normals(6, 4)}, (6, "N"), 2, transA=1),
    "gemm weight left": lambda: floats("Gemm", ["w", "x"], {"w": normals(6, 4)}, (6, "N"), 2, transA=1),
    "matmul": lambda: floats("MatMul", ["x", "w"], {"w": normals(6, 4)}, ("N", 5, 6), 3),
    "matmul batched weight": lambda: floats("MatMul", ["x", "w"], {"w": normals(2, 6, 4)}, ("N", 2, 5, 6), 4),
    "matmul vector": lambda: floats("MatMul", ["x", "w"], {"w": normals(6)}, ("N", 6), 1),
    "matmul weight left": lambda: floats("MatMul", ["w", "x"], {"w": normals(4, 6)}, ("N", 6, 5), 3),
    "QLinearConv": lambda: integers(
        "QLinearConv", CONV_TAIL,
        {"w": codes(3, 4, 3, 3), "sw": np.linspace(0.01, 0.02, 3, dtype=np.float32), "zw": np.zeros(3, np.int8),
         "sy": np.float32(0.1), "zy": np.uint8(100), "b": codes(3, low=-900, high=900, dtype=np.int32)},
        IMAGE, 4, TensorProto.UINT8,
    ),
    "ConvInteger": lambda: integers(
        "ConvInteger", ["w", "zx", "zw"], {"w": codes(3, 4, 3, 3), "zw": np.int8(3)}, IMAGE, 4, TensorProto.INT32
    ),
    "QLinearMatMul": lambda: integers(
        "QLinearMatMul", ["sx", "zx", "w", "sw", "zw", "sy", "zy"],
        {"w": codes(6, 4), "sw": np.float32(0.01), "zw": np.int8(2), "sy": np.float32(0.1), "zy": np.uint8(100)},
        ("N", 6), 2, TensorProto.UINT8,
    ),
    "MatMulInteger": lambda: integers(
        "MatMulInteger", ["w", "zx", "zw"], {"w": codes(6, 4), "zw": codes(4, low=-2, high=2)}, ("N", 6), 2,
        TensorProto.INT32,
    ),
    "QGemm": lambda: integers(
        "QGemm", ["sx", "zx", "w", "sw", "zw", "b", "sy", "zy"],
        {"w": codes(4, 6), "sw": np.float32(0.01), "zw": np.int8(0), "sy": np.float32(0.1), "zy": np.uint8(100),
         "b": codes(4, low=-900, high=900, dtype=np.int32)},
        ("N", 6), 2, TensorProto.UINT8, MICROSOFT, transB=1, alpha=0.5,
    ),
    "QGemm to floats": lambda: integers(
        "QGemm", ["sx", "zx", "w", "sw", "zw"], {"w": codes(6, 4), "sw": np.float32(0.01), "zw": np.int8(0)},
        ("N", 6), 2, TensorProto.FLOAT, MICROSOFT,
    ),
    "MatMulIntegerToFloat": lambda: integers(
        "MatMulIntegerToFloat", ["w", "sx", "sw", "zx", "zw", "b"],
        {"w": codes(6, 4), "sw": np.float32(0.01), "zw": np.int8(1), "b": normals(4)},
        ("N", 6), 2, TensorProto.FLOAT, MICROSOFT,
    ),
    "DynamicQuantizeMatMul": lambda: proto(
        [helper.make_node("DynamicQuantizeMatMul", ["x", "w", "sw", "zw", "b"], ["y"], "layer", domain=MICROSOFT)],
        {"w": codes(6, 4), "sw": np.float32(0.01), "zw": np.int8(0), "b": normals(4)}, ("N", 6),
    ),
}  # fmt: skip


def seen_product(name: str) -> tuple[Product, list[Value], list[Value], Node]:
    """The product of the layer called ``layer`` on a batch of three, its inputs and its own outputs."""
    made = NETS[name]()
    model = load_model(made)
    kind = made.graph.input[0].type.tensor_type
    feeds = {"x": normals(*[3 if d.dim_param else d.dim_value for d in kind.shape.dim], seed=9)}
    found: list[Any] = []
    layers = find_layers(model)

    def intercept(node: Node, arguments: list[Value], compute: Compute) -> Sequence[Value]:
        results = compute(arguments)
        layer = layers.matrix.get(id(node.proto))
        if layer is not None:
            found.append((build(node, arguments, layer.position), arguments, list(results), node))
        return results

    model.run(feeds, interceptor=intercept)
    assert len(found) == 1
    assert layers.uncovered == ()
    product, arguments, results, node = found[0]
    return product, arguments, results, node


@pytest.mark.parametrize("rows", [1000, 1, 5])
@pytest.mark.parametrize("name", NETS)
def test_the_arrays_of_a_layer_add_up_to_what_the_op_gives(name: str, rows: int) -> None:
    product, _, results, _ = seen_product(name)
    count = product.shape.summands(product.weight)
    total = sum(
        product.outputs(product.x, first, min(first + rows, count)) for first in range(0, count, min(rows, count))
    )
    assert isinstance(total, torch.Tensor)
    ours, theirs = carried(product.finish(total)[0]), carried(results[0])
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, check_dtype=False)


@pytest.mark.parametrize("name", NETS)
def test_the_variance_is_that_of_outputs_whose_weights_are_moved_one_by_one(name: str) -> None:
    product, arguments, _, node = seen_product(name)
    position = next(
        p for p in BUILDERS[node.op_type][1] if product.orient(carried(arguments[p])).shape == product.weight.shape
    )
    spread = torch.rand(carried(arguments[position]).shape, generator=torch.Generator().manual_seed(3))
    count = product.shape.summands(product.weight)
    turned = product.orient(spread)
    whole = torch.zeros_like(product.multiply(product.x, product.weight))
    for i in range(turned.numel()):  # linear in the weights: each one's derivative is its output alone
        one = torch.zeros(turned.numel())
        one[i] = turned.reshape(-1)[i]
        whole += product.multiply(product.x, one.reshape(turned.shape)).square()
    torch.testing.assert_close(product.variance(spread, product.x, 0, count), whole, rtol=1e-4, atol=1e-3)
    if count > 1:
        parts = product.variance(spread, product.x, 0, 1) + product.variance(spread, product.x, 1, count)
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", NETS)
def test_peaks_are_the_largest_weight_that_reaches_each_output(name: str) -> None:
    product, *_ = seen_product(name)
    ones = torch.ones_like(product.x)
    flat = product.weight.reshape(-1)
    largest = torch.zeros_like(product.multiply(ones, product.weight))
    for i in range(flat.numel()):
        one = torch.zeros_like(flat)
        one[i] = flat[i].abs()
        reached = product.multiply(ones, one.reshape(product.weight.shape)) != 0
        largest = torch.where(reached, torch.maximum(largest, flat[i].abs()), largest)
    peaks = product.shape.peaks(product.weight, largest.ndim).expand(largest.shape)
    axis = product.shape.channel_axis
    if axis is not None:  # the border of a padded feature map does not see every weight
        others = [i for i in range(largest.ndim) if i != axis % largest.ndim]
        batched = product.weight.ndim == 3 and product.shape.group == 0
        largest = largest if batched else largest.amax(others, keepdim=True).expand(peaks.shape)
    torch.testing.assert_close(peaks, largest)


def test_every_op_of_the_table_is_tested() -> None:
    ops = {node.op_type for make in NETS.values() for node in make().graph.node}
    assert set(BUILDERS) <= ops
