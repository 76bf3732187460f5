"""LSTM, GRU and RNN. What they share (directions, lengths, the walk over time) lives in `_recurrent.py`."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._recurrent import (
    Activation,
    State,
    Step,
    activations_of,
    joined,
    layer,
    native_outputs,
    native_parameters,
    walk,
)
from faultsim.model.ops._widen import in_float32
from faultsim.model.ops.registry import op


def _standard(activations: Sequence[str] | None, default: Sequence[str], directions: int) -> bool:
    return not activations or [a.lower() for a in activations] == list(default) * directions


def _clipped(x: Tensor, clip: float | None) -> Tensor:
    return x if clip is None else torch.clamp(x, -clip, clip)


@op("LSTM")
@in_float32
def LSTM(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """All hidden states, the last hidden and the last cell state of a long short-term memory (ONNX LSTM-22)."""
    at = layer(x, r, sequence_lens, [initial_h, initial_c], direction, layout)
    default = ("sigmoid", "tanh", "tanh")
    plain = clip is None and p is None and not input_forget and at.plain
    if plain and _standard(activations, default, len(at.directions)):
        parameters = native_parameters(at.x, w, r, b, (0, 2, 3, 1))
        # train: cuDNN refuses gradients without it; there is no dropout to switch on
        y, h, c = torch.lstm(at.source, at.states, parameters, True, 1, 0.0, True, len(at.directions) == 2, False)
        return native_outputs(y, (h, c), at, layout)
    chosen = activations_of(activations, activation_alpha, activation_beta, default, len(at.directions))
    ys, lasts = [], []
    for d, functions in enumerate(chosen):
        bias = None if b is None else torch.stack(b[d].chunk(2)).sum(0)
        step = _lstm_step(r[d].t(), None if p is None else p[d], functions, clip, input_forget)
        start = tuple(s[d] for s in at.states)
        y, last = walk(functional.linear(at.x, w[d], bias), at.lengths, start, step, reverse=at.directions[d])
        ys.append(y)
        lasts.append(last)
    return joined(ys, lasts, layout)


def _lstm_step(
    recurrent: Tensor, peep: Tensor | None, functions: Sequence[Activation], clip: float | None, input_forget: int
) -> Step:
    gate, cell, hidden = functions
    peeps = None if peep is None else peep.chunk(3)

    def step(z: Tensor, state: State) -> State:
        h, c = state
        i, o, forget, new = torch.addmm(z, h, recurrent).chunk(4, dim=1)
        if peeps is not None:
            i, forget = i + peeps[0] * c, forget + peeps[2] * c
        i = gate(_clipped(i, clip))
        forget = 1 - i if input_forget else gate(_clipped(forget, clip))
        c = forget * c + i * cell(_clipped(new, clip))
        o = gate(_clipped(o if peeps is None else o + peeps[1] * c, clip))
        # onnxruntime clips the gates' inputs but not the cell's way out, though ONNX's text would have it
        return o * hidden(c), c

    return step


@op("GRU")
@in_float32
def GRU(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, ...]:
    """All hidden states and the last of gated recurrent units (ONNX GRU-22)."""
    at = layer(x, r, sequence_lens, [initial_h], direction, layout)
    default = ("sigmoid", "tanh")
    plain = clip is None and linear_before_reset and at.plain
    if plain and _standard(activations, default, len(at.directions)):
        parameters = native_parameters(at.x, w, r, b, (1, 0, 2))
        y, h = torch.gru(at.source, at.states[0], parameters, True, 1, 0.0, True, len(at.directions) == 2, False)
        return native_outputs(y, (h,), at, layout)
    chosen = activations_of(activations, activation_alpha, activation_beta, default, len(at.directions))
    ys, lasts = [], []
    for d, functions in enumerate(chosen):
        of_input, of_hidden = (None, None) if b is None else b[d].chunk(2)
        step = _gru_step(r[d], of_hidden, functions, clip, linear_before_reset)
        projected = functional.linear(at.x, w[d], of_input)
        y, last = walk(projected, at.lengths, (at.states[0][d],), step, reverse=at.directions[d])
        ys.append(y)
        lasts.append(last)
    return joined(ys, lasts, layout)


def _gru_step(
    recurrent: Tensor, bias: Tensor | None, functions: Sequence[Activation], clip: float | None, linear_first: int
) -> Step:
    gate, new = functions
    size = recurrent.shape[1]
    gates, candidate = recurrent[: 2 * size], recurrent[2 * size :]
    gate_bias, candidate_bias = (None, None) if bias is None else (bias[: 2 * size], bias[2 * size :])

    def step(z: Tensor, state: State) -> State:
        h = state[0]
        both = z[:, : 2 * size] + functional.linear(h, gates, gate_bias)
        update, reset = gate(_clipped(both, clip)).chunk(2, dim=1)
        if linear_first:
            inner = reset * functional.linear(h, candidate, candidate_bias)
        else:
            inner = functional.linear(reset * h, candidate, candidate_bias)
        proposal = new(_clipped(z[:, 2 * size :] + inner, clip))
        return ((1 - update) * proposal + update * h,)

    return step


@op("RNN")
@in_float32
def RNN(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """All hidden states and the last of a simple recurrent layer (ONNX RNN-22)."""
    at = layer(x, r, sequence_lens, [initial_h], direction, layout)
    if clip is None and at.plain and _standard(activations, ("tanh",), len(at.directions)):
        parameters = native_parameters(at.x, w, r, b, (0,))
        y, h = torch.rnn_tanh(at.source, at.states[0], parameters, True, 1, 0.0, True, len(at.directions) == 2, False)
        return native_outputs(y, (h,), at, layout)
    chosen = activations_of(activations, activation_alpha, activation_beta, ("tanh",), len(at.directions))
    ys, lasts = [], []
    for d, (function,) in enumerate(chosen):
        bias = None if b is None else torch.stack(b[d].chunk(2)).sum(0)
        step = _rnn_step(r[d].t(), function, clip)
        projected = functional.linear(at.x, w[d], bias)
        y, last = walk(projected, at.lengths, (at.states[0][d],), step, reverse=at.directions[d])
        ys.append(y)
        lasts.append(last)
    return joined(ys, lasts, layout)


def _rnn_step(recurrent: Tensor, function: Activation, clip: float | None) -> Step:
    def step(z: Tensor, state: State) -> State:
        return (function(_clipped(torch.addmm(z, state[0], recurrent), clip)),)

    return step
