"""Layers that onnxruntime's quantizer writes whole: attention, BERT's embedding, the dynamic LSTM."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._codes import dequantize
from faultsim.model.ops._recurrent import Activation, State, Step, activations_of, joined, layer, walk
from faultsim.model.ops.qmatmul import DynamicQuantizeMatMul, MatMulIntegerToFloat
from faultsim.model.ops.registry import op
from faultsim.model.values import Codes, carried

MICROSOFT = "com.microsoft"
Number = Tensor | Codes


@op("QAttention", domain=MICROSOFT, codes="aware")
def QAttention(
    x: Number,
    weight: Number,
    bias: Tensor,
    x_scale: Number,
    weight_scale: Number,
    mask_index: Number | None = None,
    x_zero_point: Number | None = None,
    weight_zero_point: Number | None = None,
    past: Tensor | None = None,
    *,
    num_heads: int,
    unidirectional: int = 0,
    scale: float | None = None,
    mask_filter_value: float = -10000.0,
) -> tuple[Tensor, ...]:
    """Multi-head self attention over quantized inputs, and the keys and values (com.microsoft QAttention)."""
    projected = MatMulIntegerToFloat(x, weight, x_scale, weight_scale, x_zero_point, weight_zero_point, bias)
    batch, steps, width = projected.shape
    size = width // 3 // num_heads
    query, key, value = projected.reshape(batch, steps, 3, num_heads, size).permute(2, 0, 3, 1, 4)
    if past is not None:
        key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
    scores = query @ key.mT * (scale or 1 / math.sqrt(size))
    total = key.shape[2]
    if unidirectional:
        seen = torch.ones(steps, total, dtype=torch.bool, device=scores.device).tril(total - steps)
        scores = torch.where(seen, scores, scores + mask_filter_value)
    if mask_index is not None:
        scores = torch.where(_kept(carried(mask_index), batch, total), scores, scores + mask_filter_value)
    mixed = torch.softmax(scores, -1) @ value
    return mixed.transpose(1, 2).reshape(batch, steps, -1), torch.stack([key, value])


def _kept(mask: Tensor, batch: int, total: int) -> Tensor:
    """Which keys count: from lengths (B), from ends and starts (2B), or from a mask of ones (B, S)."""
    if mask.ndim > 1:
        return (mask > 0).reshape(batch, 1, -1, total)
    place = torch.arange(total, device=mask.device)
    kept = place < mask[:batch, None]
    if mask.shape[0] == 2 * batch:
        kept = kept & (place >= mask[batch:, None])
    return kept[:, None, None, :]


@op("QEmbedLayerNormalization", domain=MICROSOFT, codes="aware")
def QEmbedLayerNormalization(
    input_ids: Number,
    segment_ids: Number | None,
    word: Number,
    position: Number,
    segment: Number | None,
    gamma: Number,
    beta: Number,
    mask: Number | None,
    word_scale: Number,
    position_scale: Number,
    segment_scale: Number | None,
    gamma_scale: Number,
    beta_scale: Number,
    word_zero_point: Number,
    position_zero_point: Number,
    segment_zero_point: Number | None,
    gamma_zero_point: Number,
    beta_zero_point: Number,
    *,
    epsilon: float = 1e-12,
) -> tuple[Tensor, Tensor]:
    """BERT's embedding from quantized tables, and how many words each row has (com.microsoft)."""
    ids = carried(input_ids).long()
    total = functional.embedding(ids, _real(word, word_scale, word_zero_point))
    total = total + _real(position, position_scale, position_zero_point)[: ids.shape[1]]
    if segment_ids is not None and segment is not None and segment_scale is not None:
        total = total + functional.embedding(
            carried(segment_ids).long(), _real(segment, segment_scale, segment_zero_point)
        )
    shift, gain = _real(beta, beta_scale, beta_zero_point), _real(gamma, gamma_scale, gamma_zero_point)
    normal = functional.layer_norm(total, total.shape[-1:], gain, shift, epsilon)
    words = torch.zeros(ids.shape[0], device=ids.device) if mask is None else carried(mask).sum(1)
    return normal, words.to(torch.int32)


@op("DynamicQuantizeLSTM", domain=MICROSOFT, codes="aware")
def DynamicQuantizeLSTM(
    x: Tensor,
    w: Number,
    r: Number,
    b: Tensor | None,
    sequence_lens: Number | None,
    initial_h: Tensor | None,
    initial_c: Tensor | None,
    p: Tensor | None,
    w_scale: Number,
    w_zero_point: Number,
    r_scale: Number,
    r_zero_point: Number,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
) -> tuple[Tensor, ...]:
    """An LSTM with integer weights that quantizes its input once and its state every step (com.microsoft)."""
    lengths = None if sequence_lens is None else carried(sequence_lens).long()
    at = layer(x, carried(r).mT, lengths, [initial_h, initial_c], direction, 0)
    default = ("sigmoid", "tanh", "tanh")
    chosen = activations_of(activations, activation_alpha, activation_beta, default, len(at.directions))
    ys, lasts = [], []
    for d, functions in enumerate(chosen):
        bias = None if b is None else torch.stack(b[d].chunk(2)).sum(0)
        from_input = (_part(w, d), _part(w_scale, d), _part(w_zero_point, d))
        from_state = (_part(r, d), _part(r_scale, d), _part(r_zero_point, d))
        step = _lstm_step(from_state, None if p is None else p[d], functions, clip, bool(input_forget))
        projected = DynamicQuantizeMatMul(at.x, *from_input, bias)
        y, last = walk(projected, at.lengths, tuple(s[d] for s in at.states), step, reverse=at.directions[d])
        ys.append(y)
        lasts.append(last)
    return joined(ys, lasts, 0)


def _lstm_step(
    weight: tuple[Number, Number, Number],
    peep: Tensor | None,
    functions: Sequence[Activation],
    clip: float | None,
    input_forget: bool,
) -> Step:
    gate, cell, hidden = functions
    to_input, to_output, to_forget = (0, 0, 0) if peep is None else peep.chunk(3)

    def step(z: Tensor, state: State) -> State:
        h, c = state
        gates = z + DynamicQuantizeMatMul(h, *weight)
        i, o, forget, new = gates.chunk(4, dim=1)
        i = gate(_clipped(i + to_input * c, clip))
        forget = 1 - i if input_forget else gate(_clipped(forget + to_forget * c, clip))
        c = forget * c + i * cell(_clipped(new, clip))
        return gate(_clipped(o + to_output * c, clip)) * hidden(c), c

    return step


def _clipped(x: Tensor, clip: float | None) -> Tensor:
    return x if not clip else torch.clamp(x, -clip, clip)


def _part(x: Number, index: int) -> Number:
    return Codes(x.values[index], x.elem_type) if isinstance(x, Codes) else x[index]


def _real(x: Number, scale: Number, zero_point: Number | None) -> Tensor:
    zero = None if zero_point is None else carried(zero_point).reshape(())
    return dequantize(x, carried(scale).reshape(()), zero)
