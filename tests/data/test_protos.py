"""The model zoo's test data: sets one after the other, names, damaged files."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from faultsim.data import InputSpec, load_data, read_reference
from faultsim.data.protos import read_protos
from faultsim.errors import DataError

F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
A, B = InputSpec("a", F32, ("N", 2)), InputSpec("b", I64, ("N", 1))


def _set(folder, arrays, names=None, outputs=()):
    folder.mkdir(parents=True)
    for i, array in enumerate(arrays):
        proto = numpy_helper.from_array(array, names[i] if names else None)
        (folder / f"input_{i}.pb").write_bytes(proto.SerializeToString())
    for i, array in enumerate(outputs):
        (folder / f"output_{i}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
    return folder


def _pair(first, n=2):
    return np.full((n, 2), first, np.float32), np.full((n, 1), int(first), np.int64)


def test_test_data_sets_are_read_one_after_the_other(tmp_path):
    for i in range(12):
        _set(
            tmp_path / f"test_data_set_{i}",
            _pair(i),
            outputs=[np.zeros((2, 3), np.float32)] if i == 0 else (),
        )
    for source in (tmp_path, None):
        data = load_data(source, model_path=tmp_path / "model.onnx", inputs=[A, B])
        assert len(data) == 24
        assert data.inputs(0, 24)["a"][:, 0].tolist() == [i // 2 for i in range(24)]
        assert data.inputs(3, 6)["b"].ravel().tolist() == [1, 2, 2]
        assert data.labels(0, 1) is None
    assert len(load_data(tmp_path / "test_data_set_3", model_path=None, inputs=[A, B])) == 2
    reference = read_reference(tmp_path)
    assert list(reference.outputs) == ["output_0"]
    assert reference.outputs["output_0"].shape == (2, 3)
    assert read_reference(tmp_path / "test_data_set_3") is None


def test_names_in_the_files_go_before_their_numbers(tmp_path):
    a, b = _pair(3)
    _set(tmp_path / "test_data_set_0", [b, a], names=["b", "a"])
    assert load_data(tmp_path, model_path=None, inputs=[A, B]).inputs(0, 1)["a"].tolist() == [[3, 3]]


def test_sets_of_other_shapes_are_left_out_and_noted(tmp_path):
    _set(tmp_path / "test_data_set_0", [np.zeros((1, 3), np.float32)])
    _set(tmp_path / "test_data_set_1", [np.zeros((1, 4), np.float32)])
    data = load_data(tmp_path, model_path=None, inputs=[InputSpec("x", F32, ("N", "T"))])
    assert len(data) == 1
    assert data.notes == ("1 test data sets of other shapes are left out",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xff\xff", "input_0.pb is no ONNX tensor .*; write it with onnx.save_tensor"),
        (b"", "input_0.pb holds no numbers; write it with onnx.numpy_helper.from_array"),
        (
            onnx.helper.make_tensor("a", onnx.TensorProto.STRING, [1], [b"x"]).SerializeToString(),
            "holds no numbers",
        ),
        (
            onnx.TensorProto(name="a", dims=[99, 99], data_type=1, raw_data=b"1234").SerializeToString(),
            "input_0.pb is no ONNX tensor .*cannot reshape",
        ),
        (
            onnx.TensorProto(name="a", dims=[1], data_type=1, data_location=1).SerializeToString(),
            "keeps its numbers in another file, which is not followed",
        ),
    ],
)
def test_damaged_tensors_are_refused(tmp_path, content, message):
    folder = tmp_path / "test_data_set_0"
    folder.mkdir()
    (folder / "input_0.pb").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_data(tmp_path, model_path=None, inputs=[A])


def test_a_wrong_number_of_files_is_refused(tmp_path):
    _set(tmp_path / "test_data_set_0", [np.zeros((1, 2), np.float32)])
    with pytest.raises(DataError, match=r"holds 1 input_\*.pb files, but the model has 2 inputs: 'a', 'b'; give one"):
        load_data(tmp_path, model_path=None, inputs=[A, B])


def test_files_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    (tmp_path / "test_data_set_0" / "input_0.pb").mkdir(parents=True)
    with pytest.raises(DataError, match=r"input_0.pb cannot be read \(Is a directory\); give a readable file"):
        load_data(tmp_path, model_path=None, inputs=[A])
    with pytest.raises(DataError, match=r"holds no test_data_set_\*/input_\*.pb; give such a folder, or an .npz file"):
        read_protos(tmp_path / "nothing", [A])
    assert read_reference(tmp_path / "nothing") is None
    _set(tmp_path / "other" / "test_data_set_0", [np.zeros((1, 2), np.float32)])
    monkeypatch.setattr("faultsim.data.protos.MAX_BYTES", 3)
    with pytest.raises(DataError, match=r"input_0.pb is over 2 GiB, more than protobuf can hold; split it"):
        load_data(tmp_path / "other", model_path=None, inputs=[A])
