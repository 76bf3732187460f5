"""Activations as sites: what flows between the nodes, with its shape and format for one batch. No faults here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Kind, Site
from faultsim.model.graph import Node
from faultsim.model.model import Model
from faultsim.model.reading import number_format
from faultsim.model.sites import element_type
from faultsim.model.values import Codes, Value

_KINDS: dict[str, Kind] = {
    "Conv": "conv", "ConvTranspose": "conv", "QLinearConv": "conv", "ConvInteger": "conv", "Gemm": "gemm",
    "MatMul": "gemm", "QLinearMatMul": "gemm", "MatMulInteger": "gemm", "BatchNormalization": "norm",
    "LayerNormalization": "norm", "InstanceNormalization": "norm", "GroupNormalization": "norm", "LSTM": "recurrent",
    "GRU": "recurrent", "RNN": "recurrent", "Gather": "embedding", "Attention": "attention",
    "QuantizeLinear": "quantization", "DequantizeLinear": "quantization", "Quant": "quantization",
    "Add": "elementwise", "Sub": "elementwise", "Mul": "elementwise", "Div": "elementwise", "Relu": "elementwise",
}  # fmt: skip


def activation_sites(model: Model, feeds: Mapping[str, NDArray[Any]]) -> tuple[Site, ...]:
    """Return every numeric activation of the main graph as a site, in the order in which the graph makes them.

    Shapes are those of this batch, its samples first where the graph has them so. Activations inside If, Loop and Scan
    bodies are not listed; integer tensors that are shapes or indices are left out.

    Args:
        model: The model.
        feeds: One batch of inputs by name.

    Raises:
        ModelError: If a node fails.
        DataError: If an input is missing or unknown.
    """
    depth_of = {site.layer: site.depth for site in model.sites}
    found: dict[str, Site] = {}
    depth = 0

    def see(node: Node, name: str, value: Value) -> Value:
        nonlocal depth
        depth = depth_of.get(node.name, depth)
        elem = element_type(value)
        if elem is not None and name not in found:
            shape = tuple(value.values.shape) if isinstance(value, Codes) else tuple(np.shape(value))  # type: ignore[arg-type]
            found[name] = Site(
                name=name,
                shape=tuple(int(size) for size in shape),
                format=number_format(elem, None),
                layer=node.name,
                kind=_KINDS.get(node.op_type, "other"),
                role="activation",
                depth=depth,
            )
        return value

    model.run(feeds, observer=see)
    return tuple(found.values())
