"""Records of a chip's faults, one by one."""

import json

from faultsim.assessment.fault_list import records
from faultsim.corruption import Corruption
from faultsim.device import Chip
from faultsim.inference import StuckOutput, Upset
from faultsim.results import TrialRow

ROW = TrialRow(trial=3, correct=7, mismatch=1, nonfinite=0, n=10, loss=None)


def listed(chip, acting=()):
    return [json.loads(json.dumps(one, allow_nan=False)) for one in records(3, chip, {}, ROW, acting)]


def test_a_crash_is_told_from_what_a_code_detects():
    for crashed in (False, True):
        (trial,) = listed(Chip(Corruption({}), detected_words=2, crashed=crashed))
        assert trial["crashed"] is crashed
        assert trial["detected_words"] == 2


def test_what_strikes_while_the_network_runs_has_its_place():
    broken = StuckOutput(elements=((0, 1), (2, 3)), rows=4, columns=4)
    stuck = StuckOutput(elements=((1, 1),), rows=4, columns=4, bit=30)
    acting = (("seu", Upset("relu", 12, 0b101)), ("dead", broken), ("bit", stuck))
    *found, _ = listed(Chip(Corruption({})), acting)
    assert {one["fate"] for one in found} == {"while the network runs"}
    assert [one["mechanism"] for one in found] == ["seu", "dead", "dead", "bit"]
    assert (found[0]["site"], found[0]["element"], found[0]["bits"]) == ("relu", 12, [0, 2])
    assert [one["index"] for one in found[1:]] == [[0, 1], [2, 3], [1, 1]]
    assert found[1]["after"] == 0.0
    assert (found[3]["bits"], found[3]["after"]) == ([30], 1)
