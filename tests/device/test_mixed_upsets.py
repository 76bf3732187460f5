"""Upsets of activations beside faults of stored numbers: a rare chip has one event, and how rare it is counts both."""

from pathlib import Path

import numpy as np
import pytest

from faultsim.device import Conditions
from faultsim.errors import DeviceError

DEVICES = Path(__file__).parents[2] / "devices"
CHIPS = 400
WEIGHTS = """\
  - id: weight_seu
    model: upset_rate
    target: weights
    persistence: transient
    clears_on: rewrite
    resample: per_event
    params:
      rate: {value: 20.49, unit: FIT/Mb, status: secondary, source: li17}

assess:
"""
ERRORS = """\
  - id: low_voltage
    model: bit_error_rate
    target: weights
    persistence: permanent
    resample: per_die
    params:
      ber: {value: 1.0e-3, unit: BER, status: secondary, source: li17}

assess:
"""


def events_of(device, stored, conditions=None) -> np.ndarray:
    """Of every chip, how many upsets it has in memory and in activations."""
    rows = []
    for trial in range(CHIPS):
        chip = device.draw(stored, 0, trial, conditions=conditions)
        laws = [one.law for one in device.effects(stored, 0, trial, conditions=conditions)]
        rows.append((len(chip.drawn), sum(law._number(np.random.default_rng(trial)) for law in laws)))
    return np.array(rows)


def test_a_rare_chip_has_one_event_in_memory_or_in_its_activations(profile, tensors):
    alone = profile("gpu_sram_automotive")
    device = profile("gpu_sram_automotive", ("assess:\n", WEIGHTS))
    stored = device.store(tensors)
    found = events_of(device, stored)
    assert (found.sum(axis=1) == 1).all()
    bits = sum(one.values.size * one.format.bits for one in stored.values())
    share = bits / (bits + 32 * 2**20)
    assert found[:, 0].mean() == pytest.approx(share, abs=3 * np.sqrt(share / CHIPS) + 1 / CHIPS)
    here, there = device.fit(stored), alone.fit(alone.store(tensors))
    assert here == pytest.approx(there + 20.49 * bits / 2**20, rel=0.05)
    assert device.is_conditional(stored)
    assert device.event_probability(stored) == pytest.approx(here * 1e-9, rel=1e-6)


def test_events_that_are_not_rare_come_as_they_come(profile, tensors):
    device = profile("gpu_sram_automotive", ("assess:\n", WEIGHTS))
    stored, world = device.store(tensors), Conditions(exposure_h=1e6)
    found = events_of(device, stored, world)
    mean = 20.49 * 32 * 1e-9 * 1e6
    assert found[:, 1].mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / CHIPS))
    assert (found.sum(axis=1) == 0).any()
    assert not device.is_conditional(stored, conditions=world)


@pytest.mark.parametrize(("exposure_h", "given"), [(1.0, True), (1e6, False)])
def test_of_two_upsets_of_activations_a_rare_chip_has_one(profile, tensors, exposure_h, given):
    second = WEIGHTS.replace("id: weight_seu", "id: other_seu").replace("target: weights", "target: activations")
    device = profile("gpu_sram_automotive", ("assess:\n", second))
    stored, world = device.store(tensors), Conditions(exposure_h=exposure_h)
    struck = events_of(device, stored, world)[:, 1]
    assert device.is_conditional(stored, conditions=world) is given
    assert (struck == 1).all() if given else not struck.all()


def test_beside_other_faults_a_rare_upset_is_rare(profile, tensors):
    device = profile("gpu_sram_automotive", ("assess:\n", ERRORS))
    stored = device.store(tensors)
    found = events_of(device, stored)
    assert (found[:, 0] > 0).all()
    assert not found[:, 1].any()
    assert not device.is_conditional(stored)
    assert device.event_probability(stored) == 1
    assert device.fit(stored) is None


def test_without_the_size_of_the_memory_they_cannot_be_weighed(profile, tensors):
    text = (DEVICES / "gpu_sram_automotive.yaml").read_text()
    line = next(line for line in text.splitlines(keepends=True) if line.lstrip().startswith("capacity:"))
    device = profile("gpu_sram_automotive", ("assess:\n", WEIGHTS), (line, ""))
    stored = device.store(tensors)
    with pytest.raises(DeviceError, match=r"mechanism buffer_seu upsets activations .* storage.capacity; give it"):
        device.draw(stored, 0, 0)
