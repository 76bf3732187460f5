"""Files that nobody vouches for: whatever the bytes, they are read or refused, and cost little."""

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

from faultsim.data import InputSpec, batches, load_data
from faultsim.data.npz import read_npz
from faultsim.errors import DataError, FaultsimError

F32 = np.dtype(np.float32)
IMAGE = InputSpec("input", F32, ("N", 3, 4, 5))


def _save(path, compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def _load(path, *inputs, **options):
    return load_data(path, model_path=None, inputs=inputs or [IMAGE], **options)


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
        (_npy(HEADER % b"0, %d" % 2**70), r"member 'x.npy' declares the impossible shape \(0, \d+\); save it again"),
        (_npy(HEADER % b"0, %d, %d" % (2**40, 2**40)), "declares the impossible shape"),
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
    with pytest.raises(DataError, match=r"(ends 4 bytes before its declared size; save it again|cannot be read)"):
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
    with pytest.raises(DataError, match=r"to be decompressed, where 0.0 GiB are free; save it with numpy.savez"):
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
