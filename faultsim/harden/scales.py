"""Scales that are learned with the weights: which there are, and which biases follow them. No leaf is moved here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Site
from faultsim.formats import IntFormat
from faultsim.harden.coding import Coding, quantizer_scale, read_once
from faultsim.model import Model
from faultsim.model.values import to_numpy

Array = NDArray[Any]
WIDE_BIAS = 16
"""Least bits of a bias that a QONNX graph quantizes in steps of input times weight."""
SCALE = "log scale of "
"""Before the name of a learned scale's leaf."""


@dataclass(frozen=True, eq=False)
class Parameter:
    """One trained tensor.

    Attributes:
        site: Where its numbers are stored.
        coding: Of integer codes; None for floats.
        quantized: The value on which the graph has put a float tensor on its grid; None where it does not.
        theta: Name of the leaf that its step follows where scales are learned.
    """

    site: Site
    coding: Coding | None = None
    quantized: str | None = None
    theta: str | None = None


@dataclass(frozen=True, eq=False)
class LearnedScale:
    """A scale initializer ``base · exp(leaf)``: the leaf has one number a channel, and starts at 0.

    Attributes:
        key: The initializer.
        theta: Its leaf.
        base: The deployed scale.
    """

    key: str
    theta: str
    base: Array

    def most(self, p: Parameter, bound: NDArray[np.float64] | float) -> NDArray[np.float32] | None:
        """Return the leaf at which the code of *p* furthest from zero stands for *bound*; None for other codes.

        Args:
            p: What the scale is of.
            bound: Real units, above 0: one number, or one for each number of the scale.
        """
        kept = p.coding or p.site.quantizer
        if not isinstance(kept, Coding | IntFormat):
            return None
        low, high, zero = (
            (kept.low, kept.high, kept.zero)
            if isinstance(kept, Coding)
            else (kept.lowest, kept.highest, np.asarray(kept.zero_point))
        )
        far = np.maximum(high - zero, zero - low).astype(np.float64).reshape(-1)
        base = np.maximum(np.abs(self.base).astype(np.float64).reshape(-1), 1e-30)
        return np.log(bound / (far * base)).astype(np.float32)


def learned_scales(
    model: Model, parameters: Mapping[str, Parameter]
) -> tuple[dict[str, Parameter], tuple[LearnedScale, ...]]:
    """Give every weight that has a step of its own a leaf for it, and let the bias of its layer follow.

    Returns:
        The parameters with their leaves, and the scales.
    """
    found = dict(parameters)
    learned: dict[str, LearnedScale] = {}
    biases = [p for p in found.values() if p.site.role == "bias"]
    for name, p in parameters.items():
        key = p.coding.scale_key if p.coding is not None else quantizer_scale(model, p.site)
        if p.site.role != "weight" or key is None or key not in model.program.paths:
            continue
        base = np.asarray(to_numpy(model.program.tensors[key]))
        followers = [b for b in biases if b.site.layer == p.site.layer and _follows(model, b)]
        fits = [b for b in followers if base.size == 1 or _step_size(model, b) == base.size]
        own_scales = [own for b in fits if (own := _own_scale(model, b)) is not None]
        alone = all(read_once(model, one) for one in {key, *own_scales})
        if base.dtype.kind != "f" or key in learned or len(fits) != len(followers) or not alone:
            continue
        scale = LearnedScale(key, SCALE + key, base)
        learned[key] = scale
        found[name] = Parameter(p.site, p.coding, p.quantized, scale.theta)
        for bias in fits:
            found[bias.site.name] = Parameter(bias.site, bias.coding, bias.quantized, scale.theta)
            own = _own_scale(model, bias)
            if own is not None and own != key:
                learned[own] = LearnedScale(own, scale.theta, np.asarray(to_numpy(model.program.tensors[own])))
    return found, tuple(learned.values())


def _follows(model: Model, bias: Parameter) -> bool:
    """Whether a bias is stored in steps of input times weight: a wide one is, one of few bits has its own."""
    if bias.coding is not None:
        return True
    kept = bias.site.quantizer
    wide = bias.quantized is not None and isinstance(kept, IntFormat) and kept.bits >= WIDE_BIAS
    return wide and _own_scale(model, bias) in model.program.paths


def _own_scale(model: Model, p: Parameter) -> str | None:
    return p.coding.scale_key if p.coding is not None else quantizer_scale(model, p.site)


def _step_size(model: Model, p: Parameter) -> int:
    if p.coding is not None:
        return p.coding.step.size
    return int(np.size(to_numpy(model.program.tensors[str(_own_scale(model, p))])))
