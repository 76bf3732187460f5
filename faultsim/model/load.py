"""`load_model`: a path, a ModelProto or a torch or Brevitas module becomes a `Model`. No execution lives here."""

import hashlib
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import EncodeError

import faultsim.model.ops  # noqa: F401  (fills the op table)
from faultsim.errors import FaultsimError, ModelError
from faultsim.model import proto as files
from faultsim.model.graph import compile_model
from faultsim.model.model import Model
from faultsim.model.signature import input_specs
from faultsim.model.sites import find_sites
from faultsim.model.stored import check_functions, check_self_contained, check_tensors
from faultsim.model.tables import table_rows
from faultsim.model.wiring import check_wiring


def load_model(
    source: Any,
    example_inputs: Any = None,
    *,
    export: str = "qcdq",
    torch_device: str = "cpu",
    name: str | None = None,
) -> Model:
    """Load a deployed network: an ONNX file, an ``onnx.ModelProto``, or a torch or Brevitas module.

    A module goes through its ONNX export, which is what is deployed; faultsim then runs that graph.

    Args:
        source: Path of an ``.onnx`` file, a model in memory, or a ``torch.nn.Module``.
        example_inputs: For a module: a tensor, a NumPy array, or a tuple of them, batch first.
        export: For a Brevitas module: ``"qcdq"`` or ``"qonnx"``.
        torch_device: Where to compute: ``cpu``, ``cuda``, ``cuda:1``.
        name: What to call a model that was made in memory.

    Raises:
        ModelError: If the model cannot be read, exported or executed; the message says where and what to do.
    """
    device = _device(torch_device)
    if isinstance(source, str | Path):
        loaded = files.read(source)
    elif isinstance(source, onnx.ModelProto):
        loaded = _in_memory(source)
    elif isinstance(source, torch.nn.Module):
        from faultsim.model.export import export_module

        if example_inputs is None:
            raise ModelError("load_model(module) needs example_inputs: a batch that the module can be traced with")
        loaded = _in_memory(export_module(source, example_inputs, route=export))
        name = name or type(source).__name__
    else:
        raise ModelError(f"cannot load a model from {type(source).__name__}; give a path, a ModelProto or a module")
    label = name or (loaded.path.name if loaded.path else loaded.proto.graph.name or "model")
    check_tensors(loaded.proto, name=label)
    try:
        check_functions(loaded.proto, name=label)
    except RecursionError:
        raise ModelError(f"{label}: its model-local functions call each other too deep; export it again") from None
    try:
        program = compile_model(loaded.proto)
        check_wiring(program)
        specs = input_specs(loaded.proto, table_rows(program))
        sites = find_sites(program)
    except FaultsimError as error:
        raise type(error)(f"{label}: {error}") from None
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        MemoryError,
        RuntimeError,
        AttributeError,
    ) as error:
        text = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ModelError(
            f"{label}: the graph is malformed ({text}); run onnx.checker on it and export it again"
        ) from error
    if not program.graph.output_names:
        raise ModelError(f"{label}: the graph has no outputs; export it again")
    return Model(
        proto=loaded.proto,
        program=program,
        sites=sites,
        declared=specs,
        output_names=program.graph.output_names,
        name=label,
        sha256=loaded.sha256,
        path=loaded.path,
        device=device,
    )


def _in_memory(proto: onnx.ModelProto) -> files.LoadedProto:
    check_self_contained(proto)
    try:
        data = proto.SerializeToString(deterministic=True)
    except (ValueError, EncodeError):  # protobuf's limit, or a required field that is not set
        raise ModelError(
            f"a model of {proto.ByteSize()} bytes cannot be serialized in memory; "
            "save it with external data and give the path"
        ) from None
    return files.LoadedProto(files.parse(data), hashlib.sha256(data).hexdigest(), None)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # a meta tensor can be made, and not read
    except (RuntimeError, AssertionError) as error:
        text = str(error).splitlines()[0][:100]
        raise ModelError(
            f"torch device {name!r} cannot be used here ({text}); use cpu, or install a torch build for it"
        ) from None
    return device
