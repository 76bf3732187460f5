"""The scenarios that ship: each runs on the bundled model, takes another one, and says what it claims and what not."""

from dataclasses import replace

import pytest

import faultsim
from faultsim.errors import OptionError
from faultsim.library import list_scenarios
from faultsim.scenario import Scenario, run_cases

LIBRARY = ("analog_keyword_spotting", "automotive_fpga", "demo", "dram_rowhammer_server", "leo_satellite",
           "low_voltage_npu", "mcu_flash", "reram_vision")  # fmt: skip


def test_the_library_is_whole():
    assert set(LIBRARY) <= set(list_scenarios())


@pytest.mark.parametrize("name", LIBRARY)
def test_every_scenario_of_the_library_runs_out_of_the_box(name, tmp_path):
    scenario = Scenario.load(name)
    quick = tuple(
        replace(
            case,
            options=replace(case.options, trials=2, limit=60, search_gradients=2, search_samples=60, site_trials=0),
        )
        for case in scenario.cases
    )
    found = run_cases(quick, name=name, sha256=scenario.sha256, out=tmp_path, threads=1)
    assert {row.status for row in found.cases} <= {"passed", "failed"}
    assert all(row.criteria for row in found.cases)
    assert all((tmp_path / row.result).is_file() for row in found.cases)
    assert scenario.spec.title
    assert scenario.spec.summary
    assert scenario.spec.is_not


@pytest.mark.parametrize("name", LIBRARY)
def test_every_scenario_takes_another_model(name, tmp_path, root):
    for end in ("onnx", "npz"):
        (tmp_path / f"my.{end}").write_bytes((root / "scenarios" / "digits" / f"digits_int8.{end}").read_bytes())
    found = Scenario.load(name, model=tmp_path / "my.onnx")
    assert {case.name.split("/")[0] for case in found.cases} == {"my"}
    assert {case.model for case in found.cases} == {tmp_path / "my.onnx"}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_readme_says_what_a_scenario_claims_and_what_not(name, root):
    text = (root / "scenarios" / "README.md").read_text()
    _, _, part = text.partition(f"\n### `{name}`\n")
    part = part.partition("\n### ")[0].partition("\n## ")[0]
    assert "**Claims:**" in part
    assert "**Does not claim:**" in part


def test_a_stand_in_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"--model .*: no such file; check the path"):
        Scenario.load("demo", model=tmp_path / "no.onnx")
    with pytest.raises(OptionError, match="data, preprocess and task belong to a model; give --model too"):
        Scenario.load("demo", data="x.npz")


def test_the_public_name_is_the_scenario():
    assert faultsim.Scenario is Scenario
    assert [case.name for case in faultsim.Scenario.load("demo").only(("sram",))] == ["digits/sram"]
    with pytest.raises(OptionError, match=r"--only 'srma' fits no case, did you mean 'sram'\?"):
        faultsim.Scenario.load("demo").only(("srma",))
