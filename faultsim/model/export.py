"""A torch or Brevitas module to the ONNX graph that would be deployed. Loading that graph lives in `load.py`."""

import copy
import importlib.util
import io
import logging
import os
import tempfile
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch.onnx.errors import OnnxExporterError

from faultsim.errors import ModelError
from faultsim.model.unroll import unroll


def export_module(module: torch.nn.Module, example_inputs: Any, *, route: str = "qcdq") -> onnx.ModelProto:
    """Export *module* in evaluation mode, with a free batch axis; a copy is exported, the module stays as it is.

    Args:
        module: A plain torch module, or one with Brevitas layers.
        example_inputs: A tensor, or a tuple of tensors, batch first.
        route: For Brevitas layers: ``"qcdq"`` (integer weights behind Clip and DequantizeLinear) or ``"qonnx"``
            (float weights behind Quant).

    Raises:
        ModelError: If the module cannot be exported; with the exporter's reason.
    """
    if route not in ("qcdq", "qonnx"):
        raise ModelError(f"export must be 'qcdq' or 'qonnx', got {route!r}")
    try:
        arguments = _tensors(example_inputs)
        clone = copy.deepcopy(module).eval().cpu()
        with warnings.catch_warnings(), torch.no_grad(), _plain_attention():
            warnings.simplefilter("ignore")
            if is_brevitas(clone):
                return _brevitas(clone, arguments, route)
            return _plain(clone, arguments)
    except ModelError:
        raise
    except Exception as error:  # the exporters raise anything from torch.onnx errors to AttributeError
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        remedy = "export it yourself and give the .onnx file"
        if route == "qcdq" and is_brevitas(module):
            remedy = f"try export='qonnx', or {remedy}"
        raise ModelError(f"{type(module).__name__} cannot be exported to ONNX ({text}); {remedy}") from error


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep torch from its fused attention kernels for inference, which no exporter knows."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def is_brevitas(module: torch.nn.Module) -> bool:
    """Return whether *module* holds a Brevitas layer."""
    return any(type(m).__module__.split(".")[0] == "brevitas" for m in module.modules())


def _tensors(inputs: Any) -> tuple[torch.Tensor, ...]:
    items: Sequence[Any] = inputs if isinstance(inputs, tuple | list) else (inputs,)
    return tuple(i.detach().cpu() if isinstance(i, torch.Tensor) else torch.as_tensor(i) for i in items)


def _options(arguments: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    names = [f"input_{i}" if i else "input" for i in range(len(arguments))]
    return {
        "input_names": names,
        "output_names": None,
        "dynamic_axes": {n: {0: "N"} for n, t in zip(names, arguments, strict=True) if t.ndim},
        "opset_version": 17,
        "keep_initializers_as_inputs": False,
        "dynamo": False,
    }


@contextmanager
def _no_defaults(module: torch.nn.Module) -> Iterator[None]:
    """Let *module* take what it is given and nothing else.

    torch's older exporter fills arguments that were left out with their defaults, as tensors: ``is_causal=False`` of a
    Transformer's layer is then no truth value any more.
    """
    own = module.forward

    def forward(*arguments: Any) -> Any:
        return own(*arguments)

    if isinstance(module, torch.jit.ScriptModule):
        yield
        return
    module.forward = forward
    try:
        yield
    finally:
        del module.forward  # the class has its own


def _plain(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> onnx.ModelProto:
    buffer: Any = io.BytesIO()
    try:
        with _no_defaults(module), _no_dump():
            torch.onnx.export(module, arguments, buffer, do_constant_folding=False, **_options(arguments))
    except OnnxExporterError:
        if importlib.util.find_spec("onnxscript") is None:
            raise
        return _by_dynamo(module, arguments)
    return onnx.load_model_from_string(buffer.getvalue())


@contextmanager
def _no_dump() -> Iterator[None]:
    """Keep torch's older exporter from printing the graph where it fails; its own switch does not (torch 2.13)."""
    library: Any = torch._C
    before = getattr(library, "_jit_onnx_log", None)
    library._jit_onnx_log = lambda *words: None
    try:
        yield
    finally:
        library._jit_onnx_log = before


def _by_dynamo(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> onnx.ModelProto:
    """Export by torch's newer exporter, which takes apart ops that the older one does not know; it needs onnxscript."""
    with no_warnings_logged():
        program = torch.onnx.export(
            module,
            arguments,
            input_names=_options(arguments)["input_names"],
            dynamic_shapes=tuple({0: torch.export.Dim("N")} if t.ndim else None for t in arguments),
            opset_version=20,
            dynamo=True,
            verbose=False,
        )
    found: onnx.ModelProto | None = getattr(program, "model_proto", None)
    if found is None:
        raise ModelError("torch's exporter gave no graph; export the module yourself and give the .onnx file")
    return found


@contextmanager
def no_warnings_logged() -> Iterator[None]:
    """Keep the advice of an exporter or quantizer, which the model's user cannot follow, from standard error."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _brevitas(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], route: str) -> onnx.ModelProto:
    from brevitas.export import export_onnx_qcdq, export_qonnx

    export = export_onnx_qcdq if route == "qcdq" else export_qonnx
    args = arguments[0] if len(arguments) == 1 else arguments
    # The QCDQ export returns nothing (Brevitas 0.13): what it wrote is read back.
    unroll(module)
    with _no_defaults(module), _optimizer_stub(), tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        export(module, args=args, export_path=path, **_options(arguments))
        return onnx.load(path)


@contextmanager
def _optimizer_stub() -> Iterator[None]:
    """Brevitas' export wants onnxoptimizer; where it is absent a stand-in that changes nothing serves as well.

    Brevitas may have been imported without it long before, so its own names are filled, not `sys.modules`.
    """
    manager: Any = importlib.import_module("brevitas.export.onnx.manager")
    before = manager.onnx, manager.opt
    if manager.opt is None:
        manager.onnx, manager.opt = onnx, types.SimpleNamespace(optimize=lambda model, passes=None, **_: model)
    try:
        yield
    finally:
        manager.onnx, manager.opt = before
