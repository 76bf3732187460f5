"""Budgets of upsets behind a code hold chips on which events meet in one word, or pass as reported."""

import math

import numpy as np
import pytest
from sites import site

from faultsim.corruption import apply_edit
from faultsim.device import Conditions, load_device

LAB = "status: verified, source: lab"
CODED = f"""\
faultsim_device: 1
name: coded
technology: sram
title: Coded SRAM
summary: A memory with a code, in orbit.
is_not: It is an example.
sources:
  lab: {{cite: "Our lab, 2026", read: primary}}
storage:
  domain: digital
  encoding: twos_complement
  bits: 8
  stores: [weight]
  ecc: {{scheme: secded, data_bits: 64, check_bits: 8, on_due: DUE}}
mechanisms:
  - id: seu
    model: upset_rate
    target: weights
    persistence: transient
    spatial: SPATIAL
    params: {{rate: {{value: 8.6e-8, unit: upset/bit/day, {LAB}}}}}
assess: {{confidence: 0.99, scope: per_tensor, exposure: {{value: 1.0, unit: h, {LAB}}}}}
"""
IID = "{pattern: iid}"
RUNS = (
    "{pattern: word_cluster, multiplicity: {value: [0.6, 0.3, 0.1], unit: 'P(size = 1, 2, ...)', status: illustrative}}"
)
COLUMNS = RUNS.replace("word_cluster", "column")
CHIPS = 60
LONG = Conditions(exposure_h=5 * 8760)


@pytest.fixture
def coded(tmp_path):
    def build(due, spatial):
        path = tmp_path / "coded.yaml"
        path.write_text(CODED.replace("DUE", due).replace("SPATIAL", spatial))
        device = load_device(path)
        values = np.random.default_rng(0).normal(size=(50, 200)).astype(np.float32)
        return device, device.store({"w": (site("w", values.shape), values)})

    return build


def deltas(device, stored, world):
    found = []
    for trial in range(CHIPS):
        edit = device.sample(stored, 5, trial, conditions=world).get("w")
        after = stored["w"].values if edit is None else apply_edit(edit, stored["w"])
        found.append((after.astype(np.float64) - stored["w"].values).reshape(-1))
    return found


@pytest.mark.parametrize(
    ("due", "spatial", "flux"),
    [
        ("pass_through", IID, 3.0),
        ("zero_word", IID, 3.0),
        ("pass_through", RUNS, 1.0),
        ("halt", RUNS, 30.0),
        ("pass_through", COLUMNS, 3.0),
    ],
)
def test_a_budget_holds_as_many_chips_as_it_says_where_events_meet(coded, due, spatial, flux):
    device, stored = coded(due, spatial)
    world = Conditions(exposure_h=5 * 8760, flux_factor=flux)
    drawn = deltas(device, stored, world)
    counts = np.sort([np.count_nonzero(delta) for delta in drawn])
    assert counts[-1] > 0
    for p in (1, 2, math.inf):
        norms = np.sort([np.linalg.norm(delta, p) for delta in drawn])
        for q in (0.5, 0.9):
            off = 3.5 * math.sqrt(CHIPS * q * (1 - q))
            low, high = math.floor(CHIPS * q - off), min(math.ceil(CHIPS * q + off), CHIPS - 1)
            budgets = device.budgets(stored, p=p, confidence=q, conditions=world)
            for found in budgets:  # of the tensor, and of the whole chip, which is this one tensor
                assert found.eps >= 0.98 * norms[low], (p, q, found.scope)
                assert found.n >= 0.98 * counts[low], (p, q, found.scope)
                if spatial != COLUMNS:  # there an upper bound
                    assert found.eps <= 1.1 * norms[high] + 1e-9, (p, q, found.scope)
                    assert found.n <= 1.05 * counts[high] + 1, (p, q, found.scope)
    (whole,) = (b.n for b in device.budgets(stored, confidence=0.9, conditions=world) if b.scope == "global")
    assert device.most_words(stored, confidence=0.9, conditions=world) == whole


def test_few_events_keep_the_bound_of_one(coded):
    device, stored = coded("halt", IID)
    world = Conditions(exposure_h=8760.0)
    for found in device.budgets(stored, conditions=world):
        assert (found.n, found.eps) == (0, 0.0)
    assert device.most_words(stored, conditions=world) == 0


def test_more_exposure_leaves_more_wrong(coded):
    device, stored = coded("pass_through", IID)
    found = [device.budgets(stored, conditions=Conditions(exposure_h=h))[0] for h in (24.0, 8760.0, 43800.0, 438000.0)]
    assert found[0].n == 0 < found[2].n
    assert [b.n for b in found] == sorted(b.n for b in found)
    assert [b.eps for b in found] == sorted(b.eps for b in found)
    again = device.budgets(stored, conditions=Conditions(exposure_h=43800.0))[0]
    assert (again.n, again.eps) == (found[2].n, found[2].eps)


def test_a_rare_event_that_the_code_reports_and_lets_pass_has_a_budget(coded):
    device, stored = coded("pass_through", RUNS.replace("[0.6, 0.3, 0.1]", "[0.0, 1.0]"))
    assert device.is_conditional(stored)
    found = device.budgets(stored)
    drawn = [delta for delta in deltas(device, stored, None) if np.any(delta)]
    assert len(drawn) > CHIPS / 2
    for one in found:
        assert one.conditional
        assert 1 <= one.n <= 2
        assert np.mean([np.linalg.norm(delta) <= one.eps * (1 + 1e-6) for delta in drawn]) > 0.95
    halted, held = coded("halt", RUNS.replace("[0.6, 0.3, 0.1]", "[0.0, 1.0]"))
    assert all(one.n == 0 for one in halted.budgets(held))
