"""The corruption set of a device on a model: what it lets a word do, and what it calls itself."""

import math

import numpy as np
import pytest
import tiny_nets

from faultsim.assessment import Options
from faultsim.assessment.chips import chip_numbers
from faultsim.assessment.sets import budget_entries, chip_set
from faultsim.assessment.setting import make_setting


@pytest.fixture
def setting(root):
    def make(kind, device, **options):
        path = root / "scenarios" / "digits" / f"digits_{kind}.onnx"
        return make_setting(path, device, None, Options(limit=20, threads=1, **options), torch_device="cpu")

    return make


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_a_rare_upset_moves_one_word_by_what_one_event_does_at_most(kind, setting):
    found = setting(kind, "fpga_bram_int8")
    spot = chip_set(found)
    assert spot.words == "given an event: at most 1 wrong word on the chip, each by at most what one event does"
    assert len({s.format.bits for s in found.stored.values()}) == 2  # weights and biases differ in width
    for name, one in found.stored.items():
        direction = {n: np.zeros(s.site.shape) for n, s in found.stored.items()}
        direction[name].flat[3] = -1.0
        delta = spot.constraint.argmax(direction)
        top = np.max(one.format.scale) * 2.0 ** (one.format.bits - 1)
        assert top <= -delta[name].flat[3] <= 1.5 * top * (1 + 1e-4)  # two adjacent bits are the largest event
        assert sum(int(np.count_nonzero(d)) for d in delta.values()) == 1


def test_the_most_that_an_event_does_is_above_what_it_does_nearly_always(setting):
    found = setting("int8", "fpga_bram_int8")
    most = found.device.most_of_one_event(found.stored)
    nearly = {b.scope: b.eps for b in found.device.budgets(found.stored, p=math.inf, confidence=0.5)}
    for name, one in found.stored.items():
        assert 0 < 4 * nearly[name] <= most[name] <= 1.5 * np.max(one.format.scale) * 2.0 ** (one.format.bits - 1)


def test_chips_of_a_rare_device_show_an_event_in_the_part_that_a_row_is_about(setting):
    found = setting("float", "fpga_bram_int8")
    for trial in range(5):
        numbers = chip_numbers(found, trial, ["fc.bias"])
        moved = [name for name, one in found.stored.items() if not np.array_equal(numbers[name], one.values)]
        assert moved == ["fc.bias"]


@pytest.mark.parametrize("device", ["sram_low_voltage", "reram_1t1r", "pcm_analog"])
def test_the_faults_in_a_part_are_those_of_the_whole_chip(device, setting):
    found = setting("float", device)
    whole, part = chip_numbers(found, 1), chip_numbers(found, 1, ["conv2.weight"])
    assert np.array_equal(part["conv2.weight"], whole["conv2.weight"])
    assert np.array_equal(part["conv1.weight"], found.stored["conv1.weight"].values)


@pytest.mark.parametrize("device", ["sram_low_voltage", "reram_1t1r", "pcm_analog"])
def test_nearly_every_chip_lies_in_the_set(device, setting):
    found = setting("float", device, confidence=0.9)
    spot = chip_set(found)
    inside = dict.fromkeys(found.stored, 0)
    for trial in range(20):
        for name, numbers in chip_numbers(found, trial).items():
            alone = chip_set(found, [name]).constraint
            delta = numbers.astype(np.float64) - found.stored[name].values
            inside[name] += alone.contains({name: delta}, rtol=1e-6)
    assert spot.words == "each tensor: L2 radius and element count, each a 90% bound of its own"
    assert min(inside.values()) >= 12  # binomial(20, 0.9) is below that once in 30,000


def test_every_budget_names_its_site(setting):
    found = setting("int8", "sram_low_voltage")
    entries = budget_entries(found)
    assert {e.site for e in entries} == set(found.stored)
    assert all(e.eps_relative > 0 and e.elements == found.stored[e.site].site.elements for e in entries)


def test_a_device_whose_faults_give_no_ball_says_why(tmp_path, root):
    text = (root / "devices" / "sram_low_voltage.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("value: 0.80", "value: 1.0"))
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    found = make_setting(path, tmp_path / "mine.yaml", None, Options(threads=1), torch_device="cpu")
    spot = chip_set(found)
    assert spot.constraint is None
    assert "give no useful ball" in spot.why_not
