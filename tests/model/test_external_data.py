"""External data that lie elsewhere, are missing or do not fit: nothing is read outside the model's folder."""

import numpy as np
import onnx
import pytest
from graphs import F, mlp, mlp_constant_nodes, numbers, tensor
from onnx import TensorProto

from faultsim.errors import ModelError
from faultsim.model import load_model


def _save(proto, path):
    path.write_bytes(proto.SerializeToString())
    return path


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
