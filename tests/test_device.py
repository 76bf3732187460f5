"""A device stores a model as its memory would, draws the chips its physics says, and bounds them."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from faultsim.corruption import Corruption, Site, apply_edit
from faultsim.device import Conditions, load_device
from faultsim.errors import DeviceError, OptionError, SpecError
from faultsim.formats import ConductancePair, FloatFormat, IntFormat
from faultsim.library import list_devices

BEHIND_A_CODE = ("dram_field_faults", "hbm_gpu", "nor_flash_mcu")
DEVICES = Path(__file__).parents[1] / "devices"
FLOAT = FloatFormat("float32")


def site(name, shape, role="weight", fmt=FLOAT, **more):
    return Site(name=name, shape=shape, format=fmt, layer=name, kind="conv", role=role, depth=0, **more)


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(7)
    shapes = {"conv": (16, 3, 3, 3), "bias": (16,), "var": (16,), "fc": (40, 300), "scale": (1,)}
    roles = {"bias": "bias", "var": "norm", "scale": "scale"}
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    values["var"] = np.abs(values["var"])
    return {name: (site(name, array.shape, roles.get(name, "weight")), array) for name, array in values.items()}


@pytest.fixture
def profile(tmp_path):
    """Write a shipped profile with some text replaced, and load it."""

    def build(name, *replacements):
        text = (DEVICES / f"{name}.yaml").read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return load_device(path)

    return build


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


def test_no_flux_no_errors_and_no_noise_leave_the_chip_whole(tensors, profile):
    fpga = load_device("fpga")
    assert len(fpga.sample(fpga.store(tensors), 0, 0, conditions=Conditions(flux_factor=0.0))) == 0
    sram = load_device("sram")
    assert len(sram.sample(sram.store(tensors), 0, 0, conditions=Conditions(v_norm=1.0))) == 0
    quiet = profile(
        "reram_1t1r",
        ("value: 0.01\n", "value: 0.0\n"),
        ("[0.348, 16.030, -43.853, 45.393, -16.815]", "[0.0]"),
        ("[0.701, 22.086, -50.773, 47.095, -16.458]", "[0.0]"),
        ("[0.782, 20.274, -43.507, 37.062, -11.934]", "[0.0]"),
    )
    assert len(quiet.sample(quiet.store(tensors), 0, 0)) == 0


def test_rare_upsets_are_drawn_given_one_and_their_probability_is_told(tensors):
    fpga = load_device("fpga")
    stored = fpga.store(tensors)
    bits = sum(s.format.bits * s.values.size for s in stored.values())
    expected = 82.2 * bits / 1e6 * 8760 / 1e9
    assert fpga.is_conditional(stored)
    assert fpga.event_probability(stored) == pytest.approx(-math.expm1(-expected), rel=1e-12)
    flipped = [sum(e.indices.size for e in fpga.sample(stored, 0, t).values()) for t in range(200)]
    assert min(flipped) == max(flipped) == 1
    assert all(b.conditional for b in fpga.budgets(stored))
    assert [b.n for b in fpga.budgets(stored) if b.scope == "global"] == [1]


def test_of_two_rare_mechanisms_one_strikes_in_proportion_to_its_rate(tensors, profile):
    second = """\
  - id: second
    model: upset_rate
    target: weights
    persistence: transient
    params: {rate: {value: 246.6, unit: FIT/Mb, status: illustrative}}

  - id: undervolt_bram"""
    device = profile("fpga_bram_int8", ("  - id: undervolt_bram", second), ("[0.964, 0.036]", "[0.0, 1.0]"))
    stored = device.store(tensors)
    chips = [device.sample(stored, 0, trial) for trial in range(400)]
    assert {len(chip) for chip in chips} == {1}
    double = sum(int(np.bitwise_count(next(iter(chip.values())).masks).sum()) == 2 for chip in chips)
    assert abs(double - 100) < 5 * math.sqrt(400 * 0.25 * 0.75)  # 82.2 of 328.8 FIT/Mb flip two bits


def test_half_precision_weights_keep_their_codes():
    values = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float16)
    for name, role in (("fpga", "weight"), ("fpga", "bias"), ("reram", "weight")):
        stored = load_device(name).store({"w": (site("w", (8, 8), role), values)})["w"]
        assert stored.values.dtype == np.float32
        if name == "fpga":
            assert np.array_equal(stored.format.decode(stored.format.encode(stored.values)), stored.values)


def test_frequent_upsets_are_drawn_as_they_come(tensors):
    fpga = load_device("fpga")
    stored = fpga.store(tensors)
    beam = Conditions(flux_factor=1e6)
    assert not fpga.is_conditional(stored, conditions=beam)
    bits = sum(s.format.bits * s.values.size for s in stored.values())
    mean = 82.2 * bits / 1e6 * 8760 / 1e9 * 1e6
    trials = 300
    events = [sum(e.indices.size for e in fpga.sample(stored, 0, t, conditions=beam).values()) for t in range(trials)]
    assert abs(np.mean(events) - mean) < 5 * math.sqrt(mean / trials)
    assert 0 < fpga.event_probability(stored, conditions=beam) <= 1


def test_the_share_of_wrong_bits_is_the_ber_of_the_voltage():
    sram = load_device("sram")
    values = np.random.default_rng(0).uniform(-1, 1, size=(400, 500)).astype(np.float32)
    stored = sram.store({"w": (site("w", values.shape), values)})
    fmt = stored["w"].format
    before = fmt.encode(stored["w"].values)
    for v_norm, ber in ((0.8, 5e-3), (0.85, 1e-3), (0.9, 1e-4)):
        chip = sram.sample(stored, 0, 0, conditions=Conditions(v_norm=v_norm))
        after = fmt.encode(apply_edit(chip["w"], stored["w"]))
        wrong = int(np.bitwise_count(before ^ after).sum())
        expected = ber * values.size * 8
        assert abs(wrong - expected) < 5 * math.sqrt(2 * expected)


def test_a_cell_that_fails_fails_at_every_lower_voltage(tensors):
    sram = load_device("sram")
    stored = sram.store(tensors)
    high = sram.sample(stored, 0, 0, conditions=Conditions(v_norm=0.85))["fc"]
    low = sram.sample(stored, 0, 0, conditions=Conditions(v_norm=0.76))["fc"]
    masks = dict(zip(low.indices.tolist(), low.masks.tolist(), strict=True))
    assert high.indices.size > 0
    assert all(masks.get(i, 0) & m == m for i, m in zip(high.indices.tolist(), high.masks.tolist(), strict=True))


def test_reram_relaxes_more_after_a_day_and_nothing_is_made_up_beyond_the_data(tensors):
    reram = load_device("reram")
    stored = reram.store(tensors)
    second, day = (
        {b.scope: b.eps for b in reram.budgets(stored, conditions=Conditions(t_s=t)) if b.mechanism == "relaxation"}
        for t in (1.0, 86400.0)
    )
    assert all(day[scope] > second[scope] for scope in day)
    assert reram.conditions().t_s == 86400
    with pytest.raises(DeviceError, match="known up to 172800 s"):
        reram.sample(stored, 0, 0, conditions=Conditions(t_s=1e6))


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


def test_weights_are_stored_in_the_device_format(tensors):
    fpga, reram = load_device("fpga").store(tensors), load_device("reram").store(tensors)
    assert fpga["conv"].format.bits == 8
    assert np.shape(fpga["conv"].format.scale) == (16, 1, 1, 1)
    step = np.broadcast_to(fpga["conv"].format.scale, (16, 3, 3, 3))
    assert np.all(np.abs(fpga["conv"].values - tensors["conv"][1]) <= step * 0.501)
    assert fpga["bias"].format.bits == 22
    assert np.allclose(fpga["bias"].values, tensors["bias"][1], rtol=0, atol=1e-6)
    assert fpga["var"].format.name == "uint22"
    assert isinstance(reram["fc"].format, ConductancePair)
    assert np.allclose(reram["fc"].values, tensors["fc"][1], rtol=1e-5, atol=1e-6)
    assert np.unique(reram["fc"].format.w_max).size == 2  # 300 inputs on 256 rows: two tiles


def test_a_matrix_multiplied_from_the_right_has_its_channels_last():
    values = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    turned = site("w", (300, 4), channel_axis=1)
    assert np.shape(load_device("fpga").store({"w": (turned, values)})["w"].format.scale) == (1, 4)
    w_max = load_device("reram").store({"w": (turned, values)})["w"].format.w_max
    assert np.array_equal(w_max[:256], np.full((256, 4), w_max[0, 0]))
    assert w_max[256, 0] != w_max[0, 0]


def test_integer_codes_stay_what_they_are(tensors):
    codes = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)
    int8 = IntFormat(8, dtype="int8")
    stored = load_device("sram").store({"w": (site("w", (4, 4), fmt=int8), codes)})["w"]
    assert stored.format is int8
    assert stored.values.dtype == np.int8
    packed = load_device("sram").store({"w": (site("w", (4, 4), fmt=int8, code_bits=4), codes)})["w"]
    assert packed.format.bits == 4
    assert np.array_equal(packed.format.decode(packed.format.encode(codes)), codes)
    analog = load_device("reram").store({"w": (site("w", (4, 4), fmt=int8), codes)})["w"]
    assert np.allclose(analog.values, codes, atol=1e-5)
    bias = np.array([1 << 20, -5], dtype=np.int32)
    int32 = IntFormat(32, dtype="int32")
    both = {"w": (site("w", (4, 4), fmt=int8), codes), "b": (site("b", (2,), "bias", int32), bias)}
    assert load_device("sram").store(both)["b"].format.bits == 32


@pytest.mark.parametrize(
    ("change", "values", "message"),
    [
        (
            (),
            np.full((2, 2), np.nan, np.float32),
            "tensor w holds an infinity or a NaN; no device stores that",
        ),
        (
            (),
            np.zeros((2, 2), np.int16),
            "cannot hold w: its codes have 16 bits, the device's weights 8; quantize",
        ),
        (
            (),
            np.ones((3, 2), np.float32),
            r"tensor w has shape \(3, 2\), its site \(2, 2\); give matching ones",
        ),
        (
            (("  bits: 8\n", "  bits: 8\n  capacity_limit: hard\n"), ("value: 16.0", "value: 1e-6")),
            np.ones((2, 2), np.float32),
            r"cannot hold the model: it needs 3\.2e-05 Mbit, the device has 1e-06; use fewer bits",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_a_remedy(change, values, message, profile):
    device = profile("fpga_bram_int8", *change)
    fmt = IntFormat(16, dtype="int16") if values.dtype == np.int16 else FLOAT
    with pytest.raises(DeviceError, match=message):
        device.store({"w": (site("w", (2, 2), fmt=fmt), values)})


def test_a_model_without_stored_tensors_is_refused():
    with pytest.raises(DeviceError, match="stores weight, the model has no such tensor"):
        load_device("reram").store({"b": (site("b", (2,), "bias"), np.ones(2, np.float32))})


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


SECDED = """\
faultsim_device: 1
name: coded
technology: sram
title: Coded SRAM
summary: A memory with SECDED over 64 bits.
is_not: It is an example.
sources:
  lab: {cite: "Our lab, 2026", read: primary}
storage: {domain: digital, encoding: twos_complement, bits: 8, STORAGE}
mechanisms:
  - id: cells
    model: bit_error_rate
    target: weights
    persistence: permanent
    params: {ber: {value: 1e-6, unit: BER, status: verified, source: lab}}
assess: {confidence: 0.99, scope: per_tensor}
"""


@pytest.mark.parametrize(
    ("storage", "word"),
    [
        ("ecc: {scheme: secded, data_bits: 64, check_bits: 8}", 72),
        ("word_bits: 72, ecc: {scheme: secded, data_bits: 64, check_bits: 8}", 72),
        ("word_bits: 39, ecc: {scheme: secded, data_bits: 32}", 39),
    ],
)
def test_secded_corrects_one_error_among_data_and_check_bits_and_reports_two(storage, word, tensors, tmp_path):
    path = tmp_path / "coded.yaml"
    path.write_text(SECDED.replace("STORAGE", storage).replace("1e-6", "1e-3"))
    device = load_device(path)
    stored = device.store({"fc": tensors["fc"]})
    words = math.ceil(stored["fc"].values.size * 8 / (word - {72: 8, 39: 7}[word]))
    trials = 60
    chips = [device.draw(stored, 0, trial) for trial in range(trials)]
    one, two = (stats.binom.pmf(count, word, 1e-3) for count in (1, 2))
    for seen, share in (
        (sum(chip.corrected_words for chip in chips), one),
        (sum(chip.detected_words for chip in chips), two),
    ):
        assert stats.binomtest(seen, words * trials, share).pvalue > 1e-4
    wrong = [chip for chip in chips if len(chip.corruption)]
    assert sum(chip.silent_words for chip in chips) < 6  # three errors in a word: 7e-6 a word
    assert all(chip.silent_words for chip in wrong)


def test_a_code_without_the_size_of_its_word_is_refused(tmp_path):
    path = tmp_path / "coded.yaml"
    path.write_text(SECDED.replace("STORAGE", "ecc: {scheme: secded}"))
    with pytest.raises(SpecError, match="data_bits: missing; a code needs the data bits of its word"):
        load_device(path)


def test_a_word_that_contradicts_its_code_is_refused(tmp_path):
    path = tmp_path / "coded.yaml"
    path.write_text(SECDED.replace("STORAGE", "word_bits: 64, ecc: {scheme: secded, data_bits: 64, check_bits: 8}"))
    said = r"word_bits: is 64, but ecc\.data_bits \+ ecc\.check_bits is 72; .*: give 72, or leave it out"
    with pytest.raises(SpecError, match=said):
        load_device(path)


def test_undervolting_is_whole_above_v_min_and_at_its_rate_at_v_crash(tensors, profile):
    device = profile(
        "fpga_bram_int8",
        ("enabled: false", "enabled: true"),
        ("id: seu_bram\n", "id: seu_bram\n    enabled: false\n"),
    )
    stored = device.store(tensors)
    assert len(device.sample(stored, 0, 0)) == 0
    assert len(device.sample(stored, 0, 0, conditions=Conditions(v=0.61))) == 0
    assert len(device.sample(stored, 0, 0, conditions=Conditions(v=0.54))) > 0
    n = {b.scope: b.n for b in device.budgets(stored, conditions=Conditions(v=0.54))}
    assert 12000 * 8 * 6e-4 < n["fc"] < 3 * 12000 * 8 * 6e-4


def test_two_mechanisms_on_one_tensor_become_one_edit(tensors, profile):
    device = profile("sram_low_voltage", ("enabled: false", "enabled: true"))
    stored = device.store(tensors)
    chip = device.sample(stored, 0, 0)
    assert set(chip) <= set(stored)
    assert np.all(np.isfinite(apply_edit(chip["fc"], stored["fc"])))
    single = load_device("sram").combined_budget(stored)["fc"]
    both = device.combined_budget(stored)["fc"]
    assert both.mechanism == "all"
    assert both.eps > single.eps
    assert both.n > single.n


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
        ({"v_norm": 0.0}, "condition v_norm must be finite and above 0, got 0"),
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


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.floats(0, 2.0**100, width=32),
    st.sampled_from(["fpga_bram_int8", "sram_low_voltage", "reram_1t1r", "pcm_analog"]),
)
def test_any_finite_weights_are_stored_near_what_they_were(rows, cols, size, name):
    values = (np.random.default_rng(0).uniform(-1, 1, size=(rows, cols)) * size).astype(np.float32)
    stored = load_device(name).store({"w": (site("w", values.shape), values)})["w"]
    assert np.all(np.isfinite(stored.values))
    assert np.max(np.abs(stored.values - values)) <= np.max(np.abs(values)) / 250 + 1e-37
    again = load_device(name).store({"w": (site("w", values.shape), stored.values)})["w"]
    assert np.allclose(again.values, stored.values, rtol=1e-5, atol=1e-37)
