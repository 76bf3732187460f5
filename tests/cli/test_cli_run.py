"""The commands at work: what comes out where, with which exit code, and what Ctrl-C leaves."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import tiny_nets

from faultsim import load_device, load_result
from faultsim.library import list_devices
from faultsim.results import result_schema

QUICK = ("--trials", "3", "--limit", "60", "--search-gradients", "3", "--site-trials", "1", "--threads", "1")


def spawn(*words, cwd, stderr=subprocess.PIPE, **environment):
    """Start ``faultsim`` as a process of its own."""
    code = "import sys; from faultsim.cli import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def test_the_report_is_on_stdout_and_nothing_on_stderr(faultsim):
    outcome = faultsim("assess", "digits", "-d", "reram", *QUICK)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("digits_float.onnx  9,930 parameters, 6 sites, float32\non reram_1t1r: ")
    assert "worst case, same budget" in outcome.out
    assert "NO VERDICT" in outcome.out
    assert "\x1b" not in outcome.out
    long = [line for line in outcome.out.splitlines() if len(line) > 80]
    assert all(line.startswith("next    faultsim assess ") for line in long)


def test_the_result_is_written_where_out_says(faultsim, tmp_path):
    out = tmp_path / "deep" / "out"
    assert faultsim("assess", "digits_int8", "-d", "sram", *QUICK, "--out", out).code == 0
    assert sorted(path.name for path in out.iterdir()) == ["outcomes.npy", "report.html", "result.json"]
    document = json.loads((out / "result.json").read_text())
    jsonschema.validate(document, result_schema())
    result = load_result(out / "result.json")
    assert (result.device.name, result.random.trials, result.data.samples) == ("sram_low_voltage", 3, 60)
    before = (out / "result.json").read_text()
    assert faultsim("assess", "digits_int8", "-d", "sram", *QUICK, "--out", out, "--seed", "1").code == 0
    assert (out / "result.json").read_text() != before


def test_a_result_that_cannot_be_written_is_shown_all_the_same(faultsim, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    outcome = faultsim("assess", "digits", "-d", "reram", *QUICK, "-o", tmp_path)
    assert outcome.code == 2
    assert "worst case, same budget" in outcome.out
    assert outcome.err == (
        f"faultsim: --out {tmp_path}: cannot be written (No space left on device); the report stands above\n"
    )
    assert not (tmp_path / "result.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_list_of_faults_on_a_full_disk_costs_no_result(faultsim, tmp_path):
    outcome = faultsim("assess", "digits", "-d", "sram", *QUICK, "-o", tmp_path, "--fault-list", "/dev/full")
    assert outcome.code == 0
    assert load_result(tmp_path / "result.json").random.trials == 3
    assert outcome.err == (
        "faultsim: --fault-list /dev/full could not be written from chip 0 on (No space left on device)\n"
    )


def test_a_search_that_fails_leaves_the_chips_and_exits_with_2(faultsim, tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("faultsim.assessment.run.find_worst", full)
    asked = ("--require", "worst_case_accuracy>=0.1")
    outcome = faultsim("assess", "digits", "-d", "sram", *QUICK, "-o", tmp_path, *asked)
    assert outcome.code == 2
    assert outcome.err == "faultsim: not all requirements could be judged; the notes say why\n"
    assert "NO VERDICT  1 requirement was not judged: a figure is missing, as the notes say" in outcome.out
    assert load_result(tmp_path / "result.json").random.trials == 3
    page = (tmp_path / "report.html").read_text()
    assert "A figure is missing, as the notes say: 1 requirement could not be judged." in page


def test_a_missed_requirement_exits_with_1_where_another_could_not_be_judged(faultsim, tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("faultsim.assessment.run.find_worst", full)
    asked = ("--require", "worst_case_accuracy>=0.1", "--require", "accuracy>=1")
    outcome = faultsim("assess", "digits", "-d", "sram", *QUICK, "-o", tmp_path, *asked)
    assert outcome.code == 1
    assert outcome.err == "faultsim: not all requirements could be judged; the notes say why\n"
    assert "FAILED  1 requirement missed, and 1 requirement was not judged" in outcome.out
    assert "No: 1 of 2 requirements is missed, and 1 could not be judged." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("require", "code", "word"),
    [("accuracy>=0.01", 0, "PASSED"), ("worst_case_accuracy>=0.99", 1, "FAILED")],
)
def test_the_exit_code_says_whether_the_requirement_is_met(require, code, word, faultsim, tmp_path):
    outcome = faultsim("assess", "digits", "-d", "reram", *QUICK, "--require", require, "-o", tmp_path)
    assert (outcome.code, outcome.err) == (code, "")
    assert word in outcome.out
    assert load_result(tmp_path / "result.json").verdict.passed is (code == 0)


def test_a_requirement_nobody_could_judge_is_refused_before_any_chip_is_drawn(faultsim, tmp_path):
    outcome = faultsim("assess", "digits", "-d", "reram", *QUICK, "--require", "speed>=1", "-o", tmp_path / "o")
    assert outcome.code == 2
    assert not (tmp_path / "o").exists()


def test_the_command_is_kept_for_the_reader(tmp_path):
    words = ("assess", "digits", "-d", "sram", *QUICK, "-o", "out")
    code = "import sys; sys.argv[0] = '/bin/faultsim'; from faultsim.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    command = f"faultsim {' '.join(words)}"
    assert load_result(tmp_path / "out" / "result.json").provenance.command == command
    assert f"next    {command} --require " in done.stdout


def test_errors_go_to_stderr_and_exit_with_2(tmp_path):
    process = spawn("assess", "no.onnx", "-d", "sram", cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("faultsim: 'no.onnx': no such file")
    assert err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_in_a_long_run_shows_and_writes_what_there_is(tmp_path):
    ours, theirs = os.openpty()  # a terminal on stderr: the bar says when chips have been scored
    words = ("--trials", "100000", "--limit", "60", "--threads", "1", "-o", "out")
    process = spawn("assess", "digits", "-d", "reram", *words, cwd=tmp_path, stderr=theirs, TERM="xterm")
    os.close(theirs)
    seen, deadline = "", time.monotonic() + 60
    while not re.search(r"chips.* [1-9]\d*/100000", seen) and time.monotonic() < deadline:
        seen += os.read(ours, 4096).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    with contextlib.suppress(OSError):  # the terminal closes with the process
        while part := os.read(ours, 4096):
            seen += part.decode(errors="replace")
    os.close(ours)
    assert process.returncode == 130
    assert seen.endswith("faultsim: interrupted; what was computed until then stands above\r\n")
    assert "Traceback" not in seen
    assert "random chip, mean" in out
    assert "of 100000 chips" in out
    result = load_result(tmp_path / "out" / "result.json")
    assert 1 <= result.random.trials < 100_000
    assert result.random.stopped == f"interrupted after {result.random.trials} of 100000 chips"
    assert result.worst_case is None


def test_ctrl_c_before_the_first_chip_leaves_nothing(faultsim, monkeypatch, tmp_path):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("faultsim.assessment.run.make_setting", stop)
    outcome = faultsim("assess", "digits", "-d", "reram", *QUICK, "-o", tmp_path / "out")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == "faultsim: interrupted; nothing was computed yet\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("devices",), 0),
        (("assess", "digits", "-d", "reram", *QUICK), 0),
        (("assess", "digits", "-d", "reram", *QUICK, "--require", "worst_case_accuracy>=0.99"), 1),
    ],
)
def test_a_closed_pipe_does_not_change_the_exit_code(words, code, tmp_path):
    process = spawn(*words, cwd=tmp_path)
    process.stdout.close()
    assert process.wait(timeout=120) == code
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("module", ["faultsim", "faultsim.cli"])
def test_help_costs_no_heavy_import(module):
    heavy = "{'torch', 'onnx', 'onnxruntime', 'numpy', 'pydantic', 'scipy', 'rich', 'matplotlib'}"
    code = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("assess", "--help"), ("devices", "--help"), ("--version",)])
def test_help_is_printed_at_80_columns_without_torch(words, tmp_path):
    code = (
        "import sys\nfrom faultsim.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules, 'numpy' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"COLUMNS": "80"},
    )
    assert (done.returncode, done.stderr.split()) == (0, ["False", "False"])
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.startswith("faultsim " if words == ("--version",) else "Usage: faultsim")


def test_help_says_what_it_is_for_and_shows_an_example(faultsim):
    assert "Will this network still work on the chip it ships on?" in faultsim("--help").out
    text = faultsim("assess", "--help").out
    assert "faultsim assess digits --device reram" in text
    assert "Exit code: 0 if every requirement is met" in text
    assert "Other than cpu, chips are scored there as well" in " ".join(text.split())
    assert "Other than cpu, chips are scored there as well" in " ".join(faultsim("run", "--help").out.split())


def test_the_library_of_devices_is_listed(faultsim):
    outcome = faultsim("devices")
    assert outcome.code == 0
    names = [line.split()[0] for line in outcome.out.partition("\n\n")[0].splitlines()]
    assert names == list(list_devices())
    assert len(names) == 16
    assert all(len(line) <= 80 for line in outcome.out.splitlines())


@pytest.mark.parametrize("name", ["fpga_bram_int8", "pcm_analog", "reram", "sram_low_voltage.yaml"])
def test_a_device_is_shown_with_what_it_is_not_and_its_sources(name, faultsim):
    outcome = faultsim("devices", "show", name)
    assert (outcome.code, outcome.err) == (0, "")
    profile = load_device(name).spec
    text = " ".join(outcome.out.split())
    for words in (profile.title, profile.is_not, "Mechanisms:", "simulated", "Sources:"):
        assert words in text
    assert text.count("left out: ") == len(load_device(name).not_simulated())
    assert all(len(line) <= 80 for line in outcome.out.splitlines())


def test_a_name_where_a_command_belongs_is_told_the_command(faultsim):
    outcome = faultsim("devices", "reram")
    assert (outcome.code, outcome.out) == (2, "")
    assert "a profile is shown by 'faultsim devices show reram'" in " ".join(outcome.err.split())


def test_an_unknown_device_is_refused(faultsim):
    outcome = faultsim("devices", "show", "pcm_analgo")
    assert (outcome.code, outcome.out) == (2, "")
    assert "unknown device 'pcm_analgo', did you mean 'pcm_analog'" in outcome.err


def test_a_good_profile_passes_the_check(faultsim, root):
    path = root / "devices" / "pcm_analog.yaml"
    outcome = faultsim("devices", "check", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{path}: a valid profile of pcm_analog\n"


def test_the_schema_describes_the_library(faultsim, root):
    from faultsim.specs.yaml import read

    schema = json.loads(faultsim("devices", "schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert read(root / "devices" / "pcm_analog.yaml") is not None


def test_a_model_without_data_says_so_first(faultsim, tmp_path):
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx")
    outcome = faultsim("assess", path, "-d", "sram", *QUICK)
    assert outcome.code == 0
    assert "no labels: accuracy is agreement with the clean model's own answers" in outcome.out


def test_cli_py_is_the_door_of_a_checkout(root, tmp_path):
    done = subprocess.run(
        [sys.executable, root / "cli.py", "devices"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "reram_1t1r" in done.stdout
