"""Labels of images: from the names of their folders, or a table beside them. No image is read here."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faultsim.data.spec import Array
from faultsim.errors import DataError
from faultsim.library import closest

_FILE_COLUMNS = ("file", "filename", "path", "image")
_LABEL_COLUMNS = ("label", "labels", "class_index", "class", "target", "y")


class Files(NamedTuple):
    """Image files by their path below the root, sorted, and how one is read."""

    names: list[str]
    read: Callable[[str], bytes]
    csv: tuple[str, str] | None  # name and text of labels.csv
    folders: Sequence[str] = ()  # all that are not hidden, empty ones too


def labelled(root: Path, files: Files) -> tuple[list[str], Array | None, str]:
    """Return the images in order, their labels (None: none), and where these come from, as a sentence.

    Raises:
        DataError: If a table cannot be read, or does not fit the images.
    """
    if files.csv is not None:
        return _from_csv(root, files, *files.csv)
    parts = [name.split("/") for name in files.names]
    depth = min(len(one) for one in parts)
    if max(len(one) for one in parts) == 1:
        return files.names, None, "the images have no labels: no folder a class and no labels.csv"
    if any(len(one) == 1 for one in parts):
        alone = next(name for name in files.names if "/" not in name)
        raise DataError(
            f"{root}: image {alone!r} lies beside folders of images, so that no folder tells its class; move it "
            "into one, remove it, or give labels.csv"
        )
    shared = 0
    while shared < depth - 2 and len({one[shared] for one in parts}) == 1:
        shared += 1
    found = [one[shared] for one in parts]
    above = parts[0][:shared]
    there = [one.split("/") for one in files.folders]
    empty = {one[-1] for one in there if len(one) == shared + 1 and one[:-1] == above} - set(found)
    classes, numbers = _numbered([*found, *sorted(empty)])
    numbers = numbers[: len(found)]
    return files.names, numbers, f"labels are the names of {len(classes)} folders: {_shown(classes)}"


def _from_csv(root: Path, files: Files, table: str, text: str) -> tuple[list[str], Array | None, str]:
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
        if not found[-1]:
            raise DataError(f"{table}: row {line} has no label; give one, or remove the row")
    values = _reals(found)
    if values is not None:
        return names, values, f"labels are numbers from {table}, {values.min():g} to {values.max():g}"
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


def _reals(found: Sequence[str]) -> Array | None:
    """Return labels that are written with a point or an exponent: int64 where all are whole; None for any others."""
    try:
        values = np.array([float(name) for name in found])
    except ValueError:
        return None
    if not np.all(np.isfinite(values)) or all(name.removeprefix("-").isdecimal() for name in found):
        return None
    return values.astype(np.int64) if np.all(values % 1 == 0) and np.all(np.abs(values) < 2**53) else values


def _shown(classes: Sequence[str]) -> str:
    return ", ".join(classes[:6]) + (", …" if len(classes) > 6 else "")
