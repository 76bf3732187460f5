"""Brevitas' recurrent layers into `load_model`, by both routes: step by step they run as the module does."""

import numpy as np
import pytest
import torch
from brevitas import nn as qnn

from faultsim.errors import ModelError
from faultsim.formats import IntFormat
from faultsim.model import check_agreement, load_model

STEPS, INPUTS, HIDDEN = 3, 4, 3
OFF = dict.fromkeys(
    ("io_quant", "gate_acc_quant", "sigmoid_quant", "tanh_quant", "cell_state_quant", "bias_quant"), None
)
LAYERS = {
    "lstm": lambda **o: qnn.QuantLSTM(INPUTS, HIDDEN, **o),
    "lstm_two_ways_deep": lambda **o: qnn.QuantLSTM(INPUTS, HIDDEN, 2, bidirectional=True, **o),
    "lstm_quantized_in_part": lambda **o: qnn.QuantLSTM(INPUTS, HIDDEN, sigmoid_quant=None, cell_state_quant=None, **o),
    "lstm_weights_alone": lambda **o: qnn.QuantLSTM(INPUTS, HIDDEN, weight_bit_width=4, **OFF, **o),
    "rnn": lambda **o: qnn.QuantRNN(INPUTS, HIDDEN, **o),
    "rnn_weights_alone": lambda **o: qnn.QuantRNN(
        INPUTS, HIDDEN, nonlinearity="relu", io_quant=None, gate_acc_quant=None, bias_quant=None, **o
    ),
}


def trained(make, **options):
    """A module whose scales have seen a few batches."""
    torch.manual_seed(5)
    module = make(**options).train()
    for _ in range(3):
        module(torch.randn(STEPS, STEPS, INPUTS))
    return module.eval()


def values(outputs):
    if isinstance(outputs, tuple):
        return [one for output in outputs for one in values(output)]
    return [outputs.numpy()]


@pytest.mark.parametrize("route", ["qcdq", "qonnx"])
@pytest.mark.parametrize("name", LAYERS)
def test_it_runs_as_the_module_at_another_batch(name, route):
    module = trained(LAYERS[name], batch_first=True)
    kinds, state = [type(m) for m in module.modules()], {k: v.clone() for k, v in module.state_dict().items()}
    loaded = load_model(module, torch.randn(2, STEPS, INPUTS), export=route)
    assert [type(m) for m in module.modules()] == kinds, "the module stays as it was"
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())

    data = torch.randn(64, STEPS, INPUTS)
    fed = {"input": data.numpy()}
    with torch.no_grad():
        expected = values(module(data))
    for ours, theirs in zip(loaded.run(fed).values(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    found = check_agreement(loaded, fed)
    assert found.max_abs_difference is not None
    assert found.max_abs_difference <= found.tolerance
    assert loaded.axes.inputs == {"input": 0}

    weights = [site for site in loaded.sites if site.role == "weight"]
    gates = (1 if name.startswith("rnn") else 4) * (4 if name.endswith("deep") else 1)
    assert len(weights) == 2 * gates, "of the input and of the state, for each gate of each layer"
    assert all(isinstance(site.format, IntFormat) == (route == "qcdq") for site in weights)
    _, slopes = loaded.gradient(
        fed, lambda out: sum(v.square().mean() for v in out.values()), sites=[w.name for w in weights]
    )
    assert all(np.any(slope) for slope in slopes.values())


@pytest.mark.parametrize("route", ["qcdq", "qonnx"])
def test_an_initial_state_is_an_input(route):
    module = trained(LAYERS["lstm"], batch_first=True)
    state = torch.randn(1, 3, HIDDEN)
    example = torch.randn(3, STEPS, INPUTS), state, state.flip(2)
    loaded = load_model(module, example, export=route)
    with torch.no_grad():
        expected = values(module(*example))
    fed = {spec.name: one.numpy() for spec, one in zip(loaded.declared, example, strict=True)}
    for ours, theirs in zip(loaded.run(fed).values(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_coupled_gates_are_one_clear_sentence():
    module = trained(LAYERS["lstm"], coupled_input_forget_gates=True)
    with pytest.raises(ModelError, match=r"an LSTM with coupled_input_forget_gates=True has no ONNX form"):
        load_model(module, torch.randn(STEPS, 2, INPUTS))
