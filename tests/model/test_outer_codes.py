"""Integers are codes where only a body inside reads them: a function, a branch, a loop."""

import numpy as np
import pytest
from calls import X, function, ort_run, with_functions
from graphs import F, codes, model, node, tensor, value
from onnx import TensorProto, helper

from faultsim.formats import IntFormat
from faultsim.model import check_agreement, load_model


def _outer_bias(kind):
    """An int32 bias and its scale in the main graph, read inside a body alone."""
    read = [
        node("DequantizeLinear", ["b", "sb"], ["bd"], name="read"),
        node("Add", ["state", "bd"], ["o"], name="plus"),
    ]
    weights = [tensor("b", codes(6, low=-900, high=900, dtype=np.int32)), tensor("sb", F(0.01))]
    if kind == "function":
        call = [node("plus", ["x", "b", "sb"], ["y"], name="body", domain="mine")]
        return with_functions(call, [function("plus", ["state", "b", "sb"], ["o"], read)], weights)
    if kind == "loop":
        ends = [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", ["N", 6])]
        outs = [value("on", [], TensorProto.BOOL), value("o", ["N", 6])]
        body = helper.make_graph([*read, node("Identity", ["go"], ["on"])], "body", ends, outs)
        return model(
            [node("Loop", ["turns", "", "x"], ["y"], name="loop", body=body)],
            [*weights, tensor("turns", np.int64(3))],
        )
    inside = [node("Identity", ["x"], ["state"]), *read]
    bodies = {b: helper.make_graph(inside, b, [], [value("o", ["N", 6])]) for b in ("then_branch", "else_branch")}
    return model([node("If", ["go"], ["y"], name="if", **bodies)], [*weights, tensor("go", np.array(True))])


@pytest.mark.parametrize("kind", ["function", "loop", "if"])
def test_a_bias_outside_the_body_that_dequantizes_it_is_codes(kind):
    loaded = load_model(_outer_bias(kind))
    site = loaded.site("b")
    assert (site.role, site.format) == ("bias", IntFormat(32, dtype="int32"))
    np.testing.assert_allclose(site.scale, F(0.01))
    found = check_agreement(loaded, X)
    assert found.max_abs_difference <= found.tolerance
    _, slopes = loaded.gradient(X, lambda out: out["y"].sum(), sites=["b"])
    np.testing.assert_allclose(slopes["b"], 3 * F(0.01) * (3 if kind == "loop" else 1), rtol=1e-5)
    fresh = {"b": loaded.numbers["b"] + 100}
    np.testing.assert_allclose(loaded.run(X, fresh)["y"], ort_run(loaded.with_numbers(fresh)), atol=1e-4)


def test_a_scale_inside_the_branch_that_reads_outer_codes_is_found():
    inside = [node("DequantizeLinear", ["w", "s"], ["d"]), node("MatMul", ["x", "d"], ["o"], name="inner")]
    stored = [tensor("s", F(0.03))]
    bodies = {
        b: helper.make_graph(inside, b, [], [value("o", ["N", 4])], stored) for b in ("then_branch", "else_branch")
    }
    proto = model(
        [node("If", ["go"], ["y"], name="if", **bodies)], [tensor("w", codes(6, 4)), tensor("go", np.array(True))]
    )
    site = load_model(proto).site("w")
    assert (site.layer, site.role) == ("if/else_branch/inner", "weight")  # as the file orders them
    np.testing.assert_allclose(site.scale, F(0.03))


def test_codes_that_a_branch_gives_back_are_codes():
    stored = [tensor("b", codes(6, low=-900, high=900, dtype=np.int32))]
    bodies = {
        b: helper.make_graph([node("Identity", ["b"], ["o"])], b, [], [value("o", [6], TensorProto.INT32)], stored)
        for b in ("then_branch", "else_branch")
    }
    nodes = [
        node("If", ["go"], ["picked"], name="if", **bodies),
        node("DequantizeLinear", ["picked", "s"], ["d"]),
        node("Add", ["x", "d"], ["y"]),
    ]
    loaded = load_model(model(nodes, [tensor("go", np.array(True)), tensor("s", F(0.01))]))
    assert loaded.program.tensors["if/then_branch/b"].__class__.__name__ == "Codes"
    assert check_agreement(loaded, X).max_abs_difference < 1e-5
