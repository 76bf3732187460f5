"""What onnxruntime's optimizer folds together (com.microsoft): products, Gelu, layer norms. Attention is beside it."""

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._fused import activate
from faultsim.model.ops._widen import in_float32
from faultsim.model.ops.norm import layer_norm
from faultsim.model.ops.registry import Context, op

MICROSOFT = "com.microsoft"


def _batch_last_but_one(x: Tensor) -> Tensor:
    # (b…, m, k) stored as (m, b…, k)
    return x.movedim(0, -2)


@op("FusedMatMul", domain=MICROSOFT)
def FusedMatMul(
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Tensor:
    """Return alpha · A' B' (com.microsoft FusedMatMul-1)."""
    a = _batch_last_but_one(a) if transBatchA else a
    b = _batch_last_but_one(b) if transBatchB else b
    a = a.transpose(-1, -2) if transA and a.ndim > 1 else a
    b = b.transpose(-1, -2) if transB and b.ndim > 1 else b
    product = torch.matmul(a, b)
    return product if alpha == 1.0 else product * alpha


@op("FusedGemm", domain=MICROSOFT)
def FusedGemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
) -> Tensor:
    """Return alpha · A' B' + beta · C, then an activation (com.microsoft FusedGemm-1)."""
    left, right = a.t() if transA else a, b.t() if transB else b
    y = torch.mm(left, right) * alpha if c is None else torch.addmm(c, left, right, beta=beta, alpha=alpha)
    given = [v for v in (activation_alpha, activation_beta) if v is not None]
    return activate(y, activation, given)


@op("Gelu", domain=MICROSOFT)
@in_float32
def Gelu(x: Tensor) -> Tensor:
    """Return x · Φ(x) (com.microsoft Gelu-1)."""
    return functional.gelu(x)


@op("BiasGelu", domain=MICROSOFT)
@in_float32
def BiasGelu(x: Tensor, bias: Tensor) -> Tensor:
    """Gelu of x + bias (com.microsoft BiasGelu-1)."""
    return functional.gelu(x + bias)


@op("FastGelu", domain=MICROSOFT)
@in_float32
def FastGelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Gelu of x + bias by the tanh approximation (com.microsoft FastGelu-1)."""
    return functional.gelu(x if bias is None else x + bias, approximate="tanh")


@op("QuickGelu", domain=MICROSOFT)
@in_float32
def QuickGelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    """Return x · sigmoid(alpha x) (com.microsoft QuickGelu-1)."""
    return x * torch.sigmoid(alpha * x)


def _rms_norm(x: Tensor, scale: Tensor, axis: int, epsilon: float) -> tuple[Tensor, Tensor]:
    axes = tuple(range(axis % x.ndim, x.ndim))
    inverse = torch.rsqrt((x * x).mean(dim=axes, keepdim=True) + epsilon)
    return x * inverse * scale, inverse


@op("SimplifiedLayerNormalization", domain=MICROSOFT)
@op("SimplifiedLayerNormalization")
@in_float32
def SimplifiedLayerNormalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[Tensor, Tensor]:
    """Root mean square 1 from *axis* on, then scale; and its inverse (onnxruntime, before RMSNormalization)."""
    return _rms_norm(x, scale, axis, epsilon)


@op("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
@in_float32
def SkipSimplifiedLayerNormalization(
    x: Tensor, skip: Tensor, gamma: Tensor, bias: Tensor | None = None, *, epsilon: float = 1e-12
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """RMS norm of x + skip + bias, and that sum as fourth output (com.microsoft)."""
    total = x + skip if bias is None else x + skip + bias
    y, inverse = _rms_norm(total, gamma, -1, epsilon)
    return y, torch.zeros_like(inverse), inverse, total


@op("SkipLayerNormalization", domain=MICROSOFT)
@in_float32
def SkipLayerNormalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Layer norm of x + skip + bias, its statistics, and that sum as fourth output (com.microsoft)."""
    total = x + skip if bias is None else x + skip + bias
    mean = total.mean(dim=-1, keepdim=True)
    inverse = torch.rsqrt((total - mean).square().mean(dim=-1, keepdim=True) + epsilon)
    return layer_norm(total, total.shape[-1:], gamma, beta, epsilon), mean, inverse, total


@op("EmbedLayerNormalization", domain=MICROSOFT)
def EmbedLayerNormalization(
    input_ids: Tensor,
    segment_ids: Tensor | None,
    word_embedding: Tensor,
    position_embedding: Tensor,
    segment_embedding: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    *,
    ctx: Context,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Layer norm of the sum of BERT's three embeddings, words a row, and that sum (com.microsoft)."""
    rows, length = input_ids.shape
    if position_ids is None:
        position_ids = torch.arange(length, device=input_ids.device).unsqueeze(0)
    words = functional.embedding(input_ids.long(), word_embedding)
    total = words + functional.embedding(position_ids.long(), position_embedding)
    if segment_ids is not None and segment_embedding is not None:
        total = total + functional.embedding(segment_ids.long(), segment_embedding)
    y = layer_norm(total, total.shape[-1:], gamma, beta, epsilon)
    if mask is None:
        counts = torch.zeros(rows, dtype=torch.int32, device=input_ids.device)
    else:
        counts = mask.sum(dim=1).to(torch.int32)
    return y, counts, total
