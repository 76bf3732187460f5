"""The tensors that an ONNX model stores: all of them, their external data, and whether they hold what they claim."""

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.external_data_helper import uses_external_data

from faultsim.errors import ModelError
from faultsim.model.attributes import constant_field, is_constant, tensor_of
from faultsim.model.codes import FunctionKey
from faultsim.model.values import FLOAT8

NARROW_FLOATS = {TensorProto.BFLOAT16, *FLOAT8}

MAX_NODES = 200_000
"""Most nodes that a graph may have once its calls of model-local functions are written out."""

MAX_FUNCTION_DEPTH = 50
"""Deepest chain of calls from one model-local function to another."""

MAX_SPARSE_ELEMENTS = 1 << 28
"""Most elements that a sparse tensor may have when it is made dense."""


def external(proto: ModelProto) -> Iterator[TensorProto]:
    """The stored tensors whose numbers lie in another file."""
    return (tensor for tensor in tensors(proto) if uses_external_data(tensor))


def check_self_contained(proto: ModelProto) -> None:
    """Check that a model in memory holds its weights itself: without a path nothing says where a file would lie.

    Raises:
        ModelError: If a tensor points to external data.
    """
    for tensor in external(proto):
        raise ModelError(
            f"external data of {text(tensor, 'name')!r} are not loaded; give load_model the path of the file, "
            "or load them first with onnx.load"
        )


def tensors(proto: ModelProto) -> Iterator[TensorProto]:
    """Every stored tensor: of the graph, its subgraphs and functions; of sparse tensors both parts."""
    for graph in _graphs(proto):
        if isinstance(graph, GraphProto):
            yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
    for sparse in _sparse(proto):
        yield sparse.values
        yield sparse.indices


def _graphs(proto: ModelProto) -> Iterator[GraphProto | onnx.FunctionProto]:
    stack: list[GraphProto | onnx.FunctionProto] = [proto.graph, *proto.functions]
    while stack:
        graph = stack.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    stack.append(attribute.g)
                stack.extend(attribute.graphs)


def _sparse(proto: ModelProto) -> Iterator[onnx.SparseTensorProto]:
    for graph in _graphs(proto):
        if isinstance(graph, GraphProto):
            yield from graph.sparse_initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("sparse_tensor"):
                    yield attribute.sparse_tensor
                yield from attribute.sparse_tensors


def sparse_names(proto: ModelProto) -> tuple[str, ...]:
    """Names of the numbers that *proto* stores sparse, in initializers and in Constant nodes.

    Whole numbers of 32 or 64 bits, which index and count, are left out.
    """
    found: list[tuple[str, TensorProto]] = []
    for graph in _graphs(proto):
        if isinstance(graph, GraphProto):
            found += [(text(sparse.values, "name"), sparse.values) for sparse in graph.sparse_initializer]
        for node in graph.node:
            values = [a.sparse_tensor.values for a in node.attribute if a.HasField("sparse_tensor")]
            found += [(text(one, "name") or ", ".join(node.output), one) for one in values]
    counting = (TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64, TensorProto.BOOL)
    return tuple(name for name, values in found if values.data_type not in counting)


def _plain_numbers(proto: ModelProto) -> Iterator[TensorProto]:
    """Floats that Constant nodes hold in plain attributes, as tensors under the names of the outputs."""
    for node in (node for graph in _graphs(proto) for node in graph.node if node.op_type == "Constant"):
        field = constant_field(node)
        if field in ("f", "floats") and node.output:
            yield tensor_of(node.attribute[0], field, node.output[0])


def constant_tensor(node: NodeProto) -> TensorProto | None:
    """Return the tensor of a Constant node that holds a dense tensor; None for every other node."""
    if not is_constant(node):
        return None
    attribute = node.attribute[0]
    return attribute.t if attribute.name == "value" else None


def densify(sparse: onnx.SparseTensorProto) -> TensorProto:
    """Return a sparse tensor made dense, under the name of its values."""
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
    if indices.ndim == 2:
        dense[tuple(indices.T)] = values
    else:
        dense.reshape(-1)[indices] = values
    return numpy_helper.from_array(dense, sparse.values.name)


def text(message: Any, field: str) -> str:
    """A text field of a message; protobuf lets bytes through that are no text."""
    try:
        return str(getattr(message, field))
    except UnicodeDecodeError:
        raise ModelError(
            f"not an ONNX model: the field {field!r} of a {type(message).__name__} is no text; export it again"
        ) from None


def load_external(tensor: TensorProto, model: Path, room: int) -> bytes:
    """Read the external data of *tensor*, at most *room* bytes, into it and return them."""
    entries = {text(e, "key"): text(e, "value") for e in tensor.external_data}
    location = entries.get("location", "")
    place = f"{model}: external data of {text(tensor, 'name')!r}"
    folder = model.parent.resolve()
    if (
        not location
        or PurePosixPath(location).is_absolute()
        or PureWindowsPath(location).drive
        or ".." in PureWindowsPath(location).parts
        or "\0" in location
    ):
        raise ModelError(f"{place} lie at {location!r}; only a relative path inside the model's folder is allowed")
    try:
        target = (folder / location).resolve()
        there = target.is_file()
    except (OSError, RuntimeError):  # too long a name; links in a circle
        raise ModelError(
            f"{place} lie at {location[:80]!r}, which is no usable path; put the file beside the model"
        ) from None
    if not target.is_relative_to(folder):
        raise ModelError(
            f"{place} lie at {location!r}, which leads outside the model's folder; put the file beside the model"
        )
    if not there:
        raise ModelError(f"{place} are missing: no file {location!r} beside the model; copy it there")
    try:
        offset, size = int(entries.get("offset", 0)), target.stat().st_size
        length = int(entries.get("length", size - offset))
    except ValueError:
        raise ModelError(f"{place} have an offset or a length that is no number; export the model again") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise ModelError(
            f"{place} need bytes {offset} to {offset + length} of {location!r}, which has {size}; copy the file again"
        )
    if length > room:
        raise ModelError(
            f"{place} need {length} bytes, over the {room} left of the limit for one model; split the model"
        )
    try:
        with target.open("rb") as file:
            file.seek(offset)
            data: bytes = file.read(length)
    except OSError as error:
        raise ModelError(f"{place} cannot be read ({error.strerror}); check the file's permissions") from None
    tensor.raw_data = data
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.DEFAULT
    return data


def check_tensors(proto: ModelProto, *, name: str) -> None:
    """Check that every stored tensor has the numbers that its shape asks for, and no NaN.

    Raises:
        ModelError: With the tensor's name.
    """
    for sparse in _sparse(proto):
        size = math.prod(sparse.dims)
        if min(sparse.dims, default=0) < 0 or size > MAX_SPARSE_ELEMENTS:
            raise ModelError(
                f"{name}: sparse tensor {text(sparse.values, 'name')!r} of shape {list(sparse.dims)[:8]} is over the "
                f"limit of {MAX_SPARSE_ELEMENTS} elements when dense; export the model again"
            )
    for tensor in chain(tensors(proto), _plain_numbers(proto)):
        label = text(tensor, "name")
        try:
            if min(tensor.dims, default=0) < 0:
                raise ValueError("a dimension is negative")
            array = numpy_helper.to_array(tensor)
        except Exception as error:  # onnx raises whatever NumPy or protobuf does on a malformed tensor
            raise ModelError(
                f"{name}: initializer {label!r} of shape {list(tensor.dims)[:8]} holds no such data "
                f"({(str(error) or type(error).__name__).splitlines()[0][:120]}); export the model again"
            ) from None
        if tensor.data_type in NARROW_FLOATS:
            array = array.astype(np.float32)
        if array.dtype.kind in "fc" and array.size and bool(np.isnan(array).any()):
            count = int(np.isnan(array).sum())
            raise ModelError(
                f"{name}: initializer {label!r} holds {count} NaN of {array.size} numbers; "
                "no figure about such a model means anything: train or export it again"
            )


def check_functions(proto: ModelProto, *, name: str) -> None:
    """Check that no model-local function calls itself, and that all calls written out stay a graph of a sane size.

    Raises:
        ModelError: With the function's name.
    """
    functions = {(text(f, "domain"), text(f, "name"), text(f, "overload")): f for f in proto.functions}
    sizes: dict[FunctionKey, int] = {}
    limit = f"{name}: the model-local functions"

    def size(graph: GraphProto | onnx.FunctionProto, above: tuple[FunctionKey, ...]) -> int:
        total = 0
        for node in graph.node:
            key = (text(node, "domain"), text(node, "op_type"), text(node, "overload"))
            inner = [a.g for a in node.attribute if a.HasField("g")] + [g for a in node.attribute for g in a.graphs]
            total += 1 + sum(size(g, above) for g in inner)
            if key in above or len(above) > MAX_FUNCTION_DEPTH:
                raise ModelError(f"{limit} call each other without end, at {key[1]!r}; export the model again")
            if key in functions:
                if key not in sizes:
                    sizes[key] = size(functions[key], (*above, key))
                total += sizes[key]
        return total

    if functions and size(proto.graph, ()) > MAX_NODES:
        raise ModelError(f"{limit} make more than {MAX_NODES} nodes when written out; export the model again")
