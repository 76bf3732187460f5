"""Codes that a file packs several to a byte are sites of one number each, and bytes again in every written file."""

from collections.abc import Callable

import numpy as np
import onnx
import packed_twins
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from onnx import ModelProto, helper, numpy_helper
from packed_twins import Twins, onnxruntime_run, turned

from faultsim.device import load_device
from faultsim.errors import DeviceError, ModelError
from faultsim.model import load_model
from faultsim.model.packed import bytes_of, codes_of

TWINS: dict[str, Callable[[], Twins]] = {
    "product": packed_twins.products,
    "product with zeros": lambda: packed_twins.products(zeros=True),
    "product of a cut block": lambda: packed_twins.products(k=40, zeros=True),
    "table": packed_twins.tables,
    "table with zeros": lambda: packed_twins.tables(zeros=True),
}


@pytest.fixture(params=TWINS, scope="module")
def twins(request) -> Twins:
    return TWINS[request.param]()


@given(bits=st.sampled_from([2, 4]), packed=npst.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 5))))
def test_packing_undoes_unpacking_and_the_lowest_bits_come_first(bits, packed):
    codes = codes_of(packed, bits)
    assert codes.shape == (len(packed), packed.shape[1] * 8 // bits)
    assert np.array_equal(packed_twins.packed(codes, bits), packed)  # written by hand
    assert np.array_equal(bytes_of(codes, bits), packed)


def _feeds(twins: Twins) -> dict[str, np.ndarray]:
    return {name: array for name, array in twins.data.items() if name != "labels"}


def test_a_packed_tensor_is_the_site_that_its_twin_is(twins):
    mine, other = (load_model(proto).site("codes") for proto in (twins.packed, twins.plain))
    assert (mine.format, mine.role, mine.kind, mine.packed) == (other.format, other.role, other.kind, False)
    whole = [np.broadcast_to(one.scale, one.shape) for one in (mine, other)]
    assert np.array_equal(turned(whole[0], other.shape), whole[1])
    zeros = [np.broadcast_to(one.zero, one.shape) for one in (mine, other)]
    assert np.array_equal(turned(zeros[0], other.shape), zeros[1])
    assert mine.shape[mine.channel_axis] == other.shape[other.channel_axis]


@pytest.mark.parametrize("whole", [True, False])
def test_new_codes_give_what_the_twin_gives_between_two_codes_too(twins, whole):
    mine, other = load_model(twins.packed), load_model(twins.plain)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 16, mine.site("codes").shape) if whole else rng.uniform(-1, 17, mine.site("codes").shape)
    like = turned(drawn, other.site("codes").shape)
    found = mine.run(_feeds(twins), {"codes": drawn})["y"]
    assert np.allclose(found, other.run(_feeds(twins), {"codes": like})["y"], rtol=1e-5, atol=1e-5)
    if whole:
        written = mine.with_numbers({"codes": drawn.astype(np.uint8)})
        assert np.allclose(found, onnxruntime_run(written, _feeds(twins)), rtol=1e-5, atol=1e-5)
        assert np.array_equal(load_model(written).numbers["codes"], drawn)
    else:
        with pytest.raises(ModelError, match="new numbers for 'codes' are not all codes of uint4"):
            mine.with_numbers({"codes": drawn})


def test_the_written_graph_is_the_file_where_no_code_changed(twins):
    model = load_model(twins.packed)
    names = [site.name for site in model.sites]
    same = model.with_numbers({name: model.numbers[name] for name in names})
    assert same.SerializeToString(deterministic=True) == model.proto.SerializeToString(deterministic=True)
    with pytest.raises(ModelError, match=r"new numbers for 'codes' have shape \(2,\), the model's codes \("):
        model.with_numbers({"codes": np.zeros(2, np.uint8)})


def test_a_gradient_reaches_the_codes_as_it_does_in_the_twin(twins):
    def loss(outputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return outputs["y"].square().mean()

    mine, other = (load_model(p).gradient(_feeds(twins), loss, sites=["codes"]) for p in (twins.packed, twins.plain))
    assert mine[0] == pytest.approx(other[0])
    found = turned(mine[1]["codes"], other[1]["codes"].shape)
    assert np.abs(found).max() > 0
    assert np.allclose(found, other[1]["codes"], rtol=1e-4, atol=1e-7)


def test_codes_of_two_bits_run_as_in_onnxruntime():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (6, 2, 16))
    weights = {"codes": packed_twins.packed(codes, 2), "scales": rng.uniform(0.1, 1, (6, 2)).astype(np.float32)}
    proto = _one(["x", "codes", "scales"], weights, 32, 6, K=32, N=6, bits=2, block_size=16)
    model, x = load_model(proto), {"x": rng.normal(size=(5, 32)).astype(np.float32)}
    assert model.site("codes").format.name == "uint2"
    assert np.array_equal(model.numbers["codes"], codes)
    assert np.allclose(model.run(x)["y"], onnxruntime_run(proto, x), rtol=1e-4, atol=1e-4)


def test_codes_of_a_byte_each_tell_what_they_stand_for():
    rng = np.random.default_rng(0)
    weights = {
        "codes": rng.integers(0, 256, (6, 2, 16)).astype(np.uint8),
        "scales": rng.uniform(0.001, 0.01, (6, 2)).astype(np.float32),
    }
    proto = _one(["x", "codes", "scales"], weights, 32, 6, K=32, N=6, bits=8, block_size=16)
    site, x = load_model(proto).site("codes"), rng.normal(size=(5, 32)).astype(np.float32)
    assert site.format.name == "uint8"
    real = ((weights["codes"] - site.zero) * site.scale).reshape(6, 32)
    assert np.allclose(x @ real.T, onnxruntime_run(proto, {"x": x}), rtol=1e-4, atol=1e-4)


def moved() -> ModelProto:
    """A packed tensor that a Reshape moves before it is read."""
    rng = np.random.default_rng(0)
    weights = {
        "bytes": rng.integers(0, 256, (6, 16)).astype(np.uint8),
        "shape": np.array([6, 2, 8], np.int64),
        "scales": rng.uniform(0.1, 1, (6, 2)).astype(np.float32),
    }
    proto = _one(["x", "b", "scales"], weights, 32, 6, K=32, N=6, bits=4, block_size=16)
    proto.graph.node.insert(0, helper.make_node("Reshape", ["bytes", "shape"], ["b"], "move"))
    return proto


def test_bytes_that_an_op_moves_stay_bytes_and_no_analog_cell_holds_them():
    model = load_model(moved())
    site = model.site("bytes")
    assert (site.packed, site.format.name, site.shape, site.scale) == (True, "uint8", (6, 16), None)
    x = {"x": np.random.default_rng(1).normal(size=(5, 32)).astype(np.float32)}
    assert np.allclose(model.run(x)["y"], onnxruntime_run(moved(), x), rtol=1e-4, atol=1e-4)
    said = "reram_1t1r cannot hold bytes: each of its bytes holds several codes.*blocked Dequantize.*--exclude bytes"
    with pytest.raises(DeviceError, match=said):
        load_device("reram").store({"bytes": (site, model.numbers["bytes"])})
    assert load_device("sram").store({"bytes": (site, model.numbers["bytes"])})["bytes"].format.bits == 8


def test_codes_that_two_layers_share_and_those_in_a_function_are_unpacked():
    twin = packed_twins.products()
    shared = onnx.ModelProto()
    shared.CopyFrom(twin.packed)
    again = shared.graph.node.add()
    again.CopyFrom(shared.graph.node[0])
    again.name, again.output[0] = "second", "h2"
    shared.graph.node.add().CopyFrom(helper.make_node("ReduceSum", ["h2"], ["z"], "sum", keepdims=1))
    shared.graph.output.add().CopyFrom(helper.make_tensor_value_info("z", 1, None))
    assert load_model(shared).site("codes").format.name == "uint4"
    body = onnx.ModelProto()
    body.CopyFrom(twin.packed)
    node = body.graph.node[0]
    inner = helper.make_node(
        node.op_type, ["a", "b", "c"], ["d"], "inner", domain=node.domain, K=32, N=16, bits=4, block_size=16
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    body.functions.append(helper.make_function("own", "Layer", ["a", "b", "c"], ["d"], [inner], opsets))
    call = helper.make_node("Layer", list(node.input), list(node.output), "call", domain="own")
    body.graph.node[0].CopyFrom(call)
    body.opset_import.append(helper.make_opsetid("own", 1))
    model = load_model(body)
    assert model.site("codes").format.name == "uint4"
    drawn = np.random.default_rng(2).integers(0, 16, model.site("codes").shape).astype(np.uint8)
    found, theirs = model.run(_feeds(twin), {"codes": drawn}), model.with_numbers({"codes": drawn})
    assert np.allclose(found["y"], onnxruntime_run(theirs, _feeds(twin)), rtol=1e-4, atol=1e-4)


def test_codes_that_the_graph_hands_out_stay_bytes():
    proto = packed_twins.products().packed
    proto.graph.output.append(helper.make_tensor_value_info("codes", 2, None))
    assert load_model(proto).site("codes").packed


def _one(read: list[str], weights: dict[str, np.ndarray], features: int, made: int, **given: int) -> ModelProto:
    node = helper.make_node("MatMulNBits", read, ["y"], "layer", domain="com.microsoft", accuracy_level=1, **given)
    ends = (
        helper.make_tensor_value_info("x", 1, ("M", features)),
        helper.make_tensor_value_info("y", 1, ("M", made)),
    )
    graph = helper.make_graph(
        [node], "one", [ends[0]], [ends[1]], [numpy_helper.from_array(array, name) for name, array in weights.items()]
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
