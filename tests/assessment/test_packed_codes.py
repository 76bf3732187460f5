"""An assessment of codes that the file packs several to a byte is that of the same network in blocked codes."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import packed_twins
import pytest
import tiny_nets
from onnx import helper
from packed_twins import Twins

import faultsim
from faultsim.assessment import Options
from faultsim.assessment.sets import chip_set
from faultsim.assessment.setting import make_setting
from faultsim.corruption import apply_edit
from faultsim.device import load_device
from faultsim.errors import DeviceError
from faultsim.model import load_model

OPTIONS = Options(trials=40, threads=1, site_trials=0)


@pytest.fixture(params=["product", "table"])
def twins(request) -> Twins:
    return packed_twins.products() if request.param == "product" else packed_twins.tables()


def assessed(twins: Twins, tmp_path: Path, device: str) -> list[Any]:
    found = []
    for name, proto in (("packed", twins.packed), ("plain", twins.plain)):
        path = tiny_nets.save(proto, tmp_path / f"{name}.onnx", twins.data)
        found.append(faultsim.assess(path, device, options=OPTIONS))
    return found


@pytest.mark.parametrize("device", ["reram", "sram"])
def test_both_twins_get_one_answer(twins, tmp_path, device):
    mine, other = assessed(twins, tmp_path, device)
    assert mine.clean_stored is None or mine.clean_stored.accuracy == other.clean_stored.accuracy
    eps = [{(b.mechanism, b.site): (b.eps, b.n, b.elements) for b in one.budget} for one in (mine, other)]
    assert eps[0].keys() == eps[1].keys()
    for key, numbers in eps[0].items():
        assert numbers == pytest.approx(eps[1][key], rel=1e-6)
    assert mine.worst_case.accuracy == pytest.approx(other.worst_case.accuracy, abs=0.02)
    drawn = [one.random.accuracy for one in (mine, other)]
    spread = np.hypot(*(one.high - one.mean for one in drawn))  # of 95 % intervals
    assert abs(drawn[0].mean - drawn[1].mean) < 1.6 * spread
    assert mine.model.parameters == other.model.parameters


def test_an_analog_chip_holds_one_code_a_cell(twins):
    device = load_device("reram")
    held = []
    for proto in (twins.packed, twins.plain):
        model = load_model(proto)
        held.append(device.store({"codes": (model.site("codes"), model.numbers["codes"])})["codes"])
    mine = packed_twins.turned(held[0].values, held[1].values.shape)
    assert np.allclose(mine, held[1].values, atol=1e-9)
    assert np.allclose(np.rint(held[0].values), load_model(twins.packed).numbers["codes"])


def test_bit_errors_hit_each_bit_of_packed_codes_as_often_as_in_the_twin(twins):
    device, hits = load_device("sram"), []
    for proto in (twins.packed, twins.plain):
        model = load_model(proto)
        stored = device.store({"codes": (model.site("codes"), model.numbers["codes"])})
        counts: Counter[int] = Counter()
        for trial in range(300):
            edits = device.sample(stored, 0, trial)
            if "codes" not in edits:
                continue
            one = stored["codes"]
            wrong = apply_edit(edits["codes"], one).astype(np.uint8) ^ one.values.astype(np.uint8)
            counts.update({bit: int((wrong >> bit & 1).sum()) for bit in range(4)})
            assert wrong.max() < 16
        hits.append([counts[bit] for bit in range(4)])
    for mine, other in zip(*hits, strict=True):
        assert mine > 100
        assert abs(mine - other) < 5 * np.sqrt(mine + other)


def test_bytes_that_an_op_moves_are_in_no_set_and_on_no_analog_chip(tmp_path):
    twins = packed_twins.products()
    twins.packed.graph.node[0].input[1] = "moved"
    twins.packed.graph.node.insert(0, helper.make_node("Identity", ["codes"], ["moved"], "move"))
    path = tiny_nets.save(twins.packed, tmp_path / "net.onnx", twins.data)
    with pytest.raises(DeviceError, match="cannot hold codes: each of its bytes holds several codes"):
        faultsim.assess(path, "reram", options=OPTIONS)
    result = faultsim.assess(path, "sram", options=OPTIONS)
    said = [note for note in result.notes if "each byte holds several codes" in note]
    assert said == [
        "Left out of the worst case and of random corruption in its set, as each byte holds several codes: codes; "
        "random chips hit all of their bits."
    ]
    setting = make_setting(path, "sram", None, OPTIONS, torch_device="cpu")
    assert chip_set(setting).constraint.names == ("head",)
    assert chip_set(setting, ["codes"]).why_not.startswith("every tensor holds several codes a byte")
