"""Model-local functions with overloads, free sizes written as -1, look-ups in blocks of 8-bit codes, deep calls."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.errors import FaultsimError, ModelError, OptionError
from faultsim.library import find_model
from faultsim.model import load_model

F = np.float32


def _ort(proto, feeds):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(proto.SerializeToString(), options).run(None, feeds)[0]


def _proto(nodes, constants, functions=(), *, shape=("n", 4), kind=TensorProto.FLOAT, opsets=(), ir=10):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", 21), *(helper.make_opsetid(*one) for one in opsets)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))


def _times(overload, factor):
    body = [
        helper.make_node("Constant", [], ["f"], value=numpy_helper.from_array(np.array(factor, F))),
        helper.make_node("Mul", ["a", "f"], ["b"]),
    ]
    function = helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("", 21)])
    function.overload = overload
    return function


def test_each_call_runs_the_overload_that_it_names():
    calls = [
        helper.make_node("F", ["x"], ["h"], "first", domain="own", overload="one"),
        helper.make_node("F", ["h"], ["y"], "second", domain="own", overload="two"),
    ]
    proto = _proto(calls, {}, [_times("one", 2), _times("two", 10)], opsets=[("own", 1)])
    x = np.ones((1, 4), F)
    model = load_model(proto)
    assert np.array_equal(model.run({"x": x})["y"], _ort(proto, {"x": x}))
    assert np.array_equal(model.run({"x": x})["y"], 20 * x)
    keys = {name: float(array) for name, array in model.numbers.items()}
    assert sorted(keys.values()) == [2, 10], "each body stores its own factor"
    half = next(name for name, value in keys.items() if value == 10)
    written = model.with_numbers({half: np.array(5, F)})
    assert np.array_equal(_ort(written, {"x": x}), 10 * x)


def test_a_size_of_minus_one_is_any_size():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = _proto(nodes, {"w": np.ones((4, 3), F)}, shape=(-1, 4))
    model = load_model(proto)
    assert model.inputs[0].fixed_batch is None
    x = np.ones((5, 4), F)
    assert np.array_equal(model.run({"x": x})["y"], _ort(proto, {"x": x}))


@pytest.mark.parametrize("bits", [4, 8])
def test_look_ups_in_blocks_of_codes_are_those_of_onnxruntime(bits):
    rng = np.random.default_rng(0)
    table = rng.integers(0, 256, (6, 32 * bits // 8)).astype(np.uint8)
    node = helper.make_node(
        "GatherBlockQuantized", ["t", "x", "s"], ["y"], domain="com.microsoft", bits=bits, block_size=16,
        gather_axis=0, quantize_axis=1,
    )  # fmt: skip
    constants = {"t": table, "s": rng.random((6, 2)).astype(F)}
    proto = _proto([node], constants, shape=("n",), kind=TensorProto.INT64, opsets=[("com.microsoft", 1)])
    ids = np.array([1, 3, -1, 0, -6])
    ours = load_model(proto).run({"x": ids})["y"]
    np.testing.assert_allclose(ours, _ort(proto, {"x": ids}), rtol=1e-6)


def test_functions_that_call_each_other_from_deep_bodies_are_one_sentence():
    def deep(call):
        for level in range(22):
            out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
            then = helper.make_graph([call], f"t{level}", [], [out])
            other = helper.make_graph([helper.make_node("Identity", ["a"], ["o"])], f"e{level}", [], [out])
            call = helper.make_node("If", ["c"], ["o"], then_branch=then, else_branch=other)
        return call

    functions = []
    for i in range(48):
        inner = helper.make_node(f"F{i + 1}", ["a"], ["o"], domain="own")
        if i == 47:
            inner = helper.make_node("Identity", ["a"], ["o"])
        cond = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
        body = [cond, deep(inner)]
        imports = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
        functions.append(helper.make_function("own", f"F{i}", ["a"], ["o"], body, imports))
    proto = _proto([helper.make_node("F0", ["x"], ["y"], domain="own")], {}, functions, opsets=[("own", 1)])
    try:
        model = load_model(proto)
    except FaultsimError as error:
        assert isinstance(error, ModelError)  # noqa: PT017  (a deeper stack may hold it)
    else:
        assert model.output_names == ("y",)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_one_sentence(name):
    with pytest.raises(OptionError, match="no such file"):
        find_model(name)
