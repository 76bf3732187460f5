"""On random graphs, floats and quantized, the sweep counts what whole passes count: sample by sample."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto
from sweep_equality import assert_equal, faults, on_noise
from sweep_graphs import IMAGE_LAYERS, TOKEN_LAYERS, images, tokens

from faultsim.model import Model, load_model

SEEDS = st.integers(0, 2**31)
TRIALS = 16


def loaded(proto: ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Model:
    path: Path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(proto, path)
    return load_model(path)


@settings(max_examples=12)
@given(
    layers=st.lists(st.sampled_from(IMAGE_LAYERS), min_size=1, max_size=7),
    seed=SEEDS,
    coded=st.sampled_from(["float", "int8", "uint8"]),
    flat=st.sampled_from(["gemm", "gemm_wide", "matmul"]),
)
def test_images(tmp_path_factory: pytest.TempPathFactory, layers: list[str], seed: int, coded: str, flat: str) -> None:
    net = images(layers, seed, quantized=coded != "float", unsigned=coded == "uint8", flat=flat)
    model = loaded(net, tmp_path_factory)
    scorer = on_noise(model, 37, seed, batch_size=20)
    assert_equal(scorer, faults(model, np.random.default_rng(seed), TRIALS))


@settings(max_examples=8)
@given(layers=st.lists(st.sampled_from(TOKEN_LAYERS), min_size=1, max_size=5), seed=SEEDS, quantized=st.booleans())
def test_tokens(tmp_path_factory: pytest.TempPathFactory, layers: list[str], seed: int, quantized: bool) -> None:
    model = loaded(tokens(layers, seed, quantized=quantized), tmp_path_factory)
    scorer = on_noise(model, 37, seed, batch_size=20, ids=11)
    assert_equal(scorer, faults(model, np.random.default_rng(seed), TRIALS))


@settings(max_examples=4)
@given(layers=st.lists(st.sampled_from(IMAGE_LAYERS), min_size=1, max_size=5), seed=SEEDS)
def test_on_torch(tmp_path_factory: pytest.TempPathFactory, layers: list[str], seed: int) -> None:
    model = loaded(images(layers, seed), tmp_path_factory)
    scorer = on_noise(model, 37, seed, batch_size=20, prefer="torch")
    assert_equal(scorer, faults(model, np.random.default_rng(seed), TRIALS // 2))
