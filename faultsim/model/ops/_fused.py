"""Activations that onnxruntime's optimizer folds into the node before them. No op lives here."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.errors import UnsupportedOpError


def activate(x: Tensor, name: str, parameters: Sequence[float] = ()) -> Tensor:
    """Apply a fused activation by its ONNX name; the empty name is the identity.

    Raises:
        UnsupportedOpError: If the activation is none that onnxruntime fuses.
    """
    match name:
        case "":
            return x
        case "Relu":
            return torch.relu(x)
        case "LeakyRelu":
            return functional.leaky_relu(x, parameters[0] if parameters else 0.01)
        case "Tanh":
            return torch.tanh(x)
        case "Sigmoid":
            return torch.sigmoid(x)
        case "Clip":
            return torch.clamp(x, parameters[0], parameters[1])
        case "HardSigmoid":
            alpha, beta = parameters or (0.2, 0.5)
            return torch.clamp(alpha * x + beta, 0, 1)
        case "Elu":
            return functional.elu(x, parameters[0] if parameters else 1.0)
        case "Softplus":
            return functional.softplus(x)
        case "Gelu":
            return functional.gelu(x)
    raise UnsupportedOpError(
        f"the fused activation {name!r} is unknown; export the model before onnxruntime optimizes it"
    )
