"""A model on which faultsim and onnxruntime part is refused, with the first node at which they do."""

import numpy as np
import pytest
import torch
from graphs import ALL, F, codes, conv_bn, feeds, mlp, model, node, qdq, quant, tensor
from wrong import sabotage

from faultsim.errors import DisagreementError, ModelError
from faultsim.model import check_agreement, load_model
from faultsim.model.check import session
from faultsim.model.values import Codes


@pytest.mark.parametrize("name", sorted(set(ALL) - {"quant", "mlp_bfloat16"}))  # which onnxruntime cannot run
def test_small_graphs_agree(name):
    proto = ALL[name]()
    found = check_agreement(load_model(proto), feeds(proto, rows=16))
    assert found.runtime.startswith("onnxruntime 1.")
    assert found.samples == 16
    assert found.max_abs_difference <= found.tolerance
    assert found.differing <= 0.01


@pytest.mark.parametrize(
    ("name", "op"), [("first", "Gemm"), ("second", "MatMul"), ("add", "Add")], ids=["first", "middle", "last"]
)
def test_the_first_guilty_node_of_a_float_graph_is_named(name, op):
    loaded = load_model(mlp())
    sabotage(loaded, name, lambda y: y + 0.1 * y.abs().max())
    with pytest.raises(
        DisagreementError,
        match=rf"net: faultsim and onnxruntime .* differ by .* on 3 samples .* first at node '{name}' "
        rf"\({op}, output '.*', difference .*\); please report the model",
    ):
        check_agreement(loaded, feeds(mlp()))


def test_of_two_guilty_nodes_the_first_is_named():
    loaded = load_model(conv_bn())
    for name in ("depthwise", "bn"):
        sabotage(loaded, name, lambda y: y * 1.5)
    with pytest.raises(DisagreementError, match=r"first at node 'bn'"):
        check_agreement(loaded, feeds(conv_bn()))


def test_a_wrong_shape_is_a_disagreement():
    loaded = load_model(mlp())
    sabotage(loaded, "add", lambda y: y[:, :3])
    with pytest.raises(DisagreementError, match=r"differ by inf .* first at node 'add'"):
        check_agreement(loaded, feeds(mlp()))


def test_nan_where_there_is_none_is_a_disagreement():
    loaded = load_model(mlp())
    sabotage(loaded, "second", lambda y: y * torch.nan)
    with pytest.raises(DisagreementError, match=r"first at node 'second'"):
        check_agreement(loaded, feeds(mlp()))


def test_a_wrong_body_is_laid_at_the_node_that_holds_it():
    loaded = load_model(ALL["loop"]())
    sabotage(loaded, "loop/body/step", lambda y: y * 1.3)
    with pytest.raises(DisagreementError, match=r"first at node 'loop' \(Loop"):
        check_agreement(loaded, feeds(ALL["loop"]()))


def _deep_qdq():
    """Three quantized layers, so that codes can part after the first."""
    nodes, weights, last = [], [tensor("zx", np.uint8(128))], "x"
    for i in range(3):
        nodes += [
            node("QuantizeLinear", [last, f"sx{i}", "zx"], [f"q{i}"], name=f"quantize{i}"),
            node("DequantizeLinear", [f"q{i}", f"sx{i}", "zx"], [f"d{i}"], name=f"dequantize{i}"),
            node("DequantizeLinear", [f"w{i}", f"sw{i}"], [f"wd{i}"], name=f"weight{i}"),
            node("MatMul", [f"d{i}", f"wd{i}"], [f"m{i}"], name=f"matmul{i}"),
        ]
        weights += [tensor(f"sx{i}", F(0.03)), tensor(f"sw{i}", F(0.006)), tensor(f"w{i}", codes(6, 6, seed=i))]
        last = f"m{i}"
    nodes.append(node("Identity", [last], ["y"], name="out"))
    return model(nodes, weights)


def test_a_deep_quantized_graph_agrees():
    found = check_agreement(load_model(_deep_qdq()), feeds(_deep_qdq(), rows=64))
    assert found.max_abs_difference <= found.tolerance


@pytest.mark.parametrize("name", ["matmul0", "matmul1", "weight1", "dequantize2", "quantize1"])
def test_the_first_guilty_node_of_a_quantized_graph_is_named(name):
    loaded = load_model(_deep_qdq())

    def wrong(y):
        return Codes((y.values * 0.5).round(), y.elem_type) if isinstance(y, Codes) else y * 1.4

    sabotage(loaded, name, wrong)
    with pytest.raises(DisagreementError, match=rf"first at node '{name}'"):
        check_agreement(loaded, feeds(_deep_qdq(), rows=20))


def test_one_code_on_a_rounding_edge_is_no_disagreement():
    loaded = load_model(_deep_qdq())

    def nudge(y):
        moved = y.values.clone()
        moved[0, 0] += 1 if moved[0, 0] < 255 else -1
        return Codes(moved, y.elem_type)

    sabotage(loaded, "quantize2", nudge)
    found = check_agreement(loaded, feeds(_deep_qdq(), rows=20))
    assert found.max_abs_difference <= found.tolerance


def test_qonnx_against_its_own_executor():
    pytest.importorskip("qonnx")
    loaded, fed = load_model(quant()), feeds(quant())
    found = check_agreement(loaded, fed)
    assert found.runtime == "qonnx executor"
    assert found.max_abs_difference < 1e-5


def test_without_the_qonnx_package_the_check_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "qonnx.core.modelwrapper", None)
    found = check_agreement(load_model(quant()), feeds(quant()))
    assert found.runtime.startswith("not checked: onnxruntime has no QONNX ops; install the package qonnx")


def test_a_session_that_cannot_open():
    with pytest.raises(ModelError, match=r"onnxruntime cannot run the model: .*Quant"):
        session(quant())


def test_optimised_and_plain_sessions_agree():
    fed = feeds(qdq())
    plain, fast = (session(qdq(), optimised=o, threads=1).run(None, fed)[0] for o in (False, True))
    np.testing.assert_allclose(plain, fast, atol=1e-4)
