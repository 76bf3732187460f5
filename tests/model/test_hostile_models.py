"""Broken and hostile model files, and things that are none: one clear sentence each."""

import os
import socket

import pytest
from graphs import mlp

from faultsim.errors import ModelError
from faultsim.model import load_model


def _save(proto, path):
    path.write_bytes(proto.SerializeToString())
    return path


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
