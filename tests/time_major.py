"""Small sequence models in torch, exported time-major and batch-first with the same numbers."""

import io
import logging
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn

STEPS, SAMPLES, WIDTH, CLASSES, WORDS = 7, 40, 8, 5, 11


class Tagger(nn.Module):
    """A class for each step, or for the last one: an LSTM, GRU or transformer encoder, over vectors or token ids."""

    def __init__(self, kind: str, *, batch_first: bool, ids: bool = False, last: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.time = 1 if batch_first else 0
        self.last = last
        self.embedding = nn.Embedding(WORDS, WIDTH) if ids else nn.Identity()
        if kind == "encoder":
            layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=batch_first, dropout=0)
            self.body: nn.Module = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        else:
            self.body = getattr(nn, kind)(WIDTH, WIDTH, batch_first=batch_first)
        self.head = nn.Linear(WIDTH, CLASSES)
        with torch.no_grad():
            for weight in self.parameters():
                weight.mul_(2)  # steps that feel each other

    def forward(self, x: Tensor) -> Tensor:
        found = self.body(self.embedding(x))
        y = self.head(found[0] if isinstance(found, tuple) else found)
        return y.select(self.time, -1) if self.last else y


def inputs(*, ids: bool = False, samples: int = SAMPLES, seed: int = 0) -> Tensor:
    """Return N×T×C numbers, or N×T token ids."""
    rng = torch.Generator().manual_seed(seed)
    if ids:
        return torch.randint(0, WORDS, (samples, STEPS), generator=rng)
    return torch.randn(samples, STEPS, WIDTH, generator=rng)


def export(model: nn.Module, x: Tensor, *, dynamo: bool = False, axes: Any = None) -> onnx.ModelProto:
    """Return the graph that torch exports for *x*; *axes* are ``dynamic_axes``, or ``dynamic_shapes`` with dynamo."""
    buffer = io.BytesIO()
    names = {"input_names": ["x"], "output_names": ["y"]}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(model.eval(), (x,), buffer, dynamo=True, dynamic_shapes=axes, verbose=False, **names)
        else:
            torch.onnx.export(model.eval(), (x,), buffer, dynamo=False, dynamic_axes=axes, opset_version=17, **names)
    return onnx.load_model_from_string(buffer.getvalue())
