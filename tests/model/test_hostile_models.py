"""Broken and hostile model files and wrong inputs: one clear sentence each, nothing read outside the model's folder."""

import os
import socket

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from graphs import F, feeds, mlp, mlp_constant_nodes, model, node, numbers, qdq, tensor, value
from onnx import TensorProto, helper

from faultsim.errors import DataError, ModelError, UnsupportedOpError
from faultsim.model import load_model


def _save(proto, path):
    path.write_bytes(proto.SerializeToString())
    return path


# Files


def test_no_such_file(tmp_path):
    with pytest.raises(ModelError, match=r"none.onnx: no such file; give the path of an .onnx model"):
        load_model(tmp_path / "none.onnx")


def test_a_folder(tmp_path):
    with pytest.raises(ModelError, match=r"is a folder; give the .onnx file in it"):
        load_model(tmp_path)


def test_a_path_with_nul():
    with pytest.raises(ModelError, match=r"cannot be read .embedded null byte.; check the path"):
        load_model("a\0b.onnx")


def test_a_name_too_long_for_the_file_system():
    with pytest.raises(ModelError, match=r"cannot be read .File name too long.; check the path"):
        load_model("a" * 5000)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
def test_an_endless_file():
    with pytest.raises(ModelError, match=r"is no regular file; give the path of an .onnx model"):
        load_model("/dev/zero")


def test_a_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # socket paths are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.onnx")
        with pytest.raises(ModelError, match=r"is no regular file"):
            load_model("s.onnx")


def test_a_file_over_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("faultsim.model.proto.MAX_FILE_BYTES", 10)
    with pytest.raises(ModelError, match=r"bytes is over the limit of 10; keep weights as external data"):
        load_model(_save(mlp(), tmp_path / "a.onnx"))


@pytest.mark.parametrize("keep", [1, 50, 0.5, -1])
def test_cut_short(tmp_path, keep):
    data = mlp().SerializeToString()
    cut = data[: int(len(data) * keep) if isinstance(keep, float) else keep]
    (tmp_path / "a.onnx").write_bytes(cut)
    with pytest.raises(ModelError, match=r"a.onnx: not an ONNX model(, or cut short| \(no graph)"):
        load_model(tmp_path / "a.onnx")


@pytest.mark.parametrize("data", [b"", b"hello, world", b"\xff" * 100, b"\x00" * 64, b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_no_model_at_all(tmp_path, data):
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"a.onnx: not an ONNX model"):
        load_model(tmp_path / "a.onnx")


def test_no_graph(tmp_path):
    proto = mlp()
    proto.ClearField("graph")
    with pytest.raises(ModelError, match=r"no graph, no outputs or no opset in it"):
        load_model(_save(proto, tmp_path / "a.onnx"))


def test_no_outputs():
    proto = mlp()
    del proto.graph.output[:]
    with pytest.raises(ModelError, match=r"no graph, no outputs or no opset in it"):
        load_model(proto)


@pytest.mark.parametrize("version", [0, -3, 27, 1 << 40])
def test_unknown_opset(version):
    proto = mlp()
    proto.opset_import[0].version = version
    with pytest.raises(ModelError, match=rf"opset {version} is not between 1 and 26; convert it with onnx.version"):
        load_model(proto)


@pytest.mark.parametrize("version", [0, 14, 1 << 40])
def test_unknown_ir_version(version):
    proto = mlp()
    proto.ir_version = version
    with pytest.raises(ModelError, match=rf"IR version {version} is not between 1 and 13; export with onnx 1.21"):
        load_model(proto)


def test_something_else():
    with pytest.raises(ModelError, match=r"cannot load a model from int; give a path, a ModelProto or a module"):
        load_model(3)


def test_torch_devices_that_are_not_there():
    with pytest.raises(ModelError, match=r"torch device 'warp' cannot be used here \(.*\); use cpu"):
        load_model(mlp(), torch_device="warp")
    with pytest.raises(ModelError, match=r"torch device 'cuda:99' cannot be used here"):
        load_model(mlp(), torch_device="cuda:99")


# External data


def _external(folder, **entries):
    """A model whose first weight lies elsewhere; the entries change where."""
    proto = mlp()
    stored = proto.graph.initializer[0]
    data = stored.raw_data
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    for key, text in {"location": "w.bin", **entries}.items():
        stored.external_data.add(key=key, value=text)
    folder.mkdir(exist_ok=True)
    (folder / "w.bin").write_bytes(data)
    (folder.parent / "secret.bin").write_bytes(data)
    return _save(proto, folder / "a.onnx")


def test_external_data_beside_the_model(tmp_path):
    np.testing.assert_array_equal(load_model(_external(tmp_path / "m")).numbers["w1"], numbers(8, 6))


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret.bin", "sub/../../secret.bin", "a/../w.bin", "..\\secret.bin", "C:\\secret.bin",
     "C:secret.bin", "", "w.bin\0.txt"],
)  # fmt: skip
def test_external_data_elsewhere(tmp_path, location):
    with pytest.raises(ModelError, match=r"external data of 'w1' lie at .*; only a relative path inside the model's"):
        load_model(_external(tmp_path / "m", location=location))


def test_external_data_behind_a_link_that_leads_out(tmp_path):
    path = _external(tmp_path / "m", location="link.bin")
    (tmp_path / "m/link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match=r"lie at 'link.bin', which leads outside the model's folder"):
        load_model(path)


def test_external_data_in_a_linked_folder(tmp_path):
    path = _external(tmp_path / "m", location="out/secret.bin")
    (tmp_path / "m/out").symlink_to(tmp_path)
    with pytest.raises(ModelError, match=r"which leads outside the model's folder; put the file beside the model"):
        load_model(path)


def test_external_data_behind_links_in_a_circle(tmp_path):
    path = _external(tmp_path / "m", location="one")
    (tmp_path / "m/one").symlink_to("two")
    (tmp_path / "m/two").symlink_to("one")
    with pytest.raises(ModelError, match=r"lie at 'one', which is no usable path|are missing: no file 'one'"):
        load_model(path)


def test_external_data_under_a_name_too_long(tmp_path):
    with pytest.raises(ModelError, match=r"which is no usable path; put the file beside the model"):
        load_model(_external(tmp_path / "m", location="x" * 5000))


def test_external_data_missing(tmp_path):
    path = _external(tmp_path / "m")
    (tmp_path / "m/w.bin").unlink()
    with pytest.raises(ModelError, match=r"external data of 'w1' are missing: no file 'w.bin' beside the model"):
        load_model(path)


@pytest.mark.parametrize("entries", [{"offset": "-8"}, {"length": "-1"}, {"offset": "4"}, {"offset": "9" * 30}])
def test_external_data_out_of_the_file(tmp_path, entries):
    entries = {"length": "192", **entries}
    with pytest.raises(
        ModelError, match=r"external data of 'w1' need bytes .* of 'w.bin', which has 192; copy the file"
    ):
        load_model(_external(tmp_path / "m", **entries))


@pytest.mark.parametrize("entries", [{"offset": "two"}, {"length": "1e3"}, {"offset": "9" * 5000}])
def test_external_data_with_odd_numbers(tmp_path, entries):
    with pytest.raises(ModelError, match=r"have an offset or a length that is no number; export the model again"):
        load_model(_external(tmp_path / "m", **entries))


def test_external_data_too_short_for_the_shape(tmp_path):
    with pytest.raises(ModelError, match=r"initializer 'w1' of shape \[8, 6\] holds no such data"):
        load_model(_external(tmp_path / "m", length="100"))


def test_external_data_over_the_limit(tmp_path, monkeypatch):
    path = _external(tmp_path / "m")
    monkeypatch.setattr("faultsim.model.proto.MAX_FILE_BYTES", 700)  # the file itself has some 600 bytes
    monkeypatch.setattr("faultsim.model.proto.load_external", _with_room(10))
    with pytest.raises(
        ModelError, match=r"need 192 bytes, over the 10 left of the limit for one model; split the model"
    ):
        load_model(path)


def _with_room(room):
    from faultsim.model.stored import load_external

    return lambda tensor, path, _: load_external(tensor, path, room)


def test_external_data_of_a_model_in_memory(tmp_path, monkeypatch):
    proto = onnx.load(_external(tmp_path / "m"), load_external_data=False)
    monkeypatch.chdir(tmp_path / "m")  # where the file would be found by accident
    with pytest.raises(ModelError, match=r"external data of 'w1' are not loaded; give load_model the path"):
        load_model(proto)


def test_external_data_of_constants_and_sparse_tensors(tmp_path):
    for place in ("constant", "sparse"):
        proto = mlp_constant_nodes() if place == "constant" else mlp()
        if place == "constant":
            stored = proto.graph.node[0].attribute[0].t
        else:
            sparse = proto.graph.sparse_initializer.add(dims=[4])
            stored = sparse.values
            sparse.indices.CopyFrom(tensor("i", np.array([0])))
            stored.CopyFrom(tensor("v", F([1])))
        stored.ClearField("raw_data")
        stored.data_location = TensorProto.EXTERNAL
        stored.external_data.add(key="location", value="/etc/hostname")
        with pytest.raises(ModelError, match=r"lie at '/etc/hostname'; only a relative path"):
            load_model(_save(proto, tmp_path / f"{place}.onnx"))


# Tensors


def test_fewer_bytes_than_the_shape_asks_for():
    proto = mlp()
    proto.graph.initializer[0].raw_data = b"\0" * 20
    with pytest.raises(ModelError, match=r"net: initializer 'w1' of shape \[8, 6\] holds no such data"):
        load_model(proto)


@pytest.mark.parametrize("dims", [[1 << 40], [1 << 62, 1 << 62], [-1], [-8, -6], [1 << 31, 1 << 31, 0, 3]])
def test_impossible_shapes(dims):
    proto = mlp()
    stored = proto.graph.initializer[0]
    del stored.dims[:]
    stored.dims.extend(dims)
    with pytest.raises(ModelError, match=r"net: initializer 'w1' of shape .* holds no such data"):
        load_model(proto)


def test_unknown_element_type():
    proto = mlp()
    proto.graph.initializer[0].data_type = 99
    with pytest.raises(ModelError, match=r"initializer 'w1' of shape .* holds no such data"):
        load_model(proto)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_nan_weights(dtype):
    proto = mlp()
    array = numbers(8, 6).astype(dtype)
    array[2, 3] = array[0, 0] = np.nan
    proto.graph.initializer[0].CopyFrom(tensor("w1", array))
    with pytest.raises(ModelError, match=r"initializer 'w1' holds 2 NaN of 48 numbers; no figure about such a model"):
        load_model(proto)


def test_nan_in_a_constant_node():
    proto = mlp_constant_nodes()
    proto.graph.node[0].attribute[0].t.CopyFrom(tensor("k", np.full((8, 6), np.nan, F)))
    with pytest.raises(ModelError, match=r"initializer 'k' holds 48 NaN"):
        load_model(proto)


def test_infinite_weights_are_a_mask_and_pass():
    proto = mlp()
    proto.graph.initializer[3].CopyFrom(tensor("b2", F([0, -np.inf, 0, 0])))
    assert load_model(proto).run(feeds(proto))["y"][0, 1] == -np.inf


def test_two_initializers_of_one_name():
    proto = mlp()
    proto.graph.initializer.append(tensor("w1", numbers(8, 6)))
    with pytest.raises(ModelError, match=r"the graph defines the constant 'w1' twice; names must be unique"):
        load_model(proto)


@pytest.mark.parametrize("dims", [[1 << 20, 1 << 20], [1 << 40], [-4]])
def test_a_sparse_tensor_that_would_fill_the_memory(dims):
    proto = mlp()
    sparse = proto.graph.sparse_initializer.add(dims=dims)
    sparse.values.CopyFrom(tensor("huge", F([1])))
    sparse.indices.CopyFrom(tensor("i", np.array([0])))
    with pytest.raises(ModelError, match=r"sparse tensor 'huge' of shape .* is over the limit of 268435456 elements"):
        load_model(proto)


def test_a_sparse_index_out_of_range():
    proto = mlp()
    sparse = proto.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(tensor("s", F([1])))
    sparse.indices.CopyFrom(tensor("i", np.array([9])))
    with pytest.raises(ModelError, match=r"net: the graph is malformed .*; run onnx.checker on it"):
        load_model(proto)


# Graphs


def test_unknown_op():
    proto = model([node("Frobnicate", ["x"], ["y"], name="strange", domain="acme.ops")], [], domains=["acme.ops"])
    with pytest.raises(
        UnsupportedOpError, match=r"node 'strange': faultsim cannot execute the op 'Frobnicate' of domain 'acme.ops'"
    ):
        load_model(proto)
    proto = model([node("Relux", ["x"], ["y"])], [])
    with pytest.raises(UnsupportedOpError, match=r"node 'Relux_0': .* the op 'Relux' of domain 'ai.onnx' \(opset 21\)"):
        load_model(proto)


def test_unknown_op_inside_a_body():
    body = helper.make_graph([node("Relux", [], ["o"], name="deep")], "b", [], [value("o", ["N"])])
    proto = model([node("If", ["c"], ["y"], then_branch=body, else_branch=body)], [tensor("c", np.bool_(True))])
    with pytest.raises(UnsupportedOpError, match=r"node 'If_0/else_branch/deep': .* 'Relux'"):
        load_model(proto)


def _function(name, calls):
    nodes = [node(c, ["a"], [f"t{i}"], domain="f") for i, c in enumerate(calls)]
    nodes.append(node("Sum", [f"t{i}" for i in range(len(calls))], ["b"]))
    return helper.make_function(
        "f", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
    )


def test_a_function_that_calls_itself():
    proto = model([node("A", ["x"], ["y"], domain="f")], [], domains=["f"])
    proto.functions.append(_function("A", ["A"]))
    with pytest.raises(ModelError, match=r"net: the model-local functions call each other without end, at 'A'"):
        load_model(proto)


def test_a_long_chain_of_functions():
    proto = model([node("F0", ["x"], ["y"], domain="f")], [], domains=["f"])
    proto.functions.extend(_function(f"F{i}", [f"F{i + 1}"]) for i in range(60))
    with pytest.raises(ModelError, match=r"the model-local functions call each other without end, at 'F51'"):
        load_model(proto)


def test_functions_that_double_at_every_call():
    proto = model([node("F0", ["x"], ["y"], domain="f")], [], domains=["f"])
    proto.functions.extend(_function(f"F{i}", [f"F{i + 1}"] * 2) for i in range(40))
    with pytest.raises(ModelError, match=r"functions make more than 200000 nodes when written out; export the model"):
        load_model(proto)


def test_an_unknown_name():
    proto = mlp()
    proto.graph.node[2].input[1] = "nowhere"
    with pytest.raises(ModelError, match=r"the graph reads 'nowhere' before anything makes it; run onnx.checker"):
        load_model(proto).run(feeds(mlp()))


def test_an_output_that_nothing_makes():
    proto = mlp()
    proto.graph.output[0].name = "nowhere"
    with pytest.raises(ModelError, match=r"the graph reads 'nowhere' before anything makes it"):
        load_model(proto).run(feeds(mlp()))


def test_shapes_that_do_not_fit():
    proto = mlp()
    proto.graph.initializer[2].CopyFrom(tensor("w2", numbers(7, 4)))
    with pytest.raises(
        ModelError, match=r"node 'second' \(MatMul\) failed on inputs \(float32\(3, 8\), float32\(7, 4\)"
    ):
        load_model(proto).run(feeds(mlp()))


def test_sequence_inputs():
    proto = mlp()
    proto.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(value("s", ["N"]).type))
    with pytest.raises(ModelError, match=r"input 'x' is a sequence or an optional; faultsim feeds tensors: wrap"):
        load_model(proto)


# Inputs of a run


def test_inputs_by_wrong_names():
    fed = feeds(mlp())
    with pytest.raises(DataError, match=r"net takes the inputs \['x'\]; missing: \['x'\], unknown: \['image'\]"):
        load_model(mlp()).run({"image": fed["x"]})
    with pytest.raises(DataError, match=r"missing: none, unknown: \['more'\]"):
        load_model(mlp()).run({**fed, "more": fed["x"]})


@pytest.mark.parametrize("shape", [(3, 7), (6,), (3, 6, 1), ()])
def test_inputs_of_wrong_shape(shape):
    with pytest.raises(DataError, match=r"net takes input 'x' \(float32, N×6\); got float32 of shape .*: convert or"):
        load_model(mlp()).run({"x": np.zeros(shape, F)})


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8, bool, "U3"])
def test_inputs_of_wrong_type(dtype):
    with pytest.raises(DataError, match=r"takes input 'x' \(float32, N×6\); got .* of shape 3×6"):
        load_model(mlp()).run({"x": np.zeros((3, 6), dtype)})


def test_an_input_that_declares_no_shape_takes_any():
    proto = mlp()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert load_model(proto).run(feeds(mlp()))["y"].shape == (3, 4)


def test_a_gradient_of_nothing():
    loaded = load_model(qdq())
    with pytest.raises(ModelError, match=r"the loss does not depend on any chosen site; choose other --sites"):
        loaded.gradient(feeds(qdq()), lambda out: torch.zeros(()), sites=["w"])
    with pytest.raises(ModelError, match=r"no site is named 'x'"):
        loaded.gradient(feeds(qdq()), lambda out: out["y"].sum(), sites=["x"])
