"""A model whose file a reference runtime reads otherwise than we do is refused, at the node that reads the tensor."""

import pytest
from graphs import ALL, feeds, numbers, tensor
from wrong import VERSION, corrupt_the_references, functions

from faultsim.errors import DisagreementError
from faultsim.model import check_agreement, load_model

CORRUPT = [
    ("mlp", "w1", "first", "Gemm"),
    ("mlp", "w2", "second", "MatMul"),
    ("mlp", "b2", "add", "Add"),
    ("mlp_constant_nodes", "w2", "second", "MatMul"),
    ("conv_bn", "w2", "depthwise", "Conv"),
    ("conv_bn", "g", "bn", "BatchNormalization"),
    ("conv_bn", "w4", "up", "ConvTranspose"),
    ("branches", "w", "if", "If"),
    ("loop", "w", "loop", "Loop"),
    ("functions", "w", "one", "dense"),
    ("qdq", "w", "dqw", "DequantizeLinear"),
    ("qdq", "b", "dqb", "DequantizeLinear"),
    ("qdq", "sw", "dqw", "DequantizeLinear"),
    ("qcdq_4bit", "w", "clip", "Clip"),
    ("real_int4", "w", "dqw", "DequantizeLinear"),
    ("qoperator", "w", "conv", "QLinearConv"),
    ("qoperator", "b", "conv", "QLinearConv"),
    ("quant", "w", "quant", "Quant"),
    ("mlp_bfloat16", "w1", "first", "Gemm"),
    ("mlp_bfloat16", "w2", "second", "MatMul"),
    ("mlp_bfloat16", "b2", "add", "Add"),
    ("mlp_bfloat16_weights", "w2_16", "Cast_2", "Cast"),
    ("mlp_float16", "w2", "second", "MatMul"),
    ("mlp_float64", "b1", "first", "Gemm"),
]


@pytest.mark.parametrize(("graph", "name", "guilty", "op"), CORRUPT, ids=[f"{g}-{n}" for g, n, _, _ in CORRUPT])
def test_a_file_that_the_reference_reads_otherwise_is_refused_at_the_node(graph, name, guilty, op, monkeypatch):
    if graph == "quant":
        pytest.importorskip("qonnx")
    proto = functions() if graph == "functions" else ALL[graph]()
    loaded, fed = load_model(proto), feeds(proto, rows=20)
    clean = check_agreement(loaded, fed)
    assert clean.max_abs_difference <= clean.tolerance
    corrupt_the_references(monkeypatch, name)
    runtime = "the qonnx executor" if graph == "quant" else VERSION
    with pytest.raises(
        DisagreementError,
        match=rf"^net: faultsim and {runtime} differ by .* on (20|2) samples .* first at node '{guilty}' \({op}, "
        r"output '.*', difference .*\); please report the model: no figure would mean anything",
    ):
        check_agreement(loaded, fed)


@pytest.mark.parametrize("graph", ["mlp", "qdq", "mlp_bfloat16", "quant"])
def test_a_tensor_that_nothing_reads_may_differ(graph, monkeypatch):
    proto = ALL[graph]()
    proto.graph.initializer.append(tensor("left_over", numbers(3, 3)))
    corrupt_the_references(monkeypatch, "left_over")
    found = check_agreement(load_model(proto), feeds(proto))
    assert found.max_abs_difference <= found.tolerance
