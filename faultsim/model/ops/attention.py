"""Attention and RotaryEmbedding of ai.onnx. onnxruntime's fused relatives live in `fused_attention.py`."""

import math

import torch
from torch import Tensor

from faultsim.model.ops._widen import HALVES, in_float32
from faultsim.model.ops.registry import op
from faultsim.model.values import TORCH_DTYPES


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Return (N, heads, S, size) of (N, S, heads · size)."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Return (N, S, heads · size) of (N, heads, S, size)."""
    return x.transpose(1, 2).flatten(2)


def causal_mask(queries: int, keys: int, first: Tensor | int, device: torch.device) -> Tensor:
    """Return where a query may look, (…, queries, keys): query i stands at position *first* + i."""
    position = torch.arange(queries, device=device).reshape(-1, 1) + first
    return torch.arange(keys, device=device) <= position


@op("Attention", since=23)
def Attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scaled dot product attention, the keys and values seen, and the scores at a chosen stage (ONNX Attention-24).

    The causal mask starts in the upper left corner, behind the past. The soft cap comes before the mask, as in
    onnxruntime and as onnx#7867 mends the text of ONNX 1.21, where capping the mask would lift it. A query that may
    look nowhere gives zeros, as in onnxruntime.
    """
    flat = query.ndim == 3
    if flat and q_num_heads and kv_num_heads:
        query = split_heads(query, q_num_heads)
        key, value = split_heads(key, kv_num_heads), split_heads(value, kv_num_heads)
    dtype = query.dtype
    past = 0 if past_key is None else past_key.shape[2]
    if past_key is not None and past_value is not None:
        key, value = torch.cat([past_key, key], dim=2), torch.cat([past_value, value], dim=2)
    present = key, value
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    if dtype in HALVES and query.device.type == "cpu":
        query, key, value = query.float(), key.float(), value.float()
    # the square root on both sides keeps 16-bit products in range
    factor = math.sqrt(1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    raw = torch.matmul(query * factor, (key * factor).transpose(-1, -2))
    capped = torch.tanh(raw / softcap) * softcap if softcap > 0 else raw
    scores = _masked(capped, attn_mask, past if is_causal else None, nonpad_kv_seqlen)
    wide = scores if softmax_precision is None else scores.to(TORCH_DTYPES[softmax_precision])
    weights = _softmax(wide, masked=attn_mask is not None or nonpad_kv_seqlen is not None)
    y = torch.matmul(weights.to(value.dtype), value).to(dtype)
    stage = (raw, scores, scores, weights)[qk_matmul_output_mode].to(dtype)
    return merge_heads(y) if flat else y, *present, stage


def _softmax(scores: Tensor, *, masked: bool) -> Tensor:
    if not masked:
        return torch.softmax(scores, dim=-1)
    blind = (scores == float("-inf")).all(dim=-1, keepdim=True)
    return torch.where(blind, 0.0, torch.softmax(torch.where(blind, 0.0, scores), dim=-1))


def _masked(scores: Tensor, mask: Tensor | None, causal_from: int | None, lengths: Tensor | None) -> Tensor:
    queries, keys = scores.shape[-2:]
    lowest = float("-inf")
    if mask is not None:
        missing = keys - mask.shape[-1]
        if missing > 0:
            outside = torch.full((*mask.shape[:-1], missing), lowest, device=mask.device)
            outside = outside if mask.dtype != torch.bool else torch.zeros_like(outside)
            mask = torch.cat([mask, outside.to(mask.dtype)], dim=-1)
        scores = torch.where(mask, scores, lowest) if mask.dtype == torch.bool else scores + mask
    if causal_from is not None:
        scores = torch.where(causal_mask(queries, keys, causal_from, scores.device), scores, lowest)
    if lengths is not None:
        inside = torch.arange(keys, device=scores.device) < lengths.reshape(-1, 1, 1, 1)
        scores = torch.where(inside, scores, lowest)
    return scores


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool) -> Tensor:
    """Turn pairs of elements of the last axis of *x* by the angles of *cos* and *sin*; what they don't cover stays.

    Args:
        x: (N, S, heads, size).
        cos: (N or 1, S, pairs).
        sin: The same shape.
        interleaved: Whether a pair are neighbours, rather than an element of either half.
    """
    turned = 2 * cos.shape[-1]
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    part = x[..., :turned]
    a, b = (part[..., 0::2], part[..., 1::2]) if interleaved else part.chunk(2, dim=-1)
    pair = (cos * a - sin * b, sin * a + cos * b)
    y = torch.stack(pair, dim=-1).flatten(-2) if interleaved else torch.cat(pair, dim=-1)
    return y if turned == x.shape[-1] else torch.cat([y, x[..., turned:]], dim=-1)


@op("RotaryEmbedding", since=23)
@in_float32
def RotaryEmbedding(
    x: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    position_ids: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Embeddings turned by angles that grow with their position (ONNX RotaryEmbedding-23)."""
    flat = x.ndim == 3
    heads = x.reshape(x.shape[0], x.shape[1], num_heads, -1) if flat else x.transpose(1, 2)
    if position_ids is not None:
        cos_cache, sin_cache = cos_cache[position_ids.long()], sin_cache[position_ids.long()]
    y = rotate(heads, cos_cache, sin_cache, interleaved=bool(interleaved))
    return y.flatten(2) if flat else y.transpose(1, 2)
