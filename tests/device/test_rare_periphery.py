"""When upsets of activations are rare events: alone, and few; never beside faults that a chip may have for good."""

import numpy as np
import pytest
from sites import site

from faultsim.device import Conditions, load_device
from faultsim.device.conditions import resolve
from faultsim.device.periphery import activation_events, effects
from faultsim.errors import DeviceError
from faultsim.inference import ActivationUpset, StuckOutput

LAB = "status: verified, source: lab"
BUFFER = f"""\
faultsim_device: 1
name: buffer
technology: sram
title: A buffer
summary: A buffer of activations, and an array that computes them.
is_not: It is an example.
sources:
  lab: {{cite: "Our lab, 2026", read: primary}}
storage:
  domain: digital
  encoding: twos_complement
  bits: 8
  stores: [weight]
  capacity: {{value: 1.0, unit: Mbit, {LAB}}}
mechanisms:
  - id: seu
    model: upset_rate
    target: activations
    persistence: transient
    params: {{rate: {{value: 100.0, unit: FIT/Mb, {LAB}}}}}
assess: {{confidence: 0.99, scope: per_tensor, exposure: {{value: 1.0, unit: h, {LAB}}}}}
"""
BROKEN = f"""\
  - id: pe
    model: stuck_pe
    target: config
    persistence: permanent
    params:
      rows: {{value: 8, unit: PEs, {LAB}}}
      columns: {{value: 8, unit: PEs, {LAB}}}
      p: {{value: 0.02, unit: fraction of PEs, {LAB}}}
      mapping: output_stationary
assess:"""
CAPACITY = f"  capacity: {{value: 1.0, unit: Mbit, {LAB}}}\n"


@pytest.fixture
def buffer(tmp_path):
    def build(*replacements):
        text = BUFFER
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "buffer.yaml"
        path.write_text(text)
        return load_device(path)

    return build


def upsets(device, trial, conditions=None):
    laws = [one.law for one in device.effects({}, 0, trial, conditions=conditions)]
    return next(law for law in laws if isinstance(law, ActivationUpset))


def test_rare_upsets_alone_are_weighed_by_their_rate(buffer):
    device = buffer()
    assert device.event_probability({}) == pytest.approx(1e-7)
    assert device.fit({}) == pytest.approx(100.0)
    assert device.is_conditional({})
    assert upsets(device, 0).given_event


def test_beside_elements_that_are_broken_for_good_no_chip_is_a_rare_event(buffer):
    device = buffer(("assess:", BROKEN))
    assert device.event_probability({}) == 1.0
    assert device.fit({}) is None
    assert not device.is_conditional({})
    assert activation_events(device.spec, resolve(device.spec, None)) is None
    found = [effect.law for trial in range(100) for effect in device.effects({}, 0, trial)]
    broken = [len(law.elements) > 0 for law in found if isinstance(law, StuckOutput)]
    assert np.mean(broken) == pytest.approx(1 - 0.98**64, abs=0.2)
    free = [law for law in found if isinstance(law, ActivationUpset)]
    assert not any(law.given_event for law in free)
    assert not any(law._number(np.random.default_rng(at)) for at, law in enumerate(free))


def test_beside_broken_elements_upsets_of_no_known_size_cannot_be_weighed(buffer):
    device = buffer(("assess:", BROKEN), (CAPACITY, ""))
    message = r"mechanism seu upsets activations .* beside them: .* hangs on storage\.capacity; give it"
    with pytest.raises(DeviceError, match=message):
        effects(device.spec, 0, 0, resolve(device.spec, None))
    with pytest.raises(DeviceError, match=message):
        device.draw({}, 0, 0)


@pytest.mark.parametrize(("hours", "rare"), [(0.9e6, True), (1.1e6, False), (1e8, False)])
def test_upsets_alone_are_given_one_only_where_fewer_than_a_tenth_are_expected(buffer, hours, rare):
    device, world = buffer(), Conditions(exposure_h=hours)
    mean = 100e-9 * hours
    assert device.is_conditional({}, conditions=world) is rare
    assert device.event_probability({}, conditions=world) == pytest.approx(-np.expm1(-mean))
    law = upsets(device, 0, world)
    assert law.given_event is rare
    seen = [law._number(np.random.default_rng(trial)) for trial in range(400)]
    wanted = mean / -np.expm1(-mean) if rare else mean
    assert np.mean(seen) == pytest.approx(wanted, abs=4 * np.sqrt(mean / 400))


def test_without_flux_no_chip_is_given_an_event(buffer):
    device, world = buffer(), Conditions(flux_factor=0.0)
    assert not device.is_conditional({}, conditions=world)
    assert device.event_probability({}, conditions=world) == 0
    assert upsets(device, 0, world).is_null or upsets(device, 0, world).count == 0


def test_upsets_of_no_known_size_strike_every_chip_once(buffer):
    device, world = buffer((CAPACITY, "")), Conditions(exposure_h=1e8)
    assert {upsets(device, trial, world).count for trial in range(5)} == {1}
    assert device.fit({}, conditions=world) is None
    assert not device.is_conditional({}, conditions=world)


def test_rare_upsets_of_both_memories_stay_as_they_were(buffer):
    weights = BUFFER[BUFFER.index("  - id: seu") : BUFFER.index("assess:")]
    second = weights.replace("id: seu", "id: own").replace("target: activations", "target: weights")
    device = buffer(("assess:", second + "assess:"))
    stored = device.store({"w": (site("w", (40, 32)), np.ones((40, 32), np.float32))})
    assert device.is_conditional(stored)
    assert device.fit(stored) == pytest.approx(100 * (1 + 40 * 32 * 8 / 1e6), rel=1e-6)
