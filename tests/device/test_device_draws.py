"""A device draws the chips that its physics says."""

import math

import numpy as np
import pytest
from scipy import stats
from sites import site

from faultsim.corruption import apply_edit
from faultsim.device import Conditions, load_device
from faultsim.errors import DeviceError

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
