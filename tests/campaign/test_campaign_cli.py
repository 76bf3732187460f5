"""``faultsim campaign`` and ``faultsim merge``: what is printed, written and refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from campaign_nets import Tiny
from onnx import numpy_helper

from faultsim.cli import main
from faultsim.report.injection import lines, share
from faultsim.results.injection import InjectionResult


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def faultsim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*words: object) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        seen = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), seen.out, seen.err)

    return call


def read(folder: Path) -> InjectionResult:
    return InjectionResult.model_validate_json((folder / "result.json").read_text())


def test_a_campaign_writes_a_result_that_loads_and_a_report_of_80_columns(
    faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcome = faultsim("campaign", net.path, "--trials", 50, "--stratify", "bit", "-o", out, "-q")
    assert outcome.code == 0, outcome.err
    result = read(out)
    assert result.trials == 50
    assert result.provenance.journal == str(out / "journal.jsonl")
    shown = outcome.out.splitlines()
    assert all(len(line) <= 80 for line in shown if not line.startswith("written"))
    row = next(line for line in shown if line.startswith("critical"))
    critical = result.rates.critical
    assert share(critical.value) in row
    assert f"[{share(critical.low)}, {share(critical.high)}]" in row
    assert row.endswith(" 50")
    assert "16 strata by bit, proportional" in outcome.out
    worst = result.worst[0]
    assert f"trial {worst.trial}: {worst.mismatch} of 40 changed" in outcome.out


def test_the_report_holds_no_control_characters_of_foreign_names(net: Tiny, faultsim, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    faultsim("campaign", net.path, "--trials", 50, "-o", tmp_path / "out", "-q")
    result = read(tmp_path / "out")
    evil = result.sites[0].model_copy(update={"name": "\x1b[31mred"})
    shown = lines(result.model_copy(update={"sites": (evil,)}))
    assert not any("\x1b" in text for text, _ in shown)


def test_a_dry_run_injects_nothing(faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = faultsim("campaign", net.path, "--trials", 50, "--stratify", "site,bit", "-o", out, "--dry-run")
    assert outcome.code == 0, outcome.err
    assert not out.exists()
    assert "96 stored bits of 1 tensors" in outcome.out
    assert "16 by site,bit, of 6 to 6 bits" in outcome.out
    assert "50: as asked for" in outcome.out
    assert "ms a trial with --engine sweep" in outcome.out


def test_a_part_of_which_some_strata_have_no_trial_is_marked(net: Tiny, faultsim, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    faultsim("campaign", net.path, "--trials", 50, "-o", tmp_path / "out", "-q")
    result = read(tmp_path / "out")
    told = "* no trial was drawn in some of its strata"
    assert not any("*" in text for text, _ in lines(result))

    def unseen(part):  # type: ignore[no-untyped-def]
        rates = part.rates.model_copy(update={"critical": part.rates.critical.model_copy(update={"unseen": 0.1})})
        return part.model_copy(update={"rates": rates})

    site = next(one for one in result.sites if one.rates)
    for name, parts in (("sites", (unseen(site),)), ("bits", tuple(unseen(one) for one in result.bits if one.rates))):
        shown = [text for text, _ in lines(result.model_copy(update={name: parts}))]
        assert any(text.rstrip(" #█▏▎▍▌▋▊▉").endswith("]*") or text.endswith("%*") for text in shown)
        assert any(text.startswith(told) for text in shown)
        assert max(map(len, shown)) <= 80


def test_a_dry_run_refuses_what_cannot_be_paired(faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path) -> None:
    one = ("campaign", net.path, "--trials", 60, "-q")
    faultsim(*one, "-o", tmp_path / "first")
    dry = faultsim(*one, "--paired-with", tmp_path / "first", "--dry-run")
    assert dry.code == 0, dry.err
    assert "paired      with the 60 trials of" in dry.out
    for words, said in (
        (("--stratify", "bit"), "--paired-with compares trials that are all as likely"),
        (("--seed", "3"), "its faults are not the same: "),
    ):
        dry = faultsim(*one, *words, "--paired-with", tmp_path / "first", "--dry-run")
        assert dry.code == 2
        assert said in dry.err


def test_the_campaign_compared_with_is_not_written_over(
    faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path
) -> None:
    one = ("campaign", net.path, "--trials", 60, "-q")
    faultsim(*one, "-o", tmp_path / "first")
    kept = (tmp_path / "first" / "result.json").read_bytes()
    for other in (tmp_path / "first", tmp_path / "first" / "result.json", tmp_path / "first" / "journal.jsonl"):
        found = faultsim(*one, "--paired-with", other, "--journal", tmp_path / "own.jsonl", "-o", tmp_path / "first")
        assert found.code == 2
        assert "first: holds what --paired-with reads, which would be lost; give another folder" in found.err
    assert (tmp_path / "first" / "result.json").read_bytes() == kept


def test_shards_are_merged_by_command(faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path) -> None:
    one = ("campaign", net.path, "--trials", 60, "-q")
    faultsim(*one, "-o", tmp_path / "whole")
    for k in (1, 2):
        outcome = faultsim(*one, "--shard", f"{k}/2", "-o", tmp_path / f"s{k}")
        assert "shard" in outcome.out
    outcome = faultsim("merge", tmp_path / "s2", tmp_path / "s1" / "journal.jsonl", "-o", tmp_path / "m")
    assert outcome.code == 0, outcome.err
    assert "60 trials of 2 shards" in outcome.out
    outcome = faultsim(*one, "-o", tmp_path / "m")
    found, wanted = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("m", "whole"))
    assert found["provenance"].pop("computed") == 0
    for result in (found, wanted):
        del result["provenance"]
    assert found == wanted


def test_a_shard_is_shown_beside_the_whole(faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path) -> None:
    one = ("campaign", net.path, "--trials", 60, "--shard", "1/3")
    dry = faultsim(*one, "--dry-run").out
    assert "trials      20: shard 1/3 of 60 trials, as asked for" in dry
    assert "all shards together: a half-width of about" in dry
    shown = " ".join(faultsim(*one, "-q", "-o", tmp_path / "s1").out.split())
    assert "20 trials (none twice)" in shown
    assert "60 trials planned: as asked for" in shown
    assert "shard 1/3 of them alone: unite all shards" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until", "critical<=3"), "the stop rule 'critical<=3' is not understood: write"),
        (("--until", "halfwidth<=0.7@0.9"), "limit 0.7 is out of range"),
        (("--shard", "6/5"), "--shard 6/5 is out of range: give 1/5 to 5/5"),
        (("--trials", "4", "--shard", "5/9"), "shard 5/9 holds none of 4 trials; give fewer shards or more trials"),
        (("--trials", "4", "--shard", "5/9", "--dry-run"), "shard 5/9 holds none of 4 trials"),
        (("--shard", "1/0"), "--shard 1/0 is out of range: give 1 to 1,000,000 shards, such as 2/5"),
        (("--shard", "1/1000001"), "--shard 1/1000001 is out of range: give 1 to 1,000,000 shards, such as 2/5"),
        (("--shard", "0/5"), "--shard 0/5 is out of range: give 1/5 to 5/5"),
        (("--shard", "x"), "--shard 'x' is not understood: give NUMBER/SHARDS"),
        (("--trials", "97"), "--trials is 97, the population holds 96 different faults"),
        (("--trials", "4", "--stratify", "bit"), "--trials is 4 for 16 strata"),
        (("--sites", "wx"), "--sites 'wx' fits no site of tiny.onnx"),
        (("--roles", "bias"), "no tensor of the model has a role of --roles bias; give other roles"),
        (
            ("--until", "accuracy halfwidth<=0.1@0.9", "--task", "regression", "--data", "values.npz"),
            "the task regression counts no correct answers; let the rule look at critical or sdc",
        ),
        (("--torch-device", "warp"), "torch device 'warp' cannot be used here"),
        (("--memory", "1"), "--memory is 1, allowed is at least 16"),
        (("--device", "reram"), "stores conductances, in which no bit can flip"),
        (
            ("--paired-with", "nothing.jsonl"),
            "nothing.jsonl: the journal cannot be read (No such file or directory); give the path of a journal that is "
            "there",
        ),
        (
            ("--paired-with", "nothing.jsonl", "--stratify", "bit"),
            "--paired-with compares trials that are all as likely, those of --stratify bit are not: leave --stratify "
            "out of both campaigns",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    faultsim: Callable[..., Outcome],
    net: Tiny,
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.savez(tmp_path / "values.npz", x=net.inputs, y=net.inputs @ net.weight.astype(np.float32).T)
    monkeypatch.chdir(tmp_path)
    outcome = faultsim("campaign", net.path, "--limit", 20, *words)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


def test_strata_without_a_trial_are_owned_up_to(faultsim: Callable[..., Outcome], net: Tiny) -> None:
    given = ("campaign", net.path, "--trials", 20, "--stratify", "bit", "-q")
    part, whole = (" ".join(faultsim(*given, *more).out.split()) for more in (("--shard", "5/5"), ()))
    said = "No trial was drawn in the strata that hold 75 % of the faults: the intervals allow any value there"
    assert said in part
    assert "No trial was drawn" not in whole


def test_a_journal_of_another_seed_is_refused(faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path) -> None:
    faultsim("campaign", net.path, "--trials", 10, "-o", tmp_path / "o", "-q")
    outcome = faultsim("campaign", net.path, "--trials", 10, "--seed", 2, "-o", tmp_path / "o", "-q")
    assert outcome.code == 2
    assert "belongs to another campaign: the seed was 0, now 2" in outcome.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_without_a_gpu_one_sentence_says_so(faultsim: Callable[..., Outcome], net: Tiny) -> None:
    outcome = faultsim("campaign", net.path, "--trials", 10, "--torch-device", "cuda")
    assert outcome.code == 2
    assert outcome.err.startswith("faultsim: torch device 'cuda' cannot be used here")
    assert outcome.err.count("\n") == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_the_same_critical_faults(faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        assert (
            faultsim("campaign", net.path, "--trials", 96, "--torch-device", device, "-o", tmp_path / device).code == 0
        )
    assert read(tmp_path / "cpu").rates == read(tmp_path / "cuda").rates


def test_without_ray_one_sentence_says_what_to_install(
    faultsim: Callable[..., Outcome], net: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = faultsim("campaign", net.path, "--trials", 10, "--executor", "ray")
    assert outcome.code == 2
    assert "--executor ray needs Ray, which is not installed; pip install ray" in outcome.err


def test_the_help_names_every_choice(faultsim: Callable[..., Outcome]) -> None:
    said = faultsim("campaign", "--help").out
    for word in (
        "--until",
        "--stratify",
        "site,bit",
        "--allocation",
        "neyman",
        "--shard",
        "--workers",
        "--paired-with",
    ):
        assert word in said


@pytest.mark.parametrize(
    ("fraction", "words"),
    [(0.0, "0%"), (1.0, "100.0%"), (0.123, "12.3%"), (0.01234, "1.23%"), (0.00012, "0.0120%"), (1e-7, "1.0e-05%")],
)
def test_a_rare_share_is_not_shown_as_none(fraction: float, words: str) -> None:
    assert share(fraction) == words


def test_two_models_are_compared_on_the_same_faults(
    faultsim: Callable[..., Outcome], net: Tiny, tmp_path: Path
) -> None:
    """The second model is the first one upside down: every answer is another, no fault matters otherwise."""
    proto = onnx.load(net.path)
    held = proto.graph.initializer[0]
    held.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(held), held.name))
    onnx.save(proto, tmp_path / "second.onnx")
    faultsim("campaign", net.path, "--trials", 96, "-o", tmp_path / "a", "-q")
    given = ("campaign", tmp_path / "second.onnx", "--data", net.data, "--trials", 96, "-q")
    outcome = faultsim(*given, "--paired-with", tmp_path / "a" / "result.json", "-o", tmp_path / "b")
    assert outcome.code == 0, outcome.err
    first, second = read(tmp_path / "a"), read(tmp_path / "b")
    assert second.paired is not None
    assert second.paired.other_model == first.model.sha256
    accuracy = next(one for one in second.paired.differences if one.quantity == "accuracy")
    assert first.accuracy is not None
    assert second.accuracy is not None
    assert accuracy.value == pytest.approx(second.accuracy.value - first.accuracy.value)
    assert accuracy.claimed
    assert f"this model (the second) against {first.model.sha256[:12]} (the first), 96 faults" in outcome.out
    refused = faultsim(*given, "--seed", 1, "--paired-with", tmp_path / "a")
    assert refused.code == 2
    assert "its faults are not the same: the seed is 0, here 1" in refused.err


def test_a_screened_campaign_says_what_it_saved(faultsim: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = faultsim("campaign", "digits_int8", "--limit", 60, "--trials", 64, "--screen", "-o", tmp_path, "-q")
    assert outcome.code == 0, outcome.err
    screen = read(tmp_path).screen
    assert screen is not None
    assert f"screen         {share(screen.evaluated)} of all predictions were evaluated" in outcome.out
    assert "64 trials (two may be the same), each screened on 60 samples" in outcome.out
    outcomes = read(tmp_path).outcomes
    assert f"what became of {60 * screen.whole} inputs of {screen.whole} trials evaluated whole" in outcome.out
    few = f"of these trials {outcomes.trials_masked} changed nothing at all, {outcomes.trials_critical} a prediction"
    assert few in outcome.out
    assert all(len(line) <= 80 for line in outcome.out.splitlines() if not line.startswith("written"))
    assert "Screened: of most trials few predictions" in outcome.out
