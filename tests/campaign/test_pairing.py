"""Pairs that cannot be compared are refused before anything is injected; what was computed outlives the rest."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from campaign_nets import Tiny, imaginary, scored
from onnx import numpy_helper

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, Interrupted, Shard, outcome, plan_campaign, run_campaign
from faultsim.campaign.draw import Draws
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.identify import campaign_identity
from faultsim.campaign.pairing import Paired, compare
from faultsim.errors import OptionError
from faultsim.journal import Columns, open_journal
from faultsim.journal.scan import Block
from faultsim.rng import generator
from faultsim.stats.paired_interval import dense, paired_interval


def injected(net: Tiny, journal: Path | None = None, other: Path | None = None, **given: Any) -> Any:
    extra = {name: given.pop(name) for name in ("progress",) if name in given}
    return run_campaign(
        net.path,
        net.data,
        options=Options(threads=1),
        campaign=CampaignOptions(**given),
        journal=journal,
        paired_with=other,
        **extra,
    )


@pytest.mark.parametrize("trials", [2, 90])
def test_campaigns_without_a_common_trial_are_refused_before_one_is_run(net: Tiny, tmp_path: Path, trials: int) -> None:
    injected(net, tmp_path / "a", trials=90, shard=Shard(number=1, of=2))
    with pytest.raises(OptionError, match=r"a: it scored 45 trials, none of them one that is asked for here"):
        injected(net, tmp_path / "b", tmp_path / "a", trials=trials, shard=Shard(number=2, of=2))
    assert not (tmp_path / "b").exists()


def test_trials_of_a_stop_rule_that_no_other_campaign_has_are_refused(net: Tiny, tmp_path: Path) -> None:
    found = plan_campaign(net.path, net.data, options=Options(threads=1), campaign=CampaignOptions(trials=5))
    with open_journal(tmp_path / "a", campaign_identity(found.prepared), COLUMNS):
        pass
    with pytest.raises(OptionError, match="it scored 0 trials, none of them one that is asked for here"):
        injected(net, None, tmp_path / "a", until="halfwidth<=0.2@0.9")


def test_an_interrupted_campaign_that_cannot_be_compared_yet_has_a_result(net: Tiny, tmp_path: Path) -> None:
    injected(net, tmp_path / "a", trials=96, shard=Shard(number=96, of=96))

    def stop(phase: str, done: int, total: int) -> None:
        if phase == "trials" and done:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        injected(net, None, tmp_path / "a", trials=96, progress=stop)
    result = caught.value.result
    assert result is not None
    assert 0 < result.trials < 96
    assert result.paired is None
    assert any("Not compared with the other campaign: " in note for note in result.notes)


def test_a_comparison_that_fails_at_the_end_leaves_the_result(
    net: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    injected(net, tmp_path / "a", trials=20)

    def fails(*given: Any, counts_correct: bool) -> None:
        raise OptionError("it cannot be")

    monkeypatch.setattr(outcome, "compare", fails)
    result = injected(net, None, tmp_path / "a", trials=20)
    assert result.paired is None
    assert "Not compared with the other campaign: it cannot be." in result.notes


def test_ctrl_c_in_the_comparison_keeps_the_result(net: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    injected(net, tmp_path / "a", trials=20)
    done, pressed = outcome.compare, [True]

    def stops(*given: Any, counts_correct: bool) -> Any:
        if pressed and pressed.pop():
            raise KeyboardInterrupt
        return done(*given, counts_correct=counts_correct)

    monkeypatch.setattr(outcome, "compare", stops)
    with pytest.raises(Interrupted) as caught:
        injected(net, None, tmp_path / "a", trials=20)
    assert caught.value.result.paired.trials == 20


@pytest.mark.parametrize("task", ["regression", "top1"])
def test_accuracy_is_compared_where_the_task_counts_correct_answers(net: Tiny, tmp_path: Path, task: str) -> None:
    with np.load(net.data) as held:
        np.savez(tmp_path / "x.npz", x=held["x"])
    given = {"options": Options(threads=1, task=task), "campaign": CampaignOptions(trials=20)}
    run_campaign(net.path, tmp_path / "x.npz", **given, journal=tmp_path / "a")
    result = run_campaign(net.path, tmp_path / "x.npz", **given, paired_with=tmp_path / "a")
    assert result.paired is not None
    assert (result.accuracy is not None) == (task == "top1")
    assert ("accuracy" in {one.quantity for one in result.paired.differences}) == (task == "top1")


def test_a_pair_of_all_faults_has_no_width(net: Tiny, tmp_path: Path) -> None:
    injected(net, tmp_path / "a", trials=96)
    other = onnx.load(net.path)
    weight = numpy_helper.to_array(other.graph.initializer[0])
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight[::-1] * np.float16(2), "w"))
    onnx.save(other, tmp_path / "other.onnx")
    given = {"options": Options(threads=1), "paired_with": tmp_path / "a"}
    for trials in (95, 96):
        paired = run_campaign(
            tmp_path / "other.onnx", net.data, campaign=CampaignOptions(trials=trials), **given
        ).paired
        assert paired is not None
        for one in paired.differences:
            assert (one.low == one.value == one.high) == (trials == 96)
            assert (one.words.find("which are all there are") > 0) == (trials == 96)
            assert one.claimed == (one.value != 0) or trials < 96


def test_a_journal_with_other_columns_is_refused_before_a_row_is_unpacked(
    net: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = plan_campaign(net.path, net.data, options=Options(threads=1), campaign=CampaignOptions(trials=5))
    large = Columns(byte_arrays=(("b", 2**20),))
    with open_journal(tmp_path / "a", campaign_identity(found.prepared), large) as journal:
        journal.append([(trial, np.zeros(2**20, np.uint8)) for trial in range(3)])
    unpacked: list[Path] = []
    monkeypatch.setattr(Block, "table", lambda self, columns, path: unpacked.append(path))
    with pytest.raises(OptionError, match="its rows are of another version of faultsim; run that campaign again"):
        injected(net, None, tmp_path / "a", trials=5)
    assert unpacked == []


def test_faults_that_were_not_drawn_may_do_more_than_all_that_were() -> None:
    draws = Draws(imaginary(), 3)
    trials = np.arange(400)
    noise = generator(0, -1, "dense").normal(0.3, 0.03, (2, 400))
    here, there = (scored(draws, trials, lambda faults, one=one: one) for one in noise - [[0.02], [0.0]])
    apart = (here["mismatch"] - there["mismatch"]) / 100
    by = {
        one.quantity: one
        for one in compare(here, Paired(Path("a"), "", there), 0.95, draws, counts_correct=True).differences
    }
    assert dense(apart, span=1.0)
    expected = paired_interval(apart, level=0.95, span=1.0, population=draws.population.faults, tailed=True)
    assert (by["changed"].low, by["changed"].value, by["changed"].high) == pytest.approx(expected)
    assert by["changed"].low < expected.best - 5 * apart.std() / 20
    assert (by["accuracy"].low, by["accuracy"].high) == pytest.approx((-expected.high, -expected.low))
