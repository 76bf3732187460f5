"""The check node by node of what onnxruntime lacks: narrow and wide floats, bodies, text, nodes that nothing runs."""

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from graphs import ALL, F, branches, codes, feeds, loop, mlp, model, node, numbers, tensor
from onnx import TensorProto, helper, numpy_helper
from wrong import VERSION, functions, narrow, sabotage

from faultsim.errors import DisagreementError, ModelError
from faultsim.model import check_agreement, check_nodes, load_model
from faultsim.model.values import Codes

BF = ml_dtypes.bfloat16


def test_a_bfloat16_graph_is_checked_node_by_node():
    found = check_agreement(load_model(ALL["mlp_bfloat16"]()), feeds(mlp(), rows=16))
    # The casts run as they are, the other four nodes on the same numbers in float32.
    assert found.runtime == f"{VERSION}, 6 of 6 nodes one by one (4 in float32)"
    assert found.samples == 2
    assert found.unchecked == ()
    assert found.max_abs_difference <= found.tolerance


@pytest.mark.parametrize(("name", "op"), [("first", "Gemm"), ("second", "MatMul"), ("add", "Add")])
def test_the_guilty_node_of_a_bfloat16_graph_is_named(name, op):
    loaded = load_model(ALL["mlp_bfloat16"]())
    sabotage(loaded, name, lambda y: y * 1.03)
    with pytest.raises(DisagreementError, match=rf"first at node '{name}' \({op}, output"):
        check_agreement(loaded, feeds(mlp()))


def test_one_rounding_of_bfloat16_is_no_disagreement():
    loaded = load_model(ALL["mlp_bfloat16"]())
    sabotage(loaded, "second", lambda y: (y.view(torch.int16) + 1).view(torch.bfloat16))  # the next number away from 0
    found = check_agreement(loaded, feeds(mlp()))
    assert 0 < found.max_abs_difference <= found.tolerance


def test_three_roundings_of_bfloat16_are_too_many():
    loaded = load_model(ALL["mlp_bfloat16"]())
    sabotage(loaded, "second", lambda y: (y.view(torch.int16) + 3).view(torch.bfloat16))
    with pytest.raises(DisagreementError, match="first at node 'second'"):
        check_agreement(loaded, feeds(mlp()))


def test_a_wrong_shape_stops_the_search_before_the_next_node_fails():
    loaded = load_model(ALL["mlp_bfloat16"]())
    sabotage(loaded, "first", lambda y: y[:, :3])
    with pytest.raises(ModelError, match="'second'"):
        loaded.run(feeds(mlp()))
    found = check_nodes.check_nodes(loaded, feeds(mlp()))
    assert found.guilty.startswith("node 'first' (Gemm, output 'h', difference inf")


def test_bfloat16_inputs_and_outputs():
    nodes = [node("Relu", ["x"], ["r"]), node("MatMul", ["r", "w"], ["y"], name="product")]
    proto = model(nodes, [tensor("w", numbers(6, 4).astype(BF))], elem=TensorProto.BFLOAT16)
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    loaded = load_model(proto)
    found = check_agreement(loaded, feeds(proto))
    assert found.runtime == f"{VERSION}, 2 of 2 nodes one by one (2 in float32)"
    sabotage(loaded, "product", lambda y: y * 1.05)
    with pytest.raises(DisagreementError, match="first at node 'product'"):
        check_agreement(loaded, feeds(proto))


@pytest.mark.parametrize("build", [branches, loop])
@pytest.mark.parametrize(("dtype", "elem"), [(BF, TensorProto.BFLOAT16), (np.float64, TensorProto.DOUBLE)])
def test_bodies_of_control_flow_in_other_types(build, dtype, elem):
    proto = narrow(build(), dtype, elem)
    loaded = load_model(proto)
    found = check_agreement(loaded, feeds(build()))
    assert found.runtime.startswith(VERSION)
    assert found.unchecked == ()
    inner = "loop/body/step" if build is loop else "if/else_branch/inner"
    for branch in ("then", "else"):
        sabotage(loaded, inner.replace("else", branch), lambda y: y * 2)
    with pytest.raises(DisagreementError, match=r"first at node '(loop|if)'"):
        check_agreement(loaded, feeds(build()))


def test_a_function_in_bfloat16():
    proto = functions()
    weight = proto.functions[0].node[0].attribute[0].t
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(BF), ""))
    loaded = load_model(narrow(proto, BF, TensorProto.BFLOAT16))
    found = check_agreement(loaded, feeds(functions()))
    assert found.runtime == f"{VERSION}, 4 of 4 nodes one by one (2 in float32)"
    sabotage(loaded, "one/product", lambda y: y * 1.5)
    with pytest.raises(DisagreementError, match=r"first at node 'one' \(dense, output"):
        check_agreement(loaded, feeds(functions()))


def conv_in(dtype, elem):
    nodes = [
        node("Cast", ["x"], ["xn"], to=elem, name="narrow"),
        node("Conv", ["xn", "w", "b"], ["c"], name="conv", pads=[1] * 4),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = [tensor("w", numbers(4, 3, 3, 3).astype(dtype)), tensor("b", numbers(4).astype(dtype))]
    return model(nodes, weights, ("N", 3, 8, 8), rank=4, opset=22)


@pytest.mark.parametrize(
    ("dtype", "elem"),
    [(BF, TensorProto.BFLOAT16), (np.float16, TensorProto.FLOAT16), (np.float64, TensorProto.DOUBLE)],
)
def test_convolutions_in_every_float_type(dtype, elem):
    loaded = load_model(conv_in(dtype, elem))
    found = check_agreement(loaded, feeds(conv_in(dtype, elem)))
    assert found.max_abs_difference <= found.tolerance
    assert found.unchecked == ()
    sabotage(loaded, "conv", lambda y: y * 1.1)
    with pytest.raises(DisagreementError, match=r"first at node 'conv' \(Conv"):
        check_agreement(loaded, feeds(conv_in(dtype, elem)))


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_float8_weights_behind_dequantize(dtype):
    nodes = [
        node("Cast", ["x"], ["xn"], to=TensorProto.BFLOAT16),
        node("DequantizeLinear", ["w", "s"], ["wd"], name="read"),
        node("MatMul", ["xn", "wd"], ["m"], name="product"),
        node("Cast", ["m"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, [tensor("w", numbers(6, 4).astype(dtype)), tensor("s", np.asarray(0.5, BF))], opset=23)
    loaded = load_model(proto)
    found = check_agreement(loaded, feeds(proto))
    assert found.unchecked == ()
    assert found.max_abs_difference <= found.tolerance
    sabotage(loaded, "read", lambda y: y * 1.2)
    with pytest.raises(DisagreementError, match="first at node 'read'"):
        check_agreement(loaded, feeds(proto))


def test_what_onnxruntime_lacks_goes_to_the_reference_evaluator():
    # onnxruntime's CPU build has no Max of int16.
    nodes = [
        node("Cast", ["x"], ["i"], to=TensorProto.INT16),
        node("Max", ["i", "b"], ["a"], name="most"),
        node("Neg", ["a"], ["n"], name="minus"),
        node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, [tensor("b", np.arange(6, dtype=np.int16) - 3)])
    loaded = load_model(proto)
    found = check_agreement(loaded, feeds(proto))
    assert found.runtime == (
        f"{VERSION} and onnx.reference {onnx.__version__}, 4 of 4 nodes one by one "
        f"(3 by {VERSION}, 1 by onnx.reference {onnx.__version__})"
    )
    sabotage(loaded, "most", lambda y: y + 1)
    with pytest.raises(
        DisagreementError, match=rf"faultsim and onnx.reference {onnx.__version__} differ by 1 .* node 'most'"
    ):
        check_agreement(loaded, feeds(proto))


def test_nodes_that_nothing_can_check_are_listed():
    nodes = [
        node("Cast", ["x"], ["n"], to=TensorProto.BFLOAT16),
        node("RandomNormalLike", ["n"], ["noise"], seed=1.0),
        node("Dropout", ["n", "ratio", "training"], ["d"]),
        node("Add", ["d", "noise"], ["a"]),
        node("Cast", ["a"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, [tensor("ratio", F(0.5)), tensor("training", np.array(True))])
    found = check_agreement(load_model(proto), feeds(proto))
    assert found.unchecked == ("Dropout", "RandomNormalLike")
    assert found.runtime == (
        f"{VERSION}, 3 of 5 nodes one by one (1 in float32; not checked: Dropout, RandomNormalLike)"
    )


def test_a_graph_of_which_no_node_can_be_checked(monkeypatch):
    def refuse(*args, **kwargs):
        raise ModelError("onnxruntime cannot run the model: no kernel")

    monkeypatch.setattr("faultsim.model.references.session", refuse)
    monkeypatch.setattr("faultsim.model.check_nodes.run_reference", refuse)
    found = check_agreement(load_model(mlp()), feeds(mlp()))
    assert found.max_abs_difference is None
    assert found.runtime == "not checked: onnxruntime cannot run the model: no kernel"
    assert found.unchecked == ("Add", "Gemm", "MatMul", "Relu")


def test_our_own_fallback_proves_nothing(monkeypatch):
    """LabelEncoder runs in onnx.reference here: that cannot check itself."""
    nodes = [
        node("LabelEncoder", ["x"], ["e"], domain="ai.onnx.ml", keys_int64s=[0, 1, 2], values_floats=[0.5, 1.5, 2.5],
             default_float=9.0),
        node("Relu", ["e"], ["y"]),
    ]  # fmt: skip
    proto = model(nodes, [], ("N", 5), elem=TensorProto.INT64)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    fed = {"x": np.array([[0, 1, 2, 3, 1]])}
    assert check_agreement(load_model(proto), fed).runtime == VERSION
    monkeypatch.setattr("faultsim.model.references.session", lambda *a, **k: (_ for _ in ()).throw(ModelError("none")))
    found = check_agreement(load_model(proto), fed)
    assert found.unchecked == ("LabelEncoder",)
    assert found.runtime.startswith(f"onnx.reference {onnx.__version__}, 1 of 2 nodes one by one")


def test_large_results_are_not_asked_of_slow_code(monkeypatch):
    asked = []
    monkeypatch.setattr("faultsim.model.references.session", lambda *a, **k: (_ for _ in ()).throw(ModelError("none")))
    monkeypatch.setattr("faultsim.model.check_nodes.run_reference", lambda proto, fed: asked.append(proto) or {})
    monkeypatch.setattr("faultsim.model.check_nodes._MOST_IN_LOOPS", 100)
    nodes = [node("Conv", ["x", "w"], ["c"]), node("MaxPool", ["c"], ["y"], kernel_shape=[8, 8])]
    proto = model(nodes, [tensor("w", numbers(4, 3, 1, 1))], ("N", 3, 8, 8), rank=4)
    with pytest.raises(KeyError):  # the pool, whose result is small, is asked for
        check_agreement(load_model(proto), feeds(proto))
    assert [p.graph.node[0].op_type for p in asked] == ["MaxPool"]


def test_text_and_sequences_are_compared():
    nodes = [
        node("Cast", ["x"], ["n"], to=TensorProto.BFLOAT16),
        node("SplitToSequence", ["n", "size"], ["parts"], name="split", axis=1),
        node("ConcatFromSequence", ["parts"], ["joined"], name="join", axis=1),
        node("Cast", ["joined"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, [tensor("size", np.int64(3))])
    loaded = load_model(proto)
    found = check_agreement(loaded, feeds(proto))
    assert found.unchecked == ()
    sabotage(loaded, "split", lambda y: [y[0], y[1] * 1.5])
    with pytest.raises(DisagreementError, match="first at node 'split'"):
        check_agreement(loaded, feeds(proto))


def test_the_samples_that_part_most_are_searched():
    """A fault that one sample in a hundred shows is found in it."""
    loaded = load_model(mlp())
    fed = feeds(mlp(), rows=100)
    fed["x"][77] = 50

    def wrong(y):
        return torch.where(y.abs() > 20, y * 1.3, y)

    sabotage(loaded, "first", wrong)
    with pytest.raises(DisagreementError, match=r"on 100 samples .* first at node 'first'"):
        check_agreement(loaded, fed)


def test_masks_do_not_drown_the_numbers_beside_them():
    nodes = [node("Where", ["keep", "x", "mask"], ["m"], name="mask"), node("Identity", ["m"], ["y"], name="out")]
    keep = np.array([True, False, True, True, False, True])
    loaded = load_model(model(nodes, [tensor("keep", keep), tensor("mask", F(-3.4e38))]))
    sabotage(loaded, "out", lambda y: torch.where(y > -1e9, y + 1, y))
    with pytest.raises(DisagreementError, match=r"differ by 1 .* first at node 'out'"):
        check_agreement(loaded, feeds(mlp()))


def test_integers_that_are_no_codes_must_be_equal():
    """In a quantized graph too: a class one off is no rounding."""
    nodes = [
        node("DequantizeLinear", ["w", "s"], ["wd"]),
        node("MatMul", ["x", "wd"], ["m"]),
        node("ArgMax", ["m"], ["best"], name="best", axis=1),
        node("Cast", ["best"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, [tensor("w", codes(6, 400)), tensor("s", F(0.1))])
    loaded = load_model(proto)
    sabotage(loaded, "best", lambda y: y + 150)
    with pytest.raises(DisagreementError, match="first at node 'best'"):
        check_agreement(loaded, feeds(proto))
    sabotage(loaded, "best", lambda y: y - 149)
    found = check_nodes.check_nodes(loaded, feeds(proto))
    assert found.guilty.startswith("node 'best' (ArgMax, output 'best', difference 1)")


def test_a_quantizer_that_cuts_off_instead_of_rounding_is_found():
    """Off by at most one code everywhere, which a rounding edge could be here and there alone."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    proto = model(nodes, [tensor("s", F(0.5)), tensor("z", np.uint8(8))])
    loaded = load_model(proto)
    fed = feeds(proto, rows=64)
    sabotage(loaded, "quantize", lambda y: Codes((y.values - 0.5).round(), y.elem_type))
    with pytest.raises(DisagreementError, match="first at node 'quantize'"):
        check_agreement(loaded, fed)
