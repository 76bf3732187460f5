"""Cases run by themselves: one that fails loses no other, a second run takes what is finished, Ctrl-C keeps it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from faultsim.assessment import assess
from faultsim.assessment.run import Interrupted
from faultsim.errors import OptionError, SpecError
from faultsim.results import Result, load_result, to_json
from faultsim.results.scenario import ScenarioResult
from faultsim.scenario import Scenario, fingerprint, parse_scenario, safety
from faultsim.scenario import run as running

HEAD = """
faultsim_scenario: 1
name: mine
sampling: {trials: 2, limit: 40}
search: {gradients: 2, site_trials: 0}
"""
TWO = (
    HEAD
    + "models: [digits]\ndevices: [reram, {device: sram, corners: {low: {vdd: 0.8}}}]\nrequire: [accuracy >= 0.01]\n"
)


def run(text: str, out: Path | None = None, **options) -> ScenarioResult:
    return parse_scenario(text).run(out=out, threads=1, **options)


def test_every_case_is_the_assessment_of_its_model_on_its_device_at_its_corner(tmp_path):
    found = run(TWO, tmp_path)
    assert [row.name for row in found.cases] == ["digits/reram", "digits/sram/low"]
    for case, row in zip(parse_scenario(TWO).cases, found.cases, strict=True):
        alone = assess(case.model, case.device, options=replace(case.options, threads=1))
        kept = load_result(tmp_path / row.result)
        assert kept.random == alone.random
        assert kept.worst_case == alone.worst_case
        assert (row.mean, row.tail) == (alone.random.accuracy.mean, alone.random.accuracy.p05)
        assert (row.clean, row.worst, row.chips) == (alone.clean.accuracy, alone.worst_case.accuracy, 2)
    assert found.cases[1].conditions == "V/Vmin = 0.8"
    assert (found.passed, found.exit_code) == (True, 0)
    assert ScenarioResult.model_validate_json((tmp_path / "summary.json").read_text()) == found


def test_requirements_are_judged_as_their_author_wrote_them(tmp_path):
    text = (
        HEAD + "models: [digits]\ndevices: [reram]\nrequire:\n  - accuracy ≥ 1 %\n  - yield >= 95 % at accuracy >= 1\n"
    )
    found = run(text, tmp_path)
    [row] = found.cases
    assert [(one.text, one.source, one.passed) for one in row.criteria] == [
        ("accuracy ≥ 1 %", "<text>:9", True),
        ("yield >= 95 % at accuracy >= 1", "<text>:10", False),
    ]
    assert (row.status, found.passed, found.exit_code) == ("failed", False, 1)
    assert load_result(tmp_path / "digits" / "reram" / "result.json").verdict.criteria == row.criteria


def test_overrides_hold_for_the_cases_that_they_name_and_later_ones_win():
    text = TWO + (
        "overrides:\n  - {cases: '*', sampling: {trials: 5}}\n"
        "  - {cases: '*/low', sampling: {trials: 3}, require: []}\n"
    )
    first, second = parse_scenario(text).cases
    assert (first.options.trials, first.options.require) == (5, ("accuracy>=0.01",))
    assert (second.options.trials, second.options.require, second.options.limit) == (3, (), 40)
    assert [case.name for case in parse_scenario(TWO + "overrides: [{cases: '*/low', skip: true}]").cases] == [
        "digits/reram"
    ]


def test_corners_multiply_and_conditions_of_a_device_hold_in_all_of_them():
    text = HEAD + (
        "models: [digits, digits_int8]\n"
        "devices: [{device: fpga_bram_int8, name: fpga, conditions: {flux: 3}}]\n"
        "corners: {one: {exposure: [1d, 1y]}, two: {flux: 9}}\n"
    )
    cases = parse_scenario(text).cases
    assert [case.name for case in cases] == [
        f"{model}/fpga/{corner}" for model in ("digits", "digits_int8") for corner in ("one-1d", "one-1y", "two")
    ]
    assert [case.conditions for case in cases[:3]] == [
        {"flux": "3", "exposure": "1d"},
        {"flux": "3", "exposure": "1y"},
        {"flux": "9"},
    ]
    assert cases[1].options.conditions.exposure_h == pytest.approx(8760)


def test_one_case_that_cannot_be_run_loses_no_other(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    text = HEAD + "models: [broken.onnx, digits]\ndevices: [reram]\nrequire: [accuracy >= 0.01]\n"
    (tmp_path / "mine.yaml").write_text(text)
    found = Scenario.load(tmp_path / "mine.yaml").run(out=tmp_path / "out", threads=1)
    assert [row.status for row in found.cases] == ["error", "passed"]
    assert "broken.onnx" in found.cases[0].error
    assert (found.passed, found.exit_code) == (False, 2)


def test_a_bug_in_one_case_loses_no_other(monkeypatch):
    def sometimes(model, device, *args, **options):
        if "reram" in str(device):
            raise ZeroDivisionError("oh")
        return assess(model, device, *args, **options)

    monkeypatch.setattr(running, "assess", sometimes)
    found = run(TWO)
    assert [row.status for row in found.cases] == ["error", "passed"]
    assert "a bug of faultsim, please report it: ZeroDivisionError: oh (test_scenario_run.py:" in found.cases[0].error


def test_a_requirement_that_cannot_be_judged_is_told_with_its_place():
    text = HEAD + "models: [digits]\ndevices: [gpu_sram]\nrequire:\n  - worst_case_accuracy >= 0.5\n"
    [row] = run(text).cases
    assert row.status == "error"
    assert row.error.startswith("<text>:9: requirement 'worst_case_accuracy >= 0.5' cannot be judged: no worst case")


# a second run with the same --out


def count_runs(monkeypatch) -> list[str]:
    seen: list[str] = []

    def counted(model, device, *args, **options):
        seen.append(Path(device).stem)
        return assess(model, device, *args, **options)

    monkeypatch.setattr(running, "assess", counted)
    return seen


def test_a_second_run_takes_what_is_finished(tmp_path, monkeypatch):
    first = run(TWO, tmp_path)
    seen = count_runs(monkeypatch)
    second = run(TWO, tmp_path)
    assert seen == []
    assert [row.reused for row in second.cases] == [True, True]
    assert [row.model_copy(update={"reused": False}) for row in second.cases] == list(first.cases)


@pytest.mark.parametrize(
    ("before", "after"), [("trials: 2", "trials: 3"), ("vdd: 0.8", "vdd: 0.9"), (">= 0.01", ">= 0.02")]
)
def test_a_case_whose_inputs_changed_is_run_again(before, after, tmp_path, monkeypatch):
    run(TWO, tmp_path)
    seen = count_runs(monkeypatch)
    run(TWO.replace(before, after), tmp_path)
    assert seen == (["sram_low_voltage"] if "vdd" in before else ["reram_1t1r", "sram_low_voltage"])


def test_the_identity_follows_model_device_and_data(tmp_path, root):
    for name in ("digits_int8.onnx", "digits_int8.npz"):
        (tmp_path / name).write_bytes((root / "scenarios" / "digits" / name).read_bytes())
    (tmp_path / "sram.yaml").write_bytes((root / "devices" / "sram_low_voltage.yaml").read_bytes())
    text = HEAD + "models: [digits_int8.onnx]\ndevices: [./sram.yaml]\n"
    (tmp_path / "mine.yaml").write_text(text)
    ids = []
    for change in (None, "digits_int8.npz", "sram.yaml", "digits_int8.npz.yaml"):
        if change is not None:
            with (tmp_path / change).open("ab") as file:
                file.write(b"\n# more\n")
        [case] = Scenario.load(tmp_path / "mine.yaml").cases
        ids += [fingerprint(case), fingerprint(replace(case, options=replace(case.options, threads=1)))]
    assert ids[::2] == ids[1::2]  # threads change no figure
    assert len(set(ids)) == 4


@pytest.mark.parametrize("harm", ["cut", "empty", "list", "gone"])
def test_a_broken_leftover_is_computed_again(harm, tmp_path, monkeypatch):
    run(TWO, tmp_path)
    place = tmp_path / "digits" / "reram"
    if harm == "cut":
        (place / "result.json").write_text((place / "result.json").read_text()[:500])
    elif harm == "gone":
        (place / "result.json").unlink()
    else:
        (place / "case.json").write_text({"empty": "", "list": "[1]"}[harm])
    seen = count_runs(monkeypatch)
    found = run(TWO, tmp_path)
    assert seen == ["reram_1t1r"]
    assert [row.reused for row in found.cases] == [False, True]


def test_what_another_command_wrote_into_a_case_is_no_result_of_it(tmp_path, monkeypatch):
    run(TWO, tmp_path)
    place = tmp_path / "digits" / "reram" / "result.json"
    own = place.read_text()
    other = assess("digits", "reram", options=replace(parse_scenario(TWO).cases[0].options, trials=3, require=()))
    place.write_text(to_json(other))
    seen = count_runs(monkeypatch)
    found = run(TWO, tmp_path)
    assert seen == ["reram_1t1r"]
    assert [row.status for row in found.cases] == ["passed", "passed"]
    assert load_result(place).random == Result.model_validate_json(own).random


@pytest.mark.parametrize("name", ["summary.json", "index.html", "result.json"])
def test_no_folder_is_called_as_a_file_of_the_run(name):
    for text in (
        HEAD + f"models: [{{model: digits, name: {name}}}]\ndevices: [reram]\n",
        HEAD + f"models: [digits]\ndevices: [{{device: reram, name: {name}}}]\n",
    ):
        with pytest.raises(SpecError, match=f"is called '{name}', as a file that a run writes; give it another 'name'"):
            parse_scenario(text)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted(None)])
def test_ctrl_c_keeps_what_is_finished_and_the_same_call_goes_on(stop, tmp_path, monkeypatch):
    def interrupted(model, device, *args, **options):
        if "sram" in str(device):
            raise stop
        return assess(model, device, *args, **options)

    monkeypatch.setattr(running, "assess", interrupted)
    found = run(TWO, tmp_path)
    assert [row.status for row in found.cases] == ["passed", "not run"]
    assert (found.interrupted, found.passed, found.exit_code) == (True, False, 130)
    assert json.loads((tmp_path / "summary.json").read_text())["interrupted"] is True
    monkeypatch.setattr(running, "assess", assess)
    again = run(TWO, tmp_path)
    assert [(row.status, row.reused) for row in again.cases] == [("passed", True), ("passed", False)]


def test_a_folder_that_cannot_be_written_ends_the_run(tmp_path):
    (tmp_path / "digits").write_text("a file where a folder must go")
    with pytest.raises(OptionError, match="cannot be written"):
        run(TWO, tmp_path)


# the safety factor


def only_case(require: str):
    return parse_scenario(HEAD + f"models: [digits]\ndevices: [reram]\nrequire: ['{require}']\n").cases[0]


@pytest.mark.parametrize("true", [0.6, 2.9, 3.7, 20.0])
def test_the_safety_factor_is_where_the_worst_case_breaks(true, monkeypatch):
    """A worst case that breaks at a known multiple of the budget: the factor found lies within 5 % below it."""
    case = only_case("safety_factor >= 3")
    radii = []

    def known(objective, constraint, **options):
        eps = next(iter(constraint.constraints.values())).eps
        radii.append(eps)
        accuracy = 1.0 if eps / radii[0] * 3 < true else 0.2  # the first factor tried is the asked one
        return SimpleNamespace(least_accurate=SimpleNamespace(score=SimpleNamespace(accuracy=accuracy)))

    monkeypatch.setattr(safety, "worst_case", known)
    judged = safety.judge_factor(case, case.asked[0], torch_device="cpu", tell=lambda phase, done, total: None)
    assert true / 1.05 <= judged.value <= true
    assert judged.passed == (true > 3)
    assert (judged.metric, judged.limit) == ("safety_factor", 3.0)
    assert "found, not proven" in judged.explanation


def test_a_real_network_breaks_under_a_large_factor_and_holds_a_low_level():
    tell = lambda phase, done, total: None  # noqa: E731
    case = only_case("safety_factor >= 2 at accuracy >= 0.9")
    assert not safety.judge_factor(case, case.asked[0], torch_device="cpu", tell=tell).passed
    case = only_case("safety_factor >= 0.01")
    judged = safety.judge_factor(case, case.asked[0], torch_device="cpu", tell=tell)
    assert judged.passed
    assert judged.value >= 0.01


def test_a_safety_factor_stands_in_its_place_among_the_requirements():
    text = HEAD + (
        "models: [digits]\ndevices: [reram]\nrequire: [accuracy >= 0.01, safety_factor >= 900, nonfinite <= 0]\n"
    )
    [row] = run(text).cases
    assert [(one.metric, one.passed) for one in row.criteria] == [
        ("accuracy", True),
        ("safety_factor", False),
        ("nonfinite", True),
    ]
    assert row.status == "failed"


def test_a_device_without_a_set_has_no_safety_factor():
    [row] = run(HEAD + "models: [digits]\ndevices: [gpu_sram]\nrequire: [safety_factor >= 2]\n").cases
    assert "'safety_factor >= 2' cannot be judged" in row.error
    assert "require something of random chips" in row.error


# hardening


def test_hardening_needs_a_folder():
    with pytest.raises(OptionError, match="hardening writes models; give --out"):
        run(TWO + "hardening: {}\n")


@pytest.mark.slow
def test_hardening_chooses_by_the_samples_that_it_is_given(tmp_path, root):
    source = root / "scenarios" / "digits" / "digits_float.npz"
    with np.load(source, allow_pickle=False) as whole:
        images, labels = whole["image"], whole["labels"]
    for name, part in (("train.npz", slice(300, 450)), ("val.npz", slice(450, 550))):
        np.savez(tmp_path / name, image=images[part], labels=labels[part])
    said = (
        f"hardening: {{data: '{tmp_path / 'train.npz'}', validation_data: '{tmp_path / 'val.npz'}', epochs: 1, "
        "strengths: 1, augment: shift, tolerance: 0.02}\n"
    )
    text = TWO.replace("limit: 40", "limit: 300").replace("reram, ", "") + said
    [row] = run(text, tmp_path / "out").cases
    assert row.hardened is not None
    training = json.loads((tmp_path / "out" / "digits" / "sram" / "low" / "harden.json").read_text())["training"]
    assert [training[f"{part}_samples"] for part in ("train", "validation", "test")] == [150, 100, 300]
    assert training["options"]["validation_data"].endswith("val.npz")
    assert (training["options"]["augment"], training["options"]["tolerance"]) == ("shift", 0.02)
    np.savez(tmp_path / "val.npz", image=images[500:600], labels=labels[500:600])
    assert not run(text, tmp_path / "out").cases[0].reused


@pytest.mark.slow
def test_hardening_writes_a_model_beside_the_result_and_is_not_done_twice(tmp_path):
    text = TWO.replace("limit: 40", "limit: 200").replace("reram, ", "") + "hardening: {epochs: 1, strengths: 1}\n"
    [row] = run(text, tmp_path).cases
    assert row.hardened is not None
    assert row.hardened.sentence
    assert (row.hardened.model is not None) == row.hardened.helped
    assert row.hardened.model is None or (tmp_path / row.hardened.model).is_file()
    assert (
        json.loads((tmp_path / "digits" / "sram" / "low" / "harden.json").read_text())["helped"] == row.hardened.helped
    )
    [again] = run(text, tmp_path).cases
    assert again.reused
    assert again.hardened == row.hardened


def test_a_case_whose_worst_case_cannot_be_searched_is_an_error_row(monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("faultsim.assessment.run.find_worst", full)
    text = HEAD + "models: [digits]\ndevices: [sram]\nrequire: [accuracy >= 0.01, worst_case_accuracy >= 0.1]\n"
    [row] = run(text).cases
    assert row.status == "error"
    assert "'worst_case_accuracy >= 0.1' cannot be judged: no worst case was searched for" in row.error
    assert not row.error.startswith("Not judged")
