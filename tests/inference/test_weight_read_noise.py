"""Read noise referred to the outputs is the noise of weights that are drawn anew for every read."""

import math

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from running import Arrays, calibrated, effects, gemm, normals, proto

from faultsim.errors import OptionError
from faultsim.inference import WeightReadNoise
from faultsim.model import load_model

READS = 4000


def test_a_gemm_spreads_as_if_its_weights_were_drawn_for_every_sample() -> None:
    weight, bias, x = normals(5, 7), normals(5, seed=1), normals(1, 7, seed=2)
    std = np.abs(normals(5, 7, seed=3)) * 0.1
    many = {"x": np.repeat(x, READS, axis=0)}
    runner = calibrated(gemm(weight, bias), {"x": x})
    seen = runner.open(effects=effects(WeightReadNoise(std={"w": std})))(many)
    rng = np.random.default_rng(4)
    drawn = np.einsum("k,nmk->nm", x[0], weight + std * rng.standard_normal((READS, 5, 7))) + bias
    clean = x[0] @ weight.T + bias
    expected = np.sqrt(np.square(std) @ np.square(x[0]))
    for outputs in (seen, drawn):
        assert np.all(np.abs(outputs.mean(axis=0) - clean) < 5 * expected / math.sqrt(READS))
        assert np.all(np.abs(outputs.std(axis=0) / expected - 1) < 5 / math.sqrt(2 * READS))
        assert np.abs(np.corrcoef(outputs.T) - np.eye(5)).max() < 5 / math.sqrt(READS)


@pytest.mark.parametrize("rows", [None, 4])
def test_a_convolution_reads_its_weights_anew_for_every_window(rows: int | None) -> None:
    from faultsim.inference import OutputNoise

    weight, x = normals(3, 2, 2, 2), normals(1, 2, 4, 4, seed=2)
    std = np.abs(normals(3, 2, 2, 2, seed=3)) * 0.1
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 0, 0, 0])
    model = load_model(proto([node], {"w": weight}, ("N", 2, 4, 4), rank=4))
    runner = calibrated(model, {"x": x})
    laws = [WeightReadNoise(std={"w": std}), *([] if rows is None else [OutputNoise(sigma=1e-6, rows=rows)])]
    seen = runner.open(effects=effects(*laws))({"x": np.repeat(x, READS, axis=0)})
    clean = model.run({"x": x})["y"]
    padded = np.pad(x[0], ((0, 0), (1, 0), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 2), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
    expected = np.sqrt(np.einsum("hwckl,mckl->mhw", np.square(windows), np.square(std)))
    assert np.all(np.abs(seen.mean(axis=0) - clean[0]) < 5 * expected / math.sqrt(READS))
    assert np.all(np.abs(seen.std(axis=0) / expected - 1) < 5 / math.sqrt(2 * READS))
    flat = seen.reshape(READS, -1)
    assert np.abs(np.corrcoef(flat.T) - np.eye(flat.shape[1])).max() < 5.5 / math.sqrt(READS)


def quantized(weight: NDArray[np.int8], *, turned: bool) -> onnx.ModelProto:
    """Codes with a scale for each output channel, perhaps moved on the way to the product."""
    scale = np.linspace(0.01, 0.05, weight.shape[0], dtype=np.float32)
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"], "dequantize", axis=0)]
    if turned:
        nodes += [
            helper.make_node("Transpose", ["wd"], ["wt"], "turn", perm=[1, 0]),
            helper.make_node("MatMul", ["x", "wt"], ["y"], "fc"),
        ]
    else:
        nodes += [helper.make_node("Gemm", ["x", "wd"], ["y"], "fc", transB=1)]
    weights: Arrays = {"w": weight, "s": scale, "z": np.zeros(weight.shape[0], np.int8)}
    return proto(nodes, weights, ("N", weight.shape[1]))


@pytest.mark.parametrize("turned", [False, True])
def test_noise_of_codes_passes_the_way_that_the_codes_go(turned: bool) -> None:
    weight = np.random.default_rng(0).integers(-100, 100, (4, 6)).astype(np.int8)
    std = np.random.default_rng(1).uniform(0, 3, (4, 6)).astype(np.float32)
    x = normals(1, 6)
    model = load_model(quantized(weight, turned=turned))
    runner = calibrated(model, {"x": x})
    seen = runner.open(effects=effects(WeightReadNoise(std={"w": std})))({"x": np.repeat(x, READS, axis=0)})
    expected = np.linspace(0.01, 0.05, 4) * np.sqrt(np.square(std) @ np.square(x[0]))
    assert np.all(np.abs(seen.std(axis=0) / expected - 1) < 5 / math.sqrt(2 * READS))


def test_a_pair_of_weights_in_one_tensor_is_followed_through_concat_and_split() -> None:
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["ab"], "join", axis=1),
        helper.make_node("Split", ["ab"], ["c", "d"], "part", axis=1, num_outputs=2),
        helper.make_node("MatMul", ["x", "d"], ["y"], "second"),
    ]
    weights = {"a": normals(6, 3), "b": normals(6, 3, seed=1)}
    model = load_model(proto(nodes, weights))
    x = normals(1, 6, seed=2)
    runner = calibrated(model, {"x": x})
    std = {"a": np.full((6, 3), 0.5, np.float32)}
    many = {"x": np.repeat(x, READS, axis=0)}
    still = runner.open(effects=effects(WeightReadNoise(std=std)))(many)
    np.testing.assert_allclose(still, np.repeat(x @ weights["b"], READS, axis=0), atol=1e-5)


def test_other_weights_stay_quiet() -> None:
    weight, x = normals(5, 7), normals(3, 7, seed=2)
    runner = calibrated(gemm(weight), {"x": x})
    seen = runner.open(effects=effects(WeightReadNoise(std={"another": np.ones((2, 2))})))({"x": x})
    np.testing.assert_allclose(seen, x @ weight.T, atol=1e-5)


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_a_spread_below_zero_is_refused(value: float) -> None:
    with pytest.raises(OptionError, match="the read noise of 'w' must be finite and at least 0"):
        WeightReadNoise(std={"w": np.array([0.1, value])})
