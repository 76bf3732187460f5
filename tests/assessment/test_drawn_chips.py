"""A drawn chip that lies in the set is a candidate for its worst case; one outside is not."""

from dataclasses import replace

import pytest

from faultsim.assessment import Options
from faultsim.assessment.chips import clean_scores, draw_chip
from faultsim.assessment.phases import find_worst
from faultsim.assessment.sets import chip_set
from faultsim.assessment.setting import make_setting
from faultsim.results import TrialRow

ALL_WRONG = TrialRow(trial=3, correct=0, mismatch=20, nonfinite=0, n=20, loss=99.0)


@pytest.mark.parametrize(("confidence", "method"), [(0.99999, "drawn_chip 3"), (0.0001, None)])
def test_the_worst_chip_drawn_takes_part_where_the_set_holds_it(confidence, method, root):
    path = root / "scenarios" / "digits" / "digits_float.onnx"
    options = Options(limit=20, threads=1, confidence=confidence, search_gradients=1)
    setting = make_setting(path, "reram", None, options, torch_device="cpu")
    setting.scorer.set_golden()
    fault_free = setting.scorer.score(setting.fault_free())
    worst = find_worst(setting, chip_set(setting), fault_free, [], [ALL_WRONG], lambda *_: None)
    assert worst is not None
    if method is None:
        assert not worst.case.method.startswith("drawn_chip")
    else:
        assert (worst.case.method, worst.case.accuracy, worst.case.loss) == (method, 0.0, 99.0)


@pytest.mark.parametrize(("device", "drawn"), [("reram", True), ("pcm_analog", False)])
def test_a_chip_that_acts_while_it_runs_is_no_corruption_of_the_set(device, drawn, root, monkeypatch):
    path = root / "scenarios" / "digits" / "digits_float.onnx"
    options = Options(limit=20, threads=1, search_gradients=1)
    setting = make_setting(path, device, None, options, torch_device="cpu")
    clean_scores(setting)
    found = chip_set(setting)
    monkeypatch.setattr(type(found.constraint), "contains", lambda *_: True)
    worst = find_worst(setting, found, setting.scorer.score(setting.fault_free()), [], [ALL_WRONG], lambda *_: None)
    assert draw_chip(setting, 3).acts != drawn
    assert worst.case.method.startswith("drawn_chip") == drawn


def test_a_law_of_upsets_that_strikes_nothing_on_a_chip_does_not_act(root):
    path = root / "scenarios" / "digits" / "digits_float.onnx"
    setting = make_setting(path, "gpu_sram_automotive", None, Options(limit=20, threads=1), torch_device="cpu")
    clean_scores(setting)
    drawn = draw_chip(setting, 3)
    effects = tuple(replace(one, law=replace(one.law, bits=None)) for one in drawn.effects)
    assert drawn._replace(effects=effects).acts
    assert not drawn._replace(effects=effects, upsets=()).acts
