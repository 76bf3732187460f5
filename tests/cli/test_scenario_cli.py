"""`faultsim run`, `scenarios`, `init` and `doctor` as a user meets them: texts, files, exit codes."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import onnx
import pytest
import tiny_nets
import yaml

from faultsim.assessment import assess
from faultsim.cli import doctor
from faultsim.results.scenario import ScenarioResult
from faultsim.scenario import Scenario
from faultsim.scenario import run as running

SCENARIO = """
faultsim_scenario: 1
name: mine
models: [digits]
devices: [reram, sram]
sampling: {trials: 2, limit: 40}
search: {gradients: 2, site_trials: 0}
require: [accuracy >= 0.01]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a scenario, to work in."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(SCENARIO)
    return tmp_path


def test_a_run_shows_a_table_of_80_columns_and_writes_what_ci_reads(folder, faultsim):
    done = faultsim("run", "mine.yaml", "--out", "out", "--junit", "ci/junit.xml", "--markdown", "ci/summary.md")
    assert done.code == 0
    assert "PASSED  digits/reram" in done.out
    assert "PASSED  2 cases met every requirement" in done.out
    assert max(len(line) for line in done.out.splitlines() if not line.startswith(("written:", "a page"))) <= 80
    assert "[2/2] digits/sram: passed" in done.err
    summary = ScenarioResult.model_validate_json(Path("out/summary.json").read_text())
    assert [row.status for row in summary.cases] == ["passed", "passed"]
    assert all(Path("out", row.result).is_file() for row in summary.cases)
    suites = ElementTree.parse("ci/junit.xml").getroot()
    assert [suite.get("name") for suite in suites] == ["mine/digits/reram", "mine/digits/sram"]
    assert Path("ci/summary.md").read_text().startswith("## ✅ mine")
    assert "\npage:    out/index.html, with links to the page of each finished case\n" in done.out
    page = Path("out/index.html").read_text()
    links = re.findall('<a href="([^"#]+)"', page)
    assert [link.removesuffix("/report.html") for link in links] == ["digits/reram", "digits/sram"]
    assert all(Path("out", link).is_file() for link in links)
    again = faultsim("run", "mine.yaml", "--out", "out")
    assert again.code == 0
    assert "digits/sram: passed, as before" in again.err


def test_a_summary_on_the_standard_output_replaces_the_table(folder, faultsim):
    done = faultsim("run", "mine.yaml", "--only", "*sram", "--markdown", "-", "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("## ✅ mine")
    assert "met every requirement" in done.out
    assert "nothing is kept" not in done.out
    assert not Path("-").exists()


def test_a_missed_requirement_exits_with_1_and_a_broken_case_with_2(folder, faultsim):
    Path("mine.yaml").write_text(SCENARIO.replace("0.01", "1"))
    done = faultsim("run", "mine.yaml", "-q")
    assert done.code == 1
    assert "MISSED  accuracy >= 1: the mean chip reaches" in done.out
    Path("broken.onnx").write_bytes(b"no model")
    Path("mine.yaml").write_text(SCENARIO.replace("[digits]", "[digits, broken.onnx]"))
    done = faultsim("run", "mine.yaml", "-q")
    assert done.code == 2
    assert "ERROR   broken/reram" in done.out
    assert "PASSED  digits/sram" in done.out
    assert "FAILED  2 cases of 4 could not be run" in done.out


def test_only_some_cases_and_the_list_of_them(folder, faultsim):
    done = faultsim("run", "mine.yaml", "--list")
    assert done.out.splitlines() == [
        "digits/reram  (2 chips; accuracy >= 0.01)",
        "digits/sram  (2 chips; accuracy >= 0.01)",
    ]
    assert faultsim("run", "mine.yaml", "--list", "--only", "s*").out.startswith("digits/sram  (2 chips")
    done = faultsim("run", "mine.yaml", "--only", "srma")
    assert done.code == 2
    assert "--only 'srma' fits no case, did you mean 'sram'?" in done.err


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(folder, faultsim, monkeypatch):
    def stopped(model, device, *args, **options):
        if "sram" in str(device):
            raise KeyboardInterrupt
        return assess(model, device, *args, **options)

    monkeypatch.setattr(running, "assess", stopped)
    done = faultsim("run", "mine.yaml", "--out", "out")
    assert done.code == 130
    assert "the same command goes on after the finished cases" in done.err
    assert "not run digits/sram" in done.out
    assert "NO VERDICT  1 case not run: interrupted" in done.out
    monkeypatch.undo()
    os.chdir(folder)
    assert faultsim("run", "mine.yaml", "--out", "out").err.count("as before") == 1


def test_an_output_that_cannot_be_written_is_told_before_the_first_chip(folder, faultsim):
    Path("file").write_text("")
    for option in ("--out", "--junit", "--markdown"):
        done = faultsim("run", "mine.yaml", option, "file" if option == "--out" else "file/x.xml")
        assert done.code == 2
        assert "is a file; give a folder" in done.err


# the library


def test_the_list_names_every_scenario(faultsim):
    done = faultsim("scenarios")
    assert done.code == 0
    assert "low_voltage_npu          An edge NPU below its safe voltage" in done.out
    assert "   2 cases" in next(line for line in done.out.splitlines() if line.startswith("demo "))


def test_one_is_shown_with_cases_requirements_and_what_it_is_not(faultsim, root):
    done = faultsim("scenarios", "show", "leo")
    assert done.code == 0
    for part in ("It is no mission's analysis", "digits_int8/sram/storm", "flux 300", "accuracy_drop <= 1 % at p95"):
        assert part in " ".join(done.out.split())
    text = faultsim("scenarios", "show", "leo", "--text").out
    assert text == (root / "scenarios" / "leo_satellite.yaml").read_text()


def test_a_file_is_checked_without_a_run(folder, faultsim):
    assert faultsim("scenarios", "check", "mine.yaml").out == "mine.yaml: a valid scenario, 2 cases\n"
    Path("mine.yaml").write_text(SCENARIO.replace("trials", "trails"))
    done = faultsim("scenarios", "check", "mine.yaml")
    assert done.code == 2
    assert "mine.yaml:6:12: sampling.trails: unknown key, did you mean 'trials'?" in done.err


def test_the_schema_is_printed(faultsim):
    schema = json.loads(faultsim("scenarios", "schema").out)
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(SCENARIO))


def test_a_name_in_the_place_of_a_verb_gets_both_ways_to_use_it(faultsim):
    done = faultsim("scenarios", "demo")
    assert done.code == 2
    assert "'faultsim scenarios show demo' and run by 'faultsim run demo'" in done.err


# init


def test_what_init_writes_for_a_model_validates_and_runs(folder, faultsim, root):
    for end in ("onnx", "npz"):
        shutil.copy(root / "scenarios" / "digits" / f"digits_int8.{end}", folder / f"net.{end}")
    (folder / "sub").mkdir()
    done = faultsim("init", "net.onnx", "--data", "net.npz", "--out", "sub/mine.yaml")
    assert done.code == 0
    assert "net.onnx: classification, labels given, 10,170 parameters" in done.out
    tree = yaml.safe_load(Path("sub/mine.yaml").read_text())
    assert tree["models"] == [{"model": "../net.onnx", "data": "../net.npz"}]
    cases = Scenario.load("sub/mine.yaml").cases
    assert [case.name for case in cases] == ["net/sram_low_voltage", "net/reram_1t1r"]
    done = faultsim("run", "sub/mine.yaml", "--trials", "2", "--only", "*reram*", "-q")
    assert done.code in (0, 1)
    assert "net/reram_1t1r" in done.out


def test_every_line_that_init_leaves_commented_is_valid_too(folder, faultsim):
    """The device lines, corners and requirements of the comments, each switched on, are a valid scenario."""
    assert faultsim("init", "digits", "--out", "s.yaml", "--device", "fpga", "--device", "sram").code == 0
    lines = Path("s.yaml").read_text().splitlines()
    marks = ("    # corners:", "  # - ")
    changed = 0
    for i, line in enumerate(lines):
        if line.startswith(marks):
            changed += 1
            Path("on.yaml").write_text("\n".join([*lines[:i], line.replace("# ", "", 1), *lines[i + 1 :]]))
            assert Scenario.load("on.yaml").cases
    assert changed > 15


def test_init_takes_a_task_without_an_accuracy_and_a_model_without_data(folder, faultsim):
    onnx.save(tiny_nets.dense(), "tiny.onnx")
    done = faultsim("init", "tiny.onnx", "--task", "regression", "--device", "sram")
    assert done.code == 0, done.err
    tree = yaml.safe_load(Path("scenario.yaml").read_text())
    assert tree["require"] == ["score_drop <= 1 at p95"] or tree["require"] == ["loss_increase <= 0.1 at p95"]
    done = faultsim("run", "scenario.yaml", "--trials", "2", "-q")
    assert done.code in (0, 1), done.out


def test_init_hands_on_which_output_axis_and_sizes(folder, faultsim):
    onnx.save(tiny_nets.dense(features="width"), "open.onnx")
    assert faultsim("init", "open.onnx").code == 2  # the weights want 6 features
    given = ("--input-shape", "x=1,6", "--batch-axis", "x=0", "--output", "y", "--device", "sram")
    done = faultsim("init", "open.onnx", *given)
    assert done.code == 0, done.err
    (model,) = yaml.safe_load(Path("scenario.yaml").read_text())["models"]
    assert model == {"model": "open.onnx", "output": "y", "input_shape": {"x": "1,6"}, "batch_axis": {"x": 0}}
    assert faultsim("run", "scenario.yaml", "--trials", "2", "-q").code in (0, 1)


def test_init_writes_over_no_file_unasked_and_reads_the_model_first(folder, faultsim):
    Path("scenario.yaml").write_text("mine")
    done = faultsim("init", "digits")
    assert (done.code, Path("scenario.yaml").read_text()) == (2, "mine")
    assert "is there already; give another name, or --force" in done.err
    assert faultsim("init", "digits", "--force").code == 0
    Path("broken.onnx").write_bytes(b"no model")
    assert faultsim("init", "broken.onnx", "--out", "new.yaml").code == 2
    assert faultsim("init", "digits", "--device", "rerm", "--out", "new.yaml").code == 2
    assert not Path("new.yaml").exists()


def test_a_hostile_file_name_makes_no_other_yaml(folder, faultsim):
    np.savez("a'] # {b}.npz", **tiny_nets.samples())
    onnx.save(tiny_nets.dense(), "a'] # {b}.onnx")
    assert faultsim("init", "a'] # {b}.onnx", "--data", "a'] # {b}.npz", "--device", "sram").code == 0
    [case] = Scenario.load("scenario.yaml").cases
    assert case.model.name == "a'] # {b}.onnx"


# doctor


def test_doctor_names_versions_threads_memory_library_and_completion(faultsim):
    done = faultsim("doctor")
    assert done.code == 0
    for part in (f"torch         {metadata.version('torch')}", "threads       ", "memory        ", "GPU           ",
                 "scenarios", "_FAULTSIM_COMPLETE=bash_source", "faultsim can work here"):  # fmt: skip
        assert part in done.out


def test_doctor_exits_with_1_where_something_is_missing_or_broken(faultsim, monkeypatch):
    real = importlib.import_module

    def broken(name, *args):
        if name == "onnxruntime":
            raise ImportError("libgomp.so.1: cannot open shared object file")
        return real(name, *args)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["onnxruntime>=1.31", "nosuchthing>=2", "x; extra == 'y'"]
    )
    done = faultsim("doctor")
    assert done.code == 1
    assert "MISSING cannot be imported: ImportError: libgomp.so.1" in done.out
    assert "nosuchthing   MISSING not installed (needed: nosuchthing>=2)" in done.out
    assert "→ pip install 'nosuchthing>=2'" in done.out
    assert "2 problems: onnxruntime, nosuchthing" in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_that_doctor_names_is_a_script_of_that_shell(shell):
    code = "from faultsim.cli import cli; cli.main(prog_name='faultsim')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "_FAULTSIM_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "_FAULTSIM_COMPLETE" in done.stdout


def test_commands_are_completed():
    done = subprocess.run(
        [sys.executable, "-c", "from faultsim.cli import main; main()"],
        env={**os.environ, "_FAULTSIM_COMPLETE": "bash_complete", "COMP_WORDS": "faultsim sce", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "scenarios" in done.stdout
