"""Numbers in plain attributes of Constant nodes are sites as those in tensors are; and what graphs are refused for."""

import numpy as np
import onnx
import pytest
from calls import X, facts, function, ort_run, with_functions
from graphs import F, constant, model, node, numbers, tensor, value
from onnx import TensorProto, helper

from faultsim.errors import ModelError, UnsupportedOpError
from faultsim.model import check_agreement, load_model
from faultsim.model.proto import resolve

W, B, V = numbers(36, seed=1), numbers(6, seed=2), numbers(6, seed=3)


def plain(name, array):
    """A Constant node that holds *array* in a plain attribute."""
    array = np.asarray(array)
    kind = ("value_float" if array.dtype.kind == "f" else "value_int") + ("s" if array.ndim else "")
    return node("Constant", [], [name], name=f"make_{name}", **{kind: array.tolist()})


def as_tensor(name, array):
    return constant(name, np.asarray(array))


def layer(make, x="x", y="y"):
    """x @ w + b, times a gain of one number; shapes and numbers from *make*."""
    return [
        make("w", W),
        make("s", np.array([6, 6])),
        make("b", B),
        make("gain", F(1.5)),
        node("Reshape", ["w", "s"], ["w2"]),
        node("MatMul", [x, "w2"], ["m"], name="product"),
        node("Add", ["m", "b"], ["a"], name="plus"),
        node("Mul", ["a", "gain"], [y], name="times"),
    ]


def main(make):
    return model(layer(make), [])


def branches(make):
    """The layer in a branch of an If, and in the body of a Loop after it."""
    yes = helper.make_graph(layer(make, y="o"), "yes", [], [value("o", ["N", 6])])
    no = helper.make_graph([node("Neg", ["x"], ["p"])], "no", [], [value("p", ["N", 6])])
    states = [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("h", ["N", 6])]
    ends = [value("c2", [], TensorProto.BOOL), value("h2", ["N", 6])]
    body = helper.make_graph([node("Identity", ["c"], ["c2"]), *layer(make, x="h", y="h2")], "body", states, ends)
    nodes = [
        node("If", ["yes"], ["z"], name="if", then_branch=yes, else_branch=no),
        node("Loop", ["n", "yes", "z"], ["y"], name="loop", body=body),
    ]
    return model(nodes, [tensor("yes", np.bool_(True)), tensor("n", np.int64(2))])


def in_function(make):
    nodes = [node("layer", ["x"], ["h"], name="one", domain="mine"), node("layer", ["h"], ["y"], domain="mine")]
    return with_functions(nodes, [function("layer", ["x"], ["y"], layer(make))])


def by_reference(make):
    """A function whose weight is an attribute of the call, and whose bias is a default of its own."""
    refer = "value_floats" if make is plain else "value"
    bodies = {}
    for local, name in (("w", "weight"), ("b", "bias")):
        bodies[local] = node("Constant", [], [local])
        kind = onnx.AttributeProto.FLOATS if make is plain else onnx.AttributeProto.TENSOR
        bodies[local].attribute.append(onnx.AttributeProto(name=refer, ref_attr_name=name, type=kind))
    body = [*bodies.values(), *(n for n in layer(make) if n.output[0] not in bodies)]
    given = (lambda name, array: array.tolist()) if make is plain else tensor
    defaults = [helper.make_attribute("bias", given("b", B))]
    made = function("layer", ["x"], ["y"], body, attributes=["weight"], defaults=defaults)
    calls = [
        node("layer", ["x"], ["h"], name="one", domain="mine", weight=given("w", W)),
        node("layer", ["h"], ["y"], name="two", domain="mine", weight=given("w", numbers(36, seed=5))),
    ]
    return with_functions(calls, [made])


KINDS = [main, branches, in_function, by_reference]


@pytest.mark.parametrize("kind", KINDS)
def test_plain_numbers_are_the_sites_that_tensors_are(kind):
    ours, theirs = load_model(kind(plain)), load_model(kind(as_tensor))
    assert facts(ours) == facts(theirs)
    assert {s.role for s in ours.sites} == {"weight", "bias", "constant"}
    assert [s.format.name for s in ours.sites] == [s.format.name for s in theirs.sites]
    for name, array in theirs.numbers.items():
        np.testing.assert_array_equal(ours.numbers[name], array)
        assert ours.numbers[name].dtype == array.dtype
    np.testing.assert_array_equal(ours.run(X)["y"], theirs.run(X)["y"])
    names = [s.name for s in ours.sites]
    got, want = (m.gradient(X, lambda out: out["y"].square().sum(), sites=names)[1] for m in (ours, theirs))
    for name in names:
        assert np.abs(got[name]).max() > 0
        np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("kind", KINDS)
def test_new_numbers_change_that_attribute_alone(kind, tmp_path):
    proto = kind(plain)
    original = proto.SerializeToString(deterministic=True)
    loaded = load_model(proto)
    assert loaded.with_numbers(loaded.numbers).SerializeToString(deterministic=True) == original
    fresh = {s.name: (loaded.numbers[s.name] * 0.5 + 0.25).astype(F) for s in loaded.sites}
    for name, array in fresh.items():
        written = loaded.with_numbers({name: array})
        np.testing.assert_array_equal(load_model(written).numbers[name], array)
        back = load_model(written).with_numbers({name: loaded.numbers[name]})
        assert back.SerializeToString(deterministic=True) == original, "something else changed"
    assert loaded.proto.SerializeToString(deterministic=True) == original
    loaded.write(tmp_path / "new.onnx", fresh)
    onnx.checker.check_model(tmp_path / "new.onnx", full_check=True)
    again = load_model(tmp_path / "new.onnx")
    np.testing.assert_array_equal(again.run(X)["y"], loaded.run(X, fresh)["y"])
    np.testing.assert_allclose(loaded.run(X, fresh)["y"], ort_run(again.proto), rtol=1e-5, atol=1e-5)
    check_agreement(again, X)


def test_integers_are_read_and_written_and_no_sites_as_in_tensors():
    loaded = load_model(main(plain))
    assert "s" not in {s.name for s in loaded.sites}
    assert resolve(loaded.proto, loaded.program.paths["s"]).data_type == TensorProto.INT64
    written = loaded.with_numbers({"s": np.array([-1, 6])})
    assert list(written.graph.node[1].attribute[0].ints) == [-1, 6]
    one = load_model(model([plain("k", np.int64(7)), node("Gather", ["x", "k"], ["y"], axis=1)], [], ("N", 9), rank=1))
    assert one.with_numbers({"k": np.array(2)}).graph.node[0].attribute[0].i == 2


def test_plain_scale_of_a_quantized_weight():
    codes = tensor("w", np.arange(36).reshape(6, 6).astype(np.int8))
    nodes = [plain("sw", F(0.02)), node("DequantizeLinear", ["w", "sw"], ["d"]), node("MatMul", ["x", "d"], ["y"])]
    loaded = load_model(model(nodes, [codes]))
    assert facts(loaded)["sw"][2] == "scale"
    np.testing.assert_allclose(loaded.site("w").scale, 0.02, rtol=1e-6)


def test_an_attribute_that_other_ops_read_too_is_no_site():
    # New numbers in the call's attribute would change LeakyRelu as well.
    refer = [node("Constant", [], ["k"]), node("LeakyRelu", ["x"], ["r"])]
    for made, name in zip(refer, ("value_float", "alpha"), strict=True):
        made.attribute.append(onnx.AttributeProto(name=name, ref_attr_name="a", type=onnx.AttributeProto.FLOAT))
    body = [*refer, node("Mul", ["r", "k"], ["y"])]
    made = function("leak", ["x"], ["y"], body, attributes=["a"])
    loaded = load_model(with_functions([node("leak", ["x"], ["y"], name="one", domain="mine", a=0.5)], [made]))
    assert loaded.sites == ()
    want = np.where(X["x"] < 0, X["x"] * F(0.5), X["x"]) * F(0.5)
    np.testing.assert_allclose(loaded.run(X)["y"], want, rtol=1e-6)


def test_a_call_named_as_the_function_it_calls():
    proto = by_reference(plain)
    proto.graph.node[0].name = "layer"
    loaded = load_model(proto)
    assert len(loaded.numbers) == 4
    check_agreement(loaded, X)


def test_nan_in_a_plain_attribute():
    proto = main(plain)
    proto.graph.node[2].attribute[0].floats[1] = np.nan
    with pytest.raises(ModelError, match=r"net: initializer 'b' holds 1 NaN of 6 numbers"):
        load_model(proto)


def test_a_sparse_initializer_runs_and_is_no_site(tmp_path):
    proto = model([node("MatMul", ["x", "wsparse"], ["h"]), node("MatMul", ["h", "w"], ["y"])], [])
    proto.graph.initializer.append(tensor("w", numbers(4, 4)))
    sparse = proto.graph.sparse_initializer.add(dims=[6, 4])
    sparse.values.CopyFrom(tensor("wsparse", F([1, 2, 3])))
    sparse.indices.CopyFrom(tensor("", np.array([0, 9, 20])))
    loaded = load_model(proto)
    assert [s.name for s in loaded.sites] == ["w"]
    dense = np.zeros(24, F)
    dense[[0, 9, 20]] = [1, 2, 3]
    want = X["x"] @ dense.reshape(6, 4) @ numbers(4, 4)
    np.testing.assert_allclose(loaded.run(X)["y"], want, rtol=1e-5, atol=1e-6)
    loaded.write(tmp_path / "new.onnx", loaded.numbers)
    assert (tmp_path / "new.onnx").read_bytes() == proto.SerializeToString(deterministic=True)


# Graphs of an older opset than they are written in


def test_an_op_that_fails_in_the_fallback():
    ones = [tensor(name, np.ones(6, F)) for name in "sbmv"]
    proto = model([node("BatchNormalization", ["x", *"sbmv"], ["y"], name="bn", epsilon=1e-3)], ones, opset=6)
    with pytest.raises(
        ModelError,
        match=r"^net: node 'bn': BatchNormalization of opset 6 runs in onnx's NumPy code alone, and that fails on "
        r"these inputs \(float32\(3, 6\), .*\) or attributes; if the graph is written in a newer opset than its "
        r"opset_import says, correct opset_import; else convert the model with onnx.version_converter.convert_version$",
    ):
        load_model(proto).run(X)


def test_an_op_that_the_opset_has_in_a_version_too_old():
    with pytest.raises(UnsupportedOpError, match=r"net: node 'd': .* 'Dropout' as opset 6 of .*; if the graph is writ"):
        load_model(model([node("Dropout", ["x"], ["y"], name="d")], [], opset=6))


# Names made twice, too late or never


def _refused(nodes, match, tmp_path, weights=()):
    path = tmp_path / "bad.onnx"
    onnx.save(model(nodes, weights), path)
    with pytest.raises(ModelError, match=f"^bad.onnx: {match}"):
        load_model(path)


def test_a_cycle(tmp_path):
    nodes = [node("Add", ["x", "b"], ["a"], name="one"), node("Relu", ["a"], ["b"], name="two")]
    _refused(
        [*nodes, node("Neg", ["b"], ["y"])], r"the graph has a cycle: the node 'one' reads 'b', and .*'two'", tmp_path
    )


def test_a_cycle_through_a_branch(tmp_path):
    body = helper.make_graph([node("Relu", ["b"], ["o"], name="in")], "b", [], [value("o", ["N", 6])])
    nodes = [node("If", ["c"], ["a"], name="if", then_branch=body, else_branch=body), node("Neg", ["a"], ["b"])]
    end = node("Neg", ["b"], ["y"])
    _refused([*nodes, end], r"the graph has a cycle: the node 'if/", tmp_path, [tensor("c", np.bool_(True))])


def test_the_wrong_order(tmp_path):
    nodes = [node("Relu", ["a"], ["y"], name="late"), node("Neg", ["x"], ["a"], name="early")]
    _refused(nodes, r"the node 'late' reads 'a' before the node 'early' makes it: .* sort them topologically", tmp_path)


@pytest.mark.parametrize("second", ["early", ""])
def test_an_output_made_twice(second, tmp_path):
    nodes = [node("Relu", ["x"], ["y"], name="one"), node("Neg", ["x"], ["y"], name=second)]
    _refused(nodes, rf"the nodes 'one' and '{second or 'Neg_1'}' both make 'y'; every name may be made once", tmp_path)


def test_an_output_named_as_a_weight_or_an_input(tmp_path):
    weights = [tensor("w", numbers(6))]
    nodes = [node("Relu", ["x"], ["w"], name="one"), node("Neg", ["w"], ["y"])]
    _refused(
        nodes, r"the node 'one' makes 'w', which is the name of a stored tensor of its graph too", tmp_path, weights
    )
    nodes = [node("Relu", ["x"], ["x"], name="one"), node("Neg", ["x"], ["y"])]
    _refused(nodes, r"the node 'one' makes 'x', which is the name of an input of its graph too", tmp_path)


def test_a_name_that_nothing_makes(tmp_path):
    undefined = r"the graph reads 'no' before anything makes it; .* the node 'add' reads it, and no node, input or"
    _refused([node("Add", ["x", "no"], ["y"], name="add")], undefined, tmp_path)
    body = function("f", ["a"], ["b"], [node("Add", ["a", "no"], ["b"], name="add")])
    with pytest.raises(ModelError, match=r"net: the graph reads 'no' .* the node 'call/add' reads it"):
        load_model(with_functions([node("f", ["x"], ["y"], name="call", domain="mine")], [body]))
