"""Quantized layers of onnxruntime against onnxruntime."""

import numpy as np
import pytest
from one_node import both, exact_runtime

RNG = np.random.default_rng(23)
MS = "com.microsoft"
F = np.float32


def codes(*shape, dtype=np.uint8):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


@exact_runtime
@pytest.mark.parametrize("mask", [None, np.array([3, 5], np.int32), np.array([[1, 1, 0, 1, 1]] * 2, np.int32)])
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_quantized_attention(mask, unidirectional):
    inputs = {
        "x": codes(2, 5, 8),
        "w": codes(8, 24, dtype=np.int8),
        "b": RNG.normal(size=24).astype(F),
        "xs": F(0.02),
        "ws": F(0.01),
        "m": mask,
        "xz": np.uint8(128),
        "wz": np.int8(0),
    }
    ((ours, theirs),) = both("QAttention", inputs, domain=MS, num_heads=2, unidirectional=unidirectional)
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_segments", [True, False])
def test_quantized_embedding(with_segments):
    inputs = {
        "ids": RNG.integers(0, 9, (2, 4)).astype(np.int32),
        "sids": RNG.integers(0, 2, (2, 4)).astype(np.int32) if with_segments else None,
        "word": codes(9, 8),
        "pos": codes(6, 8),
        "seg": codes(2, 8) if with_segments else None,
        "gamma": codes(8),
        "beta": codes(8),
        "mask": np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.int32),
        "words": F(0.02),
        "poss": F(0.03),
        "segs": F(0.01) if with_segments else None,
        "gammas": F(0.01),
        "betas": F(0.01),
        "wordz": np.uint8(128),
        "posz": np.uint8(120),
        "segz": np.uint8(110) if with_segments else None,
        "gammaz": np.uint8(100),
        "betaz": np.uint8(3),
    }
    for ours, theirs in both("QEmbedLayerNormalization", inputs, domain=MS, outputs=("y", "n"), epsilon=1e-6):
        assert ours.dtype == theirs.dtype
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@exact_runtime
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamic_lstm(direction, per_channel):
    count, hidden = (2 if direction == "bidirectional" else 1), 5
    scale = (count, 4 * hidden) if per_channel else (count,)
    inputs = {
        "x": RNG.normal(size=(4, 3, 6)).astype(F),
        "w": codes(count, 6, 4 * hidden, dtype=np.int8),
        "r": codes(count, hidden, 4 * hidden, dtype=np.int8),
        "b": RNG.normal(size=(count, 8 * hidden)).astype(F),
        "len": None,
        "h": None,
        "c": None,
        "p": None,
        "ws": RNG.uniform(0.005, 0.01, scale).astype(F),
        "wz": np.zeros(scale, np.int8),
        "rs": RNG.uniform(0.005, 0.01, scale).astype(F),
        "rz": np.zeros(scale, np.int8),
    }
    options = {"hidden_size": hidden, "direction": direction, "outputs": ("y", "yh", "yc")}
    constants = ("w", "r", "b", "ws", "wz", "rs", "rz")
    for ours, theirs in both("DynamicQuantizeLSTM", inputs, domain=MS, constants=constants, **options):
        assert np.allclose(ours, theirs, atol=0.02)
        assert np.median(np.abs(ours - theirs)) < 1e-4
