"""`Model`: a deployed graph with its numbers as sites, run and differentiated on torch under other numbers.

Files are read in `load.py`; the check against onnxruntime lives in `check.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor

from faultsim.corruption import Site
from faultsim.data.spec import InputSpec, show_shape
from faultsim.errors import DataError, ModelError
from faultsim.model import proto as files
from faultsim.model.graph import Program
from faultsim.model.run import Execution, Observer
from faultsim.model.values import CODE_BITS, Codes, Value, code_range, from_numpy, to_numpy

Array = NDArray[Any]
Loss = Callable[[dict[str, Tensor]], Tensor]


@dataclass(eq=False)
class Model:
    """A deployed network.

    Attributes:
        proto: The original ONNX model; never changed.
        program: Its compiled form.
        sites: Every tensor that can be wrong, in the order of the layers.
        inputs: What the graph asks for.
        output_names: Its outputs.
        name: The file's name, or what the maker of an in-memory model called it.
        sha256: Hash of the file, external data included.
        path: The file, None for a model that was made in memory.
        device: Where torch computes.
    """

    proto: ModelProto
    program: Program
    sites: tuple[Site, ...]
    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    name: str
    sha256: str
    path: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        """Put the constants where torch computes; integers that are shapes stay on the CPU."""
        self._clean: dict[str, Value] = {k: _moved(v, self.device) for k, v in self.program.tensors.items()}
        self._by_name = {site.name: site for site in self.sites}

    @property
    def opset(self) -> int:
        """Version of the ai.onnx opset that the model imports (0 if it imports none)."""
        return self.program.opsets.get("", 0)

    @property
    def fallbacks(self) -> frozenset[str]:
        """Names of the ops that ran in NumPy, without gradients, since the model was loaded."""
        return frozenset(getattr(self.program, "fallbacks", ()))

    @cached_property
    def numbers(self) -> dict[str, Array]:
        """The clean stored numbers of every site by name: floats, or integer codes in an integer array."""
        return {site.name: self._numbers(site.name) for site in self.sites}

    def _numbers(self, key: str) -> Array:
        array = np.asarray(to_numpy(self.program.tensors[key]))
        if array.dtype in (ml_dtypes.int4, ml_dtypes.int2):
            return array.astype(np.int8)
        if array.dtype in (ml_dtypes.uint4, ml_dtypes.uint2):
            return array.astype(np.uint8)
        return array

    def site(self, name: str) -> Site:
        """Return the site called *name*.

        Raises:
            ModelError: If there is none.
        """
        if name not in self._by_name:
            raise ModelError(f"{self.name}: no site is named {name!r}; the first ones are {list(self._by_name)[:3]}")
        return self._by_name[name]

    def select(self, roles: Sequence[str] = ("weight", "bias", "norm")) -> tuple[Site, ...]:
        """Return the sites of the given roles, in order."""
        return tuple(site for site in self.sites if site.role in roles)

    def run(
        self,
        feeds: Mapping[str, Array],
        numbers: Mapping[str, Array] | None = None,
        *,
        observer: Observer | None = None,
    ) -> dict[str, Any]:
        """Run the graph on a batch, with the numbers of some sites replaced.

        Args:
            feeds: Inputs by name, in the declared types.
            numbers: New numbers by site name, of the site's shape; integer sites take fractional codes too (an
                analog cell between two levels). The clean ones serve elsewhere.
            observer: Sees every node's outputs.

        Returns:
            Outputs by name, as NumPy arrays.

        Raises:
            ModelError: If a node fails.
            DataError: If an input is missing or unknown.
        """
        with torch.no_grad():
            weights = {name: self._value(name, array) for name, array in (numbers or {}).items()}
            outputs = self._execute(feeds, weights, observer)
            return {name: to_numpy(value) for name, value in outputs.items()}

    def gradient(
        self,
        feeds: Mapping[str, Array],
        loss: Loss,
        *,
        sites: Sequence[str],
        numbers: Mapping[str, Array] | None = None,
    ) -> tuple[float, dict[str, Array]]:
        """Return a loss on a batch and its gradient at the stored numbers of *sites*.

        Rounding and clipping pass straight-through gradients; a site that the loss does not depend on gets zeros.

        Args:
            feeds: Inputs by name.
            loss: Takes the outputs by name as torch tensors, returns a scalar tensor.
            sites: Names of the sites to differentiate at.
            numbers: Numbers in place of the clean ones, by site.

        Returns:
            The loss, and by site an array of the site's shape (float32; float64 for float64 sites), per unit of the
            stored numbers.

        Raises:
            ModelError: If a node fails, or if the outputs do not depend on any of the sites.
        """
        weights = {name: self._value(name, array) for name, array in (numbers or {}).items()}
        leaves: dict[str, Tensor] = {}
        for name in sites:
            value = weights.get(name, self._clean[self.site(name).name])
            tensor = value.values if isinstance(value, Codes) else value
            if not isinstance(tensor, Tensor):
                raise ModelError(f"{self.name}: {name!r} is no numeric tensor and has no gradient")
            leaf = tensor.detach().clone().requires_grad_(True)
            leaves[name] = leaf
            weights[name] = Codes(leaf, value.elem_type) if isinstance(value, Codes) else leaf
        with torch.enable_grad():
            outputs = self._execute(feeds, weights, None)
            total = loss({name: _tensor(value) for name, value in outputs.items()})
            if not total.requires_grad:
                ops = f" (ops without gradients: {', '.join(sorted(self.fallbacks))})" if self.fallbacks else ""
                raise ModelError(f"{self.name}: the loss does not depend on any chosen site{ops}; choose other --sites")
            found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        gradients: dict[str, Array] = {}
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
            filled = torch.zeros_like(leaf) if gradient is None else gradient
            wide = filled if filled.dtype == torch.float64 else filled.float()
            gradients[name] = wide.cpu().numpy()
        return float(total.detach()), gradients

    def with_numbers(self, numbers: Mapping[str, Array]) -> ModelProto:
        """Return the original graph with new numbers: a copy that differs in those initializers alone.

        Raises:
            ModelError: If a name is unknown, a shape differs, or a code does not fit its type.
        """
        for name, array in numbers.items():
            value = self.program.tensors.get(name)
            if isinstance(value, Codes) and value.elem_type in CODE_BITS:
                _check_codes(name, array, value.elem_type)
        return files.with_numbers(self.proto, self.program.paths, numbers)

    def write(self, path: str | Path, numbers: Mapping[str, Array] | None = None) -> None:
        """Write the model with new *numbers* to *path*, the same graph otherwise.

        Raises:
            ModelError: As `with_numbers`; or if the file cannot be written.
        """
        files.write(self.with_numbers(numbers or {}), path)

    def _execute(
        self, feeds: Mapping[str, Array], weights: Mapping[str, Value], observer: Observer | None
    ) -> dict[str, Value]:
        graph = self.program.graph
        wanted = {spec.name for spec in self.inputs}
        if set(feeds) != wanted:
            missing, extra = sorted(wanted - set(feeds)), sorted(set(feeds) - wanted - set(graph.input_names))
            if missing or extra:
                raise DataError(
                    f"{self.name} takes the inputs {sorted(wanted)}; missing: {missing or 'none'}, "
                    f"unknown: {extra or 'none'}"
                )
        for spec in self.inputs:
            _check_feed(spec, feeds[spec.name], self.name)
        values = {name: _moved(from_numpy(np.asarray(array)), self.device) for name, array in feeds.items()}
        tensors = {**self._clean, **weights} if weights else self._clean
        execution = Execution(self.program, tensors, device=self.device, observer=observer)
        return dict(zip(graph.output_names, execution.run(graph, values), strict=True))

    def _value(self, name: str, array: Array) -> Value:
        clean = self._clean[self.site(name).name]
        shape = self.site(name).shape
        if tuple(np.shape(array)) != shape:
            raise ModelError(f"new numbers for {name!r} have shape {np.shape(array)}, the site has {shape}")
        carrier = clean.values if isinstance(clean, Codes) else clean
        if not isinstance(carrier, Tensor):
            raise ModelError(f"{self.name}: {name!r} is no numeric tensor")
        array = np.asarray(array)
        if array.dtype == ml_dtypes.bfloat16 or array.dtype.kind == "V":
            array = array.astype(np.float32)
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(carrier.dtype).reshape(shape).to(self.device)
        return Codes(tensor, clean.elem_type) if isinstance(clean, Codes) else tensor


def _check_codes(name: str, array: Array, elem_type: int) -> None:
    low, high = code_range(elem_type)
    wide = np.asarray(array, dtype=np.float64)
    if np.any(wide != np.rint(wide)) or np.any(wide < low) or np.any(wide > high):
        raise ModelError(
            f"new numbers for {name!r} are not all codes of {onnx.TensorProto.DataType.Name(elem_type).lower()} "
            f"({low} to {high}); "
            "an analog corruption of an integer model cannot be written as ONNX: run it in faultsim"
        )


def _check_feed(spec: InputSpec, array: Array, model: str) -> None:
    """Check the type and, but for the batch axis, the sizes; a graph that declares no sizes takes any."""
    array = np.asarray(array)
    text = spec.dtype.kind == "O" and array.dtype.kind in "OUS"
    declared = [s if isinstance(s, int) and i != spec.batch_axis else None for i, s in enumerate(spec.shape)]
    fits = not spec.shape or (
        array.ndim == len(declared) and all(s in (None, n) for s, n in zip(declared, array.shape, strict=True))
    )
    if not fits or (array.dtype != spec.dtype and not text):
        raise DataError(
            f"{model} takes {spec}; got {array.dtype} of shape {show_shape(array.shape)}: convert or reshape the data"
        )


def _moved(value: Value, device: torch.device) -> Value:
    if device.type == "cpu":
        return value
    if isinstance(value, Codes):
        return Codes(value.values.to(device), value.elem_type)
    if isinstance(value, Tensor) and (value.is_floating_point() or value.numel() > 64):
        return value.to(device)
    return value


def _tensor(value: Value) -> Tensor:
    tensor = value.values if isinstance(value, Codes) else value
    if not isinstance(tensor, Tensor):
        raise ModelError("an output of the graph is a sequence or text; a loss needs tensors")
    return tensor


def input_specs(proto: ModelProto) -> tuple[InputSpec, ...]:
    """Return what the main graph asks for: its inputs that no initializer fills."""
    filled = files.initializer_names(proto.graph)
    specs = []
    for value in proto.graph.input:
        if value.name in filled:
            continue
        if value.type.WhichOneof("value") != "tensor_type":
            raise ModelError(
                f"input {value.name!r} is a sequence or an optional; faultsim feeds tensors: wrap the model"
            )
        tensor = value.type.tensor_type
        dims = tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim)
        dtype = (
            np.dtype(object)
            if tensor.elem_type == onnx.TensorProto.STRING
            else np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        )
        specs.append(InputSpec(value.name, dtype, dims, batch_axis=0 if dims else None))
    return tuple(specs)
