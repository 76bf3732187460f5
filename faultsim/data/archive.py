"""Opening of ZIP files that nobody vouches for. Nothing is ever extracted under a name from the archive."""

import contextlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from faultsim.errors import DataError

MAX_MEMBERS = 200_000
_LOCAL = struct.Struct("<4s22xHH")
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class Archive:
    """A ZIP file with its members by name; every problem is a `DataError` that names the file."""

    def __init__(self, path: Path) -> None:
        """Open *path* and check its directory.

        Raises:
            DataError: If it is no ZIP file, or a member is encrypted, listed twice or named out of the
                archive.
        """
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            listed = self._zip.infolist()
        except ZIP_ERRORS as error:
            raise DataError(f"{path} is no readable ZIP archive ({_reason(error)}); save it again") from error
        if len(listed) > MAX_MEMBERS:
            raise DataError(f"{path} lists {len(listed):,} members, at most {MAX_MEMBERS:,} are allowed; use a folder")
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in listed:
            name = PurePosixPath(info.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in name.parts[:1]:
                raise DataError(f"{path} holds a member named {info.filename!r}, outside the archive; remove it")
            if info.filename in self.members:
                raise DataError(f"{path} lists the member {info.filename!r} twice; save the archive again")
            if info.flag_bits & 0x1:
                raise DataError(f"{path} holds the encrypted member {info.filename!r}; save it without a password")
            self.members[info.filename] = info

    @contextlib.contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a member as a file of its decompressed bytes.

        Raises:
            DataError: If it cannot be decompressed; also for reads inside the ``with`` block.
        """
        try:
            with self._zip.open(self.members[name]) as file:
                yield file
        except ZIP_ERRORS as error:
            raise self.unreadable(name, error) from error

    def offset(self, name: str) -> int | None:
        """Return where in the file the bytes of a member start, or ``None`` where they are compressed.

        Raises:
            DataError: If the member's own header is damaged or its bytes end outside the file.
        """
        info = self.members[name]
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with self.path.open("rb") as file:
            file.seek(max(info.header_offset, 0))
            header = file.read(_LOCAL.size)
            size = file.seek(0, 2)
        if info.header_offset < 0 or len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
            raise self.unreadable(name, ValueError("damaged header"))
        _, name_size, extra_size = _LOCAL.unpack(header)
        start = info.header_offset + _LOCAL.size + name_size + extra_size
        if start + info.file_size > size or info.compress_size != info.file_size:
            raise self.unreadable(name, ValueError(f"declares {info.file_size:,} bytes, the file ends before"))
        return int(start)

    def unreadable(self, name: str, error: Exception) -> DataError:
        """Return the error that says which member cannot be read and why."""
        return DataError(f"{self.path}: member {name!r} cannot be read ({_reason(error)}); save the archive again")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
