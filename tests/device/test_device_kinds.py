"""Laws that no shipped profile has: from YAML to the law that they name."""

import numpy as np
import pytest

from faultsim.corruption import apply_edit
from faultsim.device import Conditions
from faultsim.device.conditions import resolve
from faultsim.device.periphery import activation_events, effects
from faultsim.errors import DeviceError, SpecError
from faultsim.faults import AnalogChain, Drift, LogLine, MeanDrift, ReadNoiseLog
from faultsim.faults.curves import Branches, Polynomial, Table
from faultsim.rng import generator

ANALOG = """\
faultsim_device: 1
name: lab
technology: reram_analog
title: Lab cells
summary: Cells of our lab.
is_not: It is an example.
sources:
  lab: {cite: "Our lab, 2026", read: primary}
storage:
  domain: analog
  mapping: differential_pair
  g_min: {value: 1.0, unit: uS, status: verified, source: lab}
  g_max: {value: 90.0, unit: uS, status: verified, source: lab}
mechanisms:
  - id: one
    model: MODEL
    target: weights
    persistence: permanent
    resample: RESAMPLE
    params: {PARAMS}
assess: {confidence: 0.99, scope: per_tensor}
"""
LINE = "{a_ln: -0.0125, b: 0.02, min: 0.008, max: 0.045}"
KNOWN = "status: verified, source: lab"
SHIFTS = f'shifts: {{value: [[100, 0.1, -0.02], [1.0e+5, 0.2, -0.05]], unit: "[s, c_i in powers of uS]", {KNOWN}}}'
READ = f"t_read: {{value: 2.5e-7, unit: s, {KNOWN}}}, k: {{value: 0.3, unit: uS, {KNOWN}}}"


def drift(curve: str) -> str:
    quantity = "value: VALUE, unit: '1', status: verified, source: lab"
    t0 = "t0: {value: 20, unit: s, status: verified, source: lab}"
    return f"{t0}, nu_mean: {{{quantity.replace('VALUE', curve)}}}, nu_std: {{{quantity.replace('VALUE', LINE)}}}"


@pytest.fixture
def lab(tmp_path):
    from faultsim.device import load_device

    def build(model, params, resample="per_program"):
        path = tmp_path / "lab.yaml"
        text = ANALOG.replace("MODEL", model).replace("PARAMS", params).replace("RESAMPLE", resample)
        path.write_text(text)
        return load_device(path)

    return build


def of(t_s, curve):
    return Drift(t0_s=20.0, nu_mean=curve, nu_std=LogLine(-0.0125, 0.02, 0.008, 0.045), t_s=t_s)


@pytest.mark.parametrize(
    ("model", "params", "resample", "law"),
    [
        ("mean_drift", SHIFTS, "per_program",
         MeanDrift(times_s=(100.0, 1e5), shifts=((0.1, -0.02), (0.2, -0.05)), t_s=3600.0)),
        ("read_noise_log", READ, "per_read", ReadNoiseLog(t_read_s=2.5e-7, k_uS=0.3, t_s=3600.0)),
        ("power_law_drift", drift("{coefficients: [0.02, 0.05]}"), "per_program",
         of(3600.0, Polynomial((0.02, 0.05)))),
        ("power_law_drift", drift("{points: [[0.0, 0.1], [1.0, 0.02]]}"), "per_program",
         of(3600.0, Table((0.0, 1.0), (0.1, 0.02)))),
        ("power_law_drift", drift(f"{{split: 0.3, below: {LINE}, above: {{coefficients: [0.02]}}}}"), "per_program",
         of(3600.0, Branches(0.3, LogLine(-0.0125, 0.02, 0.008, 0.045), Polynomial((0.02,))))),
    ],
)  # fmt: skip
def test_the_device_draws_by_the_law_that_the_profile_names(model, params, resample, law, lab, tensors):
    device, at = lab(model, params, resample), Conditions(t_s=3600.0)
    stored = device.store({"fc": tensors["fc"]})
    drawn = device.sample(stored, 3, 4, conditions=at)["fc"]
    alone = AnalogChain(laws=(law,)).sample(stored["fc"], generator(3, 4, "one", "fc"))
    np.testing.assert_array_equal(apply_edit(drawn, stored["fc"]), apply_edit(alone, stored["fc"]))
    assert np.any(apply_edit(drawn, stored["fc"]) != stored["fc"].values)
    (budget,) = device.budgets(stored, conditions=at)
    assert budget.n == stored["fc"].values.size
    assert 0 < budget.eps < np.inf


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        ("mean_drift", SHIFTS.replace("1.0e+5", "10"), r"shifts\.value must have times above 0, rising"),
        ("mean_drift", SHIFTS.replace("of uS", "of nA"), "is in nA, storage.g_max in uS; give one unit"),
        ("power_law_drift", drift("{points: [[1.0, 0.1], [0.5, 0.02]]}"), r"points must have rising g/g_max"),
        ("power_law_drift", drift("{split: 0.3, below: {coefficients: [0.02]}}"), "above"),
    ],
)
def test_curves_and_tables_that_are_none_are_refused(model, params, message, lab):
    with pytest.raises(SpecError, match=message):
        lab(model, params)


def test_upsets_of_activations_follow_the_rate_given_one_where_they_are_rare(profile):
    device = profile("gpu_sram_automotive")

    def counts(exposure_h):
        world = resolve(device.spec, Conditions(exposure_h=exposure_h))
        (law,) = {one.law for trial in range(3) for one in effects(device.spec, 0, trial, world)}
        assert law.given_event is (exposure_h == 1.0)
        assert law.mean == activation_events(device.spec, world)
        return [law._number(np.random.default_rng(trial)) for trial in range(400)], law.mean

    rare, mean = counts(1.0)
    assert mean == pytest.approx(20.49 * 32 * 1e-9)
    assert set(rare) == {1}
    many, mean = counts(3e6)
    assert min(many) == 0
    assert np.mean(many) == pytest.approx(mean, rel=0.1)
    with pytest.raises(DeviceError, match="upsets of activations, at most 10,000 are drawn; lower the flux"):
        effects(device.spec, 0, 0, resolve(device.spec, Conditions(exposure_h=1e12)))


def test_a_count_of_flips_in_activations_is_exact(profile):
    device = profile(
        "gpu_sram_automotive",
        ("model: upset_rate", "model: bit_flip_count"),
        ("rate: {value: 20.49, unit: FIT/Mb, status: secondary, source: li17, range: [20.49, 1300.0]}",
         "n_flips: {value: 3, unit: bits, status: secondary, source: li17}"),
    )  # fmt: skip
    (effect,) = effects(device.spec, 0, 0, resolve(device.spec, None))
    assert (effect.law.count, effect.law.bits) == (3, 8)
    assert activation_events(device.spec, resolve(device.spec, None)) is None
