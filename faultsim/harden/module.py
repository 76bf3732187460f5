"""A hardened graph's numbers back in the torch or Brevitas module that it was exported from. Nothing is trained here.

The export names what it stores after the module's parameters, and Brevitas' codes after the layer that makes them. What
is written here is proven by exporting the module again: its numbers must then be those of the hardened graph.
"""

import copy
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from faultsim.errors import ModelError, OptionError
from faultsim.harden.coding import coding_of, quantizer_scale
from faultsim.model import Model, load_model

Array = NDArray[Any]
CLOSE = 1e-6
"""Relative difference of a scale that two float32 roundings may leave."""
HANDLERS = {"weight": "/weight_quant/", "bias": "/bias_quant/"}
"""What Brevitas writes behind a layer's path into the names of its codes and scales, by role."""


class Written(NamedTuple):
    """A module with new numbers.

    Attributes:
        module: A copy of the module, in the mode (training or evaluation) that it was in.
        scales: Quantized layers whose weight scale was computed from their weights and now is a parameter: the largest
            new weight no longer gives the scale that the codes stand for.
    """

    module: torch.nn.Module
    scales: tuple[str, ...]


def into_module(
    module: torch.nn.Module, example_inputs: Any, hardened: Model | str | Path, *, export: str = "qcdq"
) -> Written:
    """Return a copy of *module* that computes with the numbers of its hardened graph, and exports to them.

    A layer of Brevitas gets the weights that its codes stand for, so that its own quantizer finds the same codes at the
    same scale. Where that scale was computed from the weights and they no longer give it, the layer's quantizer holds
    it as a parameter from then on (Brevitas' ``ScalingImplType.PARAMETER``).

    Args:
        module: What the original graph was exported from; it stays as it is.
        example_inputs: As `load_model` takes them.
        hardened: The hardened graph, or its file.
        export: The route that it was exported by, ``"qcdq"`` or ``"qonnx"``; without meaning for a plain torch module.

    Raises:
        OptionError: If *hardened* is no export of this module.
        ModelError: If a number has no place in the module, or its export afterwards is not the hardened graph.
    """
    graph = hardened if isinstance(hardened, Model) else load_model(hardened)
    original = load_model(module, example_inputs, export=export)
    _check_same(original, graph, type(module).__name__)
    clone = copy.deepcopy(module)
    places = _Places(clone, original)
    changed = [name for name, array in graph.numbers.items() if not np.array_equal(array, original.numbers[name])]
    scales: set[str] = set()
    layers: dict[str, Array] = {}
    with torch.no_grad():
        for name in changed:
            site = graph.site(name)
            if site.role in ("scale", "zero_point"):
                continue  # of a layer's weights: written with them, and proven below
            coding = coding_of(graph, site)
            real = graph.numbers[name] if coding is None else (graph.numbers[name] - coding.zero) * coding.step
            for place in places.of(name, site.role):
                target = places.tensors[place]
                target.copy_(torch.from_numpy(np.ascontiguousarray(real)).to(target.dtype).reshape(target.shape))
        for name, step in _steps(graph):
            for place in places.of(name, "weight"):
                layers[place] = step
        for place, step in layers.items():
            layer = clone.get_submodule(place.rpartition(".")[0])
            if _hold_scale(layer, step):
                scales.add(place.rpartition(".")[0])
    _prove(clone, example_inputs, graph, export)
    return Written(clone, tuple(sorted(scales)))


class _Places:
    """Where the module keeps what its export stores."""

    def __init__(self, module: torch.nn.Module, original: Model) -> None:
        self.tensors: dict[str, torch.Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        self._name = type(module).__name__
        stored = {site.name for site in original.sites}
        self._original = original
        self._lost = [name for name in self.tensors if name not in stored]

    def of(self, name: str, role: str) -> list[str]:
        """Return the parameters that a stored tensor came from: several where the exporter found them equal."""
        own = name if name in self.tensors else self._of_layer(name, role)
        if own is None:
            raise ModelError(
                f"{self._name}: the exported graph stores {name!r}, which is no parameter of the module, so that the "
                "hardened numbers cannot be written back; deploy the hardened .onnx file itself"
            )
        return [own, *(twin for twin in self._lost if twin != own and self._twin(twin, own, name))]

    def _of_layer(self, name: str, role: str) -> str | None:
        path, mark, _ = name.partition(HANDLERS.get(role, "\0"))
        place = f"{path.strip('/').replace('/', '.')}.{role}"
        return place if mark and place in self.tensors else None

    def _twin(self, twin: str, own: str, name: str) -> bool:
        """Whether the exporter stored a parameter under another's name, because both held the same numbers."""
        if own != name or twin.split(".")[-1] in ("num_batches_tracked",):
            return False
        held = self.tensors[twin].detach().cpu().numpy()
        clean = self._original.numbers[name]
        return held.dtype == clean.dtype and held.shape == clean.shape and bool(np.array_equal(held, clean))


def _check_same(original: Model, hardened: Model, module: str) -> None:
    old, new = ([(site.name, site.shape, site.role) for site in one.sites] for one in (original, hardened))
    ops = [[node.op_type for node in one.program.graph.nodes] for one in (original, hardened)]
    if old != new or ops[0] != ops[1]:
        raise OptionError(
            f"{hardened.name} is not the export of this {module} with other numbers; give the graph that was hardened "
            "from it, and the route it was exported by (export='qcdq' or 'qonnx')"
        )


def _steps(graph: Model) -> list[tuple[str, Array]]:
    """The quantized weights of the graph and their scales: behind integer codes, or of a Quant node."""
    found = []
    for site in graph.select(("weight",)):
        coding = coding_of(graph, site)
        if coding is not None:
            found.append((site.name, coding.step))
            continue
        key = quantizer_scale(graph, site)
        if key is not None and key in graph.numbers:
            found.append((site.name, np.asarray(graph.numbers[key], dtype=np.float64)))
    return found


def _hold_scale(layer: Any, step: Array) -> bool:
    """Let a Brevitas layer's weights have the scale *step*; return whether its quantizer had to be told."""
    proxy = getattr(layer, "weight_quant", None)
    if proxy is None or not getattr(proxy, "is_quant_enabled", False):
        return False
    scale = _scale(layer)
    if scale is None or scale.numel() != step.size:
        return False  # the proof will tell
    wanted = torch.from_numpy(np.ascontiguousarray(step)).reshape(scale.shape).to(scale)
    if torch.equal(scale, wanted):
        return False
    from brevitas.core.scaling import ParameterScaling
    from brevitas.inject.enum import RestrictValueType, ScalingImplType

    quant = proxy.tensor_quant
    top = quant.int_scaling_impl(quant.msb_clamp_bit_width_impl())
    proxy.quant_injector = proxy.quant_injector.let(
        scaling_impl_type=ScalingImplType.PARAMETER,
        scaling_impl=ParameterScaling,
        restrict_scaling_type=RestrictValueType.FP,
        scaling_const=_numerator(wanted, top),
        scaling_shape=tuple(wanted.shape),
    )
    proxy.init_tensor_quant()
    proxy.train(layer.training)
    return True


def _scale(layer: Any) -> torch.Tensor | None:
    """The scale that the layer's quantizer finds for its weights now."""
    scale = getattr(layer.quant_weight(), "scale", None)
    return scale.detach() if isinstance(scale, torch.Tensor) else None


def _numerator(wanted: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """Return what divided by *top* in float32 is *wanted*; the nearest where no float is."""
    best = wanted * top
    for near in (torch.nextafter(best, best * 2), torch.nextafter(best, best / 2)):
        best = torch.where((near / top - wanted).abs() < (best / top - wanted).abs(), near, best)
    return best


def _prove(module: torch.nn.Module, example_inputs: Any, hardened: Model, route: str) -> None:
    """Export the module and compare all that it stores with the hardened graph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = load_model(module, example_inputs, export=route)
    said = (
        f"{type(module).__name__}: with the hardened numbers written back, its export still differs at {{}}, so that "
        "the module cannot be guaranteed to be the hardened graph; deploy the hardened .onnx file itself"
    )
    mine, theirs = back.program.graph, hardened.program.graph
    if [node.op_type for node in mine.nodes] != [node.op_type for node in theirs.nodes]:
        raise ModelError(said.format("the order of its nodes"))
    for own, node in zip(mine.nodes, theirs.nodes, strict=True):  # names carry numbers that another export may change
        for found, wanted in zip(own.inputs, node.inputs, strict=True):
            name = theirs.constants.get(wanted)
            if name is None or name not in hardened.numbers:
                continue
            stored = back.numbers.get(mine.constants.get(found, ""))
            near = CLOSE if hardened.site(name).role == "scale" else 0.0
            if stored is None or not _equal(stored, hardened.numbers[name], near):
                raise ModelError(said.format(repr(name)))


def _equal(found: Array, wanted: Array, near: float) -> bool:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    return bool(np.array_equal(found, wanted) or (near and np.allclose(found, wanted, rtol=near, atol=0)))
