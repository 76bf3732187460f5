"""A device holds a model as its memory would, or says what would fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import FLOAT, site

from faultsim.device import load_device
from faultsim.errors import DeviceError, SpecError
from faultsim.formats import ConductancePair, IntFormat

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


def test_half_precision_weights_keep_their_codes():
    values = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float16)
    for name, role in (("fpga", "weight"), ("fpga", "bias"), ("reram", "weight")):
        stored = load_device(name).store({"w": (site("w", (8, 8), role), values)})["w"]
        assert stored.values.dtype == np.float32
        if name == "fpga":
            assert np.array_equal(stored.format.decode(stored.format.encode(stored.values)), stored.values)


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
