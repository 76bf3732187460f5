"""Plain torch modules straight into `load_model`: each runs as it does in torch, at another batch size too."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from faultsim.errors import ModelError
from faultsim.model import check_agreement, load_model

TIME, WIDTH = 5, 8
needs_dynamo = pytest.mark.skipif(
    importlib.util.find_spec("onnxscript") is None,
    reason="the newer exporter needs onnxscript",
)


def sequence(n):
    return torch.randn(n, TIME, WIDTH)


def steps_first(n):
    return torch.randn(TIME, n, WIDTH)


def rows(n):
    return torch.randn(n, WIDTH)


def tokens(n):
    return torch.randint(0, 9, (n, TIME))


def layer(**options):
    return nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, **options)


# name: (module, makers of its inputs). Batch first; what is not is loaded at the batch size of its example.
MODULES = {
    "encoder_layer": (layer, [sequence]),
    "encoder_layer_norm_first": (lambda: layer(norm_first=True, activation="gelu"), [sequence]),
    "encoder": (lambda: nn.TransformerEncoder(layer(), 2), [sequence]),
    "decoder_layer": (lambda: nn.TransformerDecoderLayer(WIDTH, 2, 16, batch_first=True), [sequence] * 2),
    "decoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, 2, 16, batch_first=True), 2), [sequence] * 2
    ),
    "transformer": (lambda: nn.Transformer(WIDTH, 2, 1, 1, 16, batch_first=True), [sequence] * 2),
    "attention": (lambda: nn.MultiheadAttention(WIDTH, 2, batch_first=True), [sequence] * 3),
    "lstm": (lambda: nn.LSTM(WIDTH, 4, batch_first=True), [sequence]),
    "lstm_two_ways_deep": (lambda: nn.LSTM(WIDTH, 4, 2, batch_first=True, bidirectional=True), [sequence]),
    "gru": (lambda: nn.GRU(WIDTH, 4, batch_first=True), [sequence]),
    "rnn": (lambda: nn.RNN(WIDTH, 4, batch_first=True, nonlinearity="relu"), [sequence]),
    "lstm_cell": (lambda: nn.LSTMCell(WIDTH, 4), [rows]),
    "gru_cell": (lambda: nn.GRUCell(WIDTH, 4), [rows]),
    "embedding_bag": (lambda: nn.EmbeddingBag(9, 4), [tokens]),
}  # fmt: skip
STEPS_FIRST = {
    "encoder_layer": (lambda: nn.TransformerEncoderLayer(WIDTH, 2, 16), [steps_first]),
    "attention": (lambda: nn.MultiheadAttention(WIDTH, 2), [steps_first] * 3),
    "lstm": (lambda: nn.LSTM(WIDTH, 4), [steps_first]),
    "gru": (lambda: nn.GRU(WIDTH, 4), [steps_first]),
}
NEWER = {
    "rms_norm": (lambda: nn.RMSNorm(WIDTH), [sequence]),
    "bilinear": (lambda: nn.Bilinear(WIDTH, WIDTH, 4), [rows] * 2),
}


def flat(outputs):
    if isinstance(outputs, tuple | list):
        return [one for output in outputs for one in flat(output)]
    return [] if outputs is None else [outputs.detach().numpy()]


def agrees(made, *, example, fed):
    make, makers = made
    torch.manual_seed(3)
    module = make().eval()
    loaded = load_model(module, tuple(one(example) for one in makers))
    inputs = [one(fed) for one in makers]
    feeds = {spec.name: one.numpy() for spec, one in zip(loaded.declared, inputs, strict=True)}
    with torch.no_grad():
        expected = flat(module(*inputs))
    ours = list(loaded.run(feeds).values())
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    found = check_agreement(loaded, feeds)
    assert found.runtime.startswith("onnxruntime 1.")
    assert found.max_abs_difference <= found.tolerance
    return loaded, module, feeds


@pytest.mark.parametrize("name", MODULES)
def test_a_module_runs_as_in_torch_at_any_batch(name):
    before = torch.backends.mha.get_fastpath_enabled()
    loaded, module, feeds = agrees(MODULES[name], example=3, fed=7)
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert "forward" not in vars(module)
    assert loaded.axes.doubt is None
    weights = [site.name for site in loaded.sites if site.role == "weight"]
    _, slopes = loaded.gradient(feeds, lambda out: sum(v.square().mean() for v in out.values()), sites=weights)
    silent = [weight for weight, slope in slopes.items() if not np.any(slope)]
    assert len(silent) == name.endswith("_cell"), "a cell's state is 0 unless it is given"


@pytest.mark.parametrize("name", STEPS_FIRST)
def test_a_module_with_its_steps_first_says_so(name):
    loaded, *_ = agrees(STEPS_FIRST[name], example=3, fed=3)
    assert "--batch-axis input=1" in loaded.axes.doubt


@needs_dynamo
@pytest.mark.parametrize("name", NEWER)
def test_what_the_older_exporter_does_not_know_goes_through_the_newer(name, capfd):
    agrees(NEWER[name], example=3, fed=7)
    assert capfd.readouterr() == ("", "")


def test_without_the_newer_exporter_the_older_one_says_why(monkeypatch, capfd):
    monkeypatch.setattr("faultsim.model.export.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"RMSNorm cannot be exported to ONNX \(.*rms_norm.*\); export it yourself"):
        load_model(nn.RMSNorm(WIDTH), sequence(2))
    assert capfd.readouterr() == ("", "")
