"""Whether the passes of a training run in bfloat16 where that is safe. What autocast does to an op is torch's own.

Weights, gradients, averages, validation and everything written stay float32: matrix products and convolutions of the
training's passes alone are rounded (``torch.autocast``).
"""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from faultsim.errors import FaultsimError, OptionError
from faultsim.formats import IntFormat
from faultsim.harden.quantize import QUANTIZED
from faultsim.model import Model
from faultsim.model.nodes import Node
from faultsim.model.values import Codes

Array = NDArray[Any]
Precision = Literal["auto", "float32", "bf16"]
PRECISIONS: Final = ("auto", "float32", "bf16")
BETWEEN: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant", "BipolarQuant"})
"""Quantizers with real numbers on their other side."""
Resolved = Literal["float32", "bf16"]
SLOW = 1.5
"""bfloat16 that takes so many times as long as float32 is told of."""


def autocast(device: torch.device, precision: Resolved) -> AbstractContextManager[Any]:
    """Return the context of a pass; that of float32 changes nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def resolved(asked: Precision, model: Model, feeds: Mapping[str, Array]) -> Resolved:
    """Return the precision to train in: ``auto`` is bfloat16 on CUDA for float graphs that run in it, else float32.

    bfloat16 tells 8 bits apart. Between quantizers (QDQ, QCDQ, QONNX) the products are of real numbers, and what a
    quantizer rounds is then off by up to half a step: ``bf16`` trains such graphs where it is asked for. Where the
    products are of codes (QOperator), of which those above 256 do not fit, a graph is trained in float32.

    Args:
        asked: What was asked for.
        model: The deployed graph.
        feeds: A batch that the graph is tried on.

    Raises:
        OptionError: If bfloat16 was asked for, and the graph multiplies codes or does not run in it.
    """
    if asked == "float32" or (asked == "auto" and (model.device.type != "cuda" or _held(model))):
        return "float32"
    reason = _unsafe(model) or _fails(model, feeds)
    if reason is None:
        return "bf16"
    if asked == "bf16":
        raise OptionError(f"--precision bf16: {model.name} {reason}; train it in float32")
    return "float32"


@cache
def slowdown(repeats: int = 5) -> float:
    """Return what a small convolution takes in bfloat16 over what it takes in float32 here, the fastest of some.

    Processors without instructions for bfloat16 compute it in software, many times slower than float32.
    """
    x, weight = torch.ones(8, 32, 16, 16), torch.ones(32, 32, 3, 3)

    def seconds(kind: torch.dtype) -> float:
        one, by = x.to(kind), weight.to(kind)
        found = []
        for _ in range(repeats + 1):  # the first one warms up
            start = time.perf_counter()
            torch.nn.functional.conv2d(one, by, padding=1)
            found.append(time.perf_counter() - start)
        return min(found[1:])

    return seconds(torch.bfloat16) / max(seconds(torch.float32), 1e-9)


def slow_note(asked: Precision, device: str) -> str | None:
    """Return what to say before a training in bfloat16 on a processor that is slow at it; None elsewhere."""
    if asked != "bf16" or device != "cpu":
        return None
    times = slowdown()
    if times < SLOW:
        return None
    return (
        f"A convolution takes {times:.3g} times as long in bfloat16 as in float32 on this processor: "
        "float32 probably trains faster here."
    )


def _unsafe(model: Model) -> str | None:
    held = _held(model)
    if any(_wide(model, node) for node in model.program.graph.nodes if node.op_type in BETWEEN):
        return "quantizes to more than 8 bits, which bfloat16 does not tell apart"
    codes = [name for name in held if name not in BETWEEN]
    if codes or (not held and any(isinstance(site.format, IntFormat) for site in model.select())):
        return f"multiplies codes ({', '.join(codes) or 'integer weights'}), of which bfloat16 rounds those above 256"
    return None


def _held(model: Model) -> list[str]:
    return sorted({node.op_type for node in model.program.graph.nodes} & QUANTIZED)


def _wide(model: Model, node: Node) -> bool:
    """Whether a quantizer's codes have more than 8 bits; those that are only read back may, as int32 biases do."""
    if node.op_type == "QuantizeLinear":
        zero = _constant(model, node, 2)
        kind = node.attributes.get("output_dtype") or (zero.elem_type if isinstance(zero, Codes) else TensorProto.UINT8)
        return kind in (TensorProto.INT16, TensorProto.UINT16)
    if node.op_type in ("Quant", "IntQuant"):
        bits = _constant(model, node, 3)
        return not isinstance(bits, torch.Tensor) or bool((bits > 8).any())
    return False


def _constant(model: Model, node: Node, at: int) -> Any:
    name = node.inputs[at] if len(node.inputs) > at else ""
    key = model.program.graph.constants.get(name)
    return None if key is None else model.program.tensors[key]


def _fails(model: Model, feeds: Mapping[str, Array]) -> str | None:
    try:
        with autocast(model.device, "bf16"):
            found = model.run(feeds)
    except (FaultsimError, RuntimeError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        return f"does not run in it ({reason})"
    finite = all(np.all(np.isfinite(np.asarray(a, dtype=np.float32))) for a in found.values() if _floats(a))
    return None if finite else "gives numbers in it that are not finite"


def _floats(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "fV"
