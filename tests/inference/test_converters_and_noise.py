"""Converters and noise in closed form: how large a step is, how the noise spreads, and in which units."""

import math
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper
from running import Arrays, calibrated, chi_square_p, effects, gemm, normals, proto

from faultsim.errors import OptionError
from faultsim.inference import Converter, InputNoise, OutputNoise, steps_of
from faultsim.model import load_model

WEIGHT = normals(10, 24, seed=1)
BIAS = normals(10, seed=2) * 3
X = np.random.default_rng(3).uniform(-1.5, 1.5, (40, 24)).astype(np.float32)
CLEAN = X @ WEIGHT.T


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_an_adc_is_off_by_half_a_step_at_most_and_by_a_uniform_error_in_all(bits: int) -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    adc = Converter(target="outputs", steps=steps_of(bits), relative_to="full_scale")
    error = runner.open(effects=effects(adc))({"x": X}) - CLEAN
    step = 2 * np.abs(CLEAN).max() / steps_of(bits)
    assert np.abs(error).max() <= step / 2 * 1.001
    assert np.linalg.norm(error) == pytest.approx(step * math.sqrt(error.size / 12), rel=0.06)


def test_a_dac_rounds_the_inputs() -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    step = 2 * np.abs(X).max() / 14
    rounded = np.rint(X / np.float32(step)) * np.float32(step)
    seen = runner.open(effects=effects(Converter(target="inputs", steps=14)))({"x": X})
    np.testing.assert_allclose(seen, rounded @ WEIGHT.T, atol=1e-4)


def test_what_lies_beyond_the_bound_saturates() -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    adc = Converter(target="outputs", steps=254, bound=0.25, relative_to="full_scale")
    top = 0.25 * np.abs(CLEAN).max()
    seen = runner.open(effects=effects(adc))({"x": X})
    beyond = np.abs(CLEAN) > top
    np.testing.assert_allclose(seen[beyond], np.sign(CLEAN[beyond]) * top, rtol=1e-6)
    assert beyond.any()
    assert np.abs(seen[~beyond] - CLEAN[~beyond]).max() <= top / 254 * 1.01


def test_a_quantile_leaves_the_largest_values_out() -> None:
    feeds = {"x": np.concatenate([X, np.full((1, 24), 100, np.float32)])}
    runner = calibrated(gemm(WEIGHT), feeds)
    assert runner.calibration is not None
    inputs = runner.calibration.layers["fc"].inputs
    assert inputs.quantile(1.0) == 100
    share = np.quantile(np.abs(feeds["x"]), 0.9)
    assert inputs.quantile(0.9) == pytest.approx(share, rel=0.01)
    coarse = runner.open(effects=effects(Converter(target="inputs", steps=254)))({"x": X})
    fine = runner.open(effects=effects(Converter(target="inputs", steps=254, quantile=0.9, bound=1.2)))({"x": X})
    assert np.linalg.norm(fine - CLEAN) < np.linalg.norm(coarse - CLEAN) / 10


def test_the_bias_is_added_behind_the_adc() -> None:
    adc = Converter(target="outputs", steps=6, relative_to="full_scale")
    bare = calibrated(gemm(WEIGHT), {"x": X}).open(effects=effects(adc))({"x": X})
    biased = calibrated(gemm(WEIGHT, BIAS), {"x": X}).open(effects=effects(adc))({"x": X})
    np.testing.assert_allclose(biased, bare + BIAS, atol=1e-5)


def test_the_unit_of_an_output_is_the_input_range_times_its_channels_largest_weight() -> None:
    weight = WEIGHT * np.geomspace(0.01, 10, 10, dtype=np.float32)[:, None]
    weight[4] = 0  # nothing is mapped: its digital scale is 0
    runner = calibrated(gemm(weight), {"x": X})
    many = {"x": np.tile(X, (50, 1))}
    noise = runner.open(effects=effects(OutputNoise(sigma=0.04)))(many) - many["x"] @ weight.T
    expected = 0.04 * np.abs(X).max() * np.abs(weight).max(axis=1)
    assert np.allclose(noise[:, 4], 0)
    kept = expected > 0
    scaled = noise[:, kept].astype(np.float64) / expected[kept]
    assert np.all(np.abs(scaled.std(axis=0) - 1) < 5 / math.sqrt(2 * len(scaled)))
    whole = runner.open(effects=effects(OutputNoise(sigma=0.04, weight_range="per_tensor")))(many)
    spread = (whole - many["x"] @ weight.T).std()
    assert spread == pytest.approx(0.04 * np.abs(X).max() * np.abs(weight).max(), rel=0.03)


def test_output_noise_is_normal_and_independent() -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    many = {"x": np.tile(X, (100, 1))}
    law = OutputNoise(sigma=0.1, relative_to="full_scale")
    noise = runner.open(effects=effects(law))(many) - many["x"] @ WEIGHT.T
    scaled = noise / (0.1 * np.abs(CLEAN).max())
    assert chi_square_p(scaled) > 1e-3
    assert abs(scaled.mean()) < 5 / math.sqrt(scaled.size)
    correlation = np.corrcoef(scaled.T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / math.sqrt(len(scaled))
    assert abs(np.corrcoef(scaled[:-1].ravel(), scaled[1:].ravel())[0, 1]) < 5 / math.sqrt(scaled.size)


def test_input_noise_moves_all_outputs_of_a_sample_together() -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    many = {"x": np.tile(X, (200, 1))}
    law = InputNoise(sigma=0.05, input_range=2.0)
    noise = runner.open(effects=effects(law))(many) - many["x"] @ WEIGHT.T
    expected = 0.1**2 * WEIGHT @ WEIGHT.T
    # The standard error of a covariance of n normal pairs is sqrt((s_ii s_jj + s_ij²)/n).
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / len(noise))
    assert np.all(np.abs(np.cov(noise.T) - expected) < 5 * error)


def test_a_range_per_vector_follows_each_input() -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    sizes = np.geomspace(1e-3, 1e3, len(X), dtype=np.float32)[:, None]
    law = Converter(target="inputs", steps=254, input_range="per_vector")
    seen = runner.open(effects=effects(law))({"x": X * sizes})
    step = 2 * np.abs(X).max(axis=1, keepdims=True) / 254
    np.testing.assert_allclose(seen / sizes, np.rint(X / step) * step @ WEIGHT.T, atol=1e-4)
    blank = runner.open(effects=effects(law))({"x": np.zeros_like(X)})
    assert not blank.any()


def test_a_layer_spread_over_arrays_has_a_converter_and_a_noise_for_each() -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    laws = {"target": "outputs", "steps": 30, "bound": 4.0, "rows": 10}
    seen = runner.open(effects=effects(Converter(**laws)))({"x": X})  # type: ignore[arg-type]
    expected = np.zeros_like(seen)
    for first in (0, 10, 20):
        part = WEIGHT[:, first : first + 10]
        top = 4 * np.abs(X).max() * np.abs(part).max(axis=1)
        step = 2 * top / 30
        expected += np.clip(np.rint(X[:, first : first + 10] @ part.T / step) * step, -top, top)
    assert np.mean(np.isclose(seen, expected, atol=1e-4)) > 0.99  # a value on a rounding edge may fall either way
    many = {"x": np.tile(X, (200, 1))}
    noise = runner.open(effects=effects(OutputNoise(sigma=0.1, rows=10)))(many) - many["x"] @ WEIGHT.T
    variance = sum(
        (0.1 * np.abs(X).max() * np.abs(WEIGHT[:, first : first + 10]).max(axis=1)) ** 2 for first in (0, 10, 20)
    )
    assert np.all(np.abs(noise.var(axis=0) / variance - 1) < 5 * math.sqrt(2 / len(noise)))


def test_a_digital_gain_amplifies_the_noise_and_the_steps_before_it() -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    law = OutputNoise(sigma=0.1)
    plain = runner.open(effects=effects(law))({"x": X}) - CLEAN
    twice = runner.open(effects=[replace(effects(law)[0], gains={"w": 2.0})])({"x": X}) - CLEAN
    np.testing.assert_allclose(twice, 2 * plain, atol=1e-4)
    each = np.linspace(1, 2, 10)
    scaled = runner.open(effects=[replace(effects(law)[0], gains={"w": each[:, None]})])({"x": X}) - CLEAN
    np.testing.assert_allclose(scaled, each * plain, atol=1e-4)
    adc = replace(effects(Converter(target="outputs", steps=30, relative_to="full_scale"))[0], gains={"w": 1.5})
    levels = np.unique(runner.open(effects=[adc])({"x": X}))
    assert np.diff(levels).min() == pytest.approx(1.5 * 2 * np.abs(CLEAN).max() / 30, rel=1e-4)


def test_the_arrays_of_a_chip_have_one_number_of_rows() -> None:
    runner = calibrated(gemm(WEIGHT), {"x": X})
    both = effects(OutputNoise(sigma=0.1, rows=10), Converter(target="outputs", steps=14, rows=12))
    with pytest.raises(OptionError, match=r"one number of rows, got \[10, 12\]"):
        runner.open(effects=both)


def test_a_convolution_is_converted_channel_by_channel() -> None:
    weights: Arrays = {"w": normals(5, 3, 3, 3), "b": normals(5)}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", pads=[1] * 4)
    model = load_model(proto([node], weights, ("N", 3, 8, 8), rank=4))
    x = normals(6, 3, 8, 8, seed=4)
    runner = calibrated(model, {"x": x})
    clean = model.run({"x": x})["y"]
    seen = runner.open(effects=effects(Converter(target="outputs", steps=254, bound=20.0)))({"x": x})
    step = 2 * 20 * np.abs(x).max() * np.abs(weights["w"]).reshape(5, -1).max(axis=1) / 254
    largest = np.abs(seen - clean).max(axis=(0, 2, 3))
    assert np.all(largest <= step / 2 * 1.01)
    assert np.all(largest >= step / 2 * 0.9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Converter(target="inputs", steps=1), "at least 2 steps, got 1"),
        (lambda: Converter(target="weights", steps=4), "must be inputs or outputs, got 'weights'"),  # type: ignore[arg-type]
        (lambda: Converter(target="inputs", steps=4, bound=0), "finite and above 0, got 0"),
        (lambda: Converter(target="inputs", steps=4, quantile=0), "above 0 and at most 1, got 0"),
        (lambda: OutputNoise(sigma=-1), "sigma must be finite and at least 0, got -1"),
        (lambda: InputNoise(sigma=math.nan), "sigma must be"),
        (lambda: InputNoise(sigma=1, input_range=0.0), "input_range must be finite and above 0, got 0"),
        (lambda: OutputNoise(sigma=1, rows=0), "at least one row, got 0"),
        (lambda: steps_of(1), "2 to 24 bits here, got 1"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
