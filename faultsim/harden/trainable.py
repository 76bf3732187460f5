"""`Trainable`: a deployed graph whose stored numbers are torch leaves, in real units. No loss and no loop lives here.

Floats are leaves themselves. Integer codes stand behind latent floats: ``code = clip(round(latent / step) + zero)``,
rounded straight-through, so that every forward pass computes with codes that can be stored, as deployed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.corruption import Site
from faultsim.errors import ModelError
from faultsim.formats import IntFormat
from faultsim.harden.coding import coding_of, quantizer_output, statistics
from faultsim.harden.precision import Resolved, autocast
from faultsim.harden.scales import LearnedScale, Parameter, learned_scales
from faultsim.model import Model
from faultsim.model.ste import round_ste
from faultsim.model.values import Codes, Value

Array = NDArray[Any]
Leaves = Mapping[str, Tensor]
Scales = Literal["keep", "learn"]
ROLES = ("weight", "bias", "norm")


class Trainable:
    """A deployed graph under leaves.

    Attributes:
        model: The graph.
        parameters: What is trained, by site name.
        scales: The scale initializers that are learned with it.
        frozen: Stored tensors that are not trained, with the reason.
        precision: Of the passes.
    """

    def __init__(self, model: Model, *, scales: Scales = "keep", precision: Resolved = "float32") -> None:
        """Find what can be trained.

        Args:
            model: The deployed graph.
            scales: Whether the steps of integer weights stay as deployed, or are learned with the weights, as learned
                step size quantization does (Esser et al., arXiv 1902.08153, eq. 3: the same straight-through
                gradient; the leaf is the scale's logarithm, so that it stays positive). The scale of a bias that is
                stored in steps of input times weight follows. Scales of activations stay.
            precision: Of the passes of `run`; what is stored is computed in float32 and more.

        Raises:
            ModelError: If the graph holds nothing that can be trained.
        """
        self.model = model
        self.precision = precision
        self.frozen: dict[str, str] = {}
        self.parameters: dict[str, Parameter] = {}
        running = statistics(model)
        for site in model.select(ROLES):
            if site.name in running:
                self.frozen[site.name] = "running statistics of a batch norm"
                continue
            value = model.program.tensors[site.name]
            if not isinstance(value, Codes):
                self.parameters[site.name] = Parameter(site, quantized=quantizer_output(model, site))
                continue
            coding = coding_of(model, site)
            if coding is None:
                self.frozen[site.name] = "the graph does not tell the step of its codes"
            else:
                self.parameters[site.name] = Parameter(site, coding)
        if not self.parameters:
            raise ModelError(f"{model.name}: no stored weight, bias or norm parameter can be trained")
        self.scales: tuple[LearnedScale, ...] = ()
        if scales == "learn":
            self.parameters, self.scales = learned_scales(model, self.parameters)
        self._inject = {p.quantized: name for name, p in self.parameters.items() if p.quantized is not None}

    def leaves(self) -> dict[str, Tensor]:
        """Return fresh leaves that stand for the deployed numbers: exporting them gives the same bytes back."""
        found = {name: self._latent(p) for name, p in self.parameters.items()}
        for scale in self.scales:
            found.setdefault(scale.theta, torch.zeros(scale.base.size, dtype=torch.float32, device=self.model.device))
        return {name: tensor.requires_grad_(True) for name, tensor in found.items()}

    def run(
        self, feeds: Mapping[str, Array], leaves: Leaves, deltas: Leaves | None = None, *, of_codes: bool = False
    ) -> dict[str, Tensor]:
        """Run the graph on a batch; gradients reach the leaves.

        Args:
            feeds: Inputs by name.
            leaves: As `leaves` made them, moved by training.
            deltas: Corruptions by site name, in real units. They are added behind the rounding to codes: what a chip
                computes with need not be a code.
            of_codes: Whether *deltas* are differences of codes, worth so many steps each: the gradient by a step that
                is learned then knows of them. Else they are constants.

        Raises:
            ModelError: If a node fails, or an output is no tensor.
        """
        deltas = deltas or {}
        values = {
            name: self._value(p, leaves, deltas.get(name), of_codes=of_codes) for name, p in self.parameters.items()
        }
        for scale in self.scales:
            values[scale.key] = self._scale(scale, leaves)
        late = {
            output: deltas[name] * self._growth(self.parameters[name], leaves) if of_codes else deltas[name]
            for output, name in self._inject.items()
            if name in deltas
        }

        def shifted(node: Any, name: str, value: Value) -> Value:
            delta = late.get(name)
            return value if delta is None or not isinstance(value, Tensor) else value + delta

        with autocast(self.model.device, self.precision):
            outputs = self.model._execute(feeds, values, shifted if late else None)
        return {name: _tensor(value) for name, value in outputs.items()}

    def weights(self, leaves: Leaves) -> dict[str, Tensor]:
        """Return the numbers that the graph computes with, in real units and without a graph, by site name."""
        with torch.no_grad():
            found = {}
            for name, p in self.parameters.items():
                if p.coding is None:
                    found[name] = leaves[name].detach()
                else:
                    leaf, step = leaves[name], self._step(p, leaves)
                    zero = torch.from_numpy(p.coding.zero).to(device=leaf.device, dtype=leaf.dtype)
                    found[name] = (self._codes(p, leaves) - zero) * step
            return found

    def rms(self, leaves: Leaves) -> float:
        """Return the root mean square of the trained weights, in real units; of all that is trained without any."""
        whole = self.weights(leaves)
        names = [name for name in whole if self.parameters[name].site.role == "weight"] or list(whole)
        count = sum(whole[name].numel() for name in names)
        return math.sqrt(sum(float(whole[name].double().square().sum()) for name in names) / max(count, 1))

    def step(self, name: str, leaves: Leaves) -> Tensor | None:
        """Return the real units of one stored unit of a site: the step of integer codes, None for floats."""
        p = self.parameters[name]
        return None if p.coding is None else self._step(p, leaves).detach()

    def numbers(self, leaves: Leaves) -> dict[str, Array]:
        """Return the numbers to store, by name: codes in their integer type, floats in the tensor's own."""
        found: dict[str, Array] = {}
        with torch.no_grad():
            for name, p in self.parameters.items():
                clean = self.model.numbers[name]
                if p.coding is None:
                    found[name] = leaves[name].detach().cpu().numpy().astype(clean.dtype).reshape(clean.shape)
                else:
                    found[name] = self._codes(p, leaves).cpu().numpy().astype(clean.dtype).reshape(clean.shape)
            for scale in self.scales:
                moved = self._scale(scale, leaves)
                found[scale.key] = moved.cpu().numpy().astype(scale.base.dtype).reshape(scale.base.shape)
        return found

    def shared_step(self, name: str) -> tuple[int, ...] | None:
        """Return the axes of a weight along which one learned step stands; None where none is learned.

        All axes where the tensor has one step. None as well where blocks have their own along an axis, or each weight.
        """
        p = self.parameters.get(name)
        scale = None if p is None else self._learned(p)
        if p is None or scale is None:
            return None
        kept = p.coding.step if p.coding is not None else getattr(p.site.quantizer, "scale", 1.0)
        shape = self.model.numbers[name].shape
        steps = (1,) * (len(shape) - np.ndim(kept)) + np.shape(kept)
        if scale.base.size != np.size(kept) or any(n not in (1, size) for n, size in zip(steps, shape, strict=True)):
            return None
        return tuple(axis for axis, n in enumerate(steps) if n == 1) or None

    def _learned(self, p: Parameter) -> LearnedScale | None:
        """Return the learned scale of a weight; a bias's follows that of its layer."""
        if p.theta is None or p.site.role != "weight":
            return None
        return next(one for one in self.scales if one.theta == p.theta)

    def cap(self, name: str, leaves: Leaves, bound: Tensor) -> None:
        """Bring a learned step down, in place, to where the code furthest from zero stands for *bound*; no other moves.

        Args:
            name: Site whose codes they are.
            leaves: As `leaves` made them.
            bound: Real units, above 0: one number, or one for each step.
        """
        p = self.parameters.get(name)
        scale = None if p is None else self._learned(p)
        if p is None or scale is None:
            return
        most = scale.most(p, bound.detach().double().cpu().numpy().reshape(-1))
        if most is not None:
            with torch.no_grad():
                theta = leaves[scale.theta]
                theta.copy_(torch.minimum(theta, torch.from_numpy(most).to(theta)))

    def sites(self, leaves: Leaves, names: Sequence[str]) -> dict[str, Site]:
        """Return where the numbers of *names* are stored, with the steps that are learned as they are now."""
        found = {}
        for name in names:
            p = self.parameters[name]
            site = p.site
            if p.theta is not None and isinstance(site.quantizer, IntFormat):
                scale = np.asarray(site.quantizer.scale, dtype=np.float64)
                factor = np.exp(leaves[p.theta].detach().cpu().numpy().astype(np.float64))
                step = scale * (factor.reshape(()) if factor.size == 1 else factor.reshape(scale.shape))
                site = replace(site, quantizer=replace(site.quantizer, scale=step))
            found[name] = site
        return found

    def settled(self, numbers: Mapping[str, Array], sites: Mapping[str, Site]) -> dict[str, Array]:
        """Return *numbers* as the graph computes with them: floats that it quantizes are put on the grids of sites."""
        found = {}
        for name, site in sites.items():
            kept = site.quantizer if self.parameters[name].quantized is not None else None
            found[name] = numbers[name] if kept is None else kept.decode(kept.encode(numbers[name]))
        return found

    def _latent(self, p: Parameter) -> Tensor:
        stored = self.model.numbers[p.site.name]
        if p.coding is None:
            kind = np.float64 if stored.dtype == np.float64 else np.float32
            return torch.from_numpy(stored.astype(kind)).to(self.model.device)
        wide = torch.float64 if stored.dtype.itemsize > 2 else torch.float32  # float32 has no room for 32-bit codes
        real = (stored.astype(np.float64) - p.coding.zero) * p.coding.step
        return torch.from_numpy(np.ascontiguousarray(real)).to(wide).to(self.model.device)

    def _value(self, p: Parameter, leaves: Leaves, delta: Tensor | None, *, of_codes: bool) -> Value:
        clean = self.model.program.tensors[p.site.name]
        if p.coding is None:
            leaf = leaves[p.site.name]
            value = leaf if delta is None or p.quantized is not None else leaf + delta
            assert isinstance(clean, Tensor)
            return value.to(clean.dtype) if value.dtype != clean.dtype else value
        codes = self._codes(p, leaves)
        if delta is not None:
            step = self._step(p, leaves)
            codes = codes + delta / (step.detach() if of_codes else step)
        assert isinstance(clean, Codes)
        return Codes(codes.to(clean.values.dtype), clean.elem_type)

    def _codes(self, p: Parameter, leaves: Leaves) -> Tensor:
        assert p.coding is not None
        leaf = leaves[p.site.name]
        scaled = leaf / self._step(p, leaves)
        zero = torch.from_numpy(p.coding.zero).to(device=leaf.device, dtype=leaf.dtype)
        return torch.clamp(round_ste(scaled) + zero, p.coding.low, p.coding.high)

    def _step(self, p: Parameter, leaves: Leaves) -> Tensor:
        assert p.coding is not None
        leaf = leaves[p.site.name]
        step = torch.from_numpy(p.coding.step).to(device=leaf.device, dtype=leaf.dtype)
        if p.theta is None:
            return step
        return step * _shaped(torch.exp(leaves[p.theta]).to(step.dtype), tuple(step.shape))

    def _growth(self, p: Parameter, leaves: Leaves) -> Tensor | float:
        """1 in value; its gradient is that of the step, over the step, of a float tensor that the graph quantizes."""
        kept = p.site.quantizer
        if p.theta is None or not isinstance(kept, IntFormat):
            return 1.0
        theta = leaves[p.theta]
        return _shaped(torch.exp(theta - theta.detach()), np.shape(kept.scale))

    def _scale(self, scale: LearnedScale, leaves: Leaves) -> Tensor:
        theta = leaves[scale.theta]
        base = torch.from_numpy(np.ascontiguousarray(scale.base)).reshape(scale.base.shape).to(theta.device)
        return (base * _shaped(torch.exp(theta), tuple(base.shape))).to(base.dtype)


def _shaped(factor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return factor.reshape(()) if factor.numel() == 1 else factor.reshape(shape)


def _tensor(value: Value) -> Tensor:
    tensor = value.values if isinstance(value, Codes) else value
    if not isinstance(tensor, Tensor):
        raise ModelError("an output of the graph is a sequence or text; a loss needs tensors")
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
