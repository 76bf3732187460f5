"""The model zoo's test data, functions of the user's, and inputs that are drawn."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from faultsim.data import InputSpec, batches, load_data, read_reference, resolve
from faultsim.data.protos import read_protos
from faultsim.data.synthetic import synthetic
from faultsim.errors import DataError, OptionError

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
    with pytest.raises(
        DataError, match=r"holds 1 input_\*.pb files, but the model has 2 inputs: 'a', 'b'; give one"
    ):
        load_data(tmp_path, model_path=None, inputs=[A, B])


def test_files_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    (tmp_path / "test_data_set_0" / "input_0.pb").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"input_0.pb cannot be read \(Is a directory\); give a readable file"
    ):
        load_data(tmp_path, model_path=None, inputs=[A])
    with pytest.raises(
        DataError, match=r"holds no test_data_set_\*/input_\*.pb; give such a folder, or an .npz file"
    ):
        read_protos(tmp_path / "nothing", [A])
    assert read_reference(tmp_path / "nothing") is None
    _set(tmp_path / "other" / "test_data_set_0", [np.zeros((1, 2), np.float32)])
    monkeypatch.setattr("faultsim.data.protos.MAX_BYTES", 3)
    with pytest.raises(DataError, match=r"input_0.pb is over 2 GiB, more than protobuf can hold; split it"):
        load_data(tmp_path / "other", model_path=None, inputs=[A])


# Functions

MODULE = """
import numpy as np
import torch

X, Y = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)[:, None]
LABELS = np.arange(6)
calls = 0

def mapping(): return {"a": X, "b": Y, "labels": LABELS}
def parts(): return X, Y, LABELS
def unlabelled(): return X, Y
def tensors(): return torch.tensor(X, requires_grad=True), torch.tensor(Y)
def loader():
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y), torch.tensor(LABELS))
    return torch.utils.data.DataLoader(data, batch_size=4)
def endless():
    while True:
        yield {"a": X, "b": Y, "labels": LABELS}
def raises(): raise KeyError("no such file")
def nothing(): return None
def empty(): return []
def numbers(): return iter([1, 2])
def ragged():
    yield X, Y
    yield X[:, :1], Y
def other_names():
    yield {"a": X, "b": Y}
    yield {"a": X}
def scalars(): return iter([(1.0, 2)])
def objects(): return {"a": np.array([None]), "b": Y}
def too_many(): return X, Y, LABELS, LABELS
value = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "their_data.py").write_text(MODULE)
    (tmp_path / "broken_data.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    import sys

    yield "their_data"
    for name in ("their_data", "broken_data"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["mapping", "parts", "unlabelled", "tensors", "loader", "endless"])
def test_functions_may_give_mappings_tuples_tensors_and_iterables(module, name):
    data = load_data(f"{module}:{name}", model_path=None, inputs=[A, B], limit=6)
    assert data.source == f"their_data:{name}"
    assert data.inputs(1, 3)["a"].tolist() == [[2, 3], [4, 5]]
    assert data.inputs(5, 6)["b"].tolist() == [[5]]
    if name in ("unlabelled", "tensors"):
        assert data.labels(0, 6) is None
    else:
        assert data.labels(0, 6).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "their_data:raises",
            "their_data:raises raised KeyError: 'no such file'; run it on its own to see where",
        ),
        (
            "their_data:nothing",
            "returned NoneType; return a mapping of arrays by input name, a tuple of arrays",
        ),
        ("their_data:empty", "gave no batch; give at least one sample"),
        ("their_data:numbers", "batch 0 is int; give a mapping, a tuple or an array"),
        (
            "their_data:ragged",
            "array 'a' gives rows of float32 1 after rows of float32 2; give all batches the same",
        ),
        ("their_data:other_names", r"batch 1 holds \['a'\], the first one \['a', 'b'\]; give the same"),
        ("their_data:scalars", "batch 0 holds a single number as 'a'; give arrays, samples first"),
        ("their_data:objects", r"array 'a' holds Python objects \(ndarray\), not numbers"),
        ("their_data:too_many", "gives 4 arrays, but the model has 2 inputs; give one for each"),
        ("their_data:mappin", "'their_data' has no 'mappin', did you mean 'mapping'"),
        ("their_data:qqqqqqq", "'their_data' has no 'qqqqqqq'; define it"),
        ("their_data:value", "'their_data:value' is a int, not a function"),
        (
            "their_dat:mapping",
            "module of 'their_dat:mapping' cannot be imported .*ModuleNotFoundError.*; check the name",
        ),
        ("broken_data:f", "cannot be imported .*ZeroDivisionError"),
    ],
)
def test_functions_that_give_no_data_are_refused(module, name, message):
    with pytest.raises(DataError, match=message):
        load_data(name, model_path=None, inputs=[A, B])


def test_resolve_raises_the_callers_kind_of_error():
    with pytest.raises(
        OptionError, match="'no function' is not of the form module:function; write for instance"
    ):
        resolve("no function", OptionError)


# Drawn inputs


def _drawn(*inputs, **options):
    return load_data(None, model_path=None, inputs=inputs, **options)


def test_drawn_samples_depend_on_seed_name_and_number_alone():
    spec = InputSpec("x", F32, ("N", 3, "H", "W"))
    whole = _drawn(spec, seed=5).inputs(0, 256)["x"]
    assert whole.shape == (256, 3, 32, 32)
    assert np.array_equal(
        np.concatenate([one.inputs["x"] for one in batches(_drawn(spec, seed=5), 37)]), whole
    )
    assert np.array_equal(_drawn(spec, seed=5, limit=3).inputs(0, 3)["x"], whole[:3])
    assert not np.array_equal(_drawn(spec, seed=6, limit=3).inputs(0, 3)["x"], whole[:3])
    assert abs(whole.mean()) < 0.01
    assert abs(whole.std() - 1) < 0.01


def test_drawn_types_and_ranges_are_the_declared_ones():
    specs = [
        InputSpec("q", np.dtype(np.int8), ("N", 500)),
        InputSpec("u", np.dtype(np.uint8), ("N", 500)),
        InputSpec("ids", I64, ("N", 500), upper=7),
        InputSpec("n", np.dtype(np.int32), ("N", 500)),
        InputSpec("t", np.dtype(bool), ("N", 500)),
        InputSpec("h", np.dtype(np.float16), (1, 4), batch_axis=None),
        InputSpec("s", np.dtype(np.float64), (9, "N"), batch_axis=1),
        InputSpec("attention_mask", I64, ("N", 500)),
        InputSpec("token_type_ids", I64, ("N", 500)),
    ]
    got = _drawn(*specs, limit=8).inputs(0, 8)
    assert {name: array.dtype for name, array in got.items()} == {spec.name: spec.dtype for spec in specs}
    limits = {name: (array.min(), array.max()) for name, array in got.items() if name not in "hs"}
    assert limits == {
        "q": (-128, 127),
        "u": (0, 255),
        "ids": (0, 6),
        "n": (0, 1),
        "t": (False, True),
        "attention_mask": (1, 1),
        "token_type_ids": (0, 0),
    }
    assert got["h"].shape == (1, 4)
    assert got["s"].shape == (9, 8)


def test_open_sizes_are_said_and_can_be_given():
    specs = [InputSpec("x", F32, ("N", "T", None)), InputSpec("m", I64, ("N", "T"))]
    data = _drawn(*specs)
    assert "drawn" in data.source
    assert data.notes == (
        "inputs are drawn at random: the figures say how often faults change an answer, not how accurate it "
        "is",
        "the model leaves sizes open, 32 was taken for 'x' axis 1 (T), 'x' axis 2 (?), 'm' axis 1 (T); "
        "set them with --input-shape",
    )
    data = _drawn(*specs, input_shape={"x": (1, 7, 5)})
    assert data.inputs(0, 2)["x"].shape == (2, 7, 5)
    assert data.inputs(0, 2)["m"].shape == (2, 7)
    assert len(data.notes) == 1
    assert len(_drawn(InputSpec("x", F32, (100, 3)))) == 300


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (
            InputSpec("x", F32, ("N", 3)),
            {"X": (1, 3)},
            "given for 'X', which is no input of the model; its inputs are 'x'",
        ),
        (
            InputSpec("input", F32, ("N", 3)),
            {"inputs": (1, 3)},
            "which is no input of the model, did you mean 'input'",
        ),
        (
            InputSpec("x", F32, ("N", 3)),
            {"x": (1, 4)},
            "the given shape 1×4 does not go with input 'x' .*give 2 positive",
        ),
        (InputSpec("x", F32, ("N", "T")), {"x": (1, 0)}, "the given shape 1×0 does not go with"),
        (
            InputSpec("x", np.dtype("U8"), ("N", 3)),
            {},
            "cannot be drawn: only numbers can; give data with --data",
        ),
    ],
)
def test_shapes_that_do_not_go_with_the_model_are_refused(spec, shape, message):
    with pytest.raises(DataError, match=message):
        _drawn(spec, input_shape=shape).inputs(0, 1)


def test_no_samples_cannot_be_drawn():
    with pytest.raises(DataError, match="0 samples cannot be drawn; give a limit of at least 1"):
        synthetic([A], samples=0)


def test_torch_is_not_needed_to_read_data():
    import subprocess
    import sys

    assert torch.__version__
    code = "import faultsim.data, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
