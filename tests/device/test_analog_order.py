"""Analog laws in their order: a spread of the conductance that a drift left goes behind it, and stops it at 0."""

import numpy as np
import pytest
from sites import site

from faultsim.device import Conditions, load_device
from faultsim.device.analog import analog_laws, analog_parts
from faultsim.device.conditions import resolve
from faultsim.device.knobs import knobs
from faultsim.errors import OptionError
from faultsim.faults import MeanDrift, SaturatingNoise, SaturatingReadNoise
from faultsim.faults.analog import Cells

LAB = "status: verified, source: lab"
HEAD = f"""\
faultsim_device: 1
name: trap
technology: sonos_analog
title: Charge traps
summary: Cells of our lab that lose charge.
is_not: It is an example.
sources:
  lab: {{cite: "Our lab, 2026", read: primary}}
storage:
  domain: analog
  mapping: differential_pair
  g_min: {{value: 0.0, unit: uS, {LAB}}}
  g_max: {{value: 16.0, unit: uS, {LAB}}}
mechanisms:
"""
SPREAD = f"""\
  - id: spread
    model: saturating_noise
    target: weights
    persistence: permanent
    resample: per_program
    params: {{sigma_sat_exp: {{value: ROWS, unit: "[days, A uS, B uS]", {LAB}}}}}
"""
DRIFT = f"""\
  - id: drift
    model: mean_drift
    target: weights
    persistence: permanent
    params: {{shifts: {{value: [[86400, -2.0, 0.0]], unit: "[s, c_i in powers of uS]", {LAB}}}}}
"""
WEIGHTS = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
ASSESS = "assess: {confidence: 0.99, scope: per_tensor, t_s: 86400}\n"


@pytest.fixture
def trap(tmp_path):
    def build(*mechanisms):
        path = tmp_path / "trap.yaml"
        path.write_text(HEAD + "".join(mechanisms).replace("ROWS", "[[0, 1.0, 2.0]]") + ASSESS)
        return load_device(path)

    return build


@pytest.mark.parametrize("order", [(SPREAD, DRIFT), (DRIFT, SPREAD)])
def test_a_drift_of_the_mean_goes_before_the_spread_that_stops_at_zero(trap, order):
    device = trap(*order)
    world = resolve(device.spec, None)
    assert [part.id for part in analog_parts(device.spec, world)] == ["drift", "spread"]
    (chain,) = analog_laws(device.spec, world)
    assert [type(law) for law in chain.fault.laws] == [MeanDrift, SaturatingNoise]
    stored = device.store({"w": (site("w", (64, 32)), WEIGHTS)})["w"]
    target = stored.format.to_cells(stored.values)
    cells = Cells(target, target, target)
    for law in chain.fault.laws:
        cells = law.act(cells, stored.format, np.random.default_rng(1), 86400.0)
    assert cells.now.min() == 0
    assert cells.now.mean() == pytest.approx(np.maximum(target - 2, 0).mean(), rel=0.05)


def test_a_spread_of_reads_stays_a_read(trap):
    device = trap(SPREAD.replace("per_program", "per_read"), DRIFT)
    (chain,) = analog_laws(device.spec, resolve(device.spec, None))
    assert [type(law) for law in chain.fault.laws] == [MeanDrift, SaturatingReadNoise]


@pytest.mark.parametrize(("rows", "ages"), [("[[0, 1.0, 2.0]]", False), ("[[0, 1.0, 2.0], [5, 2.0, 3.0]]", True)])
def test_time_is_a_condition_only_of_a_spread_that_changes(trap, rows, ages):
    device = trap(SPREAD.replace("ROWS", rows))
    assert ("at" in knobs(device.spec)) is ages
    stored = device.store({"w": (site("w", (8, 4)), WEIGHTS[:8, :4])})
    first, last = (device.budgets(stored, conditions=Conditions(t_s=t))[0].eps for t in (0.0, 432000.0))
    assert (first != last) is ages


def test_a_condition_of_no_law_is_refused_with_what_there_is(trap):
    from faultsim.device.knobs import conditions_from

    with pytest.raises(OptionError, match=r"no law of device trap depends on --at; .* it has: none at all"):
        conditions_from(trap(SPREAD).spec, {"at": "1d"})
