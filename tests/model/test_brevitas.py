"""Brevitas and plain torch modules straight into `load_model`: outputs agree, the module stays as it was."""

import importlib
import threading

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    Int32Bias,
    Uint8ActPerTensorFloat,
)
from torch import nn

from faultsim.errors import ModelError
from faultsim.formats import IntFormat
from faultsim.model import check_agreement, load_model


@pytest.fixture(params=["onnxoptimizer", "stub"])
def optimizer(request, monkeypatch):
    """Brevitas' export with the real onnxoptimizer, and without it."""
    manager = importlib.import_module("brevitas.export.onnx.manager")
    if request.param == "stub":
        monkeypatch.setattr(manager, "onnx", None)  # what its import without onnxoptimizer leaves
        monkeypatch.setattr(manager, "opt", None)
    else:
        pytest.importorskip("onnxoptimizer")
    return request.param


def _options(bits, per_channel):
    weight = Int8WeightPerChannelFloat if per_channel else Int8WeightPerTensorFloat
    return {"weight_quant": weight, "weight_bit_width": bits}


def cnn(bits, per_channel, *, bias=True):
    options = _options(bits, per_channel)
    quantized_bias = {"bias_quant": Int32Bias} if bias else {"bias": False}
    return nn.Sequential(
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, bit_width=8, return_quant_tensor=True),
        qnn.QuantConv2d(1, 6, 3, padding=1, return_quant_tensor=True, **options, **quantized_bias),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits, return_quant_tensor=True),
        nn.MaxPool2d(2),
        qnn.QuantConv2d(6, 4, 3, return_quant_tensor=False, **options, **quantized_bias),
        nn.Flatten(),
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, bit_width=bits, return_quant_tensor=True),
        qnn.QuantLinear(16, 5, return_quant_tensor=False, **{"bias": True, **options, **quantized_bias}),
    )


def mlp(bits, per_channel):
    options = _options(bits, per_channel)
    return nn.Sequential(
        qnn.QuantLinear(36, 12, bias=True, **options),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits),
        qnn.QuantLinear(12, 5, bias=True, **options),
    )


def _trained(module, shape):
    """Activation scales from a few batches in training mode, as a trained module has them."""
    torch.manual_seed(2)
    module.train()
    for _ in range(3):
        module(torch.randn(16, *shape))
    return module.eval()


def _snapshot(module):
    return {k: v.clone() for k, v in module.state_dict().items()}, [m.training for m in module.modules()]


CASES = [(make, bits, per_channel) for make in ("cnn", "mlp") for bits in (8, 4) for per_channel in (False, True)]


@pytest.mark.parametrize("route", ["qcdq", "qonnx"])
@pytest.mark.parametrize(("make", "bits", "per_channel"), CASES)
def test_outputs_agree_and_the_module_stays(make, bits, per_channel, route, optimizer):
    torch.manual_seed(1)
    shape = (1, 8, 8) if make == "cnn" else (36,)
    module = _trained((cnn if make == "cnn" else mlp)(bits, per_channel), shape)
    example = torch.randn(2, *shape)
    state, modes = _snapshot(module)
    loaded = load_model(module, example, export=route)
    after, modes_after = _snapshot(module)
    assert modes == modes_after
    assert list(state) == list(after)
    assert all(torch.equal(state[k], after[k]) for k in state)
    if optimizer == "stub":
        assert importlib.import_module("brevitas.export.onnx.manager").opt is None, "the stand-in stayed behind"

    data = torch.randn(64, *shape)  # not the batch of the export
    with torch.no_grad():
        theirs = module(data)
        theirs = (theirs.value if hasattr(theirs, "value") else theirs).numpy()
    (ours,) = loaded.run({loaded.inputs[0].name: data.numpy()}).values()
    # ONNX.md: QONNX 1e-5; QCDQ 1.6e-5, but for a code on a rounding edge here and there.
    near = np.abs(ours - theirs) <= 2e-5 * max(1.0, np.abs(theirs).max())
    assert near.mean() >= 0.98
    assert np.abs(ours - theirs).max() <= 0.1 * np.abs(theirs).max()
    assert (ours.argmax(1) == theirs.argmax(1)).mean() >= 0.98

    fed = {loaded.inputs[0].name: data.numpy()}
    found = check_agreement(loaded, fed)
    assert found.max_abs_difference is not None, found.runtime
    assert found.max_abs_difference <= found.tolerance or found.differing <= 0.01

    weights = [s for s in loaded.sites if s.role == "weight"]
    assert len(weights) == (3 if make == "cnn" else 2)
    if route == "qcdq":
        assert all(isinstance(s.format, IntFormat) and s.format.bits == bits for s in weights)
        assert all(s.scale.size == (s.shape[0] if per_channel else 1) for s in weights)
        assert all(s.code_bits in (bits, None) for s in weights)
        codes = [loaded.numbers[s.name] for s in weights]
        assert all(np.abs(c.astype(int)).max() <= 2 ** (bits - 1) - 1 for c in codes)
    _, slopes = loaded.gradient(
        fed, lambda out: sum(v.square().mean() for v in out.values()), sites=[w.name for w in weights]
    )
    assert all(np.any(g) for g in slopes.values())


def test_int32_biases_of_qcdq_are_sites_with_gradients(optimizer):
    torch.manual_seed(1)
    module = _trained(cnn(8, True), (1, 8, 8))
    loaded = load_model(module, torch.randn(2, 1, 8, 8))
    biases = [s for s in loaded.sites if s.role == "bias"]
    assert len(biases) == 3
    assert {s.format.bits for s in biases} == {32}
    fed = {loaded.inputs[0].name: torch.randn(8, 1, 8, 8).numpy()}
    _, slopes = loaded.gradient(
        fed, lambda out: sum(v.square().mean() for v in out.values()), sites=[b.name for b in biases]
    )
    assert all(np.any(g) for g in slopes.values())


def test_a_module_in_training_mode_is_exported_in_evaluation_mode():
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)).train()
    module(torch.randn(16, 6))
    state, modes = _snapshot(module)
    loaded = load_model(module, torch.randn(2, 6))
    after, modes_after = _snapshot(module)
    assert modes == modes_after
    assert all(torch.equal(state[k], after[k]) for k in state)
    data = torch.randn(9, 6)
    with torch.no_grad():
        np.testing.assert_allclose(
            loaded.run({"input": data.numpy()})[loaded.output_names[0]], module.eval()(data).numpy(), atol=1e-6
        )
    assert any(s.kind == "norm" for s in loaded.sites), "the norm is deployed as the module has it, not folded"


class _TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(7, 4), nn.Linear(4, 2)

    def forward(self, tokens, weights):
        return self.out((self.table(tokens) * weights[..., None]).sum(1))


@pytest.mark.parametrize("kind", [tuple, list])
def test_several_inputs_as_tensors_or_arrays(kind):
    module = _TwoInputs().eval()
    tokens, weights = torch.randint(0, 7, (2, 5)), torch.rand(2, 5)
    loaded = load_model(module, kind([tokens, weights.numpy()]), name="pair")
    assert [s.name for s in loaded.inputs] == ["input", "input_1"]
    assert loaded.name == "pair"
    fed = {"input": tokens.numpy(), "input_1": weights.numpy()}
    with torch.no_grad():
        np.testing.assert_allclose(loaded.run(fed)[loaded.output_names[0]], module(tokens, weights).numpy(), atol=1e-6)


def test_a_module_takes_its_class_as_name():
    assert load_model(_TwoInputs(), (torch.zeros(1, 5, dtype=torch.long), torch.rand(1, 5))).name == "_TwoInputs"


def test_a_module_without_example_inputs():
    with pytest.raises(ModelError, match=r"load_model\(module\) needs example_inputs: a batch that the module can be"):
        load_model(nn.Linear(2, 2))


def test_an_unknown_route():
    with pytest.raises(ModelError, match=r"export must be 'qcdq' or 'qonnx', got 'tflite'"):
        load_model(nn.Linear(2, 2), torch.zeros(1, 2), export="tflite")


def test_an_example_that_does_not_fit():
    with pytest.raises(ModelError, match=r"Linear cannot be exported to ONNX \(.*\); export it yourself and give the"):
        load_model(nn.Linear(2, 2), torch.zeros(1, 3))


def test_an_example_that_is_no_tensor():
    with pytest.raises(ModelError, match=r"Linear cannot be exported to ONNX \(.*\); export it yourself and give the"):
        load_model(nn.Linear(2, 2), "two")


class _Unexportable(nn.Module):
    def forward(self, x):
        return torch.linalg.lstsq(x, x).solution


class _Failing(nn.Module):
    def forward(self, x):
        raise KeyError("the module's own failure")


class _Uncopyable(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self.lock = threading.Lock()


@pytest.mark.parametrize("module", [_Unexportable(), _Failing(), _Uncopyable()], ids=lambda m: type(m).__name__)
def test_modules_that_cannot_be_exported(module):
    with pytest.raises(
        ModelError, match=rf"{type(module).__name__} cannot be exported to ONNX \(.+\); export it"
    ) as info:
        load_model(module, torch.randn(2, 2))
    assert "\n" not in str(info.value)


def test_a_brevitas_module_that_cannot_be_exported_stays_usable():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = qnn.QuantLinear(2, 2, bias=False, weight_bit_width=8)

        def forward(self, x):
            if torch.onnx.is_in_onnx_export():
                raise RuntimeError("no export")
            return self.layer(x)

    module, x = Failing().eval(), torch.randn(3, 2)
    with torch.no_grad():
        before = module(x)
        with pytest.raises(ModelError, match=r"Failing cannot be exported to ONNX \(.*no export.*\)"):
            load_model(module, x)
        assert torch.equal(module(x), before)


@pytest.mark.parametrize("route", ["qcdq", "qonnx"])
def test_attention(route):
    torch.manual_seed(1)
    module, x = qnn.QuantMultiheadAttention(8, 2, batch_first=True).train(), torch.randn(3, 5, 8)
    for _ in range(3):
        module(x, x, x)
    loaded = load_model(module.eval(), (x, x, x), export=route)
    with torch.no_grad():
        expected = module(x, x, x)
    ours = loaded.run({spec.name: x.numpy() for spec in loaded.declared})
    for one, other in zip(ours.values(), expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=2e-6)
