"""LSTM, GRU and RNN against onnxruntime over directions, lengths, activations, clipping; gradients."""

import numpy as np
import pytest
import torch
from one_node import both

from faultsim.errors import UnsupportedOpError
from faultsim.model.ops.recurrent import GRU, LSTM, RNN

RNG = np.random.default_rng(5)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
T, N, IN, H = 5, 3, 2, 4


def floats(*shape):
    # small, so that open-ended activations don't blow the state up
    return 0.5 * RNG.standard_normal(shape, dtype=np.float32)


def inputs(op, directions=1, *, lengths=None, states=False, peepholes=False):
    d, g = directions, GATES[op]
    made = {"x": floats(T, N, IN), "w": floats(d, g * H, IN), "r": floats(d, g * H, H), "b": floats(d, 2 * g * H)}
    made["lengths"] = None if lengths is None else np.asarray(lengths, np.int32)
    made["h"] = floats(d, N, H) if states else None
    if op == "LSTM":
        made["c"] = floats(d, N, H) if states else None
        made["p"] = floats(d, 3 * H) if peepholes else None
    while made[list(made)[-1]] is None:
        made.popitem()
    return made


def close(op, given, **attributes):
    outputs = ("y", "y_h", "y_c") if op == "LSTM" else ("y", "y_h")
    for ours, theirs in both(op, given, outputs=outputs, hidden_size=H, **attributes):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, [5, 1, 3], [0, 2, 5]])
@pytest.mark.parametrize("states", [False, True])
def test_directions_and_lengths(op, direction, lengths, states):
    directions = 2 if direction == "bidirectional" else 1
    close(op, inputs(op, directions, lengths=lengths, states=states), direction=direction)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("name", ["Relu", "Sigmoid", "HardSigmoid", "Elu", "LeakyRelu", "Softsign", "Softplus"])
def test_activations(op, name):
    count = {"LSTM": 3, "GRU": 2, "RNN": 1}[op]
    close(op, inputs(op), activations=[name] + ["Tanh"] * (count - 1))


def test_alphas_and_betas_go_to_those_that_take_them():
    names = ["LeakyRelu", "ScaledTanh", "ScaledTanh"]
    close("LSTM", inputs("LSTM"), activations=names, activation_alpha=[0.1, 0.2, 0.3], activation_beta=[0.3, 0.4])


@pytest.mark.parametrize("op", GATES)
def test_clipping(op):
    close(op, inputs(op, states=True), clip=0.5)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_peepholes_and_coupled_gates(direction):
    directions = 2 if direction == "bidirectional" else 1
    close("LSTM", inputs("LSTM", directions, states=True, peepholes=True), direction=direction, input_forget=1)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_the_linear_step_of_a_gru_may_come_first(direction):
    directions = 2 if direction == "bidirectional" else 1
    close("GRU", inputs("GRU", directions, states=True), direction=direction, linear_before_reset=1)


@pytest.mark.parametrize("function", [LSTM, GRU, RNN])
def test_layout_only_moves_axes(function):
    given = [torch.from_numpy(v) for v in inputs(function.__name__, 2, states=True).values() if v is not None]
    x, w, r, b, *states = given
    plain = function(x, w, r, b, None, *states, direction="bidirectional")
    moved = function(
        x.transpose(0, 1), w, r, b, None, *(s.transpose(0, 1) for s in states), direction="bidirectional", layout=1
    )
    torch.testing.assert_close(moved[0], plain[0].permute(2, 0, 1, 3))
    for ours, theirs in zip(moved[1:], plain[1:], strict=True):
        torch.testing.assert_close(ours, theirs.transpose(0, 1))


@pytest.mark.parametrize(
    ("function", "extra"),
    [(f, extra) for f in (LSTM, GRU, RNN) for extra in ({}, {"clip": 3.0})] + [(GRU, {"linear_before_reset": 1})],
)
def test_recurrence_is_differentiable(function, extra):
    g = GATES[function.__name__]
    shapes = ((3, 2, 2), (1, g * 2, 2), (1, g * 2, 2), (1, 4 * g))
    given = [torch.rand(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda *a: function(*a, **extra)[0], given)


def test_an_unknown_activation_is_refused_by_name():
    given = [torch.from_numpy(v) for v in inputs("RNN").values()]
    with pytest.raises(UnsupportedOpError, match="recurrent activation 'sinus' is unknown"):
        RNN(*given, activations=["Sinus"])
