"""QONNX graphs against the qonnx executor, as a whole and node by node."""

from collections import Counter

import numpy as np
import pytest
import torch
from graphs import F, feeds, model, node, numbers, tensor
from wrong import VERSION, sabotage

from faultsim.errors import DisagreementError, ModelError
from faultsim.model import check_agreement, check_nodes, load_model


@pytest.fixture
def deep():
    """Two quantized layers in QONNX."""
    pytest.importorskip("qonnx")
    domain = {"domain": "qonnx.custom_op.general"}
    attributes = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND", **domain}
    nodes, weights, last = [], [tensor("z", F(0)), tensor("bits", F(4)), tensor("bits8", F(8))], "x"
    for i in range(2):
        nodes += [
            node("Quant", [last, f"sx{i}", "z", "bits8"], [f"q{i}"], name=f"act{i}", **attributes),
            node("Quant", [f"w{i}", f"sw{i}", "z", "bits"], [f"wq{i}"], name=f"weight{i}", **attributes),
            node("MatMul", [f"q{i}", f"wq{i}"], [f"m{i}"], name=f"matmul{i}"),
            node("Relu", [f"m{i}"], [f"r{i}"], name=f"relu{i}"),
        ]
        weights += [tensor(f"sx{i}", F(0.03)), tensor(f"sw{i}", F(0.1)), tensor(f"w{i}", numbers(6, 6, seed=i))]
        last = f"r{i}"
    nodes.append(node("Identity", [last], ["y"]))
    return model(nodes, weights, domains=["qonnx.custom_op.general"])


@pytest.mark.parametrize("name", ["act0", "weight0", "matmul0", "relu0", "weight1", "act1", "matmul1"])
def test_the_first_guilty_node_of_a_qonnx_graph_is_named(deep, name):
    loaded, fed = load_model(deep), feeds(deep, rows=40)
    assert check_agreement(loaded, fed).runtime == "qonnx executor"
    sabotage(loaded, name, lambda y: y * 1.5)
    with pytest.raises(
        DisagreementError,
        match=rf"net: faultsim and the qonnx executor differ by .* on 40 samples .*, first at node '{name}' \(",
    ):
        check_agreement(loaded, fed)


def test_a_rounding_edge_of_quant_is_no_disagreement(deep):
    loaded, fed = load_model(deep), feeds(deep, rows=40)

    def edges(count):
        def nudge(y):
            moved = y.clone()
            moved.view(-1)[torch.nonzero(moved.view(-1) > 0.1)[:count]] -= F(0.03)  # one step down
            return moved

        return nudge

    sabotage(loaded, "act1", edges(2))  # of 240 numbers
    walk = check_nodes.check_nodes(loaded, fed)
    assert walk.guilty == ""
    assert 0.029 < walk.worst <= walk.allowed
    assert check_agreement(loaded, fed).runtime.startswith("qonnx executor")
    loaded = load_model(deep)
    sabotage(loaded, "act1", edges(20))  # too many for chance
    assert check_nodes.check_nodes(loaded, fed).guilty.startswith("node 'act1' (Quant, output 'q1', difference 0.03")


def test_a_quant_that_is_one_step_off_everywhere_is_found(deep):
    loaded, fed = load_model(deep), feeds(deep, rows=40)
    sabotage(loaded, "weight1", lambda y: torch.where(y > 0, y - F(0.1), y))
    with pytest.raises(DisagreementError, match=r"first at node 'weight1' \(Quant"):
        check_agreement(loaded, fed)


def test_a_qonnx_graph_that_its_executor_cannot_run_as_a_whole_is_checked_by_nodes(deep, monkeypatch):
    whole = check_nodes.run_qonnx

    def refuse(proto, fed):
        raise ModelError("the qonnx executor failed (no sizes)")

    monkeypatch.setattr("faultsim.model.check.run_qonnx", refuse)
    found = check_agreement(load_model(deep), feeds(deep))
    assert (
        found.runtime == f"qonnx executor and {VERSION}, 9 of 9 nodes one by one (4 by qonnx executor, 5 by {VERSION})"
    )
    assert whole is check_nodes.run_qonnx


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("BipolarQuant", ["s"], {}),
        ("IntQuant", ["s", "z", "bits"], {"signed": 1, "narrow": 0, "rounding_mode": "FLOOR"}),
        ("Trunc", ["s", "z", "bits", "less"], {"rounding_mode": "FLOOR"}),
    ],
)
def test_every_quantizer_of_qonnx_is_checked_alone(op, inputs, attributes):
    pytest.importorskip("qonnx")
    weights = [tensor("s", F(0.25)), tensor("z", F(0)), tensor("bits", F(8)), tensor("less", F(4))]
    nodes = [
        node(op, ["x", *inputs], ["q"], name="quantize", domain="qonnx.custom_op.general", **attributes),
        node("Relu", ["q"], ["y"]),
    ]
    proto = model(nodes, weights, domains=["qonnx.custom_op.general"])
    loaded = load_model(proto)
    fed = {"x": np.round(feeds(proto)["x"] / F(0.25)) * F(0.25)}
    walk = check_nodes.check_nodes(loaded, fed)
    assert walk.guilty == ""
    assert walk.checked == Counter({"qonnx executor": 1, VERSION: 1})
    sabotage(loaded, "quantize", lambda y: y * 3)
    assert check_nodes.check_nodes(loaded, fed).guilty.startswith("node 'quantize'")
