"""Brevitas' recurrent layers as plain steps, one after the other: the form in which they have an ONNX graph that runs.

Brevitas writes a quantized LSTM cell to one op that nothing executes, one of quantized weights alone to a graph of one
batch, and a QuantRNN to nothing at all. What is done to the copy of a module before its export lives here; the export
itself lives in `export.py`.
"""

from typing import Any

import torch

from faultsim.errors import ModelError


def unroll(module: torch.nn.Module) -> None:
    """Let every recurrent Brevitas layer in *module* be traced step by step; the module itself is changed.

    The graph then has as many steps as the example has, and no other number runs.

    Raises:
        ModelError: If an LSTM couples its input and forget gates, which Brevitas itself runs as a script alone.
    """
    from brevitas.nn.mixin.base import QuantRecurrentLayerMixin

    for layer in module.modules():
        if not isinstance(layer, QuantRecurrentLayerMixin):
            continue
        cell: Any = layer.cell
        if getattr(cell, "cifg", False):
            raise ModelError(
                "an LSTM with coupled_input_forget_gates=True has no ONNX form that Brevitas can write; train it with "
                "gates of their own, or export it yourself and give the .onnx file"
            )
        for name, part in list(cell.named_children()):
            if getattr(part, "is_quant_enabled", True) is False:
                setattr(cell, name, _Unquantized(part))
        layer.fast_mode = False  # the fast cell is a script, which no proxy in export mode fits
        layer.__class__ = _stepwise(type(layer))


class _Unquantized(torch.nn.Module):
    """A quantizer that is switched off, which gives what one that is on gives: a tuple, the value first."""

    is_quant_enabled = False

    def __init__(self, proxy: torch.nn.Module) -> None:
        super().__init__()
        self.proxy = proxy

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """Return *x* through the activation of the quantizer, if it has one."""
        return self.proxy(x), None, None, None


def _stepwise(kind: type[Any]) -> type[Any]:
    """Return *kind* as a layer that never hands its steps to Brevitas' own export."""

    def state(self: Any, inputs: torch.Tensor, given: Any, quantizer: Any) -> Any:
        if given is not None:
            return quantizer(given) if quantizer.is_quant_enabled else given
        samples = inputs.size(0 if self.cell.batch_first else 1)  # int() would fix the batch in the graph
        return torch.zeros(samples, self.hidden_size, dtype=inputs.dtype)

    methods = {
        "export_mode": property(lambda self: False, lambda self, enabled: None),
        "requires_export_handler": property(lambda self: False),
        "maybe_quantize_state": state,
    }
    return type(kind.__name__, (kind,), methods)
