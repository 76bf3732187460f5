"""``.npz`` and ``.npy`` files as columns that are read from disk, never unpickled, never whole in memory.

A stored member is memory-mapped in place. A compressed one is decompressed once, as far as it is needed,
into a nameless temporary file that is memory-mapped: disk space bounded by the array, memory by the slice.
Checksums are compared where a member is read to its end, so not under a limit.
"""

import contextlib
import math
import shutil
import sys
import tempfile
import tokenize
import warnings
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from faultsim.data.archive import Archive
from faultsim.data.convert import family
from faultsim.data.fit import LABEL_NAMES, Raw
from faultsim.data.spec import Array, show_shape
from faultsim.errors import DataError

MAX_ARRAY_BYTES = 64 << 30
_CHUNK = 1 << 20
_KEEP_FREE = 64 << 20
_HEADER_ERRORS = (
    ValueError,
    SyntaxError,
    TypeError,
    EOFError,
    OverflowError,
    RecursionError,
    MemoryError,
    KeyError,
)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    size: int  # bytes of the header itself

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(path: Path, *, limit: int | None = None) -> Raw:
    """Return the arrays of a ``.npz`` file by name.

    Args:
        path: The file.
        limit: Only so many samples are needed: compressed arrays are decompressed no further.

    Raises:
        DataError: If the file is damaged, hostile (sizes that the bytes do not bear out), or holds Python
            objects.
    """
    _must_exist(path)
    archive = Archive(path)
    arrays: dict[str, Array] = {}
    for name in archive.members:
        if name.endswith("/"):
            continue
        if not name.endswith(".npy"):
            raise DataError(f"{path} holds {name!r}, which is no array; save it with numpy.savez")
        arrays[name.removesuffix(".npy")] = _member(archive, name, limit)
    if not arrays:
        raise DataError(f"{path} holds no array; save the inputs and their labels with numpy.savez")
    return Raw(arrays, None, str(path), path.name)


def read_npy(path: Path) -> Array:
    """Return a ``.npy`` file as a memory-mapped array.

    Raises:
        DataError: If the file is damaged or holds Python objects.
    """
    _must_exist(path)
    with path.open("rb") as file:
        header = _header(file, str(path))
        size = file.seek(0, 2)
    _check_size(header, size - header.size, str(path))
    return _mapped(path, header, header.size)


def token_array(raw: Raw) -> Array | None:
    """Return the one flat array of whole numbers in a file of token ids, or ``None`` for any other file."""
    if len(raw.arrays) != 1 or next(iter(raw.arrays)) in LABEL_NAMES:
        return None
    only = next(iter(raw.arrays.values()))
    return np.asanyarray(only) if len(only.shape) == 1 and family(only.dtype) == "int" else None


def _member(archive: Archive, name: str, limit: int | None) -> Array:
    what = f"{archive.path}: member {name!r}"
    declared = archive.members[name].file_size
    offset = archive.offset(name)
    with archive.stream(name) as file:
        header = _header(file, what)
        _check_size(header, declared - header.size, what)
        if offset is not None:
            while limit is None and file.read(_CHUNK):
                pass  # zipfile compares the checksum at the end; the map itself would not
            return _mapped(archive.path, header, offset + header.size)
        if limit is not None and not header.fortran and header.shape and limit < header.shape[0]:
            header = header._replace(shape=(max(limit, 0), *header.shape[1:]))
        return _spooled(file, header, what)


def _header(file: IO[bytes], what: str) -> _Header:
    try:
        version = npy.read_magic(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser of the header warns about what it then refuses
            if version == (1, 0):
                shape, fortran, dtype = npy.read_array_header_1_0(file)
            elif version in ((2, 0), (3, 0)):
                shape, fortran, dtype = npy.read_array_header_2_0(file)
            else:
                raise ValueError(f"version {version} of the format is unknown")
    except (*_HEADER_ERRORS, tokenize.TokenError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{what} is no array in numpy's format ({reason}); save it again with numpy.save") from error
    if dtype.hasobject or "O" in dtype.str:
        raise DataError(f"{what} holds Python objects, which are never loaded; save numbers: array.astype('float32')")
    if dtype.names is not None or dtype.subdtype is not None or dtype.itemsize == 0:
        raise DataError(f"{what} holds records ({dtype}); save one plain array for each input")
    if any(type(size) is not int or size < 0 for size in shape) or len(shape) > 32:
        raise DataError(f"{what} declares the impossible shape {shape!r}; save it again with numpy.save")
    return _Header(tuple(shape), bool(fortran), dtype, file.tell())


def _check_size(header: _Header, available: int, what: str) -> None:
    if header.bytes == 0 and math.prod(size or 1 for size in header.shape) * header.dtype.itemsize > sys.maxsize:
        raise DataError(f"{what} declares the impossible shape {header.shape!r}; save it again with numpy.save")
    if header.bytes > MAX_ARRAY_BYTES:
        raise DataError(
            f"{what} declares {header.bytes / 2**30:,.0f} GiB, more than the limit of "
            f"{MAX_ARRAY_BYTES >> 30} GiB; "
            "split the data, or give module:function"
        )
    if header.bytes != available:
        raise DataError(
            f"{what} declares {show_shape(header.shape)} of {header.dtype}, {header.bytes:,} bytes, but "
            f"{available:,} "
            "are there; save it again"
        )


def _mapped(source: Path | Any, header: _Header, offset: int) -> Array:
    order: Any = "F" if header.fortran else "C"
    if header.bytes == 0 or not header.shape:  # numpy cannot map nothing; a scalar is not worth a map
        if header.bytes == 0:
            return np.empty(header.shape, header.dtype)
        with source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source) as file:
            file.seek(offset)
            return np.frombuffer(file.read(header.bytes), header.dtype).reshape(header.shape)
    return np.memmap(source, header.dtype, "r", offset, header.shape, order)


def _spooled(file: IO[bytes], header: _Header, what: str) -> Array:
    """Decompress the bytes that *header* asks for into a temporary file without a name."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if header.bytes + _KEEP_FREE > free:
        raise DataError(
            f"{what} needs {header.bytes / 2**30:,.1f} GiB in {tempfile.gettempdir()} to be decompressed, "
            "where "
            f"{free / 2**30:,.1f} GiB are free; save it with numpy.savez (not compressed), or set TMPDIR"
        )
    left = header.bytes
    with tempfile.TemporaryFile() as spool:
        while left and (block := file.read(min(_CHUNK, left))):
            spool.write(block)
            left -= len(block)
        if left:
            raise DataError(f"{what} ends {left:,} bytes before its declared size; save it again")
        spool.flush()
        return _mapped(spool, header, 0)


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} is no file; give an existing file of data")
