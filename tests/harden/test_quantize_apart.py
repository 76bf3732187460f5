"""Graphs that onnxruntime's quantizer by itself makes into another network; and a runtime that computes another one."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import Options, assess
from faultsim.harden.quantize import quantize
from faultsim.model import load_model
from faultsim.model.check import optimiser_gap
from tests.harden.conftest import Arrays

RNG = np.random.default_rng(4)
LEVELS = (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)


def _value(name, *sizes):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sizes))


def _normal(*sizes):
    return RNG.normal(size=sizes).astype(np.float32)


def _made(nodes, weights, outputs):
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", [_value("x", "n", 6)], [_value("y", "n", outputs)], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


def _inside():
    """Branches of an If that read a ReLU of the main graph, one of them from a second If inside it."""

    def branch(name, weight, inner=False):
        nodes = [helper.make_node("MatMul", ["r", weight], [name])]
        if inner:
            deep = [helper.make_graph([helper.make_node("MatMul", ["r", w], [f"{name}_{w}"])], w,
                                      [], [_value(f"{name}_{w}", "n", 3)]) for w in (weight, "v")]  # fmt: skip
            nodes = [helper.make_node("If", ["c"], [name], then_branch=deep[0], else_branch=deep[1])]
        return helper.make_graph(nodes, name, [], [_value(name, "n", 3)])

    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("ReduceSum", ["r"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("t", "u", inner=True), else_branch=branch("e", "v")),
    ]
    weights = {"w": _normal(6, 5), "b": _normal(5), "u": _normal(5, 3), "v": _normal(5, 3)}
    return _made(nodes, weights | {"zero": np.zeros((), np.float32)}, 3)


def _tied():
    """One matrix read both ways round, as an autoencoder of tied weights does."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w"], ["y"], transB=1),
    ]
    # columns of very different size: scales of the wrong axis do harm
    return _made(nodes, {"w": _normal(6, 6) * np.logspace(-2, 0.5, 6, dtype=np.float32), "b": _normal(6)}, 6)


@pytest.mark.parametrize("make", [_inside, _tied])
def test_the_quantized_graph_is_the_float_one_at_every_level_of_optimisation(make):
    proto, x = make(), _normal(128, 6)
    done = quantize(load_model(proto), "int8", iter([{"x": x}]), samples=128)
    before = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        after = onnxruntime.InferenceSession(done.proto.SerializeToString(), options).run(None, {"x": x})[0]
        assert np.abs(after - before).max() < 0.03 * np.abs(before).max()


def _fused_wrong():
    """Scales by column of a matrix that a Gemm reads turned round: onnxruntime's optimiser takes them for rows."""
    codes, scale = RNG.integers(-127, 128, (6, 6)).astype(np.int8), np.logspace(-4, -1, 6, dtype=np.float32)
    step, zero = np.array(0.02, np.float32), np.array(0, np.int8)
    nodes = []
    for name in ("x", "y_"):
        nodes += [
            helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}q"]),
            helper.make_node("DequantizeLinear", [f"{name}q", "s", "z"], [f"{name}d" if name == "x" else "y"]),
        ]
    dequantized = helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=1)
    nodes = [*nodes[:2], dequantized, helper.make_node("Gemm", ["xd", "wd"], ["y_"], transB=1), *nodes[2:]]
    return _made(nodes, {"w": codes, "ws": scale, "wz": np.zeros(6, np.int8), "s": step, "z": zero}, 6)


def test_torch_scores_where_the_optimiser_makes_another_network():
    proto, x = _fused_wrong(), 0.5 * _normal(64, 6)
    model, options = load_model(proto), onnxruntime.SessionOptions()
    optimised = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})
    options.graph_optimization_level = LEVELS[0]
    plain = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})
    if np.array_equal(optimised[0], plain[0]):
        pytest.skip("this onnxruntime computes the graph as it is written")
    found = assess(
        model,
        "sram_low_voltage",
        Arrays("x", x, plain[0].argmax(1)),
        options=Options(trials=2, site_trials=0, search_gradients=2),
    )
    assert found.clean.accuracy == 1.0
    assert any("onnxruntime's optimiser changes what this graph computes" in note for note in found.notes)
    assert optimiser_gap(model, {"y": plain[0]}, {"y": plain[0]}) is None
