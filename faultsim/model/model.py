"""`Model`: a deployed graph with its numbers as sites, run and differentiated on torch under other numbers.

Files are read in `load.py`, the check against onnxruntime lives in `check.py`, the search for the samples' axis in
`axes.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor

from faultsim.corruption import Site
from faultsim.data.spec import InputSpec
from faultsim.errors import DataError, ModelError
from faultsim.model import proto as files
from faultsim.model.axes import Axes, check_names, find_axes
from faultsim.model.graph import Program
from faultsim.model.packed import as_filed
from faultsim.model.run import Execution, Interceptor, Observer
from faultsim.model.signature import check_axes, check_feed, fits, output_shapes
from faultsim.model.tables import spoken_sizes
from faultsim.model.values import Codes, Value, from_numpy, placed, tensor_of, to_numpy

Array = NDArray[Any]
Loss = Callable[[dict[str, Tensor]], Tensor]


@dataclass(eq=False)
class Model:
    """A deployed network.

    Attributes:
        proto: The ONNX model that runs; never changed.
        program: Its compiled form.
        sites: Every tensor that can be wrong, in the order of the layers.
        declared: What the graph asks for, as it says; `inputs` knows which axis counts the samples too.
        output_names: Its outputs.
        name: The file's name, or what the maker of an in-memory model called it.
        sha256: Hash of the file, external data included.
        path: The file, None for a model that was made in memory.
        device: Where torch computes.
        given_axes: Axes that count the samples by the user's word; see `with_batch_axes`.
        judged: The output that is scored, where it matters for finding the axes; the first one where None.
        deployed: The model of the file, where this one is its graph rewritten for any number of samples
            (`any_batch.with_any_batch`); None where this is it.
    """

    proto: ModelProto
    program: Program
    sites: tuple[Site, ...]
    declared: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    name: str
    sha256: str
    path: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    given_axes: Mapping[str, int | None] = field(default_factory=dict)
    judged: str | None = None
    deployed: "Model | None" = None

    def __post_init__(self) -> None:
        """Put the constants where torch computes; integers that are shapes stay on the CPU."""
        self._clean: dict[str, Value] = {k: placed(v, self.device) for k, v in self.program.tensors.items()}
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
    def axes(self) -> Axes:
        """Which axis of every input and output counts the samples; told when first asked for, where need be by runs."""

        def run(feeds: Mapping[str, Array]) -> dict[str, Any]:
            with torch.no_grad():
                return {name: to_numpy(value) for name, value in self._outputs(feeds, {}, None).items()}

        outputs, sizes = output_shapes(self.proto), spoken_sizes(self.program)
        return find_axes(self.declared, outputs, run, given=self.given_axes, judged=self.judged, sizes=sizes)

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What the graph asks for: its inputs that no initializer fills, each with the axis that counts the samples."""
        return tuple(replace(spec, batch_axis=self.axes.inputs[spec.name]) for spec in self.declared)

    @property
    def fixed_batch(self) -> int | None:
        """The number of samples that one run insists on, at least 1; None where any will do."""
        return next((spec.fixed_batch for spec in self.inputs if spec.fixed_batch), None)

    @property
    def as_deployed(self) -> "Model":
        """The model whose graph is that of the file."""
        return self.deployed or self

    def with_batch_axes(self, given: Mapping[str, int | None], *, judged: str | None = None) -> "Model":
        """Return the same model with the axes that count the samples named, by input and output.

        Args:
            given: Axis by name, from 0; None for an input that is the same for every sample. What is not named is
                found as ever.
            judged: The output that is scored; it decides where axes have to be tried.

        Raises:
            ModelError: If there is no such input or output, it has no such axis, or another one counts them.
        """
        check_axes(self.declared, output_shapes(self.proto), given, self.name)
        check_names(self.declared, given, self.name)
        return replace(self, given_axes=dict(given), judged=judged)

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
        interceptor: Interceptor | None = None,
    ) -> dict[str, Any]:
        """Run the graph on a batch, with the numbers of some sites replaced.

        Args:
            feeds: Inputs by name, in the declared types.
            numbers: New numbers by site name, of the site's shape; integer sites take fractional codes too (an
                analog cell between two levels). The clean ones serve elsewhere.
            observer: Sees every node's outputs.
            interceptor: Stands in for every node.

        Returns:
            Outputs by name, as NumPy arrays.

        Raises:
            ModelError: If a node fails.
            DataError: If an input is missing or unknown.
        """
        with torch.no_grad():
            weights = {name: self._value(name, array) for name, array in (numbers or {}).items()}
            outputs = self._execute(feeds, weights, observer, interceptor)
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
            total = loss({name: tensor_of(value) for name, value in outputs.items()})
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
        """Return the graph with new numbers: a copy that differs in those initializers alone.

        Raises:
            ModelError: If a name is unknown, a shape differs, or a code does not fit its type.
        """
        return files.with_numbers(self.proto, self.program.paths, as_filed(self.program, numbers))

    def write(self, path: str | Path, numbers: Mapping[str, Array] | None = None) -> None:
        """Write the model with new *numbers* to *path*, the deployed graph otherwise.

        Raises:
            ModelError: As `with_numbers`; or if the file cannot be written.
        """
        files.write(self.as_deployed.with_numbers(numbers or {}), path)

    def _execute(
        self,
        feeds: Mapping[str, Array],
        weights: Mapping[str, Value],
        observer: Observer | None,
        interceptor: Interceptor | None = None,
    ) -> dict[str, Value]:
        wanted = {spec.name for spec in self.declared}
        if set(feeds) != wanted:
            known = wanted | set(self.program.graph.input_names)
            missing, extra = sorted(wanted - set(feeds)), sorted(set(feeds) - known)
            if missing or extra:
                raise DataError(
                    f"{self.name} takes the inputs {sorted(wanted)}; missing: {missing or 'none'}, "
                    f"unknown: {extra or 'none'}"
                )
        for position, spec in enumerate(self.declared):
            if not fits(spec, feeds[spec.name], None):
                check_feed(self.inputs[position], feeds[spec.name], self.name)
        try:
            return self._outputs(feeds, weights, observer, interceptor)
        except ModelError as error:
            raise type(error)(f"{self.name}: {error}") from error.__cause__

    def _outputs(
        self,
        feeds: Mapping[str, Array],
        weights: Mapping[str, Value],
        observer: Observer | None,
        interceptor: Interceptor | None = None,
    ) -> dict[str, Value]:
        """Run the graph on inputs that are not checked."""
        graph = self.program.graph
        values = {name: placed(from_numpy(np.asarray(array)), self.device) for name, array in feeds.items()}
        tensors = {**self._clean, **weights} if weights else self._clean
        execution = Execution(self.program, tensors, device=self.device, observer=observer, interceptor=interceptor)
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
        if array.dtype.isbuiltin != 1:  # a float of 16 bits or fewer that only ml_dtypes has
            array = array.astype(np.float32)
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(carrier.dtype).reshape(shape).to(self.device)
        return Codes(tensor, clean.elem_type) if isinstance(clean, Codes) else tensor
