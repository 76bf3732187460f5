"""Noise and converters of one matrix-vector product against IBM aihwkit 1.1.0 (shared/golden/analog/README.md)."""

import json
from pathlib import Path

import numpy as np
import pytest
from running import calibrated, effects, gemm

from faultsim.inference import Converter, InferenceLaw, InputNoise, OutputNoise

pytestmark = pytest.mark.shared

DAC = Converter(target="inputs", steps=254, input_range=1.0)
ADC = Converter(target="outputs", steps=254, bound=10.0, input_range=1.0, weight_range="per_tensor")
NOISE = OutputNoise(sigma=0.04, input_range=1.0, weight_range="per_tensor")
CASES: dict[str, list[InferenceLaw]] = {
    "out_noise_0.04": [NOISE],
    "inp_noise_0.01": [InputNoise(sigma=0.01, input_range=1.0)],
    "dac_8bit_254": [DAC],
    "adc_8bit_254_bound10": [ADC],
    "adc_9bit_preset_bound20": [
        Converter(target="outputs", steps=510, bound=20.0, input_range=1.0, weight_range="per_tensor")
    ],
    "torch_combo": [DAC, NOISE, ADC],
}


@pytest.mark.parametrize("case", CASES)
def test_a_product_is_off_as_in_aihwkit(case: str, shared: Path) -> None:
    folder = shared / "golden" / "analog"
    reference = json.loads((folder / "aihwkit_tile_mvm.json").read_text())["mvm"][case]
    with np.load(folder / "aihwkit_tile_mvm.npz") as data:
        weight, x, ideal = data["W"], data["X"], data["ideal"]
        mean = data[f"mvm/{case}/mean"]
    runner = calibrated(gemm(weight), {"x": x})
    drawn = [runner.open(effects=effects(*CASES[case], trial=trial))({"x": x}) for trial in range(200)]
    error = np.stack(drawn) - ideal
    assert np.sqrt(np.mean(np.square(error))) == pytest.approx(reference["rms_err"], rel=0.02)
    if "noise" not in case and case != "torch_combo":
        np.testing.assert_allclose(drawn[0], mean, atol=1e-4)
    else:
        spread = reference["rms_err"] * np.sqrt(1 / 200 + 1 / reference["n"])
        assert np.abs(error.mean(axis=0) - (mean - ideal)).max() < 6 * spread
