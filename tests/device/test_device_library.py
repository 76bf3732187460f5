"""Every shipped device stores a model, draws chips by their keys and bounds them; what is wrong is said."""

import itertools
import math

import numpy as np
import pytest

from faultsim.corruption import Corruption, apply_edit
from faultsim.device import Conditions, load_device
from faultsim.errors import DeviceError, OptionError, SpecError
from faultsim.library import list_devices

BEHIND_A_CODE = ("dram_field_faults", "hbm_gpu", "nor_flash_mcu")


@pytest.mark.parametrize("name", list_devices())
def test_every_shipped_device_stores_samples_and_bounds(name, tensors):
    device = load_device(name)
    stored = device.store(tensors)
    assert set(stored) == {n for n, (s, _) in tensors.items() if s.role in device.spec.storage.stores}
    for item, (_, values) in ((stored[n], tensors[n]) for n in stored):
        assert item.values.shape == values.shape
        assert item.values.dtype == np.float32
    chips = [device.draw(stored, 0, trial) for trial in range(20)]
    effects = device.effects(stored, 0, 0)
    assert effects or any(chip.drawn or chip.crashed for chip in chips)
    for chip in chips:
        for site_name, edit in chip.corruption.items():
            wrong = apply_edit(edit, stored[site_name])
            assert wrong.shape == stored[site_name].values.shape
            assert np.all(np.isfinite(wrong)) or name == "hbm_gpu"
    level = device.spec.assess.confidence
    for p in (1, 2, math.inf):
        budgets = device.budgets(stored, p=p)
        assert all(b.confidence == level and b.eps >= 0 for b in budgets)
        combined = device.combined_budget(stored, p=p)
        assert set(combined) == (set() if name == "gpu_sram_automotive" else set(stored))
        if name not in BEHIND_A_CODE:
            bounded = [b for one, b in combined.items() if one != "var" or name != "fpga_config_seu"]  # no lane has it
            assert all(b.eps > 0 and b.n > 0 for b in bounded)


@pytest.mark.parametrize("name", list_devices())
def test_a_key_gives_one_chip_and_another_key_another(name, tensors):
    device = load_device(name)
    stored = device.store(tensors)
    backwards = dict(reversed(stored.items()))

    def drawn(held, seed, trial):
        chip = device.draw(held, seed, trial)
        return {(one.mechanism, one.site): Corruption({"": one.edit}).digest for one in chip.drawn}, chip[2:]

    keys = [(seed, trial) for seed in (1, 2) for trial in range(10)]
    there = [drawn(stored, *key) for key in keys]
    assert there == [drawn(backwards, *key) for key in keys]
    if device.spec.storage.domain == "analog" or name in ("sram_low_voltage", "fpga_bram_int8", "dram_rowhammer"):
        assert all(a != b for a, b in itertools.combinations(there, 2))
    elif name != "gpu_sram_automotive":
        assert len({str(one) for one in there}) > 3


@pytest.mark.parametrize("name", list_devices())
def test_what_is_not_simulated_is_said(name):
    device = load_device(name)
    missing = {item.id for item in device.not_simulated()}
    laws = {m.id for m in device.spec.mechanisms} - missing
    assert laws
    assert all(m.enabled or m.id in missing for m in device.spec.mechanisms)


def test_pcm_has_converters_and_output_noise_and_says_what_is_off():
    device = load_device("pcm")
    assert [effect.mechanism for effect in device.effects({}, 0, 0)] == ["output_noise", "adc", "dac"]
    assert {item.id: item.reason for item in device.not_simulated()} == {"ir_drop": "switched off in the profile"}


def test_a_device_is_its_bytes(profile):
    assert profile("reram_1t1r") == load_device("reram")
    assert profile("reram_1t1r", ("trials: 25", "trials: 26")) != load_device("reram")


@pytest.mark.parametrize("name", list_devices())
def test_most_chips_stay_within_the_combined_budget(name, tensors):
    device = load_device(name)
    stored = device.store(tensors)
    within = dict.fromkeys(stored, 0)
    budgets = device.combined_budget(stored, confidence=0.9)
    if name == "gpu_sram_automotive":
        assert budgets == {}
        return
    for trial in range(100):
        chip = device.sample(stored, 0, trial)
        for scope, item in stored.items():
            delta = apply_edit(chip[scope], item) - item.values if scope in chip else np.zeros(1)
            within[scope] += np.linalg.norm(delta) <= budgets[scope].eps * (1 + 1e-6)
    assert min(within.values()) >= 78  # Binomial(100, 0.9) is below 78 once in 10,000


def test_missing_voltages_and_codes_are_named(tensors, profile):
    sram = load_device("sram")
    stored = sram.store(tensors)
    with pytest.raises(OptionError, match="below the BER table"):
        sram.sample(stored, 0, 0, conditions=Conditions(v_norm=0.5))
    point = "  v_norm:\n    value: 0.80\n    unit: V/Vmin\n    status: illustrative\n"
    bare = profile(
        "sram_low_voltage",
        (
            "environment:\n" + point,
            "environment:\n  temperature:\n    value: 25\n    unit: C\n    status: illustrative\n",
        ),
    )
    with pytest.raises(DeviceError, match=r"needs a voltage; give environment\.v_norm in the profile, or --vdd"):
        bare.sample(stored, 0, 0)


def test_a_device_without_a_simulated_mechanism_says_so(tensors, profile):
    off = profile(
        "reram_1t1r",
        ("model: gaussian", "enabled: false\n    model: gaussian"),
        ("model: multi", "enabled: false\n    model: multi"),
    )
    with pytest.raises(DeviceError, match=r"has no mechanism that faultsim simulates \(relaxation: switched off"):
        off.sample(off.store(tensors), 0, 0)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"t_s": -1.0}, "condition t_s must be finite and at least 0, got -1"),
        ({"v_norm": 0.0}, "condition v_norm must be above 0 and at most 10: .* lowest error-free voltage, got 0"),
        ({"v": 800.0}, "condition v must be above 0 and at most 10: it is in volts, got 800"),
        ({"temperature_c": -300.0}, "condition temperature_c must lie between -273.15 and 2000 °C, got -300"),
        ({"flux_factor": math.inf}, "condition flux_factor must be finite and at least 0, got inf"),
        ({"exposure_h": math.nan}, "condition exposure_h must be finite and above 0, got nan"),
    ],
)
def test_conditions_out_of_range_are_refused(condition, message):
    with pytest.raises(OptionError, match=message):
        Conditions(**condition)


def test_a_wrong_profile_is_a_spec_error_with_its_place(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("faultsim_device: 1\n")
    with pytest.raises(SpecError, match=r"bad\.yaml:1:1: storage: missing; add it"):
        load_device(path)
