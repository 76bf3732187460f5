"""``faultsim attack`` and ``faultsim probe``: what is printed, written and refused; and Ctrl-C."""

import errno
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tiny_nets

from faultsim.cli import interrupt
from faultsim.cli.interrupt import until_interrupted
from faultsim.model import Model
from faultsim.report.attack import lines
from faultsim.report.probing import shade
from faultsim.results.attack import AttackResult
from faultsim.results.probing import ProbeResult

SMALL = ("--limit", 60, "--threads", 1, "--quiet")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())


def narrow(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


def test_one_set_is_reported_written_and_checked(faultsim, net: Path, tmp_path: Path) -> None:
    worst = tmp_path / "worst.onnx"
    words = ("--eps", "rel:3", "--gradients", 20, "--no-certify", "-o", worst, "--out", tmp_path / "out")
    outcome = faultsim("attack", net, *words, *SMALL)
    assert outcome.code == 0, outcome.err
    result = AttackResult.model_validate_json((tmp_path / "out" / "result.json").read_text())
    assert narrow(outcome.out), outcome.out
    shown = {line[:24].strip(): line[24:].split() for line in outcome.out.splitlines()}
    assert shown["clean"][0] == f"{100 * result.clean.accuracy:.2f}%"
    assert shown["worst found"][0] == f"{100 * result.worst.accuracy:.2f}%"
    assert shown["random, mean of 50"][0] == f"{100 * result.random.mean:.2f}%"
    assert "found, not proven  no certificate was asked for" in outcome.out
    assert "Gradients and scores are of the same samples" in outcome.out
    assert "the same answers as in the search" in " ".join(outcome.out.split())
    session = onnxruntime.InferenceSession(worst, providers=["CPUExecutionProvider"])
    data = tiny_nets.samples()
    right = session.run(None, {"x": data["x"]})[0].argmax(1) == data["labels"]
    assert float(right.mean()) == pytest.approx(result.worst.accuracy)


def test_a_proven_bound_is_shown_beside_the_attack(faultsim) -> None:
    words = ("--p", "inf", "--eps", "0.0005", "--gradients", 8, "--certify", "--sites", "fc.weight")
    outcome = faultsim("attack", "digits", *words, *SMALL)
    assert outcome.code == 0, outcome.err
    line = next(line for line in outcome.out.splitlines() if line.startswith("proven"))
    low, high = (float(part) for part in line.split("[")[1].split("]")[0].split(", "))
    assert 0 < low < high
    assert "[attack, certificate] over the whole set and all 60 samples" in outcome.out


def test_bits_of_int8_are_listed_with_their_cost(faultsim, tmp_path: Path) -> None:
    outcome = faultsim("attack", "digits_int8", "--bits", 3, "--forwards", 300, "--out", tmp_path, *SMALL)
    assert outcome.code == 0, outcome.err
    assert narrow(outcome.out), outcome.out
    result = AttackResult.model_validate_json((tmp_path / "result.json").read_text())
    assert f"the worst found: {result.cells.needed} flipped bit" in outcome.out
    for cell in result.cells.changed:
        row = next(line for line in outcome.out.splitlines() if line.split()[:2] == [cell.site, str(cell.element)])
        assert row.split()[2:] == [str(cell.low_bit), f"{cell.before:.4g}", f"{cell.after:.4g}"]


def test_a_curve_is_reported_with_its_critical_radius(faultsim, net: Path, tmp_path: Path) -> None:
    words = ("--curve", "eps", "--from", "0.05", "--to", "2", "--points", 2, "--keep", "0.2", "--gradients", 6)
    outcome = faultsim("attack", net, *words, "--per-layer", "--trials", 5, "--out", tmp_path / "out", *SMALL)
    assert outcome.code == 0, outcome.err
    assert narrow(outcome.out), outcome.out
    result = AttackResult.model_validate_json((tmp_path / "out" / "result.json").read_text())
    assert [one.name for one in result.curve.radii] == ["all", "first", "second"]
    whole = next(line for line in outcome.out.splitlines() if line.startswith("all "))
    assert f"{result.curve.radii[0].worst:.4g}" in whole
    assert all(one.safety_factor is None for one in result.curve.radii)  # no radius was asked about
    assert result.set.eps is None


def test_a_probe_is_printed_as_a_heat_map(faultsim, tmp_path: Path) -> None:
    words = ("--draws", 2, "--samples", 40, "--eps", 0.2, "--remove", 0.5, "--out", tmp_path, *SMALL)
    outcome = faultsim("probe", "digits", *words)
    assert outcome.code == 0, outcome.err
    assert narrow(outcome.out), outcome.out
    result = ProbeResult.model_validate_json((tmp_path / "result.json").read_text())
    part = next(part for part in result.parts if part.group == "layer" and part.name == "fc")
    lost = [f"{100 * (result.clean.accuracy - cell.accuracy):.1f}" for cell in part.cells]
    row = next(line for line in outcome.out.splitlines() if line.startswith("fc "))
    assert [word.rstrip("░▒▓█") for word in row.split()[1:]] == lost
    assert "equal relative L2 radius" in outcome.out
    assert [shade(cost) for cost in (-0.1, 0.0, 0.011, 0.06, 0.21, 0.51)] == [" ", " ", "░", "▒", "▓", "█"]


@contextmanager
def _pressed_after(calls: int) -> Iterator[Callable[[], bool]]:
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > calls

    yield stopped


def test_ctrl_c_shows_and_writes_what_was_found(faultsim, net: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(interrupt, "until_interrupted", lambda: _pressed_after(60))
    outcome = faultsim("attack", net, "--eps", 1, "--out", tmp_path / "out", *SMALL)
    assert outcome.code == 130
    assert "worst found" in outcome.out
    assert "interrupted; what was found until then stands above" in outcome.err
    assert json.loads((tmp_path / "out" / "result.json").read_text())["stopped"]
    monkeypatch.setattr(interrupt, "until_interrupted", lambda: _pressed_after(0))
    outcome = faultsim("attack", net, "--eps", 1, *SMALL)
    assert (outcome.code, outcome.out) == (130, "")
    assert "nothing was computed yet" in outcome.err


def test_ctrl_c_is_a_wish_once_and_an_order_twice() -> None:
    before = signal.getsignal(signal.SIGINT)
    with until_interrupted() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to search: give --p and --eps, --device, or --bits"),
        (("--eps", "x"), "--eps 'x' is no radius; give 0.1"),
        (("--eps", "rel:"), "--eps 'rel:' is no radius"),
        (("--eps", 1, "--p", "two"), "--p 'two' is no number"),
        (("--n", 3), "the set has no radius; give --eps"),
        (("--bits", 1, "--stuck", 1), "--bits and --stuck are both given"),
        (("--bits", 1, "--eps", 1), "cells are no ball; give one kind"),
        (("--until-accuracy", 0.5), "--until-accuracy goes with --bits, --levels or --stuck"),
        (("--eps", 1, "--from", 1), "--from goes with --curve eps or --curve n"),
        (("--curve", "eps", "--from", "rel:1", "--to", "2"), "are in different units (no prefix and rel:)"),
        (("--curve", "n", "--from", "rel:1", "--eps", 1), "are numbers of elements; give plain numbers"),
        (("--curve", "n", "--n", 3, "--eps", 1), "--n is what --curve n varies, by --from and --to; leave it out"),
        (("--curve", "n", "--eps", 1, "--keep", 0.9), "--keep is of critical radii, which --curve eps has"),
        (("--curve", "n", "--eps", 1, "--per-layer"), "--per-layer is of critical radii"),
        (("--curve", "n", "--eps", 1, "--certify"), "--certify is for one set"),
        (("--eps", 1, "--per-layer"), "--per-layer goes with --curve eps or --curve n"),
        (("--device", "reram", "--curve", "eps", "--from", "rel:1"), "are multiples of its own radius; give plain"),
        (("--bits", 1, "--bits-per-cell", 2), "--bits-per-cell is of cells; it goes with --levels or --stuck"),
        (("--bits", 1, "--stuck-at", "low"), "--stuck-at goes with --stuck; leave it out"),
        (("--bits", 1, "--tolerance", 0.5), "--tolerance goes with --stealthy; leave it out"),
        (("--bits", 1, "--method", "pgd"), "--method chooses a search of sets"),
        (("--bits", 1, "--certify"), "--certify bounds sets; no bound over cells is known"),
        (("--eps", 1, "--vdd", 0.6), "--vdd is a condition of a device; give --device"),
        (("--eps", 1, "--confidence", 0.9), "--confidence is how many of a device's chips its set holds; give"),
        (("--bits", 1, "--device", "sram", "--vdd", 0.6), "on which only the device's own set depends; leave it or"),
        (("--eps", 1, "--device", "sram", "--vdd", 0.6), "--vdd is a condition of a device, on which only the"),
        (("--bits", 1, "--trials", 50), "--trials draws random corruptions of sets; cells are compared with none"),
        (("--bits", 1, "--restarts", 2), "--restarts of cells is 0 or 1: half of them are found anew once; leave it"),
        (("--stuck", 1, "--device", "reram", "--cell-code", "gray"), "reram_1t1r stores conductances; leave it out"),
        (("--device", "sram", "--n", 3), "--n belongs to a set of --eps"),
        (("--eps", 1, "-o", "worst.bin"), "give a file ending in .onnx for the model"),
        (("--eps", 1, "--method", "pdg"), "--method 'pdg' is unknown; did you mean 'pgd'"),
        (("--eps", 1, "--sites", "third*"), "--sites 'third*' fits no site"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(faultsim, net: Path, words, said: str) -> None:
    outcome = faultsim("attack", net, *words, "--quiet", "--threads", 1)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_what_was_found_is_shown_where_the_worst_model_cannot_be_written(
    faultsim, net: Path, tmp_path: Path, monkeypatch
) -> None:
    def full(self, path, numbers=None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Model, "write", full)
    out = tmp_path / "out"
    words = ("--eps", "rel:3", "--gradients", 4, "--no-certify", "-o", tmp_path / "w.onnx", "--out", out)
    outcome = faultsim("attack", net, *words, *SMALL)
    assert outcome.code == 2
    assert "the worst model was not written; the notes above say why" in outcome.err
    result = AttackResult.model_validate_json((out / "result.json").read_text())
    assert result.worst.accuracy < result.clean.accuracy
    assert any("The worst model was not written: -o" in note and "No space left" in note for note in result.notes)


def test_codes_behind_conductances_cannot_be_written(faultsim, tmp_path: Path) -> None:
    outcome = faultsim("attack", "digits_int8", "--device", "reram", "-o", tmp_path / "w.onnx", *SMALL)
    assert (outcome.code, outcome.out) == (2, "")
    assert "which cannot hold what conductances are worth; leave -o out" in outcome.err


def test_foreign_names_cannot_steer_the_terminal(faultsim, net: Path, tmp_path: Path) -> None:
    faultsim("attack", net, "--bits", 1, "--forwards", 80, "--out", tmp_path / "out", *SMALL)
    result = AttackResult.model_validate_json((tmp_path / "out" / "result.json").read_text())
    cell = result.cells.changed[0].model_copy(update={"site": "a\x1b[2J"})
    evil = result.cells.model_copy(update={"changed": (cell,)})
    told = lines(result.model_copy(update={"cells": evil, "notes": ("\x1b[2J",)}))
    assert not any("\x1b" in text for text, _ in told)


def test_a_loss_without_accuracy_is_attacked_and_probed(faultsim, tmp_path: Path) -> None:
    data = tiny_nets.samples()
    data["labels"] = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    net = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", data)
    outcome = faultsim("attack", net, "--task", "regression", "--eps", "rel:1", *SMALL)
    assert outcome.code == 0, outcome.err
    assert "The task counts no correct answers: the loss decides." in outcome.out
    assert "bounds are known for top-1 classification" in " ".join(outcome.out.split())
    assert faultsim("probe", net, "--task", "regression", "--draws", 2, *SMALL).code == 0
    outcome = faultsim("attack", net, "--task", "regression", "--bits", 1, *SMALL)
    assert outcome.code == 2
    assert "counts no correct answers, and cells are searched by them" in outcome.err
