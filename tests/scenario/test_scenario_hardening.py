"""What a scenario asks of a hardening is what the command asks of it, and what it gives is beside the assessment."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from faultsim.errors import OptionError
from faultsim.results import load_result
from faultsim.scenario import fingerprint, parse_scenario
from faultsim.scenario import run as running
from tests.scenario.test_scenario_run import HEAD, TWO, run

ONE = TWO.replace("reram, ", "").replace("limit: 40", "limit: 20")


@pytest.mark.parametrize(
    ("wanted", "epochs", "budget_s"),
    [("{}", None, None), ("{epochs: 3, time_budget: 20m}", 3, 1200.0), ("{time_budget: 1h}", None, 3600.0)],
)
def test_hardening_trains_as_long_as_the_command_does(tmp_path, monkeypatch, wanted, epochs, budget_s):
    seen = []

    def harden(*_, options, **__):
        seen.append(options.training)
        raise OptionError("enough")

    monkeypatch.setattr(running, "harden", harden)
    [row] = run(f"{ONE}hardening: {wanted}\n", tmp_path).cases
    assert row.hardened.error == "enough"
    [training] = seen
    assert (training.epochs, training.time_budget_s) == (epochs, budget_s)
    assert training.planned(10) == (1000 if epochs is None else 30)


def test_a_case_that_cannot_be_hardened_keeps_its_assessment_and_is_tried_again(tmp_path, root):
    source = root / "scenarios" / "digits" / "digits_float.npz"
    with np.load(source, allow_pickle=False) as whole:
        np.savez(tmp_path / "few.npz", image=whole["image"][:3], labels=whole["labels"][:3])
    text = ONE.replace("models: [digits]", f"models: [{{model: digits, data: '{tmp_path / 'few.npz'}'}}]")
    found = run(f"{text}hardening: {{epochs: 1}}\n", tmp_path / "out")
    [row] = found.cases
    assert (row.status, row.error, found.exit_code) == ("passed", None, 0)
    assert load_result(tmp_path / "out" / row.result).data.samples == 3
    assert "too few to split" in row.hardened.error
    assert row.hardened.sentence == f"It could not be hardened: {row.hardened.error}"
    assert (row.hardened.helped, row.hardened.model, row.hardened.passed) == (False, None, None)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "too few to split" in page
    assert "not judged" in page
    seen = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "harden", lambda *_, **__: seen.append(1) or (_ for _ in ()).throw(OptionError("no")))
        patched.setattr(running, "assess", lambda *_, **__: pytest.fail("assessed twice"))
        [again] = run(f"{text}hardening: {{epochs: 1}}\n", tmp_path / "out").cases
    assert (seen, again.reused, again.hardened.error) == ([1], True, "no")


def test_a_folder_that_cannot_be_written_ends_a_hardening_too(tmp_path, monkeypatch):
    def harden(*_, **__):
        raise OptionError("--out here: cannot be written")

    monkeypatch.setattr(running, "harden", harden)
    with pytest.raises(OptionError, match="cannot be written"):
        run(f"{ONE}hardening: {{}}\n", tmp_path)


@pytest.mark.parametrize(("factor", "passed"), [("50", False), ("0.02", True)])
def test_safety_factors_are_judged_of_the_hardened_model_too(tmp_path, monkeypatch, factor, passed):
    judged, judge = [], running.judge_factor

    def spied(case, asked, **options):
        judged.append((options.get("model"), options.get("data")))
        return judge(case, asked, **options)

    monkeypatch.setattr(running, "judge_factor", spied)
    text = (
        f"{HEAD}models: [digits]\ndevices: [reram]\nrequire: ['safety_factor >= {factor}', 'accuracy >= 0']\n"
        "hardening: {epochs: 1, strengths: 1, recipe: plain}\n"
    )
    [row] = run(text.replace("limit: 40", "limit: 200"), tmp_path).cases
    assert row.hardened.error is None
    assert row.hardened.passed is passed
    (own, _), (model, data) = judged
    assert own is None
    assert model is not None
    samples = json.loads((tmp_path / "digits" / "reram" / "harden.json").read_text())["training"]["test_samples"]
    assert len(data) == samples


@pytest.mark.parametrize(("unjudged", "plain", "met"), [((), None, True), ((), False, False), (("x",), None, None)])
def test_what_was_not_judged_is_not_met(monkeypatch, unjudged, plain, met):
    monkeypatch.setattr(running, "judge_factor", lambda *_, **__: SimpleNamespace(passed=True))
    text = f"{HEAD}models: [digits]\ndevices: [reram]\nrequire: ['safety_factor >= 2']\n"
    [case] = parse_scenario(text).cases
    done = SimpleNamespace(
        result=SimpleNamespace(after=SimpleNamespace(verdict=SimpleNamespace(passed=plain, unjudged=unjudged))),
        exported=SimpleNamespace(model=None),
        test=None,
    )
    assert running._meets(case, done, "cpu", lambda *_: None) is met


def test_samples_beside_the_model_that_are_trained_on_are_in_the_fingerprint(tmp_path, root):
    (tmp_path / "m.onnx").write_bytes((root / "scenarios" / "digits" / "digits_float.onnx").read_bytes())
    text = f"{HEAD}models: ['{tmp_path / 'm.onnx'}']\ndevices: [reram]\n"

    def found(more=""):
        (tmp_path / "m_train.npz").write_bytes(b"one")
        [case] = parse_scenario(text + more).cases
        one = fingerprint(case)
        (tmp_path / "m_train.npz").write_bytes(b"two")
        return fingerprint(case) != one

    np.savez(tmp_path / "own.npz", image=np.zeros((4, 1, 8, 8)))
    assert found("hardening: {}\n")
    assert not found(f"hardening: {{data: '{tmp_path / 'own.npz'}'}}\n")
    assert not found()
