"""What is sent to workers: model and data as this process has prepared them, in whatever way they came."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from campaign_nets import Tiny

from faultsim import load_model
from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, plan_campaign
from faultsim.campaign.recipe import Prepared


def sent(model: Any, data: Path | None, **given: Any) -> tuple[Prepared, Prepared]:
    """What this process has, and what a worker makes of it."""
    options = Options(threads=1, **given)
    planned = plan_campaign(model, data, options=options, campaign=CampaignOptions(trials=5))
    return planned.prepared, planned.recipe.shared(planned.prepared.setting, threads=1, everything=True).prepare()


def test_a_worker_gets_data_that_were_drawn_in_a_given_shape(net: Tiny, tmp_path: Path) -> None:
    onnx.save(onnx.load(net.path), tmp_path / "alone.onnx")
    here, there = sent(tmp_path / "alone.onnx", None, input_shape=("x=1,2",))
    assert there.clean == here.clean


def test_a_worker_gets_data_that_were_preprocessed(net: Tiny, tmp_path: Path) -> None:
    (tmp_path / "half.yaml").write_text("scale: 0.5\n")
    here, there = sent(net.path, net.data, preprocess=tmp_path / "half.yaml", limit=20)
    assert there.clean == here.clean
    assert np.array_equal(there.setting.data.inputs(0, 20)["x"], here.setting.data.inputs(0, 20)["x"])


def test_a_worker_knows_the_axes_that_were_named_on_a_model(net: Tiny) -> None:
    model = load_model(net.path).with_batch_axes({"x": 0, "y": 0})
    here, there = sent(model, net.data)
    assert there.setting.model.given_axes == here.setting.model.given_axes == {"x": 0, "y": 0}
