"""What a mechanism says of itself is what its law does, or it is refused with what to write."""

from pathlib import Path

import pytest

from faultsim.errors import SpecError
from faultsim.specs.device import DeviceSpec
from faultsim.specs.load import load

DEVICES = Path(__file__).parents[2] / "devices"
LAB = "status: verified, source: lab"
ANALOG = f"""\
faultsim_device: 1
name: lab
technology: reram_analog
title: Lab cells
summary: Cells of our lab.
is_not: It is an example.
sources:
  lab: {{cite: "Our lab, 2026", read: primary}}
storage:
  domain: analog
  mapping: differential_pair
  g_max: {{value: 90.0, unit: uS, {LAB}}}
mechanisms:
  - id: one
    model: MODEL
    target: weights
    persistence: permanent
    resample: RESAMPLE
    params: {{PARAMS}}
assess: {{confidence: 0.99, scope: per_tensor}}
"""
LAWS = {
    "gaussian": f"sigma_poly: [{{coefficients: {{value: [0.1], unit: uS, {LAB}}}}}]",
    "lognormal": f"sigma: {{value: 0.1, unit: '1', {LAB}}}",
    "multiplicative_noise": f"sigma: {{value: 0.1, unit: fraction of g_max, {LAB}}}",
    "read_noise_log": f"t_read: {{value: 2.5e-7, unit: s, {LAB}}}, k: {{value: 0.3, unit: uS, {LAB}}}",
    "saturating_noise": f"sigma_sat_exp: {{value: [[0, 1.0, 2.0]], unit: '[days, A uS, B uS]', {LAB}}}",
}
ONCE, READ = ("per_die", "per_program"), ("per_read", "per_inference")
DRIFT = f"t0: {{value: 1, unit: s, {LAB}}}, rate_mean: {{value: -0.01, unit: MEAN, {LAB}}}"
DRIFT += f", rate_std: {{value: 0.01, unit: STD, {LAB}}}"


def analog(model, resample, params=None):
    text = ANALOG.replace("MODEL", model).replace("RESAMPLE", resample)
    return load(text.replace("PARAMS", LAWS[model] if params is None else params), DeviceSpec)


def shipped(name, old, new):
    text = (DEVICES / f"{name}.yaml").read_text()
    assert old in text
    return load(text.replace(old, new), DeviceSpec)


@pytest.mark.parametrize("resample", ONCE + READ)
@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        ("gaussian", ONCE),
        ("lognormal", ONCE),
        ("multiplicative_noise", READ),
        ("read_noise_log", READ),
        ("saturating_noise", ONCE + READ),
    ],
)
def test_a_law_is_drawn_as_often_as_resample_says_or_is_refused(model, allowed, resample):
    if resample in allowed:
        assert analog(model, resample).mechanisms[0].resample == resample
        return
    when = r"drawn anew at every inference" if allowed == READ else r"drawn once a chip"
    write = " or ".join(READ[:2] if allowed == READ else ONCE)
    with pytest.raises(
        SpecError, match=rf"mechanisms\[0\]\.resample: this law is {when}, not {resample}; write {write}"
    ):
        analog(model, resample)


def test_bits_are_drawn_once_a_chip_and_noise_of_outputs_anew():
    with pytest.raises(SpecError, match=r"resample: this law is drawn once a chip, not per_read; write per_die"):
        shipped("sram_low_voltage", "resample: per_die", "resample: per_read")
    with pytest.raises(
        SpecError, match=r"resample: this law is drawn anew at every inference, not per_die; write per_read"
    ):
        shipped("photonic_mzi", "resample: per_read", "resample: per_die")
    buffer = shipped("gpu_sram_automotive", "resample: per_event", "resample: per_inference")
    assert buffer.mechanisms[0].target == "activations"


def test_a_set_of_ones_own_is_refused_because_no_law_takes_it():
    message = r"mechanisms\[0\]\.constraint: unknown key: the set \(p, eps, n\) .* nothing overrides it; remove it"
    with pytest.raises(SpecError, match=message):
        shipped("sram_low_voltage", "    clears_on: never\n", "    constraint: {p: inf, eps: 0.1, n: 5}\n")


@pytest.mark.parametrize("unit", ["uS", "fraction of g_max"])
def test_mean_and_spread_of_a_drift_are_in_one_unit(unit):
    other = {"uS": "fraction of g_max", "fraction of g_max": "uS"}[unit]
    same = DRIFT.replace("MEAN", unit).replace("STD", unit)
    assert analog("log_drift", "per_die", same).mechanisms[0].params.rate_std.unit == unit
    with pytest.raises(SpecError, match=rf"params: rate_std is in {other}, rate_mean in {unit}; give both in one unit"):
        analog("log_drift", "per_die", DRIFT.replace("MEAN", unit).replace("STD", other))


@pytest.mark.parametrize("celsius", [-273.15, -300.0, 2000.0])
def test_temperatures_of_a_profile_lie_above_absolute_zero(celsius):
    between = rf"must be strictly between -273\.15 and 2000, got {celsius}"
    with pytest.raises(SpecError, match=rf"arrhenius\.reference\.value: {between}"):
        shipped("nor_flash_mcu", "reference: {value: 85.0", f"reference: {{value: {celsius}")
