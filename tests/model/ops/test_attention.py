"""Attention of ONNX and of onnxruntime's optimizer against onnxruntime; gradients."""

import numpy as np
import pytest
import torch
from one_node import both

from faultsim.model.ops.attention import Attention
from faultsim.model.ops.fused_attention import MultiHeadAttention

RNG = np.random.default_rng(7)
MICROSOFT = {"domain": "com.microsoft"}
B, S, D = 2, 3, 4


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(op, given, tolerance=1e-4, **attributes):
    for ours, theirs in both(op, given, **attributes):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def mask(kind, *shape):
    if kind == "bool":
        allowed = RNG.random(shape) > 0.3
        allowed[..., 0] = True
        return allowed
    return floats(*shape) if kind == "float" else None


@pytest.mark.parametrize("heads", [(2, 2), (4, 2), (4, 1)])
@pytest.mark.parametrize("kind", [None, "bool", "float"])
@pytest.mark.parametrize("extra", [{}, {"is_causal": 1}, {"softcap": 2.0, "scale": 0.3}])
@pytest.mark.parametrize("past", [0, 2])
def test_attention(heads, kind, extra, past):
    h, kv = heads
    given = {"q": floats(B, h, S, D), "k": floats(B, kv, S, D), "v": floats(B, kv, S, 6)}
    given["mask"] = mask(kind, B, 1, S, S + past)
    if past:
        given |= {"pk": floats(B, kv, past, D), "pv": floats(B, kv, past, 6)}
    elif kind is None:
        del given["mask"]
    outputs = ("y", "present_key", "present_value") if past else ("y",)
    model_opset = {"opset": 23, "outputs": outputs}
    close("Attention", given, **model_opset, **extra)


def test_a_query_that_may_look_nowhere_gives_zeros():
    blind = np.array([[False] * S, [True] * S, [True] * S])
    given = {"q": floats(1, 1, S, D), "k": floats(1, 1, S, D), "v": floats(1, 1, S, D), "mask": blind}
    close("Attention", given, opset=23)
    q, k, v = (torch.rand(1, 1, S, D, dtype=torch.float64, requires_grad=True) for _ in range(3))
    gradients = torch.autograd.grad(Attention(q, k, v, torch.from_numpy(blind))[0].sum(), (q, k, v))
    assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("kind", [None, "lengths", "keys", "pairs"])
@pytest.mark.parametrize("extra", [{}, {"unidirectional": 1}, {"scale": 0.3, "mask_filter_value": -3.0}])
def test_fused_self_attention(kind, extra):
    masks = {
        None: None,
        "lengths": np.array([1, S], np.int32),
        "keys": (RNG.random((B, S)) > 0.3).astype(np.int32),
        "pairs": (RNG.random((B, S, S)) > 0.3).astype(np.int32),
    }
    given = {"x": floats(B, S, 8), "w": floats(8, 24), "b": floats(24)}
    given |= {} if kind is None else {"mask": masks[kind]}
    # adding -10000 and taking it off again costs float32 four digits
    close("Attention", given, 2e-3, **MICROSOFT, num_heads=2, **extra)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_fused_multi_head_attention(apart, biased):
    shape = (B, 2, 5, D) if apart else (B, 5, 8)
    given = {"q": floats(B, S, 8), "k": floats(*shape), "v": floats(*shape)} | ({"b": floats(24)} if biased else {})
    close("MultiHeadAttention", given, **MICROSOFT, num_heads=2)


def test_packed_inputs_are_the_same_attention():
    q, k, v = (torch.rand(B, S, 2, D) for _ in range(3))
    expected = MultiHeadAttention(q.flatten(2), k.flatten(2), v.flatten(2), num_heads=2)[0]
    packed = MultiHeadAttention(torch.stack([q, k, v], dim=3), num_heads=2)[0]
    keys_packed = MultiHeadAttention(q.flatten(2), torch.stack([k, v], dim=3), num_heads=2)[0]
    torch.testing.assert_close(packed, expected)
    torch.testing.assert_close(keys_packed, expected)


def test_attention_without_keys_is_refused():
    with pytest.raises(ValueError, match="neither keys and values"):
        MultiHeadAttention(torch.rand(B, S, 8), num_heads=2)


@pytest.mark.parametrize("extra", [{}, {"softcap": 3.0}, {"local_window_size": 2}, {"smooth_softmax": 1}])
@pytest.mark.parametrize("rotary", [None, 0, 1])
@pytest.mark.parametrize("past", [0, 4])
def test_grouped_queries(extra, rotary, past):
    new = 1 if past else S
    total = past + new
    given = {
        "q": floats(B, new, 64),
        "k": floats(B, new, 32),
        "v": floats(B, new, 32),
        "pk": floats(B, 2, past, 16),
        "pv": floats(B, 2, past, 16),
        "lengths": np.array([total - 1, total - 1], np.int32),
        "total": np.array(total, np.int32),
    }
    if rotary is not None:
        given |= {"cos": floats(16, 8), "sin": floats(16, 8)}
        extra = extra | {"do_rotary": 1, "rotary_interleaved": rotary}
    outputs = ("y", "present_key", "present_value")
    close("GroupQueryAttention", given, **MICROSOFT, outputs=outputs, num_heads=4, kv_num_heads=2, **extra)


@pytest.mark.parametrize(
    ("op", "given", "attributes"),
    [
        ("Gelu", {"x": floats(2, 3)}, {}),
        ("BiasGelu", {"x": floats(2, 3), "b": floats(3)}, {}),
        ("FastGelu", {"x": floats(2, 3), "b": floats(3)}, {}),
        ("QuickGelu", {"x": floats(2, 3)}, {"alpha": 1.2}),
        ("FusedMatMul", {"a": floats(2, 4, 3), "b": floats(2, 4, 5)}, {"transA": 1, "alpha": 0.5}),
        ("FusedMatMul", {"a": floats(4, 2, 3), "b": floats(2, 3, 5)}, {"transBatchA": 1}),
        ("FusedGemm", {"a": floats(2, 3), "b": floats(5, 3), "c": floats(5)}, {"transB": 1, "activation": "Relu"}),
        (
            "RotaryEmbedding",
            {"x": floats(2, 3, 8), "at": np.array([2]), "cos": floats(9, 4), "sin": floats(9, 4)},
            {"interleaved": 1},
        ),
        (
            "RotaryEmbedding",
            {"x": floats(2, 3, 8), "at": np.array([[0, 1, 2], [5, 6, 7]]), "cos": floats(9, 2), "sin": floats(9, 2)},
            {"num_heads": 2},
        ),
    ],
)
def test_what_the_optimizer_folds(op, given, attributes):
    close(op, given, **MICROSOFT, **attributes)


@pytest.mark.parametrize("segments", [False, True])
def test_embeddings(segments):
    given = {
        "ids": np.array([[1, 2, 3], [4, 3, 0]], np.int32),
        "segments": np.array([[0, 1, 0], [1, 1, 1]], np.int32) if segments else None,
        "words": floats(6, 4),
        "positions": floats(5, 4),
        "kinds": floats(2, 4) if segments else None,
        "gamma": floats(4),
        "beta": floats(4),
    }
    close("EmbedLayerNormalization", given, **MICROSOFT, outputs=("y", "counts"))


def test_attention_is_differentiable():
    given = [torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *a: Attention(*a, is_causal=1, softcap=2.0)[0], given)
