"""Test data as the ONNX model zoo ships them: ``test_data_set_*/input_*.pb`` and ``output_*.pb``."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from faultsim.data.dataset import named
from faultsim.data.fit import Raw
from faultsim.data.spec import Array, InputSpec
from faultsim.errors import DataError

MAX_BYTES = (1 << 31) - 1  # protobuf's own limit
_INDEX = re.compile(r"_(\d+)\.pb$")


class Reference(NamedTuple):
    """The outputs that a test data set says are right, by name (``output_<i>`` where it has none)."""

    outputs: dict[str, Array]
    source: str


def is_data_set(folder: Path) -> bool:
    """Whether *folder* is a test data set, or holds some."""
    return bool(_sets(folder))


def read_protos(folder: Path, inputs: Sequence[InputSpec]) -> Raw:
    """Return the inputs of all test data sets below *folder*, one after the other, without labels.

    Files belong to inputs by the name in the file where that is one of the model's, else by their number.
    Sets whose shapes differ from the first one's are left out, and a note says so. Each set is read when its
    samples are.

    Args:
        folder: ``test_data_set_0`` itself, or the folder that holds such folders.
        inputs: The inputs of the model, in the order of the graph.

    Raises:
        DataError: If a file is damaged or missing, or holds no numbers.
    """
    sets = _sets(folder)
    if not sets:
        raise DataError(f"{folder} holds no test_data_set_*/input_*.pb; give such a folder, or an .npz file")
    files = [_assigned(one, inputs) for one in sets]
    axes = {spec.name: spec.batch_axis for spec in inputs}
    first = {name: _read(path, axes[name]) for name, path in files[0].items()}
    kept, left = [], 0
    rows: list[int] = []
    for position, one in enumerate(files):
        arrays = first if position == 0 else {name: _read(path, axes[name]) for name, path in one.items()}
        if any(
            array.shape[1:] != first[name].shape[1:] or array.ndim != first[name].ndim for name, array in arrays.items()
        ):
            left += 1
            continue
        counts = {array.shape[0] for name, array in arrays.items() if axes[name] is not None and array.ndim}
        kept.append(one)
        rows.append(min(counts, default=1))
    columns = {
        name: first[name] if axis is None else _Column([one[name] for one in kept], first[name], rows, axis)
        for name, axis in axes.items()
        if name in first
    }
    notes = (f"{left} test data sets of other shapes are left out",) if left else ()
    return Raw(columns, None, str(folder), folder.name, notes, samples_first=True)


def read_reference(folder: Path) -> Reference | None:
    """Return the reference outputs of the first test data set below *folder*, or ``None`` without any.

    Raises:
        DataError: If a file is damaged.
    """
    for one in _sets(folder)[:1]:
        outputs = {}
        for path in _numbered(one, "output"):
            proto = _proto(path)
            outputs[proto.name or path.stem] = _array(proto, path)
        return Reference(outputs, str(one)) if outputs else None
    return None


class _Column:
    """The rows of one input over several files; the file read last stays in memory."""

    def __init__(self, paths: Sequence[Path], first: Array, rows: Sequence[int], axis: int) -> None:
        self._axis = axis
        self.shape, self.dtype = (sum(rows), *first.shape[1:]), first.dtype
        self._paths = list(paths)
        self._starts = np.concatenate([[0], np.cumsum(rows)])
        self._held: tuple[int, Array] = (0, first)

    def __getitem__(self, rows: slice, /) -> Array:
        start, stop, _ = rows.indices(self.shape[0])
        parts = []
        for file in range(len(self._paths)):
            low, high = int(self._starts[file]), int(self._starts[file + 1])
            if low < stop and start < high:
                parts.append(self._file(file)[max(start - low, 0) : stop - low])
        return np.concatenate(parts) if parts else np.empty((0, *self.shape[1:]), self.dtype)

    def _file(self, file: int) -> Array:
        if self._held[0] != file:
            self._held = (file, _read(self._paths[file], self._axis).astype(self.dtype, copy=False))
        return self._held[1]


def _sets(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    if any(folder.glob("input_*.pb")):
        return [folder]
    found = [one for one in folder.glob("test_data_set_*") if any(one.glob("input_*.pb"))]
    return sorted(found, key=lambda one: (len(one.name), one.name))


def _numbered(folder: Path, word: str) -> list[Path]:
    found = [(int(match[1]), path) for path in folder.glob(f"{word}_*.pb") if (match := _INDEX.search(path.name))]
    return [path for _, path in sorted(found)]


def _assigned(folder: Path, inputs: Sequence[InputSpec]) -> dict[str, Path]:
    files = _numbered(folder, "input")
    by_name = {name: path for path in files if (name := _proto(path).name)}
    wanted = [spec.name for spec in inputs]
    if set(wanted) <= by_name.keys():
        return {name: by_name[name] for name in wanted}
    if len(files) != len(wanted):
        raise DataError(
            f"{folder} holds {len(files)} input_*.pb files, but the model has {len(wanted)} inputs: "
            f"{named(dict.fromkeys(wanted))}; give one file for each"
        )
    return dict(zip(wanted, files, strict=True))


def _proto(path: Path) -> onnx.TensorProto:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is over 2 GiB, more than protobuf can hold; split it")
        proto: onnx.TensorProto = onnx.TensorProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise DataError(f"{path} is no ONNX tensor ({error}); write it with onnx.save_tensor") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give a readable file") from error
    return proto


def _read(path: Path, axis: int | None) -> Array:
    """Read a file as the graph takes it and turn it, samples first."""
    array = _array(_proto(path), path)
    return np.moveaxis(array, axis, 0) if axis and array.ndim > axis else array


def _array(proto: onnx.TensorProto, path: Path) -> Array:
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        raise DataError(f"{path} keeps its numbers in another file, which is not followed; write them into the tensor")
    if proto.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        raise DataError(f"{path} holds no numbers; write it with onnx.numpy_helper.from_array")
    try:
        array = np.asarray(numpy_helper.to_array(proto))
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        MemoryError,
        NotImplementedError,
    ) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path} is no ONNX tensor ({reason}); write it with onnx.save_tensor") from error
    return array
