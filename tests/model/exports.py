"""Networks that torch exports, by either exporter, and what is asked of each once it is loaded."""

import io
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from faultsim.model import check_agreement, load_model

WORDS, STEPS, WIDTH = 11, 7, 8


class SmallCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 3, groups=8, padding=1),
            nn.Hardswish(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 1), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.body(x))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.cells = getattr(nn, kind)(WIDTH, 6, batch_first=True, **options)
        self.head = nn.Linear(6 * (2 if options.get("bidirectional") else 1), 4)

    def forward(self, x):
        return self.head(self.cells(x)[0])


class Transformer(nn.Module):
    """Tokens to scores, causal, with tied shapes and a learned position."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.place = nn.Parameter(torch.randn(1, STEPS, WIDTH) * 0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.head = nn.Linear(WIDTH, WORDS)
        self.register_buffer("mask", torch.full((STEPS, STEPS), -1e9).triu(1))

    def forward(self, tokens):
        x = self.embed(tokens) + self.place
        for layer in self.layers:
            x = layer(x, src_mask=self.mask)
        return self.head(x)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        q, k, v = (part.unsqueeze(1) for part in self.qkv(self.norm(x)).chunk(3, dim=-1))
        return x + self.out(nn.functional.scaled_dot_product_attention(q, k, v).squeeze(1))


def _images():
    return torch.randn(3, 3, 8, 8)


def _sequence():
    return torch.randn(3, STEPS, WIDTH)


def _tokens():
    return torch.randint(0, WORDS, (3, STEPS))


NETS = {
    "cnn": (SmallCnn, _images),
    "lstm": (lambda: Recurrent("LSTM"), _sequence),
    "lstm_two_ways_deep": (lambda: Recurrent("LSTM", bidirectional=True, num_layers=2), _sequence),
    "gru": (lambda: Recurrent("GRU"), _sequence),
    "rnn": (lambda: Recurrent("RNN"), _sequence),
    "transformer": (Transformer, _tokens),
    "attention": (SelfAttention, _sequence),
}
LEAST_WEIGHTS = {"cnn": 4, "lstm": 3, "gru": 3, "rnn": 3, "attention": 2, "transformer": 10}
"""Least number of weights (not biases): what must at any rate be found."""


def build(name):
    torch.manual_seed(4)
    make, sample = NETS[name]
    module = make().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 1.5)
    return module, sample()


def export(module, example, *, dynamo=False, **options):
    """Export without torch's fused inference path of attention, which has no ONNX form."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return _export(module, example, dynamo=dynamo, **options)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _export(module, example, *, dynamo, **options):
    if dynamo:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = ({0: torch.export.Dim.DYNAMIC},)
            return torch.onnx.export(
                module, (example,), dynamo=True, opset_version=20, dynamic_shapes=shapes, verbose=False, **options
            ).model_proto
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (example,), buffer, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, **options,
        )  # fmt: skip
    return onnx.load_model_from_string(buffer.getvalue())


def checked(proto, example, expected=None, *, gradients=True):
    """Load, compare with onnxruntime (and torch), at another batch size too, and demand a gradient at every weight."""
    loaded = load_model(proto)
    name = loaded.inputs[0].name
    fed = {name: example.numpy() if isinstance(example, torch.Tensor) else example}
    for batch in (fed, {name: np.concatenate([fed[name]] * 2)}):
        found = check_agreement(loaded, batch)
        assert found.runtime.startswith("onnxruntime 1.")
        assert found.max_abs_difference <= found.tolerance
    assert not loaded.fallbacks
    if expected is not None:
        (ours,) = loaded.run(fed).values()
        np.testing.assert_allclose(ours, expected.numpy(), atol=2e-5)
    if gradients:
        weights = [s.name for s in loaded.sites if s.role in ("weight", "norm")]
        assert weights
        _, found = loaded.gradient(
            fed, lambda out: sum(v.double().square().mean() for v in out.values()), sites=weights
        )
        silent = {n for n in weights if not np.any(found[n])}
        assert not silent
    return loaded
