"""`Rest`: the rest of the graph behind a waist under faulty numbers, for faults that no single layer holds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from faultsim.engine.sweep.entry import same, tail
from faultsim.engine.sweep.flow import Flow, TensorType
from faultsim.engine.sweep.golden import Clean
from faultsim.engine.sweep.parts import Opener
from faultsim.engine.sweep.slices import Sparse, patched
from faultsim.errors import FaultsimError

Array = NDArray[Any]
_ROUNDING = frozenset(
    {"QuantizeLinear", "DynamicQuantizeLinear", "Quant", "BipolarQuant", "QGemm", "Round", "QLinearConv"}
)
_NARROW = frozenset({TensorProto.INT2, TensorProto.UINT2, TensorProto.INT4, TensorProto.UINT4})
_INT8_ACTIVATIONS = 4
"""The accuracy level of MatMulNBits at which onnxruntime rounds activations."""


class Rest:
    """Everything behind one activation that all paths pass through.

    Attributes:
        waist: The activation.
        nodes: Positions of what computes behind it.
        feeds: What it reads: the waist, and codes behind a DequantizeLinear.
    """

    def __init__(self, flow: Flow, types: Mapping[str, TensorType], waist: str, output: str, opener: Opener) -> None:
        self.flow = flow
        self.types = types
        self.waist = waist
        self.output = output
        self._opener = opener
        self.nodes, feeds = tail(flow, [waist], output)
        self.feeds = frozenset(feeds)
        self._rounds = any(_rounds(flow, i) for i in self.nodes)
        self._exact: bool | None = None

    @property
    def usable(self) -> bool:
        """Whether everything it reads counts samples along axis 0, and nothing in it is rounded to codes.

        The runtime may fuse a rest otherwise than the whole graph. Floats then differ everywhere, which `exact` sees;
        a rounding to codes lets the difference through once in many thousand samples, which it might not.
        """
        return all(name in self.types for name in self.feeds) and bool(self.nodes) and not self._rounds

    def exact(self, clean: Clean, golden: Array) -> bool:
        """Whether it gives the clean output bit by bit on a few clean samples, at least 2, in another order."""
        if self._exact is None:
            order = np.arange(len(golden))[::-1][:-1]
            try:
                some = {name: clean.plain[name][order] for name in self.feeds}
                found = self({}, Clean(some, {}))
                self._exact = same(found, golden[order])
            except FaultsimError:
                self._exact = False
        return self._exact

    def __call__(self, patch: Mapping[str, Sparse], clean: Clean) -> Array:
        """Return the output under a patch."""
        flow = self.flow
        numbers = {one: patched(flow.initializers[one], faults, flow.packed.get(one)) for one, faults in patch.items()}
        inputs = {name: self.types[name] for name in sorted(self.feeds)}
        piece = flow.piece(self.nodes, inputs, {self.output: self.types[self.output]}, numbers=numbers)
        return self._opener(piece, fused=True)({name: clean.plain[name] for name in inputs})[0]


def _rounds(flow: Flow, position: int) -> bool:
    """Whether a node rounds to codes, or may as the MatMulNBits that onnxruntime makes of narrow codes."""
    node = flow.nodes[position]
    if node.op_type == "MatMulNBits":
        return any(a.name == "accuracy_level" and a.i == _INT8_ACTIVATIONS for a in node.attribute)
    narrow = any(flow.initializers[n].data_type in _NARROW for n in flow.reads[position] if n in flow.initializers)
    return narrow or node.op_type in _ROUNDING
