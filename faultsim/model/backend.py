"""faultsim as an ONNX backend, so that ONNX's own conformance suite runs over the executor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx.backend.base import Backend, BackendRep

from faultsim.model.graph import Program, compile_model
from faultsim.model.run import Execution
from faultsim.model.values import Value, from_numpy, to_numpy


class PreparedModel(BackendRep):
    """A compiled model that takes and returns NumPy arrays, lists (sequences), None (empty optionals)."""

    def __init__(self, program: Program, device: torch.device) -> None:
        self.program = program
        self.device = device

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run on *inputs*: a sequence in the order of the graph's real inputs, or a dict by name."""
        graph = self.program.graph
        if isinstance(inputs, dict):
            feeds = {name: _value(value) for name, value in inputs.items()}
        else:
            values = inputs if isinstance(inputs, Sequence) and not isinstance(inputs, np.ndarray) else [inputs]
            free = [name for name in graph.input_names if name not in graph.constants]
            names = free if len(values) <= len(free) else graph.input_names
            feeds = {name: _value(value) for name, value in zip(names, values, strict=False)}
        with torch.no_grad():
            execution = Execution(self.program, self.program.tensors, device=self.device)
            return tuple(to_numpy(v) for v in execution.run(graph, feeds))


def _value(value: Any) -> Value:
    if value is None:
        return None
    if isinstance(value, list):
        return [_value(item) for item in value]
    return from_numpy(np.asarray(value))


class FaultsimBackend(Backend):
    """`onnx.backend.base.Backend` over faultsim's executor."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> PreparedModel:
        """Compile *model* for ``"CPU"`` or ``"CUDA"``."""
        return PreparedModel(compile_model(model), torch.device(device.lower()))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether torch can compute there."""
        return device == "CPU" or (device == "CUDA" and torch.cuda.is_available())


prepare = FaultsimBackend.prepare
run_model = FaultsimBackend.run_model
supports_device = FaultsimBackend.supports_device
