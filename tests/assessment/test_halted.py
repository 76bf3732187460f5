"""Detected errors of a real memory code: chips that halt are counted, judged, listed by fate and noted."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from faultsim.assessment import Options, assess
from faultsim.assessment.fault_list import records
from faultsim.assessment.sets import chip_set
from faultsim.assessment.setting import make_setting
from faultsim.criteria import judge, parse_criterion
from faultsim.device import load_device
from faultsim.errors import OptionError
from faultsim.results import Halted, TrialRow

ROW = TrialRow(trial=0, correct=7, mismatch=1, nonfinite=0, n=10, loss=None)
PROFILE = """
faultsim_device: 1
name: worn
technology: nor_flash
title: A flash
summary: A flash.
is_not: It is none.
sources: {lab: {cite: "Our laboratory", where: "page 1", read: primary}}
storage:
  {domain: digital, encoding: twos_complement, bits: 8, scale: per_tensor, stores: [weight, bias, norm], ecc: ECC}
mechanisms:
  - id: worn_cells
    model: bit_error_rate
    target: weights
    persistence: permanent
    clears_on: reprogram
    resample: per_die
    params: {ber: {value: BER, unit: BER, status: illustrative}MORE}
assess: {confidence: 0.99, scope: per_tensor}
"""
SECDED = "{scheme: secded, data_bits: 64, check_bits: 8, on_due: DUE}"
ONE_WAY = ", p_flip_0to1: {value: 1.0, unit: fraction, status: illustrative}"
"""With a rate of 1 every word reads as ones alone, which the code reports."""
FATES = {
    "halt": "detected: restarted with a good copy",
    "reload": "detected: reloaded from a good copy",
    "zero_word": "detected: read as zeros",
    "pass_through": "detected: handed on as it is",
}


def profile(folder: Path, due: str = "halt", ber: float = 5e-4, ecc: str = SECDED, more: str = "") -> Path:
    path = folder / "worn.yaml"
    path.write_text(
        PROFILE.replace("ECC", ecc.replace("DUE", due)).replace("value: BER", f"value: {ber}").replace("MORE", more)
    )
    return path


def assessed(device: Path, **more):
    return assess("digits_int8", device, options=Options(limit=20, site_trials=0, search_gradients=1, **more))


@pytest.mark.parametrize("due", FATES)
def test_the_share_is_that_of_chips_with_a_detected_word_where_one_stops_them(due, tmp_path):
    random = assessed(profile(tmp_path, due), trials=20).random
    hit = sum(one.detected > 0 for one in random.per_trial)
    assert 0 < hit < 20
    if due in ("halt", "reload"):
        low, high = beta.ppf(0.025, hit, 20 - hit + 1), beta.ppf(0.975, hit + 1, 20 - hit)
        assert (random.halted.chips, random.halted.share) == (hit, hit / 20)
        assert (random.halted.low, random.halted.high) == pytest.approx((low, high), rel=1e-9)
    else:
        assert random.halted == Halted(on_due=due, chips=0, share=0.0, low=0.0, high=0.0)


def test_a_chip_that_lost_every_word_misses_the_requirement_and_the_note_says_where_its_faults_went(tmp_path):
    found = assessed(
        profile(tmp_path, ber=1.0, more=ONE_WAY), trials=3, require=("accuracy_drop<=0.01@p95", "halted<=0.01")
    )
    accuracy, halted = found.verdict.criteria
    assert (accuracy.passed, accuracy.value) == (True, 0.0)  # of the answers after the restart
    assert (halted.passed, halted.value, halted.inconclusive) == (False, 1.0, False)
    assert halted.explanation == "chips that halt on a detected error: 100.00% > 1.00% allowed"
    assert found.verdict.passed is False


def test_few_chips_without_a_halt_leave_the_requirement_open(tmp_path):
    found = assessed(profile(tmp_path, ber=1e-9), trials=3, require=("halted<=0.01",)).verdict.criteria[0]
    assert (found.passed, found.value, found.inconclusive) == (True, 0.0, True)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 3))
    bare = assessed(profile(tmp_path, ecc="{scheme: none}"), trials=3, require=("halted<=0.01",)).verdict.criteria[0]
    assert (bare.passed, bare.value, bare.high, bare.inconclusive) == (True, 0.0, 0.0, False)


def test_what_is_reloaded_is_said_so_and_an_old_file_cannot_be_judged(tmp_path):
    found = assessed(profile(tmp_path, "reload", ber=0.01), trials=2)
    asked = parse_criterion("halted<=0.01")
    assert judge(asked, found).explanation.startswith("chips that reload on a detected error: 100.00%")
    old = found.model_copy(update={"random": found.random.model_copy(update={"halted": None})})
    with pytest.raises(OptionError, match="does not say which chips a detected error halts"):
        judge(asked, old)


def test_the_reason_without_a_worst_case_says_where_detected_errors_went(tmp_path):
    for due, said in (("halt", "the chip then halts and restarts"), ("reload", "the chip then reloads a good copy")):
        setting = make_setting(
            "digits_int8",
            profile(tmp_path, due, 1.0, more=ONE_WAY),
            None,
            Options(limit=5, threads=1),
            torch_device="cpu",
        )
        found = chip_set(setting)
        assert found.constraint is None
        assert f"corrects nearly all, or detects them, and {said}" in found.why_not


@pytest.mark.parametrize("due", FATES)
def test_each_fault_has_the_fate_of_its_word(due, tmp_path, digital_sites):
    device, stored = load_device(profile(tmp_path, due, ber=5e-3)), digital_sites
    chip = device.draw(stored, 0, 0)
    wrong: dict[int, int] = {}  # SECDED: one wrong bit of a word is corrected, two are detected
    at, places = 0, {}
    for name in sorted(stored):
        values = stored[name].values
        each = 64 // stored[name].format.bits
        for element in range(values.size):
            places[name, element] = at + element // each
        at += -(-values.size // each)
    for one in chip.drawn:
        masks = [int(mask).bit_count() for mask in one.edit.masks]
        for index, bits in zip(one.edit.indices, masks, strict=True):
            word = int(index) if one.site == "#ecc" else places[one.site, int(index)]
            wrong[word] = wrong.get(word, 0) + bits
    seen = [0, 0]
    for record in records(0, chip, stored, ROW):
        if "element" not in record:
            continue
        bits = wrong[places[record["site"], record["element"]]]
        if bits == 1:
            assert record["fate"] == "removed by the code"
        elif bits == 2:
            assert record["fate"] == FATES[due]
        seen[0] += bits == 1
        seen[1] += bits == 2
    assert min(seen) > 20
    assert sum(bits == 1 for bits in wrong.values()) <= chip.corrected_words
    assert chip.detected_words == len(chip.lost.words)
    twice = {word for word, bits in wrong.items() if bits == 2}
    assert twice <= set(chip.lost.words)


@pytest.fixture
def digital_sites(tmp_path):
    setting = make_setting("digits_int8", profile(tmp_path), None, Options(limit=5, threads=1), torch_device="cpu")
    assert {one.format.bits for one in setting.stored.values()} == {8, 32}
    assert np.all([one.values.size for one in setting.stored.values()])
    return setting.stored
