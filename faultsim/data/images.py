"""Folders and ZIP files of images, one folder a class or a ``labels.csv``; decoded when their turn comes."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath, PurePosixPath

import numpy as np
from PIL import Image

from faultsim.data.archive import Archive
from faultsim.data.convert import family, fits, image_rule
from faultsim.data.fit import Raw
from faultsim.data.image_labels import Files, labelled
from faultsim.data.preprocess import Preprocess, to_nhwc
from faultsim.data.spec import Array, Column, InputSpec, show_shape
from faultsim.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MAX_PIXELS = 1 << 26
MAX_FILE_BYTES = 256 << 20
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
    names, labels, note = labelled(root, files)
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


def _folder(root: Path) -> Files:
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not _hidden(path.relative_to(root))
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

    folders = [one.relative_to(root) for one in root.rglob("*") if one.is_dir()]
    return Files(names, read, text, [one.as_posix() for one in folders if not _hidden(one)])


def _hidden(path: PurePath) -> bool:
    """Whether a file is none of the user's images: in a hidden folder, or what macOS puts into its archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _zip(root: Path) -> Files:
    archive = Archive(root)
    names = sorted(
        name
        for name in archive.members
        if PurePosixPath(name).suffix.lower() in SUFFIXES and not _hidden(PurePosixPath(name))
    )

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
    return Files(names, read, text)


def _decoded(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
