"""Numbers inside model-local functions are sites: read, differentiated, written back."""

import numpy as np
import onnx
import pytest
from calls import X, at, facts, function, ort_run, with_functions
from graphs import F, codes, constant, node, numbers, tensor, value
from onnx import TensorProto, helper, numpy_helper

from faultsim.formats import IntFormat
from faultsim.model import check_agreement, load_model


def dense(name="dense", domain="mine", seed=0):
    """A layer with its weight and bias inside: x @ w + b, width 6."""
    nodes = [
        constant("w", numbers(6, 6, seed=seed)),
        constant("b", numbers(6, seed=seed)),
        node("MatMul", ["a", "w"], ["m"], name="product"),
        node("Add", ["m", "b"], ["o"], name="plus"),
    ]
    return function(name, ["a"], ["o"], nodes, domain=domain)


def two_calls():
    """One function called twice, around a layer of the main graph."""
    nodes = [
        node("dense", ["x"], ["h"], name="one", domain="mine"),
        node("MatMul", ["h", "v"], ["r"], name="between"),
        node("dense", ["r"], ["y"], name="two", domain="mine"),
    ]
    return with_functions(nodes, [dense()], [tensor("v", numbers(6, 6, seed=3))])


def nested():
    """A function that calls another, both with numbers of their own."""
    body = [
        node("dense", ["a"], ["h"], name="inner", domain="mine"),
        node("Mul", ["h", "gain"], ["o"], name="times"),
    ]
    outer = function("outer", ["a"], ["o"], [constant("gain", np.linspace(0.5, 2, 6, dtype=F)), *body])
    return with_functions([node("outer", ["x"], ["y"], name="call", domain="mine")], [outer, dense()])


def quantized():
    """Int8 weight, int32 bias and their scales inside a function."""
    body = [
        constant("w", codes(4, 6)),
        constant("b", codes(4, low=-900, high=900, dtype=np.int32)),
        constant("sw", np.linspace(0.004, 0.02, 4, dtype=F)),
        constant("sb", np.linspace(0.002, 0.01, 4, dtype=F)),
        node("DequantizeLinear", ["w", "sw"], ["wd"], axis=0),
        node("DequantizeLinear", ["b", "sb"], ["bd"], axis=0),
        node("Gemm", ["a", "wd", "bd"], ["o"], name="gemm", transB=1),
    ]
    return with_functions([node("q", ["x"], ["y"], name="call", domain="mine")], [function("q", ["a"], ["o"], body)])


def branched():
    """An If inside a function: an initializer in one branch, a Constant node in the other, behind a bound attribute."""

    def branch(name, seed, *, as_node):
        made = [constant("w", numbers(6, 6, seed=seed))] if as_node else []
        stored = [] if as_node else [tensor("w", numbers(6, 6, seed=seed))]
        product = node("MatMul", ["a", "w"], ["o"], name="inner")
        return helper.make_graph([*made, product], name, [], [value("o", ["N", 6])], stored)

    cast = node("Cast", ["s"], ["positive"])
    cast.attribute.append(onnx.AttributeProto(name="to", ref_attr_name="kind", type=onnx.AttributeProto.INT))
    body = [
        node("ReduceSum", ["a"], ["s"], keepdims=0),
        cast,
        node(
            "If", ["positive"], ["o"], name="if",
            then_branch=branch("t", 1, as_node=False), else_branch=branch("e", 2, as_node=True),
        ),
    ]  # fmt: skip
    made = function("pick", ["a"], ["o"], body, attributes=["kind"])
    return with_functions([node("pick", ["x"], ["y"], name="call", domain="mine", kind=TensorProto.BOOL)], [made])


GRAPHS = {f.__name__: f for f in (two_calls, nested, quantized, branched)}


def test_a_shared_tensor_is_one_site_of_the_first_call():
    assert facts(load_model(two_calls())) == {
        "dense/w": ("one/product", "gemm", "weight", 0, 1),
        "dense/b": ("one/plus", "gemm", "bias", 0, 0),
        "v": ("between", "gemm", "weight", 1, 1),
    }
    assert [s.name for s in load_model(two_calls()).sites] == ["dense/w", "dense/b", "v"]


def test_functions_in_functions():
    assert facts(load_model(nested())) == {
        "dense/w": ("call/inner/product", "gemm", "weight", 0, 1),
        "dense/b": ("call/inner/plus", "gemm", "bias", 0, 0),
        "outer/gain": ("call/times", "elementwise", "norm", 0, 0),
    }


def test_codes_in_functions():
    loaded = load_model(quantized())
    assert {s.name: (s.role, s.format.name) for s in loaded.select()} == {
        "q/w": ("weight", "int8"),
        "q/b": ("bias", "int32"),
    }
    np.testing.assert_allclose(loaded.site("q/w").scale, np.linspace(0.004, 0.02, 4, dtype=F).reshape(4, 1))
    np.testing.assert_allclose(loaded.site("q/b").scale, np.linspace(0.002, 0.01, 4, dtype=F))
    assert loaded.site("q/b").layer == "call/gemm"


def test_branches_in_functions():
    found = facts(load_model(branched()))
    assert found["pick/if/then_branch/w"] == ("call/if/then_branch/inner", "gemm", "weight", 1, 1)
    assert found["pick/if/else_branch/w"] == ("call/if/else_branch/inner", "gemm", "weight", 0, 1)


@pytest.mark.parametrize("name", GRAPHS)
def test_agrees_with_onnxruntime(name):
    proto = GRAPHS[name]()
    onnx.checker.check_model(proto)
    found = check_agreement(load_model(proto), X)
    assert found.runtime.startswith("onnxruntime")
    assert found.max_abs_difference <= found.tolerance


def _changed(loaded):
    return {
        s.name: np.flip(loaded.numbers[s.name]).copy() if s.format.bits < 32 or isinstance(s.format, IntFormat)
        else loaded.numbers[s.name] * F(0.5) + F(0.125)
        for s in loaded.select()
    }  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_new_numbers_run_here_as_they_do_when_written(name):
    loaded = load_model(GRAPHS[name]())
    fresh = _changed(loaded)
    written = loaded.with_numbers(fresh)
    ours = loaded.run(X, fresh)["y"]
    assert not np.array_equal(ours, loaded.run(X)["y"])
    np.testing.assert_allclose(ours, ort_run(written), atol=1e-5)
    np.testing.assert_array_equal(load_model(written).run(X)["y"], ours)
    again = load_model(written)
    assert [s.name for s in again.sites] == [s.name for s in loaded.sites]
    for key, array in fresh.items():
        np.testing.assert_array_equal(again.numbers[key], array)


@pytest.mark.parametrize("name", GRAPHS)
def test_one_tensor_written_changes_that_tensor_alone(name):
    loaded = load_model(GRAPHS[name]())
    original = loaded.proto.SerializeToString(deterministic=True)
    for key, array in _changed(loaded).items():
        written = loaded.with_numbers({key: array})
        place = loaded.program.paths[key]
        assert place[0] == ("functions" if "/" in key else "graph")
        stored, clean = at(written, place), at(loaded.proto, place)
        np.testing.assert_array_equal(numpy_helper.to_array(stored), array)
        assert stored.name == clean.name
        stored.CopyFrom(clean)
        assert written.SerializeToString(deterministic=True) == original, "something else changed"
    assert loaded.with_numbers(loaded.numbers).SerializeToString(deterministic=True) == original


@pytest.mark.parametrize("name", ["two_calls", "nested"])
def test_gradients_are_those_of_finite_differences(name):
    loaded = load_model(GRAPHS[name]())
    names = [s.name for s in loaded.select()]

    def loss(out):
        return out["y"].double().square().mean()

    _, slopes = loaded.gradient(X, loss, sites=names)
    rng = np.random.default_rng(0)
    for key in names:
        direction = rng.normal(size=loaded.numbers[key].shape).astype(F)
        step = F(1e-2)
        there, back = (
            float(
                np.square(loaded.run(X, {key: loaded.numbers[key] + s * step * direction})["y"]).mean(dtype=np.float64)
            )
            for s in (F(1), F(-1))
        )
        assert (there - back) / (2 * step) == pytest.approx(float((slopes[key] * direction).sum()), rel=0.02, abs=1e-4)


def test_gradients_reach_codes_in_a_function():
    _, slopes = load_model(quantized()).gradient(X, lambda out: out["y"].square().mean(), sites=["q/w", "q/b"])
    assert all(np.any(g) for g in slopes.values())


def test_weights_that_a_call_hands_in_are_weights_of_the_layer_inside():
    body = [
        node("DequantizeLinear", ["w", "s"], ["wd"], axis=1),
        node("MatMul", ["a", "wd"], ["o"], name="product"),
    ]
    calls = [
        node("layer", ["x", "w1", "s1"], ["h"], name="one", domain="mine"),
        node("layer", ["h", "w2", "s2"], ["y"], name="two", domain="mine"),
    ]
    weights = [tensor("w1", codes(6, 6)), tensor("w2", codes(6, 6, seed=1))]
    weights += [tensor(f"s{i}", np.linspace(0.01, 0.02 * i, 6, dtype=F)) for i in (1, 2)]
    loaded = load_model(with_functions(calls, [function("layer", ["a", "w", "s"], ["o"], body)], weights))
    assert facts(loaded)["w1"] == ("one/product", "gemm", "weight", 0, 1)
    assert facts(loaded)["w2"] == ("two/product", "gemm", "weight", 1, 1)
    for i in (1, 2):
        np.testing.assert_allclose(loaded.site(f"w{i}").scale, np.linspace(0.01, 0.02 * i, 6, dtype=F).reshape(1, 6))


def test_a_function_that_dequantizes_hands_its_weight_on():
    body = [node("DequantizeLinear", ["w", "s"], ["o"], axis=1)]
    nodes = [
        node("widen", ["w", "s"], ["wd"], name="call", domain="mine"),
        node("MatMul", ["x", "wd"], ["y"], name="product"),
    ]
    weights = [tensor("w", codes(6, 4)), tensor("s", np.linspace(0.01, 0.02, 4, dtype=F))]
    loaded = load_model(with_functions(nodes, [function("widen", ["w", "s"], ["o"], body)], weights))
    assert facts(loaded)["w"] == ("product", "gemm", "weight", 0, 1)
    assert loaded.site("w").scale.shape == (1, 4)


def test_outputs_that_a_body_only_passes_on():
    body = [constant("w", numbers(6, 6)), node("Relu", ["a"], ["r"])]
    nodes = [
        node("both", ["x"], ["same", "w_out", "r_out", "r_again"], name="call", domain="mine"),
        node("MatMul", ["same", "w_out"], ["m"], name="product"),
        node("Add", ["m", "r_out"], ["n"]),
        node("Add", ["n", "r_again"], ["y"]),
    ]
    loaded = load_model(with_functions(nodes, [function("both", ["a"], ["a", "w", "r", "r"], body)]))
    assert facts(loaded) == {"both/w": ("product", "gemm", "weight", 0, 1)}


def test_names_stay_unique_where_the_graph_has_them_already():
    nodes = [
        node("dense", ["x"], ["h"], name="one", domain="mine"),
        node("dense", ["h"], ["g"], name="two", domain="other"),
        node("MatMul", ["g", "dense/w"], ["y"], name="last"),
    ]
    functions = [dense(), dense(domain="other", seed=9)]
    proto = with_functions(nodes, functions, [tensor("dense/w", numbers(6, 6, seed=5))], domains=("mine", "other"))
    loaded = load_model(proto)
    assert [s.name for s in loaded.sites] == [
        "mine::dense/w", "mine::dense/b", "other::dense/w", "other::dense/b", "dense/w",
    ]  # fmt: skip
    np.testing.assert_array_equal(loaded.numbers["other::dense/w"], numbers(6, 6, seed=9))
    np.testing.assert_array_equal(loaded.numbers["dense/w"], numbers(6, 6, seed=5))
    assert check_agreement(loaded, X).max_abs_difference < 1e-5


def by_attribute():
    """A function whose weight the call gives as an attribute; the third call leaves it at the default."""
    made = node("Constant", [], ["w"])
    made.attribute.append(onnx.AttributeProto(name="value", ref_attr_name="weight", type=onnx.AttributeProto.TENSOR))
    layer = function(
        "layer", ["a"], ["o"], [made, node("MatMul", ["a", "w"], ["o"], name="product")],
        defaults=[helper.make_attribute("weight", tensor("", numbers(6, 6, seed=2)))],
    )  # fmt: skip
    passed = node("layer", ["a"], ["o"], name="deep", domain="mine")
    passed.attribute.append(onnx.AttributeProto(name="weight", ref_attr_name="kernel", type=onnx.AttributeProto.TENSOR))
    around = function("around", ["a"], ["o"], [passed], attributes=["kernel"])
    calls = [
        node("layer", ["x"], ["h"], name="one", domain="mine", weight=tensor("", numbers(6, 6))),
        node("around", ["h"], ["g"], name="two", domain="mine", kernel=tensor("", numbers(6, 6, seed=1))),
        node("layer", ["g"], ["y"], name="three", domain="mine"),
    ]
    return with_functions(calls, [layer, around])


def test_a_tensor_that_the_call_gives_as_an_attribute_is_named_after_the_call():
    loaded = load_model(by_attribute())
    want = X["x"] @ numbers(6, 6) @ numbers(6, 6, seed=1) @ numbers(6, 6, seed=2)
    np.testing.assert_allclose(loaded.run(X)["y"], want, rtol=1e-4, atol=1e-5)
    assert facts(loaded) == {
        "one/weight": ("one/product", "gemm", "weight", 0, 1),
        "two/kernel": ("two/deep/product", "gemm", "weight", 1, 1),
        "layer/weight": ("three/product", "gemm", "weight", 2, 1),
    }
    for seed, key in enumerate(("one/weight", "two/kernel", "layer/weight")):
        np.testing.assert_array_equal(loaded.numbers[key], numbers(6, 6, seed=seed))
        fresh = {key: numbers(6, 6, seed=8)}
        written = loaded.with_numbers(fresh)
        np.testing.assert_array_equal(numpy_helper.to_array(at(written, loaded.program.paths[key])), fresh[key])
        np.testing.assert_array_equal(load_model(written).run(X)["y"], loaded.run(X, fresh)["y"])
        assert not np.array_equal(loaded.run(X, fresh)["y"], loaded.run(X)["y"])
