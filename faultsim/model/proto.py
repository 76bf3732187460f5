"""Reads an ONNX file from anywhere and writes numbers back into it: bytes in, a checked ModelProto out.

What the graph means lives in `graph.py`; here are only files, sizes, paths and bytes.
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, numpy_helper
from onnx.external_data_helper import set_external_data

from faultsim.errors import ModelError
from faultsim.model.attributes import FIELDS, put, tensor_of
from faultsim.model.stored import external, load_external, tensors, text

MAX_FILE_BYTES = 1 << 34
"""Largest model that is opened, its external data included: 16 GiB."""

MAX_OPSET = 26
MAX_IR_VERSION = 13
PROTOBUF_LIMIT = (1 << 31) - 1


class LoadedProto(NamedTuple):
    """A model as it was read.

    Attributes:
        proto: The model, external data read in.
        sha256: Hash of the file's bytes (and of its external data, in order of the tensors).
        path: Where it came from, None for a model that was made in memory.
    """

    proto: ModelProto
    sha256: str
    path: Path | None


def read(path: str | Path) -> LoadedProto:
    """Read the ONNX file at *path*, with its external data from its own folder alone.

    Raises:
        ModelError: If there is no such file, if it is no ONNX model, if it asks for versions that onnxruntime 1.31
            cannot check, or if its external data are missing, too short, or outside the model's folder.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ModelError(f"{path}: is a folder; give the .onnx file in it")
        size = path.stat().st_size
        if not path.is_file():  # a pipe or /dev/zero would never end
            raise ModelError(f"{path}: is no regular file; give the path of an .onnx model")
        if size > MAX_FILE_BYTES:
            raise ModelError(
                f"{path}: {size} bytes is over the limit of {MAX_FILE_BYTES}; keep weights as external data"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; give the path of an .onnx model") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"{str(path)[:200]!r}: cannot be read ({reason}); check the path and its permissions"
        ) from None
    digest = hashlib.sha256(data)
    proto = parse(data, name=str(path))
    room = MAX_FILE_BYTES
    for tensor in external(proto):
        data = load_external(tensor, path, room)
        room -= len(data)
        digest.update(data)
        tensor.ClearField("data_location")  # read in, it is like any other: written graphs are compared by their bytes
    return LoadedProto(proto, digest.hexdigest(), path)


def parse(data: bytes, *, name: str = "model") -> ModelProto:
    """Parse the bytes of an ONNX file and check what any model must have.

    Raises:
        ModelError: As `read`, with *name* as the place.
    """
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise ModelError(
            f"{name}: not an ONNX model, or cut short ({len(data)} bytes do not parse); export or copy it again"
        ) from None
    if not proto.HasField("graph") or not proto.opset_import or not proto.graph.output:
        raise ModelError(f"{name}: not an ONNX model (no graph, no outputs or no opset in it); export it again")
    if not 1 <= proto.ir_version <= MAX_IR_VERSION:
        raise ModelError(
            f"{name}: IR version {proto.ir_version} is not between 1 and {MAX_IR_VERSION}; "
            f"export with onnx 1.21 or older, or set model.ir_version = {MAX_IR_VERSION} if the model allows it"
        )
    for opset in proto.opset_import:
        if text(opset, "domain") in ("", "ai.onnx") and not 1 <= opset.version <= MAX_OPSET:
            raise ModelError(
                f"{name}: opset {opset.version} is not between 1 and {MAX_OPSET}; "
                "convert it with onnx.version_converter.convert_version"
            )
    return proto


def with_numbers(
    proto: ModelProto, paths: Mapping[str, tuple[str | int, ...]], numbers: Mapping[str, NDArray[Any]]
) -> ModelProto:
    """Return a copy of *proto* in which the tensors named in *numbers* hold those, and nothing else differs.

    Args:
        proto: The original model.
        paths: The way from the model to the tensor of each key (`graph.Program.paths`).
        numbers: New contents by key, of the tensor's own shape; converted to its element type.

    Raises:
        ModelError: If a key is unknown or a shape differs.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    for key, values in numbers.items():
        if key not in paths:
            raise ModelError(f"no stored tensor that can be written is named {key!r}; see model.sites for the names")
        _set_numbers(copy, paths[key], values, key)
    return copy


def resolve(proto: ModelProto, path: tuple[str | int, ...]) -> TensorProto:
    """Return the tensor at the end of *path*; of a Constant node's plain numbers one made for the occasion."""
    *way, field = path
    holder = _at(proto, way)
    if isinstance(holder, AttributeProto) and field in FIELDS.values():
        return tensor_of(holder, str(field), holder.name)
    tensor: TensorProto = _at(holder, [field])
    return tensor


def clear(proto: ModelProto, path: tuple[str | int, ...]) -> None:
    """Take the numbers at the end of *path* out, in place; what they are called and their kind stay."""
    holder = _at(proto, path[:-1])
    if isinstance(holder, AttributeProto) and path[-1] in FIELDS.values():
        holder.ClearField(path[-1])
        return
    tensor = resolve(proto, path)
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)


def _at(place: Any, way: Sequence[str | int]) -> Any:
    for step in way:
        place = place[step] if isinstance(step, int) else getattr(place, step)
    return place


def _set_numbers(proto: ModelProto, path: tuple[str | int, ...], values: NDArray[Any], key: str) -> None:
    tensor = resolve(proto, path)
    old = numpy_helper.to_array(tensor)
    if values.shape != old.shape:
        raise ModelError(f"new numbers for {key!r} have shape {values.shape}, the model's tensor has {old.shape}")
    converted = values.astype(old.dtype)
    if converted.tobytes() == old.tobytes():
        return  # the original field keeps its bytes
    holder = _at(proto, path[:-1])
    if isinstance(holder, AttributeProto) and path[-1] in FIELDS.values():
        put(holder, str(path[-1]), converted)
        return
    fresh = numpy_helper.from_array(converted, tensor.name)
    fresh.data_type = tensor.data_type
    for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.raw_data = fresh.raw_data


def write(proto: ModelProto, path: str | Path) -> None:
    """Write *proto* to *path* at once or not at all; over 2 GiB the weights go to ``<path>.data`` beside it.

    Raises:
        ModelError: If the file cannot be written.
    """
    path = Path(path)
    partial, data = path.with_name(path.name + ".partial"), data_beside(path)
    weights = data.with_name(data.name + ".partial")
    try:
        apart = lies_apart(proto)
        if apart:
            proto = _externalised(proto, data.name, weights)
        partial.write_bytes(proto.SerializeToString(deterministic=True))
        if apart:
            os.replace(weights, data)
        os.replace(partial, path)
    except OSError as error:
        for one in (partial, weights):
            with contextlib.suppress(OSError):
                one.unlink()
        raise ModelError(f"{path}: cannot be written ({error.strerror}); choose another place with -o") from None


def lies_apart(proto: ModelProto) -> bool:
    """Return whether `write` puts the weights of *proto* into a file of their own."""
    return bool(proto.ByteSize() > PROTOBUF_LIMIT)


def data_beside(path: Path) -> Path:
    """Return the file that holds the weights of the model at *path*, where they lie apart."""
    return path.with_name(path.name + ".data")


def _externalised(proto: ModelProto, location: str, place: Path) -> ModelProto:
    """Return a copy of *proto* whose weights lie in the file *location*; they are written to *place* for now."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    offset = 0
    with place.open("wb") as file:
        for tensor in tensors(copy):
            data = tensor.raw_data
            if len(data) < 1024:
                continue
            file.write(data)
            set_external_data(tensor, location, offset, len(data))
            tensor.ClearField("raw_data")
            offset += len(data)
    return copy


def initializer_names(graph: GraphProto) -> set[str]:
    """Names of the dense initializers of the main graph."""
    return {tensor.name for tensor in graph.initializer}


def domains(proto: ModelProto) -> set[str]:
    """Domains of the ops that the main graph and its subgraphs use, ai.onnx as ``""``."""
    found: set[str] = set()
    stack: list[onnx.GraphProto] = [proto.graph]
    while stack:
        graph = stack.pop()
        for node in graph.node:
            found.add("" if node.domain == "ai.onnx" else node.domain)
            stack.extend(a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
            stack.extend(g for a in node.attribute for g in a.graphs)
    return found
