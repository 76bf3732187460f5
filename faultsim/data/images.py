"""Folders and ZIP files of images, one folder a class or a ``labels.csv``; decoded when their turn comes."""

import csv
import io
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from faultsim.data.archive import Archive
from faultsim.data.convert import family, fits, image_rule
from faultsim.data.fit import Raw
from faultsim.data.preprocess import Preprocess, to_nhwc
from faultsim.data.spec import Array, Column, InputSpec, show_shape
from faultsim.errors import DataError
from faultsim.library import closest

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MAX_PIXELS = 1 << 26
MAX_FILE_BYTES = 256 << 20
_FILE_COLUMNS = ("file", "filename", "path", "image")
_LABEL_COLUMNS = ("label", "labels", "class_index", "class", "target", "y")
_STREAM = re.compile(r"<_io\.BytesIO [^>]*>")  # Pillow knows no name for bytes
_MODES = {
    "1": "L",
    "L": "L",
    "LA": "L",
    "P": "RGB",
    "PA": "RGB",
    "RGB": "RGB",
    "RGBA": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}


class _Files(NamedTuple):
    """Image files by their path below the root, sorted, and how one is read."""

    names: list[str]
    read: Callable[[str], bytes]
    csv: tuple[str, str] | None  # name and text of labels.csv


def read_images(root: Path, spec: InputSpec, preprocess: Preprocess | None) -> Raw:
    """Return images as uint8, N×H×W×C (C is 1 for grey models, else 3), with labels where there are any.

    Labels: ``labels.csv`` at the root (or beside a ZIP) with columns file and label; else one folder a class,
    numbered in the order of their names, or by their names where all are numbers; else none. Text labels in a
    CSV are numbered in their sorted order. Colour, resize and crop of *preprocess* are done here, since raw
    images differ in size; what remains is left to the caller (`remaining`).

    Raises:
        DataError: If there is no image, one cannot be decoded, sizes differ, or the labels do not go with the
            files.
    """
    files = _folder(root) if root.is_dir() else _zip(root)
    if not files.names:
        raise DataError(
            f"{root} holds no image ({', '.join(SUFFIXES[:4])}, …); give one folder a class, or a labels.csv"
        )
    names, labels, note = _labelled(root, files)
    grey = preprocess.color == "GRAY" if preprocess and preprocess.color else _wants_grey(spec, preprocess)
    steps = Preprocess() if preprocess is None else preprocess
    place = Preprocess(resize=steps.resize, crop=steps.crop, interpolation=steps.interpolation)
    column = _Images(root, names, files.read, "L" if grey else "RGB", place)
    placed = (f"images: {place.describe()}",) if steps.resize or steps.crop else ()
    return Raw({spec.name: column}, labels, str(root), root.name, (note, *placed), samples_first=True)


def remaining(preprocess: Preprocess | None) -> Preprocess | None:
    """Return the steps that `read_images` has not done: images come as N,H,W,C, resized and cropped."""
    if preprocess is None or not preprocess.declares_steps:
        return preprocess
    color = "BGR" if preprocess.color == "BGR" else None
    done = {"resize": None, "crop": None, "color": color, "data_layout": None, "scale": preprocess.scale}
    return preprocess.model_copy(update=done)


def check_without_steps(spec: InputSpec, column: Column, root: Path) -> None:
    """Refuse images for a model that no automatic rule can feed.

    Raises:
        DataError: Unless the model takes uint8 N,H,W,C or floats N,C,H,W of the images' own size.
    """
    shape = column.shape[1:]
    if spec.dtype == np.uint8 and fits(shape, spec.sample_shape):
        return
    if family(spec.dtype) == "float" and image_rule(spec, shape):
        return
    raise DataError(
        f"the images in {root} are {show_shape(shape)}, but {spec} wants another size or kind of number; "
        "give a "
        "preprocessing file (--preprocess) with resize or crop, layout and scale"
    )


class _Images:
    """Decoded images as rows."""

    def __init__(
        self, root: Path, names: Sequence[str], read: Callable[[str], bytes], mode: str, steps: Preprocess
    ) -> None:
        self.dtype = np.dtype(np.uint8)
        self._root, self._names, self._read, self._mode, self._steps = root, list(names), read, mode, steps
        self.shape = (len(names), *self._image(0).shape)

    def __getitem__(self, rows: slice, /) -> Array:
        start, stop, _ = rows.indices(len(self._names))
        out = np.empty((max(stop - start, 0), *self.shape[1:]), np.uint8)
        for row, index in enumerate(range(start, stop)):
            image = self._image(index)
            if image.shape != self.shape[1:]:
                raise DataError(
                    f"{self._root}: image {self._names[index]} is {show_shape(image.shape)}, but the first "
                    "one is "
                    f"{show_shape(self.shape[1:])}; add resize and crop to a preprocessing file"
                )
            out[row] = image
        return out

    def _image(self, index: int) -> Array:
        name = self._names[index]
        what = f"{self._root}: image {name}"
        raw = self._read(name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(raw))
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"{what} declares {image.width}×{image.height} pixels, over 64 million; scale it down"
                    )
                if image.mode not in _MODES:
                    raise DataError(f"{what} has pixels of kind {image.mode!r}, not 8 bits; save it as an 8-bit image")
                pixels = np.asarray(image.convert(self._mode))
        except DataError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            said = _STREAM.sub(repr(name), " ".join(str(error).split()))
            raise DataError(f"{what} cannot be decoded ({said[:120]}); remove or replace it") from error
        grown = pixels[None, ..., None] if pixels.ndim == 2 else pixels[None]
        placed: Array = to_nhwc(grown, self._steps, what)[0]
        return placed


def _wants_grey(spec: InputSpec, preprocess: Preprocess | None) -> bool:
    sample = spec.sample_shape
    if len(sample) == 2:
        return True
    layout = (
        preprocess.layout if preprocess and preprocess.layout else "NCHW" if family(spec.dtype) == "float" else "NHWC"
    )
    return len(sample) == 3 and sample[0 if layout == "NCHW" else -1] == 1


def _folder(root: Path) -> _Files:
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    table = root / "labels.csv"
    text = (table.name, _decoded(table.read_bytes(), str(table))) if table.is_file() else None

    def read(name: str) -> bytes:
        path = root / name
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"{path} is over {MAX_FILE_BYTES >> 20} MiB, too large for an image; remove it")
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); remove or replace it") from error

    return _Files(names, read, text)


def _zip(root: Path) -> _Files:
    archive = Archive(root)
    names = sorted(name for name in archive.members if PurePosixPath(name).suffix.lower() in SUFFIXES)

    def read(name: str) -> bytes:
        if archive.members[name].file_size > MAX_FILE_BYTES:
            raise DataError(f"{root}: {name} is over {MAX_FILE_BYTES >> 20} MiB, too large for an image; remove it")
        with archive.stream(name) as file:
            return file.read(MAX_FILE_BYTES)

    text = None
    if "labels.csv" in archive.members:
        text = ("labels.csv", _decoded(read("labels.csv"), f"{root}: labels.csv"))
    for beside in (root.with_suffix(".csv"), root.parent / "labels.csv"):
        if text is None and beside.is_file():
            text = (str(beside), _decoded(beside.read_bytes(), str(beside)))
    return _Files(names, read, text)


def _decoded(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def _labelled(root: Path, files: _Files) -> tuple[list[str], Array | None, str]:
    if files.csv is not None:
        return _from_csv(root, files, *files.csv)
    parts = [name.split("/") for name in files.names]
    depth = min(len(one) for one in parts)
    if depth == 1:
        return files.names, None, "the images have no labels: no folder a class and no labels.csv"
    shared = 0
    while shared < depth - 2 and len({one[shared] for one in parts}) == 1:
        shared += 1
    found = [one[shared] for one in parts]
    classes, numbers = _numbered(found)
    return files.names, numbers, f"labels are the names of {len(classes)} folders: {_shown(classes)}"


def _from_csv(root: Path, files: _Files, table: str, text: str) -> tuple[list[str], Array | None, str]:
    lines = csv.reader(io.StringIO(text))
    try:
        rows = [row for row in lines if row]
    except csv.Error as error:
        reason = str(error).partition(" - ")[0]
        raise DataError(
            f"{table}: line {lines.line_num} cannot be read ({reason}); save it as CSV with line ends LF or CR LF and "
            f"cells of at most {csv.field_size_limit():,} characters"
        ) from None
    if not rows:
        raise DataError(f"{table} is empty; give a line for each image: file,label")
    head = [cell.strip().lower() for cell in rows[0]]
    file_at = next((head.index(name) for name in _FILE_COLUMNS if name in head), None)
    label_at = next((head.index(name) for name in _LABEL_COLUMNS if name in head), None)
    if file_at is None or label_at is None:
        if len(head) != 2 or file_at is not None or label_at is not None:
            raise DataError(f"{table} needs the columns file and label, it has {', '.join(rows[0])}; rename them")
        file_at, label_at = 0, 1
    else:
        rows = rows[1:]
    known, names, found = set(files.names), [], []
    for line, row in enumerate(rows, start=1):
        if len(row) <= max(file_at, label_at):
            raise DataError(f"{table}: row {line} has {len(row)} cells, too few; give file and label")
        if row[file_at] not in known:
            near = closest(row[file_at], files.names)
            raise DataError(
                f"{table}: row {line} names {row[file_at]!r}, which is no image in {root}"
                + (f", did you mean {near!r}?" if near else "; remove the row")
            )
        names.append(row[file_at])
        found.append(row[label_at].strip())
    classes, numbers = _numbered(found)
    return names, numbers, f"labels are from {table}, {len(classes)} classes: {_shown(classes)}"


def _numbered(found: Sequence[str]) -> tuple[list[str], Array]:
    """Return the classes and the number of each sample's: the name itself where all names are numbers."""
    if all(name.removeprefix("-").isdecimal() and len(name) < 18 for name in found):
        numbers = np.array([int(name) for name in found], dtype=np.int64)
        return [str(number) for number in np.unique(numbers)], numbers
    classes = sorted(set(found))
    index = {name: number for number, name in enumerate(classes)}
    return classes, np.array([index[name] for name in found], dtype=np.int64)


def _shown(classes: Sequence[str]) -> str:
    return ", ".join(classes[:6]) + (", …" if len(classes) > 6 else "")
