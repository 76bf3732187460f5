"""Whole campaigns: against brute force, and the same result whoever computes it, how, and in how many runs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from campaign_nets import Tiny, changed_by_every_bit
from onnx import numpy_helper

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, Interrupted, Shard, run_campaign
from faultsim.errors import DeviceError, OptionError
from faultsim.journal import JournalError, merge, read_journal
from faultsim.library import find_model
from faultsim.results.injection import InjectionResult


def plain(result: InjectionResult) -> dict[str, Any]:
    """The result without what it took."""
    return result.model_dump(exclude={"provenance"})


def injected(
    model: Any, journal: Path | None = None, *, limit: int = 60, batch_size: int = 250, threads: int = 1, **given: Any
) -> InjectionResult:
    extra = {name: given.pop(name) for name in ("paired_with", "progress", "device", "data") if name in given}
    seed = given.pop("seed", 0)
    options = Options(limit=limit, batch_size=batch_size, threads=threads, seed=seed)
    return run_campaign(model, options=options, campaign=CampaignOptions(**given), journal=journal, **extra)


@pytest.mark.parametrize("engine", ["sweep", "plain"])
@pytest.mark.parametrize("stratify", ["none", "site,bit", "bit"])
def test_a_census_finds_what_brute_force_finds(net: Tiny, tmp_path: Path, engine: str, stratify: str) -> None:
    truth = changed_by_every_bit(net)
    result = injected(net.path, tmp_path / "j", trials=96, engine=engine, stratify=stratify)
    rows = read_journal(tmp_path / "j").rows
    found = np.zeros_like(truth)
    found[rows["element"], rows["bit"]] = rows["mismatch"]
    assert np.array_equal(found, truth)
    rates = result.rates
    assert rates.critical.value == rates.critical.low == rates.critical.high == pytest.approx((truth > 0).mean())
    assert rates.changed.value == pytest.approx(truth.mean() / len(net.inputs))
    assert rates.changed.high - rates.changed.low < 1e-9
    for one in result.bits:
        bit = int(one.name.split()[1])
        assert one.rates is not None
        assert one.rates.critical.value == pytest.approx((truth[:, bit] > 0).mean())
    assert result.outcomes.trials_critical == int((truth > 0).sum())
    assert result.worst[0].mismatch == truth.max()


@pytest.mark.parametrize("name", ["digits", "digits_int8"])
@pytest.mark.parametrize("flips", [1, 3])
def test_the_sweep_gives_the_result_of_whole_passes_for_every_batch_size(name: str, flips: int) -> None:
    model = find_model(name)
    wanted = plain(injected(model, trials=60, engine="plain", flips=flips))
    for batch_size in (250, 7, 1):
        found = injected(model, trials=60, batch_size=batch_size, flips=flips)
        assert plain(found) == wanted
    assert sum(found.provenance.ways.values()) == 60


def test_the_room_for_activations_changes_no_figure() -> None:
    model = find_model("digits")
    least, most = (injected(model, trials=30, limit=600, memory_mib=room) for room in (16, 4096))
    assert plain(least) == plain(most)


def test_a_result_is_read_back_and_counts_every_input_once(net: Tiny) -> None:
    result = injected(net.path, trials=30)
    assert InjectionResult.model_validate_json(result.model_dump_json()) == result
    outcomes = result.outcomes
    total = sum(getattr(outcomes, name).total for name in ("masked", "tolerable", "critical", "nonfinite"))
    assert total == 30 * 40
    assert result.population == 96
    assert [one.population for one in result.sites] == [96]


def test_a_campaign_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    model = find_model("digits")
    whole = injected(model, tmp_path / "whole", trials=80, stratify="bit")

    def stop(phase: str, done: int, total: int) -> None:
        if phase == "trials" and done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        injected(model, tmp_path / "part", trials=80, stratify="bit", progress=stop)
    partial = caught.value.result
    assert partial is not None
    assert partial.stopped == f"interrupted after {partial.trials} of 80 trials"
    assert 10 <= partial.trials < 80
    assert partial.rates.critical.low < partial.rates.critical.high
    again = injected(model, tmp_path / "part", trials=80, stratify="bit")
    assert plain(again) == plain(whole)
    assert again.provenance.computed == 80 - partial.trials


def test_an_interrupted_stop_rule_gives_the_interval_of_all_that_was_done(tmp_path: Path) -> None:
    model = find_model("digits")
    given: dict[str, Any] = {"limit": 20, "until": "halfwidth<=0.001@0.9", "trials": 400}

    def stop(phase: str, done: int, total: int) -> None:
        if phase == "trials" and done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        injected(model, tmp_path / "part", progress=stop, **given)
    partial = caught.value.result
    assert partial is not None
    assert partial.stop is not None
    assert partial.stop.words.startswith(f"stop rule not met after {partial.trials} trials")
    assert partial.stop.low <= partial.rates.critical.value <= partial.stop.high < 1
    assert plain(injected(model, tmp_path / "part", **given)) == plain(injected(model, **given))


@pytest.mark.parametrize(
    ("given", "met", "narrow"),
    [
        ({"until": "halfwidth<=0.2@0.9", "trials": 96}, True, False),  # a census: nothing is left to draw
        ({"until": "halfwidth<=0.2@0.9", "trials": 90}, True, True),
        ({"until": "halfwidth<=0.001@0.9", "trials": 90}, False, False),
    ],
)
def test_other_intervals_are_too_narrow_where_a_rule_stopped_the_draw(
    net: Tiny, given: dict[str, Any], met: bool, narrow: bool
) -> None:
    result = injected(net.path, **given)
    assert result.stop is not None
    assert result.stop.met == met
    assert any("makes them a little too narrow" in note for note in result.notes) == narrow
    assert any("The stop rule's own interval holds at any time." in note for note in result.notes)


def test_a_second_phase_that_has_only_begun_gives_the_estimate_of_the_pilot(net: Tiny, tmp_path: Path) -> None:
    given: dict[str, Any] = {"trials": 64, "pilot": 32, "stratify": "bit", "allocation": "neyman"}
    told: list[int] = []

    def stop(phase: str, done: int, total: int) -> None:
        told.extend([done] * (phase == "trials" and done >= 32))
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        injected(net.path, tmp_path / "j", progress=stop, **given)
    partial = caught.value.result
    assert partial is not None
    pilot = injected(net.path, trials=32, stratify="bit")
    assert partial.rates == pilot.rates
    assert [(one.trials, one.pilot) for one in partial.strata] == [(2, 0)] * 16
    assert partial.rates.critical.unseen == 0
    assert plain(injected(net.path, tmp_path / "j", **given)) == plain(injected(net.path, **given))


def test_a_journal_serves_more_trials_of_any_allocation(tmp_path: Path) -> None:
    model = find_model("digits")
    injected(model, tmp_path / "j", trials=64, stratify="bit")
    more = injected(model, tmp_path / "j", trials=120, stratify="bit", allocation="neyman", pilot=70)
    alone = injected(model, trials=120, stratify="bit", allocation="neyman", pilot=70)
    assert plain(more) == plain(alone)
    assert more.provenance.computed < 120


def test_shards_united_are_the_whole(tmp_path: Path) -> None:
    model = find_model("digits")
    whole = injected(model, trials=70, stratify="site")
    for k in (1, 2, 3):
        part = injected(model, tmp_path / f"s{k}", trials=70, stratify="site", shard=Shard(number=k, of=3))
        assert part.shard == f"{k}/3"
        assert part.trials in (23, 24)
    merge([tmp_path / f"s{k}" for k in (3, 1, 2)], tmp_path / "m")
    united = injected(model, tmp_path / "m", trials=70, stratify="site")
    assert united.provenance.computed == 0
    assert plain(united) == plain(whole)


def test_a_wave_goes_on_at_the_pace_of_the_one_before() -> None:
    done: list[int] = []

    def told(phase: str, upto: int, total: int) -> None:
        if phase == "trials":
            done.append(upto)

    injected(find_model("digits"), limit=20, until="halfwidth<=0.0005@0.9", trials=512, progress=told)
    assert done[:2] == [0, 16]
    second = done.index(256) + 2  # the wave before it ends, and it is told of before it begins
    assert done[second - 1] == 256
    assert done[second] - 256 > 16


def test_a_stop_rule_stops_and_says_so() -> None:
    model = find_model("digits_int8")
    results = [
        injected(model, limit=20, batch_size=size, until="halfwidth<=0.05@0.9", trials=2000) for size in (250, 6)
    ]
    assert plain(results[0]) == plain(results[1])
    stop = results[0].stop
    assert stop is not None
    assert stop.met
    assert (stop.high - stop.low) / 2 <= 0.05
    assert stop.words.startswith(f"stopped by rule after {results[0].trials} trials")
    assert any("holds at any time" in note for note in results[0].notes)
    capped = injected(model, limit=20, until="halfwidth<=0.0005@0.9", trials=300)
    assert capped.stop is not None
    assert not capped.stop.met
    assert capped.trials == 300
    assert capped.stop.words.startswith("stop rule not met after 300 trials")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "digits_int8"])
def test_two_workers_give_the_result_of_one_process(name: str, tmp_path: Path) -> None:
    model = find_model(name)
    one = injected(model, tmp_path / "one", trials=150, stratify="bit")
    two = injected(model, tmp_path / "two", trials=150, stratify="bit", workers=2, threads=2)
    assert plain(one) == plain(two)
    assert two.provenance.executor == "2 processes"


def test_before_and_after_are_compared_fault_by_fault(net: Tiny, tmp_path: Path) -> None:
    """The second model adds so much to one class that no finite fault changes an answer."""
    first = injected(net.path, tmp_path / "a.jsonl", trials=96)
    proto = onnx.load(net.path)
    proto.graph.node[1].input.append("b")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1e30, 0, 0], np.float32), "b"))
    hard = tmp_path / "hard.onnx"
    onnx.save(proto, hard)
    second = injected(hard, tmp_path / "b.jsonl", trials=96, data=net.data, paired_with=tmp_path / "a.jsonl")
    assert second.paired is not None
    assert second.paired.trials == 96
    by = {one.quantity: one for one in second.paired.differences}
    assert by["critical"].value == pytest.approx(second.rates.critical.value - first.rates.critical.value)
    assert by["critical"].claimed
    assert by["critical"].high < 0
    assert "is lower on the same 96 faults" in by["critical"].words


def test_other_faults_are_not_compared(net: Tiny, tmp_path: Path) -> None:
    injected(net.path, tmp_path / "a.jsonl", trials=20, seed=1)
    with pytest.raises(OptionError, match="its faults are not the same: the seed is 1, here 0"):
        injected(net.path, trials=20, paired_with=tmp_path / "a.jsonl")
    (tmp_path / "out").mkdir()
    with pytest.raises(OptionError, match=r"there is no journal.jsonl beside it"):
        injected(net.path, trials=20, paired_with=tmp_path / "out")


def test_trials_that_are_not_as_likely_are_not_compared(net: Tiny, tmp_path: Path) -> None:
    """Nothing is loaded before that: the model is not there. The mean over strata is not that over their faults."""
    for stratify in ("bit", "site", "site,bit"):
        with pytest.raises(OptionError, match=rf"those of --stratify {stratify} are not: leave --stratify out of both"):
            injected(tmp_path / "nothing.onnx", trials=40, stratify=stratify, paired_with=tmp_path / "a.jsonl")
    injected(net.path, tmp_path / "a.jsonl", trials=40, stratify="bit")
    with pytest.raises(OptionError, match='its faults are not the same: the stratify is "bit", here "none"'):
        injected(net.path, trials=40, paired_with=tmp_path / "a.jsonl")


def test_a_journal_of_another_campaign_is_refused(net: Tiny, tmp_path: Path) -> None:
    injected(net.path, tmp_path / "j", trials=10)
    with pytest.raises(JournalError, match="belongs to another campaign: the seed was 0, now 1"):
        injected(net.path, tmp_path / "j", trials=10, seed=1)


def test_a_device_stores_its_own_words(net: Tiny) -> None:
    result = injected(find_model("digits"), trials=20, device="sram_low_voltage")
    assert result.storage is not None
    assert result.storage.name == "sram_low_voltage"
    assert {one.name.split()[0] for one in result.bits} == {"int8"}
    assert result.population == 8 * (result.model.tested_parameters or 0)
    with pytest.raises(DeviceError, match="stores conductances, in which no bit can flip"):
        injected(net.path, trials=20, device="reram")


def test_other_roles_join_the_population() -> None:
    model = find_model("digits")
    weights = injected(model, trials=20)
    both = injected(model, trials=20, roles=("weight", "bias"))
    assert both.population > weights.population
    with pytest.raises(OptionError, match="no tensor of the model has a role of --roles zero_point; give other roles"):
        injected(model, trials=20, roles=("zero_point",))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"until": "halfwidth<0.1"}, "is not understood"),
        ({"until": "halfwidth<=0.1@0.9", "stratify": "bit"}, "leave --stratify out"),
        ({"until": "halfwidth<=0.1@0.9", "shard": Shard(number=1, of=2)}, "leave --shard out"),
        ({"allocation": "neyman"}, "give --stratify"),
        ({"allocation": "neyman", "stratify": "bit", "shard": Shard(number=1, of=2)}, "needs every shard's pilot"),
        ({"pilot": 10}, "--pilot goes with --allocation neyman"),
        ({"trials": 0}, "--trials is 0, allowed is at least 1"),
        ({"workers": 0}, "--workers is 0, allowed is 1 to 1024"),
        ({"memory_mib": 1}, "--memory is 1, allowed is at least 16"),
        ({"margin": 1.0}, "--margin is 1"),
        ({"roles": ("wight",)}, "--roles is 'wight'"),
        ({"ray_address": "auto"}, "goes with --executor ray"),
        ({"stratify": "layer"}, "--stratify is 'layer', allowed are none, site, bit, site,bit"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        CampaignOptions(**given)


def test_more_trials_than_faults_and_flips_are_refused(net: Tiny) -> None:
    with pytest.raises(OptionError, match="--trials is 97, the population holds 96 different faults"):
        injected(net.path, trials=97)
    with pytest.raises(OptionError, match="--flips is 97, allowed are 1 to 96"):
        injected(net.path, trials=5, flips=97)


def test_the_default_number_of_trials_is_leveugles(net: Tiny) -> None:
    result = injected(net.path, margin=0.2)
    assert result.trials == 20  # 96 / (1 + 95 · 0.04 / (1.96² / 4)) = 19.4, rounded up
    assert "Leveugle" in result.plan


def test_rows_do_not_name_a_machine(net: Tiny, tmp_path: Path) -> None:
    injected(net.path, tmp_path / "j", trials=10)
    assert str(tmp_path) not in (tmp_path / "j").read_text()


def test_a_shard_says_how_many_trials_the_whole_campaign_has() -> None:
    model, third = find_model("digits"), Shard(number=2, of=3)
    whole, part = (injected(model, limit=20, margin=0.15, **given) for given in ({}, {"shard": third}))
    assert part.planned == whole.planned == whole.trials
    assert part.plan == whole.plan
    assert part.trials in (whole.trials // 3, whole.trials // 3 + 1)
