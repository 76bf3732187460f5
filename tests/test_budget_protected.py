"""Budgets of independent errors behind a code: quantiles of many drawn chips, and the cases around them."""

import math
import re
import time
from pathlib import Path

import numpy as np
import pytest

from faultsim.corruption import Site, Stored, apply_edit
from faultsim.device import Conditions, load_device
from faultsim.device.laws import Law
from faultsim.device.protected import bound
from faultsim.errors import OptionError
from faultsim.faults import BitFlip, VoltageBitErrors
from faultsim.formats import FloatFormat, IntFormat, quantize_symmetric
from faultsim.memory import make_code, residual_ber

DEVICES = Path(__file__).parents[1] / "devices"
CHIPS = 500
HOT = Conditions(temperature_c=150)


def site(name, shape, role="weight"):
    return Site(name=name, shape=shape, format=FloatFormat("float32"), layer=name, kind="conv", role=role, depth=0)


def profile(folder, ber, ecc):
    """Write the shipped flash with symmetric errors at *ber* and another code, and load it."""
    text = (DEVICES / "nor_flash_mcu.yaml").read_text()
    for pattern, new in (
        (r"ecc: \{.*\}", f"ecc: {{{ecc}}}"),
        (r"value: 1\.0e-5", f"value: {ber}"),
        (r"      p_flip_0to1:.*\n", ""),
        (r"      arrhenius:\n(        .*\n)+", ""),
    ):
        text, changed = re.subn(pattern, new, text)
        assert changed == 1, pattern
    path = folder / "device.yaml"
    path.write_text(text)
    return load_device(path)


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(3).normal(size=(64, 576)).astype(np.float32)


SECDED = "scheme: secded, data_bits: 64, check_bits: 8, on_due: "


@pytest.mark.parametrize(
    ("ber", "ecc"),
    [
        ("4.0e-3", SECDED + "halt"),
        ("1.0e-3", SECDED + "pass_through"),
        ("1.0e-3", SECDED + "zero_word"),
        ("1.0e-2", SECDED + "pass_through"),  # a sixth of the words is wrong
        ("1.0e-2", "scheme: dec, data_bits: 64, on_due: halt"),
        ("1.0e-3", "scheme: parity, data_bits: 32, on_due: reload"),
        ("4.0e-3", "scheme: chipkill, data_bits: 64, on_due: pass_through"),
        (None, None),
    ],
)
def test_budgets_are_the_quantiles_of_drawn_chips(ber, ecc, weights, tmp_path):
    device = load_device("nor_flash_mcu") if ber is None else profile(tmp_path, ber, ecc)
    conditions = HOT if ber is None else None
    stored = device.store({"w": (site("w", weights.shape), weights)})
    deltas = []
    for trial in range(CHIPS):
        chip = device.sample(stored, 11, trial, conditions=conditions)
        whole = apply_edit(chip["w"], stored["w"]) if "w" in chip else stored["w"].values
        deltas.append((whole.astype(np.float64) - stored["w"].values).reshape(-1))
    counts = np.sort([np.count_nonzero(delta) for delta in deltas])
    for p in (1, 2, math.inf):
        norms = np.sort([np.linalg.norm(delta, p) for delta in deltas])
        for q in (0.5, 0.9, 0.99):
            [found] = [b for b in device.budgets(stored, p=p, confidence=q, conditions=conditions) if b.scope == "w"]
            off = 3.5 * math.sqrt(CHIPS * q * (1 - q))
            low = max(math.floor(CHIPS * q - off), 0)
            high = math.ceil(CHIPS * q + off)
            assert found.eps >= 0.98 * norms[low], (p, q)
            if high < CHIPS:
                assert found.eps <= (1.02 if p != math.inf else 1.27) * norms[high], (p, q)
                assert found.n <= 1.02 * counts[high], q
            assert found.n >= 0.98 * counts[low], q


def stored_as(fmt, values):
    held = fmt.decode(fmt.encode(values))
    return Stored(site("w", values.shape), fmt, held)


def of(law, stored, code, p=2, confidence=0.99):
    return bound(Law("m", law), stored, code, p=p, confidence=confidence)


def test_a_budget_of_a_layer_takes_no_time(weights):
    stored = stored_as(quantize_symmetric(weights, 8), weights)
    code = make_code("secded", 64)
    of(BitFlip(ber=4e-3), stored, code)
    start = time.process_time()
    for p in (1, 2, math.inf):
        of(BitFlip(ber=4e-3), stored, code, p=p)
    assert time.process_time() - start < 1.5  # a tenth of a second each, on a loaded machine


def test_the_same_law_has_the_same_budget_every_time(weights):
    stored = stored_as(quantize_symmetric(weights, 8), weights)
    code = make_code("secded", 64, on_due="pass_through")
    assert of(BitFlip(ber=1e-3), stored, code) == of(BitFlip(ber=1e-3), stored, code)


def test_a_fair_cell_is_a_flip_at_half_its_rate(weights):
    stored = stored_as(quantize_symmetric(weights, 8), weights)
    code = make_code("secded", 64)
    fair = of(VoltageBitErrors(voltage=1.0, table=((1.0, 8e-3),)), stored, code)
    flip = of(BitFlip(ber=4e-3), stored, code)
    assert (fair.eps, fair.n) == (flip.eps, flip.n)


def test_a_cell_that_holds_what_it_reads_is_never_wrong():
    stored = stored_as(IntFormat(8, dtype="int8"), np.full((8, 64), -1, np.int8))  # all bits are ones
    law = VoltageBitErrors(voltage=1.0, table=((1.0, 0.05),), p_flip_0to1=1.0)
    code = make_code("parity", 64, on_due="pass_through")
    assert of(law, stored, code).n == 0
    assert of(VoltageBitErrors(voltage=1.0, table=((1.0, 0.05),), p_flip_0to1=0.0), stored, code).n > 50


def test_what_a_code_keeps_out_has_no_budget(weights):
    stored = stored_as(quantize_symmetric(weights, 8), weights)
    for ber in (0.0, 1e-7):
        found = of(BitFlip(ber=ber), stored, make_code("secded", 64))
        assert (found.eps, found.n, found.mechanism) == (0.0, 0, "m")


@pytest.mark.parametrize("bits", [4, 6, 16, 32])
@pytest.mark.parametrize("data_bits", [8, 24, 64])
def test_elements_of_every_width_meet_a_monte_carlo(bits, data_bits):
    rng = np.random.default_rng(bits)
    values = rng.normal(size=(1, 500))
    stored = stored_as(IntFormat(bits, scale=float(np.abs(values).max()) / 2 ** (bits - 1), narrow=True), values)
    code = make_code("secded", data_bits, on_due="pass_through")
    found = of(BitFlip(ber=0.01), stored, code, confidence=0.5)
    slots, parts = max(data_bits // bits, 1), -(-bits // data_bits)
    words = -(-500 // slots) * parts
    used = np.zeros((words, data_bits), dtype=bool)
    cell = np.arange(data_bits)
    for word in range(words):
        if parts == 1:
            used[word] = (cell // bits < slots) & (word * slots + cell // bits < 500)
        else:
            used[word] = word % parts * data_bits + cell < bits
    wrong = []
    for _ in range(400):
        errors = rng.random((words, code.bits)) < 0.01
        errors[:, :data_bits] &= used
        left = code.decode(errors[:, :data_bits], errors[:, data_bits:]).residual & used
        if parts == 1:
            left = np.pad(left, ((0, 0), (0, bits)))[:, : slots * bits].reshape(-1, bits)
        else:
            left = left.reshape(-1, parts * data_bits)
        wrong.append(np.count_nonzero(left.any(axis=1)))
    assert found.n == pytest.approx(np.median(wrong), rel=0.05, abs=2)
    assert found.n > 0
    assert found.eps > 0


def test_floats_bound_the_count_alone():
    stored = stored_as(FloatFormat("float32"), np.ones((10, 100), np.float32))
    found = of(BitFlip(ber=1e-2), stored, make_code("secded", 64))
    assert found.eps == math.inf
    assert 0 < found.n <= 1000
    assert "exponent" in found.note


def test_scales_of_channels_are_their_own():
    values = np.array([[1.0] * 512, [1000.0] * 512])
    stored = stored_as(quantize_symmetric(values, 8, axis=0), values)
    found = of(BitFlip(ber=5e-3), stored, make_code("secded", 64, on_due="pass_through"), p=math.inf)
    assert 500 < found.eps < 3000


@pytest.mark.parametrize("on_due", ["halt", "pass_through", "zero_word"])
@pytest.mark.parametrize("ber", [0.3, 1.0])
def test_a_rate_of_any_size_has_a_budget(ber, on_due):
    stored = stored_as(IntFormat(8, dtype="int8"), np.arange(64, dtype=np.int8).reshape(8, 8))
    for scheme in ("secded", "reed_solomon", "none"):
        found = of(BitFlip(ber=ber), stored, make_code(scheme, 64, on_due=on_due))
        assert 0 <= found.n <= 64
        assert math.isfinite(found.eps)


def test_a_rare_word_that_no_draw_finds_still_counts():
    code = make_code("reed_solomon", 64, 64, symbol_bits=8)  # four of sixteen symbols are corrected
    stored = stored_as(IntFormat(8, dtype="int8"), np.zeros((1000, 1000), np.int8))
    found = of(BitFlip(ber=0.03), stored, code)
    expected = residual_ber(code, 0.03) * 8e6
    assert found.n > 0 or expected < 0.1


def test_wrong_options_are_named():
    stored = stored_as(IntFormat(8, dtype="int8"), np.zeros((8, 8), np.int8))
    with pytest.raises(OptionError, match="norm p"):
        of(BitFlip(ber=0.1), stored, make_code("secded", 64), p=3)
    with pytest.raises(OptionError, match="confidence"):
        of(BitFlip(ber=0.1), stored, make_code("secded", 64), confidence=1.0)
