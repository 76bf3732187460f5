"""The .npz door: what fits, what is converted by itself, what is refused; and hostile files."""

import contextlib
import io
import struct
import time
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faultsim.data import InputSpec, batches, check_labels, load_data
from faultsim.data.npz import read_npz
from faultsim.errors import DataError, FaultsimError

F32 = np.dtype(np.float32)
IMAGE = InputSpec("input", F32, ("N", 3, 4, 5))


def _save(path, compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def _load(path, *inputs, **options):
    return load_data(path, model_path=None, inputs=inputs or [IMAGE], **options)


def _images(n=7):
    return np.arange(n * 4 * 5 * 3, dtype=np.uint8).reshape(n, 4, 5, 3)


def test_arrays_by_input_name_and_labels_come_back_as_they_are(tmp_path):
    a, b = np.random.default_rng(0).random((6, 2), np.float32), np.arange(6, dtype=np.int64)[:, None]
    path = _save(tmp_path / "d.npz", a=a, b=b, y=np.arange(6, dtype=np.uint8))
    data = _load(path, InputSpec("a", F32, ("N", 2)), InputSpec("b", np.dtype(np.int64), ("N", 1)))
    assert len(data) == 6
    assert data.source == str(path)
    assert data.notes == ()
    assert np.array_equal(data.inputs(2, 5)["a"], a[2:5])
    assert np.array_equal(data.inputs(2, 5)["b"], b[2:5])
    assert data.labels(4, 99).dtype == np.int64
    assert data.labels(4, 99).tolist() == [4, 5]


@pytest.mark.parametrize("alias", ["labels", "label", "y", "targets", "target"])
def test_a_single_input_needs_no_name_and_labels_have_aliases(tmp_path, alias):
    path = _save(tmp_path / "d.npz", **{"whatever": np.zeros((2, 3), np.float32), alias: np.array([1, 0])})
    data = _load(path, InputSpec("input", F32, ("N", 3)))
    assert data.labels(0, 2).tolist() == [1, 0]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_stay_on_disk_and_batches_tile_the_whole(tmp_path, compressed, order):
    raw = np.asarray(np.random.default_rng(1).random((10, 3, 4, 5)), np.float32, order=order)
    data = _load(_save(tmp_path / "d.npz", compressed, input=raw))
    assert isinstance(data._feeds[0].column, np.memmap)
    for size in (1, 3, 10, 11):
        assert np.array_equal(np.concatenate([one.inputs["input"] for one in batches(data, size)]), raw)
    assert np.array_equal(_load(tmp_path / "d.npz", limit=4).inputs(0, 9)["input"], raw[:4])


def test_memory_is_bounded_by_the_batch_not_by_the_file(tmp_path):
    import tracemalloc

    path = _save(tmp_path / "d.npz", input=np.zeros((4000, 3, 32, 32), np.float32))
    tracemalloc.start()
    data = _load(path, InputSpec("input", F32, ("N", 3, 32, 32)))
    for batch in batches(data, 10):
        assert batch.inputs["input"].shape[0] == 10
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6  # the file has 49 MB; the scan for NaN makes 4 MiB of truths at a time


def test_the_image_rule_transposes_and_scales_uint8_images_and_says_so(tmp_path):
    raw = _images()
    data = _load(_save(tmp_path / "d.npz", images=raw))
    want = np.moveaxis(raw, -1, 1).astype(np.float32) / np.float32(255)
    assert np.array_equal(data.inputs(0, 7)["input"], want)
    assert data.inputs(0, 1)["input"].flags.c_contiguous
    assert data.notes == (
        "array 'images' in d.npz: uint8 images N,H,W,C were transposed to N,C,H,W and divided by 255 for "
        "input 'input' (float32, N×3×4×5)",
    )


def test_the_image_rule_holds_for_grey_images_and_open_sizes(tmp_path):
    raw = np.full((2, 4, 5), 51, np.uint8)
    data = _load(
        _save(tmp_path / "d.npz", images=raw), InputSpec("x", np.dtype(np.float16), (1, 1, "H", None))
    )
    assert data.inputs(0, 2)["x"].shape == (2, 1, 4, 5)
    assert data.inputs(0, 2)["x"].dtype == np.float16
    assert data.inputs(0, 2)["x"].max() == np.float16(0.2)


@pytest.mark.parametrize(
    ("raw", "spec", "message"),
    [
        (
            (np.uint8, (2, 4, 5, 3)),
            (F32, ("N", 4, 5, 3)),
            "is uint8, but input 'x' .* wants float32; which real numbers",
        ),
        ((np.uint8, (2, 3, 4, 5)), (F32, ("N", 3, 4, 5)), "scale, for instance 1/255, and layout"),
        (
            (np.uint8, (2, 3, 3, 3)),
            (F32, ("N", 3, 3, 3)),
            "which real numbers its values stand for is not declared",
        ),
        ((np.int64, (2, 4)), (F32, ("N", 4)), "is int64, but input 'x' .* wants float32"),
        ((np.float32, (2, 4)), (np.int8, ("N", 4)), "wants int8; give a preprocessing file .* how to round"),
        ((np.str_, (2,)), (F32, ("N",)), r"wants float32; save numbers: array.astype\('float32'\)"),
        (
            (np.float32, (2, 4, 5, 3)),
            (F32, ("N", 3, 4, 5)),
            "samples of shape 4×5×3, but .* asks for 3×4×5; its axes are H,W,C",
        ),
        ((np.float32, (2, 3, 4, 5)), (F32, ("N", 4, 5, 3)), "its axes are C,H,W: transpose it"),
        ((np.float32, (3, 4, 5)), (F32, ("N", 3, 4, 5)), "single sample: add the sample axis in front"),
        ((np.float32, (2, 7)), (F32, ("N", 4)), "samples of shape 7, but .* asks for 4; reshape the array"),
        ((np.float32, (0, 4)), (F32, ("N", 4)), "array 'x' in d.npz is empty; give at least one sample"),
        ((np.float32, ()), (F32, ("N", 4)), "array 'x' in d.npz is a single number, .* stack it"),
        (
            (np.float32, (3, 4)),
            (F32, (8, 4)),
            "gives 3 samples, but the model runs on exactly 8 at once; give at least 8",
        ),
    ],
)
def test_types_and_shapes_that_do_not_fit_are_refused_with_a_remedy(tmp_path, raw, spec, message):
    path = _save(tmp_path / "d.npz", x=np.zeros(raw[1], raw[0]))
    with pytest.raises(DataError, match=message):
        _load(path, InputSpec("x", np.dtype(spec[0]), spec[1]))


def test_another_width_is_converted_where_nothing_is_lost_and_announced(tmp_path):
    path = _save(tmp_path / "d.npz", a=np.array([[0.1]]), b=np.array([[7]], np.uint8))
    data = _load(path, InputSpec("a", F32, ("N", 1)), InputSpec("b", np.dtype(np.int64), ("N", 1)))
    assert data.inputs(0, 1)["a"].dtype == F32
    assert data.inputs(0, 1)["b"].dtype == np.int64
    assert data.notes == (
        "array 'a' in d.npz: float64 was rounded to float32",
        "array 'b' in d.npz: uint8 was stored as int64",
    )


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (
            np.array([[1.0], [1e300]]),
            np.float32,
            r"holds 1e\+300 at \[1, 0\], too large for float32; scale the data",
        ),
        (np.array([[1], [300]]), np.int8, r"holds 300 at \[1, 0\], outside the range -128…127 of int8"),
        (np.array([[1], [2]]), np.bool_, r"holds 2 at \[1, 0\], outside the range 0…1 of bool"),
        (
            np.array([[1.0], [np.nan]]),
            np.float64,
            r"array 'x' in d.npz holds NaN at \[1, 0\]; remove or repair that sample",
        ),
    ],
)
def test_values_that_cannot_be_held_are_named_with_their_place(tmp_path, values, dtype, message):
    path = _save(tmp_path / "d.npz", x=values)
    with pytest.raises(DataError, match=message):
        _load(path, InputSpec("x", np.dtype(dtype), ("N", 1))).inputs(0, 2)


def test_nan_is_found_at_load_and_infinity_is_let_through(tmp_path):
    raw = np.zeros((5000, 2000), np.float32)
    raw[4321, 7] = np.inf
    assert len(_load(_save(tmp_path / "d.npz", x=raw), InputSpec("x", F32, ("N", 2000)))) == 5000
    raw[4321, 9] = np.nan
    with pytest.raises(DataError, match=r"holds NaN at \[4321, 9\]"):
        _load(_save(tmp_path / "d.npz", x=raw), InputSpec("x", F32, ("N", 2000)))


def test_nan_in_labels_is_refused(tmp_path):
    data = _load(
        _save(tmp_path / "d.npz", x=np.zeros((2, 1), np.float32), y=np.array([1.0, np.nan])),
        InputSpec("x", F32, ("N", 1)),
    )
    with pytest.raises(DataError, match=r"the array of labels holds NaN at \[1\]"):
        data.labels(0, 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"inptu": (2, 1), "other": (2, 1)},
            "no array for input 'left' .*it holds 'inptu', 'other'; name the array 'left'",
        ),
        ({"lef": (2, 1), "right": (2, 1)}, "did you mean to name 'lef' 'left'"),
        (
            {"left": (2, 1), "right": (3, 1)},
            "differ in their number of samples: 'left' has 2, 'right' has 3; cut",
        ),
        ({"left": (2, 1), "right": (2, 1), "y": (3,)}, "'labels' has 3; cut them to one length"),
        (
            {"left": (2, 1), "right": (2, 1), "y": (2,), "labels": (2,)},
            "'labels', 'y', which could all be labels; keep one",
        ),
        ({"labels": (2,)}, "d.npz holds no array; save the inputs under their names: 'left', 'right'"),
    ],
)
def test_names_and_lengths_that_do_not_go_together_are_refused(tmp_path, arrays, message):
    path = _save(tmp_path / "d.npz", **{name: np.zeros(shape, np.float32) for name, shape in arrays.items()})
    with pytest.raises(DataError, match=message):
        _load(path, InputSpec("left", F32, ("N", 1)), InputSpec("right", F32, ("N", 1)))


def test_one_symbolic_size_cannot_be_two(tmp_path):
    path = _save(tmp_path / "d.npz", a=np.zeros((2, 3), np.float32), b=np.zeros((2, 4), np.float32))
    with pytest.raises(DataError, match=r"has 4 where input 'b' .* says T, but another input has 3 there"):
        _load(path, InputSpec("a", F32, ("N", "T")), InputSpec("b", F32, ("N", "T")))


def test_arrays_that_no_input_asks_for_are_noted(tmp_path):
    path = _save(tmp_path / "d.npz", x=np.zeros((2, 1), np.float32), names=np.array(["a", "b"]))
    data = _load(path, InputSpec("x", F32, ("N", 1)))
    assert data.notes == ("d.npz: 'names' not used, the model has no such input",)


def test_a_fixed_batch_leaves_the_rest_out_and_says_so(tmp_path):
    data = _load(_save(tmp_path / "d.npz", x=np.zeros((11, 2), np.float32)), InputSpec("x", F32, (4, 2)))
    assert len(data) == 8
    assert data.notes == ("the last 3 samples are left out: the model runs on exactly 4 at once",)


def test_the_batch_axis_is_moved_and_shared_inputs_are_passed_whole(tmp_path):
    path = _save(
        tmp_path / "d.npz", x=np.arange(6, dtype=np.float32).reshape(2, 3), h=np.ones((1, 4), np.float32)
    )
    specs = [InputSpec("x", F32, ("T", "N"), batch_axis=1), InputSpec("h", F32, (1, 4), batch_axis=None)]
    data = _load(path, *specs)
    assert data.inputs(1, 2)["x"].tolist() == [[3], [4], [5]]
    assert data.inputs(1, 2)["h"].shape == (1, 4)
    with pytest.raises(
        DataError, match="is the same for every sample and is passed as it is; save it in just that"
    ):
        _load(path, specs[0], InputSpec("h", F32, (2, 4), batch_axis=None))


def test_sidecars_beside_the_model_are_found(tmp_path):
    model = tmp_path / "net.onnx"
    _save(tmp_path / "net.npz", x=np.ones((3, 2), np.float32))
    data = load_data(None, model_path=model, inputs=[InputSpec("x", F32, ("N", 2))])
    assert data.source == str(tmp_path / "net.npz")
    assert len(data) == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("dat.npz", "dat.npz does not exist, did you mean 'data.npz'"),
        ("nothing/else.npz", "else.npz does not exist; give .npz, .npy, .txt"),
        ("data.bin", "data.bin is of no kind that can be read as data; give .npz"),
    ],
)
def test_sources_that_are_none_are_refused(tmp_path, source, message):
    _save(tmp_path / "data.npz", x=np.ones((3, 2), np.float32))
    (tmp_path / "data.bin").write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        _load(tmp_path / source)


def test_bad_limits_and_models_without_inputs_are_refused(tmp_path):
    with pytest.raises(DataError, match="limit 0 is out of range: give at least 1 sample"):
        _load(None, IMAGE, limit=0)
    with pytest.raises(DataError, match="the model has no inputs"):
        load_data(None, model_path=None, inputs=[])
    with pytest.raises(DataError, match="is given without data; add --data"):
        _load(None, IMAGE, preprocess=tmp_path / "p.yaml")
    with pytest.raises(ValueError, match="batch size 0 is out of range: give at least 1"):
        next(batches(_load(None, IMAGE), 0))


# Hostile files


def _npy(header: bytes, body: bytes = b"", version=(1, 0)) -> bytes:
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + size + header + body


def _zip(path: Path, members: dict[str, bytes], kind=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            _npy(HEADER % b"2, 3", bytes(20)),
            r"member 'x.npy' declares 2×3 of float32, 24 bytes, but 20 are there; save it",
        ),
        (
            _npy(HEADER % b"99999999999, 3"),
            "declares 1,118 GiB, more than the limit of 64 GiB; split the data",
        ),
        (_npy(HEADER % b"-1, 3"), r"declares the impossible shape \(-1, 3\)"),
        (_npy(HEADER % b"True, 3", bytes(12)), "declares the impossible shape"),
        (
            _npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
            "holds Python objects, which are never loaded",
        ),
        (
            _npy(b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", bytes(4)),
            "holds records",
        ),
        (_npy(b"{'descr': '<f4'"), "is no array in numpy's format"),
        (_npy(b"(" * 5000), "is no array in numpy's format"),
        (_npy(b"[" * 9000), "is no array in numpy's format"),
        (
            _npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", version=(9, 0)),
            "is no array in numpy's",
        ),
        (b"hello", "is no array in numpy's format"),
        (b"", "is no array in numpy's format"),
    ],
)
def test_headers_that_lie_are_refused_before_any_memory_is_taken(tmp_path, content, message, kind):
    path = _zip(tmp_path / "d.npz", {"x.npy": content}, kind)
    with pytest.raises(DataError, match=message):
        _load(path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../../x.npy": b""}, "holds a member named '../../x.npy', outside the archive; remove it"),
        ({"/etc/x.npy": b""}, "holds a member named '/etc/x.npy', outside the archive"),
        ({"..\\x.npy": b""}, "outside the archive"),
        ({"evil.exe": b""}, "holds 'evil.exe', which is no array; save it with numpy.savez"),
        ({}, "holds no array; save the inputs and their labels with numpy.savez"),
    ],
)
def test_members_that_do_not_belong_are_refused(tmp_path, members, message):
    with pytest.raises(DataError, match=message):
        _load(_zip(tmp_path / "d.npz", members))


def _good() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.arange(12, dtype=np.float32).reshape(4, 3), y=np.arange(4))
    return file.getvalue()


def _good_compressed() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.arange(12, dtype=np.float32).reshape(4, 3), y=np.arange(4))
    return file.getvalue()


def test_archives_that_are_broken_are_refused(tmp_path):
    path = tmp_path / "d.npz"
    good = _good()
    at = good.index(b"PK\x01\x02") + 20
    huge = good[:at] + b"\x00\xff\xff\xff" * 2 + good[at + 8 :]
    for content, message in (
        (b"", "is no readable ZIP archive"),
        (good[:-30], "is no readable ZIP archive"),
        (b"PK\x03\x04" + bytes(40), "is no readable ZIP archive"),
        (good.replace(b"PK\x03\x04", b"PK\x03\x05", 1), "member 'x.npy' cannot be read"),
        (huge, "member 'x.npy' cannot be read .declares 4,294,967,040 bytes, the file ends before"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            _load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", b"")
    with pytest.raises(DataError, match=r"lists the member 'x.npy' twice"):
        _load(path)
    encrypted = bytearray(good)
    at = encrypted.index(b"PK\x01\x02")
    encrypted[at + 8] |= 1
    path.write_bytes(bytes(encrypted))
    with pytest.raises(DataError, match=r"holds the encrypted member 'x.npy'; save it without a password"):
        _load(path)


def test_a_changed_number_is_noticed_by_its_checksum(tmp_path):
    content = bytearray(_good())
    content[content.index(np.float32(7).tobytes())] ^= 1
    (tmp_path / "d.npz").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"member 'x.npy' cannot be read \(Bad CRC-32"):
        _load(tmp_path / "d.npz")


def test_a_body_shorter_than_two_headers_say_is_refused(tmp_path):
    path = _zip(tmp_path / "d.npz", {"x.npy": _npy(HEADER % b"2, 3", bytes(20))}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at] += 4  # the directory's size of the member, as its own header claims
    path.write_bytes(bytes(content))
    with pytest.raises(
        DataError, match=r"(ends 4 bytes before its declared size; save it again|cannot be read)"
    ):
        _load(path)


def test_too_many_members_and_paths_that_are_no_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"none.npz is no file; give an existing file of data"):
        read_npz(tmp_path / "none.npz")
    monkeypatch.setattr("faultsim.data.archive.MAX_MEMBERS", 1)
    (tmp_path / "d.npz").write_bytes(_good())
    with pytest.raises(DataError, match="lists 2 members, at most 1 are allowed; use a folder"):
        _load(tmp_path / "d.npz")


def test_int4_and_bfloat16_inputs_are_fed(tmp_path):
    path = _save(tmp_path / "d.npz", a=np.array([[7, -8]]), b=np.array([[0.5]], np.float32))
    specs = [
        InputSpec("a", np.dtype(ml_dtypes.int4), ("N", 2)),
        InputSpec("b", np.dtype(ml_dtypes.bfloat16), ("N", 1)),
    ]
    got = _load(path, *specs).inputs(0, 1)
    assert got["a"].dtype == ml_dtypes.int4
    assert got["a"].astype(int).tolist() == [[7, -8]]
    assert got["b"].dtype == ml_dtypes.bfloat16
    with pytest.raises(DataError, match=r"holds 8 at \[0, 0\], outside the range -8…7 of int4"):
        _load(_save(tmp_path / "d.npz", a=np.array([[8, 0]]), b=np.zeros((1, 1), np.float32)), *specs)


def test_pickled_arrays_are_never_loaded(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="holds Python objects, which are never loaded"):
        _load(path)


def test_a_full_disk_is_told_before_it_is_full(tmp_path, monkeypatch):
    import shutil

    path = _save(tmp_path / "d.npz", True, input=np.zeros((4, 3, 4, 5), np.float32))
    monkeypatch.setattr(shutil, "disk_usage", lambda where: type("Usage", (), {"free": 1 << 20}))
    with pytest.raises(
        DataError, match=r"to be decompressed, where 0.0 GiB are free; save it with numpy.savez"
    ):
        _load(path)


FUZZ = settings(
    max_examples=150,
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _read_all(path):
    """Read everything: only our own errors may come out, and no lie about a size may cost time."""
    started = time.monotonic()
    with contextlib.suppress(FaultsimError):
        data = load_data(path, model_path=None, inputs=[InputSpec("x", F32, ("N", None))])
        for batch in batches(data, 3):
            assert batch.inputs["x"].dtype == F32
    assert time.monotonic() - started < 4


@FUZZ
@given(content=st.binary(max_size=400))
def test_random_bytes_give_a_data_error(tmp_path, content):
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(DataError):
        load_data(path, model_path=None, inputs=[IMAGE])
    (tmp_path / "d.npy").write_bytes(content)
    with pytest.raises(DataError):
        load_data(tmp_path / "d.npy", model_path=None, inputs=[IMAGE])


@FUZZ
@given(
    compressed=st.booleans(),
    changes=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 40),
)
def test_a_good_file_with_changed_bytes_is_read_or_refused(tmp_path, compressed, changes, cut):
    content = bytearray(_good_compressed() if compressed else _good())
    for place, value in changes:
        content[int(place * len(content))] = value
    path = tmp_path / "d.npz"
    path.write_bytes(bytes(content[: len(content) - cut] if cut > 30 else content))
    _read_all(path)


@FUZZ
@given(
    header=st.binary(max_size=200)
    | st.text(alphabet="{}'(), :0123456789descrfortran_orderhape<f4|OTrueFals", max_size=120)
)
def test_any_header_is_read_or_refused(tmp_path, header):
    raw = header if isinstance(header, bytes) else header.encode()
    path = _zip(tmp_path / "d.npz", {"x.npy": _npy(raw, bytes(48)), "y.npy": _npy(HEADER % b"2,", bytes(8))})
    _read_all(path)


# Labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [0, 3, 9, 10],
            r"label 10 at \[3\] in .* is out of range: the model has 10 classes, 0…9; check that data",
        ),
        ([1, 3, 10], r"label 10 at \[2\] .*; the labels seem to start at 1: declare label_offset: -1"),
        ([1, -3, 2], r"label -3 at \[1\]"),
        ([0.5, 1.0], "are float64, not class numbers; give whole numbers"),
    ],
)
def test_labels_out_of_range_are_named_with_their_place(tmp_path, labels, message):
    path = _save(tmp_path / "d.npz", x=np.zeros((len(labels), 2), np.float32), y=np.array(labels))
    data = _load(path, InputSpec("x", F32, ("N", 2)))
    with pytest.raises(DataError, match=message):
        check_labels(data, 10)


def test_labels_in_range_ignored_or_absent_pass(tmp_path):
    data = _load(
        _save(tmp_path / "d.npz", x=np.zeros((2, 2), np.float32), y=np.array([[0, -100], [9, 1]])),
        InputSpec("x", F32, ("N", 2)),
    )
    check_labels(data, 10, ignore_index=-100)
    with pytest.raises(DataError, match=r"label -100 at \[0, 1\]"):
        check_labels(data, 10)
    check_labels(_load(None, IMAGE), 10)


@pytest.mark.shared
def test_the_real_files_are_usable_as_they_are(shared):
    cifar = _load(
        shared / "data/cifar10/cifar10_test.npz", InputSpec("input", F32, ("N", 3, 32, 32)), limit=20
    )
    assert cifar.inputs(0, 20)["input"].shape == (20, 3, 32, 32)
    assert cifar.inputs(0, 20)["input"].max() <= 1
    assert cifar.labels(0, 5).tolist() == [3, 8, 8, 0, 6]
    assert "divided by 255" in cifar.notes[0]
    check_labels(cifar, 10)
    mnist = _load(shared / "data/zoo/mnist_test.npz", InputSpec("0", F32, (1, 1, 28, 28)), limit=3)
    assert mnist.inputs(0, 3)["0"].shape == (3, 1, 28, 28)
    words = _load(shared / "data/zoo/kws01.npz", InputSpec("input_1", np.dtype(np.int8), ("N", 49, 10, 1)))
    assert len(words) == 1000
    assert words.inputs(0, 1)["input_1"].dtype == np.int8
