"""What a campaign has computed, or another one wrote, is not lost: Ctrl-C at any time, results in place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from campaign_nets import Tiny
from onnx import numpy_helper

from faultsim.campaign import CampaignOptions, run
from faultsim.cli import main
from faultsim.errors import OptionError

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def faultsim(capsys: pytest.CaptureFixture[str], net: Tiny) -> Call:
    def call(*words: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(["campaign", *map(str, words), "-q"])
        return int(stop.value.code or 0), capsys.readouterr().err

    return call


def stops(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Ctrl-C in the first calls of a function of the run."""
    real, calls = getattr(run, name), []

    def stopping(*given: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) <= times:
            raise KeyboardInterrupt
        return real(*given, **options)

    monkeypatch.setattr(run, name, stopping)


def test_an_interrupt_while_the_result_is_made_costs_nothing(
    faultsim: Call, net: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops(monkeypatch, "make_result", 1)
    code, said = faultsim(net.path, "--trials", 90, "-o", tmp_path / "a")
    assert code == 130
    assert "interrupted; what was computed until then stands above; the same command goes on" in said
    found = json.loads((tmp_path / "a" / "result.json").read_text())
    assert (found["trials"], found["stopped"]) == (90, None)


def test_a_second_interrupt_says_how_many_trials_are_kept(
    faultsim: Call, net: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "a" / "journal.jsonl"
    with monkeypatch.context() as patched:
        stops(patched, "make_result", 2)
        code, said = faultsim(net.path, "--trials", 90, "-o", tmp_path / "a")
    assert code == 130
    assert said == f"faultsim: interrupted; 90 trials are in {journal}, and the same command goes on\n"
    assert faultsim(net.path, "--trials", 90, "-o", tmp_path / "a") == (0, "")
    assert json.loads((tmp_path / "a" / "result.json").read_text())["provenance"]["computed"] == 0


def test_an_interrupt_while_workers_are_started_keeps_what_an_earlier_run_had(
    faultsim: Call, net: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faultsim(net.path, "--trials", 50, "-o", tmp_path / "a")
    stops(monkeypatch, "open_executor", 1)
    code, _ = faultsim(net.path, "--trials", 90, "-o", tmp_path / "a")
    assert code == 130
    found = json.loads((tmp_path / "a" / "result.json").read_text())
    assert found["trials"] == 50
    assert found["stopped"] == "interrupted after 50 of 90 trials"


def test_a_journal_in_the_place_of_the_result_is_refused(faultsim: Call, net: Tiny, tmp_path: Path) -> None:
    place = tmp_path / "a" / "result.json"
    code, said = faultsim(net.path, "--trials", 20, "--journal", place, "-o", tmp_path / "a")
    assert code == 2
    assert f"--journal {place}: is where --out writes the result; give the journal another name" in said
    assert not place.exists()


def test_the_result_of_another_campaign_is_not_replaced(faultsim: Call, net: Tiny, tmp_path: Path) -> None:
    proto = onnx.load(net.path)
    held = proto.graph.initializer[0]
    held.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(held), held.name))
    onnx.save(proto, tmp_path / "other.onnx")
    one = (net.path, "--data", net.data, "-o", tmp_path / "a")
    assert faultsim(*one, "--trials", 20)[0] == 0
    before = (tmp_path / "a" / "result.json").read_bytes()
    given = ("--data", net.data, "--trials", 20, "--journal", tmp_path / "b.jsonl", "-o", tmp_path / "a")
    code, said = faultsim(tmp_path / "other.onnx", *given)
    assert code == 2
    assert "a: its result.json is of another campaign" in said
    assert "which would be lost; give another folder" in said
    assert (tmp_path / "a" / "result.json").read_bytes() == before
    for more in (("--trials", 20), ("--trials", 40), ("--trials", 40, "--batch-size", 7)):
        assert faultsim(*one, *more) == (0, "")
    assert faultsim(*one, "--trials", 30, "--journal", tmp_path / "c.jsonl") == (0, "")


def test_what_is_no_result_of_a_campaign_is_replaced_as_ever(faultsim: Call, net: Tiny, tmp_path: Path) -> None:
    for text in ("[1, 2]", "no json", '{"campaign": 3}'):
        (tmp_path / "result.json").write_text(text)
        assert faultsim(net.path, "--trials", 20, "-o", tmp_path) == (0, "")


@pytest.mark.parametrize("left", [b"", b"{", None])
def test_a_journal_that_says_nothing_does_not_open_the_way_to_the_result(
    faultsim: Call, net: Tiny, tmp_path: Path, left: bytes | None
) -> None:
    out, other = tmp_path / "o", tmp_path / "p"
    assert faultsim(net.path, "--trials", 20, "-o", out) == (0, "")
    assert faultsim(net.path, "--trials", 20, "--seed", 1, "-o", other) == (0, "")
    kept = (out / "result.json").read_bytes()
    journal = (other / "journal.jsonl").read_bytes() if left is None else left  # of the campaign that is run, too
    (out / "journal.jsonl").write_bytes(journal)
    code, said = faultsim(net.path, "--trials", 20, "--seed", 1, "-o", out)
    assert code == 2
    assert "o: its result.json is of another campaign" in said
    assert (out / "result.json").read_bytes() == kept
    assert (out / "journal.jsonl").read_bytes() == journal


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--margin", "1e-200"), "--margin is 1e-200, allowed is 1e-06 to below 1; give one such as 0.01"),
        (("--margin", "nan"), "--margin is nan, allowed is 1e-06 to below 1"),
        (
            ("--flips", 2, "--margin", "1e-6"),
            "--trials is 960,364,705,174, asked for or planned for --margin, and a campaign has at most 100,000,000",
        ),
        (
            ("--flips", 2, "--trials", 10**14),
            "--trials is 100,000,000,000,000, asked for or planned for --margin, and a campaign has at most",
        ),
        (
            ("--margin", "0.01", "--trials", 5),
            "--margin 0.01 plans the number of trials, and --trials 5 says it; leave one out",
        ),
        (
            ("--margin", "0.2", "--until", "halfwidth<=0.2@0.9"),
            "--margin 0.2 plans the number of trials, and --until halfwidth<=0.2@0.9 says it; leave one out",
        ),
    ],
)
def test_a_number_of_trials_that_makes_no_sense_is_one_sentence(
    faultsim: Call, net: Tiny, words: tuple[object, ...], said: str
) -> None:
    code, err = faultsim(net.path, *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_margin_of_its_own_plans_the_trials() -> None:
    assert CampaignOptions(margin=0.1).margin == 0.1
    with pytest.raises(OptionError, match="--margin is 1, allowed is 1e-06 to below 1"):
        CampaignOptions(margin=1.0)
