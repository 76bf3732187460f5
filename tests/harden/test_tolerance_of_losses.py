"""Where a task counts no correct answers, the tolerance is a part of the clean loss, wherever it is applied."""

import numpy as np
import pytest

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.harden.curve import Point
from faultsim.harden.validate import LOST, MILD, PENALTY, Validator
from faultsim.library import find_model
from faultsim.model import load_model
from tests.harden.conftest import Arrays


def _validator(unit, tolerance=0.1):
    """A judge of a regression whose targets are off by about *unit*."""
    model = load_model(find_model("digits"))
    rng = np.random.default_rng(0)
    x = rng.random((60, *model.inputs[0].shape[1:]), dtype=np.float32)
    y = np.asarray(model.run({"image": x})["logits"]) + unit * rng.normal(size=(60, 10)).astype(np.float32)
    options = Options(limit=None, task="regression")
    setting = make_setting(model, "reram", Arrays("image", x, y), options, torch_device="cpu")
    return Validator(setting, None, chips=0, tolerance=tolerance, seed=0)


@pytest.mark.parametrize("unit", [0.01, 30.0])
def test_a_loss_may_rise_by_a_part_of_itself_before_it_is_penalized(unit):
    validator = _validator(unit)
    loss = -validator.clean
    assert validator.tolerance == pytest.approx(0.1 * loss)
    start = Point(0, 0.0, float("nan"), loss, float("nan"), -loss, float("nan"), 0.0)

    def promised(part, score):
        point = Point(1, 0.0, 0.0, loss * (1 + part), float("nan"), score, 0.0, 0.0)
        return validator.promise((start, point)) / loss

    assert promised(0.09, -1.05 * loss) == pytest.approx(-1.05)
    assert promised(0.3, (-1.05 - PENALTY * 0.2) * loss) == pytest.approx(-1.05 - MILD * 0.2)
    found = validator({name: array * np.float32(1.001) for name, array in validator.setting.fault_free().items()})
    short = max(found.loss - 1.1 * loss, 0.0)
    assert found.score == pytest.approx(-found.loss - PENALTY * short)
    assert found.score > LOST
