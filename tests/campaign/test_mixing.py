"""Where rows hang on the batch size: graphs that mix samples, and what is screened or named beside them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_nets
from campaign_nets import Tiny, dynamic
from onnx import helper

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, plan_campaign, run_campaign
from faultsim.campaign.identify import campaign_identity, data_digest
from faultsim.campaign.mixing import mixes_batch
from faultsim.data.spec import batches
from faultsim.journal import Identity, JournalError
from faultsim.library import find_model


def injected(model: Path, data: Path, journal: Path | None = None, *, batch_size: int = 250, **given: Any) -> Any:
    options = Options(threads=1, batch_size=batch_size)
    return run_campaign(model, data, options=options, campaign=CampaignOptions(**given), journal=journal)


def named(model: Any, data: Path | None, *, batch_size: int = 250) -> Identity:
    options = Options(threads=1, batch_size=batch_size)
    return campaign_identity(plan_campaign(model, data, options=options, campaign=CampaignOptions(trials=5)).prepared)


def centred(net: Tiny, folder: Path) -> Path:
    """The same network, its outputs less their mean over the batch."""
    proto = onnx.load(net.path)
    proto.graph.node[1].output[0] = "raw"
    proto.graph.node.append(helper.make_node("ReduceMean", ["raw"], ["mean"], "mean", axes=[0], keepdims=1))
    proto.graph.node.append(helper.make_node("Sub", ["raw", "mean"], ["y"], "less"))
    onnx.save(proto, folder / "centred.onnx")
    return folder / "centred.onnx"


def test_rows_of_two_batch_sizes_are_not_mixed_where_a_graph_mixes_samples(net: Tiny, tmp_path: Path) -> None:
    model = centred(net, tmp_path)
    first = injected(model, net.data, tmp_path / "j", trials=48, batch_size=40)
    assert any("mixes the samples of a batch" in note for note in first.notes)
    with pytest.raises(JournalError, match='belongs to another campaign: the batch_size was 40, now "3, cut evenly"'):
        injected(model, net.data, tmp_path / "j", trials=96, batch_size=3)


@pytest.mark.parametrize("name", ["digits", "digits_int8"])
def test_the_batch_size_is_no_part_of_the_identity_of_other_graphs(name: str) -> None:
    found = [named(find_model(name), None, batch_size=size) for size in (1, 7, 250)]
    assert len({one.id for one in found}) == 1
    assert "batch_size" not in found[0].parts


def test_rounding_that_hangs_on_the_place_in_the_batch_is_no_mixing(net: Tiny) -> None:
    setting = plan_campaign(net.path, net.data, campaign=CampaignOptions(trials=5)).prepared.setting
    opened = setting.scorer.runner.open

    def by_place(scale: float) -> Any:
        def run(feeds: Any, start: int = 0) -> Any:
            found = opened()(feeds, start)
            return found * (1 + scale * np.arange(len(found))[:, None]).astype(np.float32)

        return lambda numbers=None: run

    for scale, mixed in ((1e-7, False), (1.0, True)):
        setting.scorer.runner.open = by_place(scale)  # type: ignore[method-assign]
        assert mixes_batch(setting) is mixed


def test_a_screen_takes_the_batches_of_the_exact_campaign_where_a_graph_mixes_samples(
    net: Tiny, tmp_path: Path
) -> None:
    """Nothing of such a trial is left to the screen: its rates are the exact ones of the same trials."""
    x = net.inputs.copy()
    x[:36] *= 0.01
    x[36:] *= 1000
    np.savez(tmp_path / "x.npz", x=x)
    model = dynamic(net, tmp_path)
    exact = injected(model, tmp_path / "x.npz", trials=96, batch_size=4)  # a census
    screened = injected(model, tmp_path / "x.npz", trials=400, batch_size=4, screen=True)
    assert screened.provenance.ways == {"exact": 400}
    assert screened.rates.changed.low <= exact.rates.changed.value <= screened.rates.changed.high
    assert screened.rates.changed.value == pytest.approx(exact.rates.changed.value, abs=0.04)


def test_a_screen_takes_whole_batches_where_a_graph_fixes_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    onnx.save(tiny_nets.insisting(tiny_nets.dense(), 4), tmp_path / "f.onnx")
    np.savez(tmp_path / "f.npz", x=rng.normal(size=(40, 6)).astype(np.float32))
    found = injected(tmp_path / "f.onnx", tmp_path / "f.npz", trials=60, screen=True)
    assert found.provenance.ways == {"exact": 60}


@pytest.mark.parametrize("kind", [np.str_, object])
def test_the_digest_of_texts_is_the_same_for_every_batch_size(kind: type) -> None:
    labels = np.array(["a b", "c", "d e f", "g"]).astype(kind)

    class Texts:
        source, notes = "", ()

        def __len__(self) -> int:
            return 4

        def inputs(self, start: int, stop: int) -> dict[str, Any]:
            return {"x": np.zeros((4, 2), np.float32)[start:stop]}

        def labels(self, start: int, stop: int) -> Any:
            found = labels[start:stop]
            return found.astype(object) if kind is object else np.array(found.tolist())  # as wide as these need

    def digest(size: int) -> str:
        scorer = SimpleNamespace(
            batches=lambda: batches(Texts(), size),  # type: ignore[arg-type]
            batch_labels=lambda batch: batch.labels,
        )
        return data_digest(SimpleNamespace(task=None, model=SimpleNamespace(inputs=[]), scorer=scorer))  # type: ignore[arg-type]

    assert len({digest(size) for size in (1, 2, 3, 4)}) == 1
    labels[1] = "h"
    assert digest(4) == digest(2)
