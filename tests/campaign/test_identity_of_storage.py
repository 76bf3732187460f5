"""Which tensors a device stores beside those that faults are drawn in is a part of what a campaign samples."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from campaign_nets import Tiny
from onnx import numpy_helper

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, plan_campaign, run_campaign
from faultsim.campaign.identify import campaign_identity
from faultsim.campaign.judging import comparable
from faultsim.errors import OptionError
from faultsim.journal import Identity, JournalError, difference, identity, merge
from faultsim.library import find_model

DEVICE = "sram_low_voltage"
DIGITS = find_model("digits")


def options(**given: Any) -> Options:
    return Options(threads=1, limit=30, **given)


def named(
    model: Path, device: str | None = DEVICE, *, role: str = "bias", data: Path | None = None, **given: Any
) -> Identity:
    campaign = CampaignOptions(trials=5, roles=(role,))
    planned = plan_campaign(model, data, device=device, options=options(**given), campaign=campaign)
    return campaign_identity(planned.prepared)


def injected(journal: Path | None, *, other: Path | None = None, **given: Any) -> Any:
    campaign = CampaignOptions(trials=8, roles=("bias",))
    return run_campaign(
        DIGITS, device=DEVICE, options=options(**given), campaign=campaign, journal=journal, paired_with=other
    )


@pytest.mark.parametrize("chosen", [{"sites": ("*bias",)}, {"exclude": ("*weight",)}])
def test_rows_of_another_fault_free_chip_are_not_mixed(tmp_path: Path, chosen: dict[str, Any]) -> None:
    whole, part = injected(tmp_path / "whole"), injected(tmp_path / "part", **chosen)
    assert whole.campaign != part.campaign
    with pytest.raises(JournalError, match=r'the storage\.beside\.conv1\.weight was "\w+", now "as deployed"'):
        injected(tmp_path / "whole", **chosen)
    with pytest.raises(JournalError, match=r"the storage\.beside\..*merge only shards of one campaign"):
        merge([tmp_path / "whole", tmp_path / "part"], tmp_path / "m")
    with pytest.raises(OptionError, match=r'storage\.beside\.conv1\.weight is "stored", here "as deployed"'):
        injected(None, other=tmp_path / "whole", **chosen)
    assert injected(None, other=tmp_path / "part", **chosen).paired.trials == 8


def test_one_tensor_left_out_of_the_chip_is_told() -> None:
    found = [named(DIGITS, exclude=exclude) for exclude in ((), ("conv1.weight",), ("conv*.weight",))]
    assert len({one.id for one in found}) == 3
    assert [one.parts["sites"] for one in found[1:]] == [found[0].parts["sites"]] * 2


def test_deployed_storage_holds_nothing_beside_its_sites() -> None:
    chosen = named(DIGITS, None, sites=("*bias",))
    assert chosen == named(DIGITS, None)
    assert chosen.parts["storage"] == {"name": "deployed format", "sha256": None}


def test_a_tensor_that_one_model_alone_has_is_no_other_storage(net: Tiny, tmp_path: Path) -> None:
    proto = onnx.load(net.path)
    proto.graph.node[1].input.append("b")
    proto.graph.initializer.append(numpy_helper.from_array(net.inputs[0, :1].repeat(3), "b"))
    onnx.save(proto, tmp_path / "b.onnx")
    models = (net.path, tmp_path / "b.onnx")
    without, with_ = (named(path, role="weight", data=net.data).parts for path in models)
    assert with_["storage"] != without["storage"]
    assert not difference(comparable(without, with_), comparable(with_, without))


def test_storage_of_a_version_that_named_no_tensors_is_another() -> None:
    parts = named(DIGITS).parts
    storage = parts["storage"]
    assert isinstance(storage, dict)
    old = identity({**parts, "storage": {name: storage[name] for name in ("name", "sha256")}}).parts
    said = difference(comparable(old, parts), comparable(parts, old))
    assert said.startswith("the storage.beside was not given, now {")
