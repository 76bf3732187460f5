"""onnxruntime's attention (com.microsoft): Attention, MultiHeadAttention, GroupQueryAttention, RotaryEmbedding."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import in_float32
from faultsim.model.ops.attention import causal_mask, merge_heads, rotate, split_heads
from faultsim.model.ops.registry import op

MICROSOFT = "com.microsoft"


def _attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None, allowed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the mix of values (N, heads, S, size) and the scores before softmax."""
    raw = torch.matmul(query, key.transpose(-1, -2)) * scale
    scores = raw if bias is None else raw + bias
    if allowed is not None:
        scores = torch.where(allowed, scores, torch.finfo(scores.dtype).min)
    return torch.matmul(torch.softmax(scores, dim=-1), value), raw


def _padding(mask: Tensor, rows: int, keys: int, low: float, dtype: torch.dtype) -> Tensor:
    """The bias of a key mask: lengths (N), lengths and starts (2N), or zeros and ones (N, T) or (N, S, T)."""
    place = torch.arange(keys, device=mask.device)
    if mask.ndim == 1:
        inside = place < mask[:rows].reshape(-1, 1)
        if mask.shape[0] == 2 * rows:
            inside = inside & (place >= mask[rows:].reshape(-1, 1))
        inside = inside.reshape(rows, 1, 1, keys)
    else:
        inside = (mask != 0)[:, None, None] if mask.ndim == 2 else (mask != 0)[:, None]
    return torch.where(inside, 0.0, low).to(dtype)


def _sum(*parts: Tensor | None) -> Tensor | None:
    total: Tensor | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total


@op("Attention", domain=MICROSOFT)
@in_float32
def Attention(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    mask_index: Tensor | None = None,
    past: Tensor | None = None,
    attention_bias: Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = -10000.0,
    qkv_hidden_sizes: Sequence[int] | None = None,
    scale: float = 0.0,
    unidirectional: int = 0,
) -> tuple[Tensor, Tensor]:
    """Multi-head self attention with the projection of its input, and the keys and values seen (com.microsoft)."""
    projected = torch.matmul(x, weights)
    projected = projected if bias is None else projected + bias
    sizes = list(qkv_hidden_sizes) if qkv_hidden_sizes else [projected.shape[-1] // 3] * 3
    query, key, value = (split_heads(part, num_heads) for part in torch.split(projected, sizes, dim=-1))
    before = 0
    if past is not None:
        before = past.shape[3]
        key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
    keys = key.shape[2]
    padding = None
    if mask_index is not None:
        padding = _padding(mask_index, x.shape[0], keys, mask_filter_value, x.dtype)
    allowed = causal_mask(x.shape[1], keys, before, x.device) if unidirectional else None
    factor = scale or 1 / math.sqrt(query.shape[-1])
    y, _ = _attend(query, key, value, factor, _sum(padding, attention_bias), allowed)
    same = key.shape == value.shape
    return merge_heads(y), torch.stack([key, value]) if same else key


@op("MultiHeadAttention", domain=MICROSOFT)
@in_float32
def MultiHeadAttention(
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = -10000.0,
    scale: float = 0.0,
    unidirectional: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Multi-head attention of projected inputs, packed or apart; keys, values and scores too (com.microsoft)."""
    if query.ndim == 5:
        query, key, value = (part.flatten(2) for part in query.unbind(dim=3))
    elif key is not None and key.ndim == 5:
        key, value = (part.flatten(2) for part in key.unbind(dim=3))
    if key is None or value is None:
        raise ValueError("MultiHeadAttention has neither keys and values of its own nor packed ones")
    if bias is not None:
        hidden = query.shape[-1]
        of_query, of_key, of_value = bias[:hidden], bias[hidden : 2 * hidden], bias[2 * hidden :]
        query = query + of_query
        # keys and values that come with their heads apart are cross attention's: their bias is in them already
        key = key + of_key if key.ndim == 3 else key
        value = value + of_value if value.ndim == 3 else value
    heads = split_heads(query, num_heads)
    key = split_heads(key, num_heads) if key.ndim == 3 else key
    value = split_heads(value, num_heads) if value.ndim == 3 else value
    if past_key is not None and past_value is not None:
        key, value = torch.cat([past_key, key], dim=2), torch.cat([past_value, value], dim=2)
    keys = key.shape[2]
    padding = None
    if key_padding_mask is not None:
        padding = _padding(key_padding_mask, query.shape[0], keys, mask_filter_value, query.dtype)
    allowed = causal_mask(heads.shape[2], keys, keys - heads.shape[2], query.device) if unidirectional else None
    factor = scale or 1 / math.sqrt(heads.shape[-1])
    y, raw = _attend(heads, key, value, factor, _sum(padding, attention_bias), allowed)
    return merge_heads(y), key, value, raw


@op("RotaryEmbedding", domain=MICROSOFT)
@in_float32
def RotaryEmbedding(
    x: Tensor,
    position_ids: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
) -> Tensor:
    """Embeddings turned by their positions; one position is where the first row stands (com.microsoft)."""
    flat = x.ndim == 3
    if flat:
        size = x.shape[-1] // num_heads if num_heads else 2 * cos_cache.shape[-1]
        heads = x.reshape(x.shape[0], x.shape[1], -1, size)
    else:
        heads = x.transpose(1, 2)
    places = position_ids.long()
    if places.numel() == 1:
        places = places.reshape(1, 1) + torch.arange(heads.shape[1], device=x.device)
    y = rotate(heads, cos_cache[places], sin_cache[places], interleaved=bool(interleaved))
    return y.flatten(2) if flat else y.transpose(1, 2)


@op("GroupQueryAttention", domain=MICROSOFT)
@in_float32
def GroupQueryAttention(
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    seqlens_k: Tensor,
    total_sequence_length: Tensor,
    cos_cache: Tensor | None = None,
    sin_cache: Tensor | None = None,
    position_ids: Tensor | None = None,
    attention_bias: Tensor | None = None,
    head_sink: Tensor | None = None,
    *,
    num_heads: int,
    kv_num_heads: int,
    do_rotary: int = 0,
    local_window_size: int = -1,
    rotary_interleaved: int = 0,
    scale: float = 0.0,
    smooth_softmax: int = 0,
    softcap: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention of groups of query heads to one key head, and the keys and values seen (com.microsoft).

    ``seqlens_k`` is one less than the number of valid keys of every row, the new ones at the end.
    """
    rows, length = query.shape[:2]
    if key is None or value is None:
        size = query.shape[-1] // (num_heads + 2 * kv_num_heads)
        query, key, value = torch.split(query, [num_heads * size, kv_num_heads * size, kv_num_heads * size], dim=-1)
    heads = split_heads(query, num_heads)
    keys, values = split_heads(key, kv_num_heads), split_heads(value, kv_num_heads)
    valid = seqlens_k.reshape(-1).long() + 1
    start = (valid - length).clamp(min=0)
    if do_rotary and cos_cache is not None and sin_cache is not None:
        places = start.reshape(-1, 1) + torch.arange(length, device=query.device)
        places = position_ids.long() if position_ids is not None else places
        cos, sin = cos_cache[places], sin_cache[places]
        turn = bool(rotary_interleaved)
        heads = rotate(heads.transpose(1, 2), cos, sin, interleaved=turn).transpose(1, 2)
        keys = rotate(keys.transpose(1, 2), cos, sin, interleaved=turn).transpose(1, 2)
    total = int(total_sequence_length)
    room = max(total, 0 if past_key is None else past_key.shape[2])
    keys, values = _appended(past_key, keys, start, room), _appended(past_value, values, start, room)
    present = keys, values
    each = num_heads // kv_num_heads
    keys, values = keys.repeat_interleave(each, dim=1), values.repeat_interleave(each, dim=1)
    scores = torch.matmul(heads, keys.transpose(-1, -2)) * (scale or 1 / math.sqrt(heads.shape[-1]))
    scores = torch.tanh(scores / softcap) * softcap if softcap > 0 else scores
    if attention_bias is not None:
        short = room - attention_bias.shape[-1]
        scores = scores + functional.pad(attention_bias, [0, max(short, 0)])
    allowed = causal_mask(length, room, start.reshape(-1, 1, 1, 1), query.device)
    if local_window_size >= 0:
        allowed = allowed & ~causal_mask(length, room, start.reshape(-1, 1, 1, 1) - local_window_size, query.device)
    scores = torch.where(allowed, scores, float("-inf"))
    if smooth_softmax or head_sink is not None:
        sink = scores.new_zeros(num_heads) if head_sink is None else head_sink
        extra = sink.reshape(1, -1, 1, 1).expand(rows, -1, length, 1)
        weights = torch.softmax(torch.cat([scores, extra], dim=-1), dim=-1)[..., :-1]
    else:
        weights = torch.softmax(scores, dim=-1)
    return merge_heads(torch.matmul(weights, values)), *present


def _appended(past: Tensor | None, new: Tensor, start: Tensor, room: int) -> Tensor:
    """The cache (N, heads, room, size) with *new* written from *start* on, row by row."""
    rows, heads, length, size = new.shape
    held = 0 if past is None else past.shape[2]
    base = new.new_zeros((rows, heads, room - held, size))
    base = base if past is None else torch.cat([past, base], dim=2)
    places = start.reshape(-1, 1) + torch.arange(length, device=new.device)
    index = places.clamp(max=room - 1).reshape(rows, 1, length, 1).expand(rows, heads, length, size)
    return base.scatter(2, index, new)
