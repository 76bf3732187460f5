"""What a command writes never costs what it reads, a result, or a pipe; an empty name is none."""

import os
import threading
from pathlib import Path

import pytest
import tiny_nets
from example_kinds import shifted, sweep

from faultsim.assessment.record import Recorder
from faultsim.errors import OptionError
from faultsim.results import load_result, to_json
from faultsim.textfile import write_text


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, by in (("a", 0), ("b", -10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(to_json(shifted(by)))
    (tmp_path / "sweep.json").write_text(sweep().model_dump_json(by_alias=True))
    (tmp_path / "link.json").symlink_to("a/result.json")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report", "a", "-o", "a/result.json"), "-o a/result.json: is an assessment, which would be lost"),
        (("report", "a/result.json", "-o", "link.json"), "-o link.json: is what this command reads"),
        (("report", "sweep.json", "-o", "sweep.json"), "-o sweep.json: is what this command reads"),
        (("report", "a", "-o", "sweep.json"), "-o sweep.json: is a sweep, which would be lost"),
        (("report", "a", "--markdown", "b/result.json"), "--markdown b/result.json: is an assessment"),
        (("report", "a", "--junit", "b/result.json"), "--junit b/result.json: is an assessment"),
        (("report", "a", "-o", "x.html", "--markdown", "x.html"), "--markdown x.html: is where -o writes as well"),
        (("compare", "a", "b", "--json", "b/result.json"), "--json b/result.json: is what this command reads"),
        (("compare", "a", "b", "--junit", "a/result.json"), "--junit a/result.json: is what this command reads"),
        (("compare", "a", "b", "--markdown", "link.json"), "--markdown link.json: is what this command reads"),
        (("compare", "a", "b", "--json", "x", "--junit", "./x"), "--junit x: is where --json writes as well"),
        (("replay", "a", "-t", 0, "--fault-list", "a/result.json"), "--fault-list a/result.json: is what this"),
        (("replay", "a", "-t", 0, "--fault-list", "b"), "--fault-list b: is a folder; give a file"),
    ],
)
def test_a_file_that_would_be_lost_is_refused(faultsim, results: Path, words, said: str) -> None:
    before = {file: file.read_bytes() for file in results.rglob("*") if file.is_file()}
    done = faultsim(*words)
    assert done.code == 2
    assert done.err.startswith(f"faultsim: {said}")
    assert done.err.count("\n") == 1
    assert {file: file.read_bytes() for file in results.rglob("*") if file.is_file()} == before


def test_a_list_of_faults_over_a_result_is_refused_in_python_too(results: Path) -> None:
    with pytest.raises(OptionError, match=r"--fault-list link\.json: is an assessment, which would be lost"):
        Recorder(Path("link.json"))


def test_what_a_command_wrote_before_is_replaced(faultsim, results: Path) -> None:
    for _ in range(2):
        assert faultsim("compare", "a", "b", "--json", "c.json", "--junit", "c.xml", "--markdown", "c.md").code == 0
        assert faultsim("report", "a", "--junit", "a.xml", "--markdown", "a.md").code == 0


@pytest.mark.parametrize("target", ["net.onnx", "net.npz", "out/result.json", "out/report.html", "device.yaml"])
def test_a_list_of_faults_over_an_input_is_refused_before_the_work(faultsim, tmp_path, monkeypatch, target) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    from faultsim.library import find_device

    (tmp_path / "device.yaml").write_text(find_device("sram").read_text())
    before = (tmp_path / "net.onnx").read_bytes()
    done = faultsim("assess", "net.onnx", "-d", "device.yaml", "--out", "out", "--fault-list", target, "--quiet")
    assert done.code == 2
    assert done.err.startswith(f"faultsim: --fault-list {target}: is w")
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("run", "mine.yaml", "--junit", "mine.yaml"),
        ("run", "mine.yaml", "--markdown", "mine.yaml"),
        ("init", "net.onnx", "-o", "net.onnx", "--force"),
        ("init", "net.onnx", "-o", "net.npz", "--data", "net.npz", "--force"),
    ],
)
def test_a_scenario_and_a_model_are_inputs_too(faultsim, tmp_path, monkeypatch, words) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    Path("mine.yaml").write_text("faultsim_scenario: 1\nname: mine\nmodels: [net.onnx]\ndevices: [sram]\n")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    done = faultsim(*words)
    assert done.code == 2
    assert ": is what this command reads, and would be lost; give another file" in done.err
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("link", [False, True])
def test_the_worst_model_never_replaces_the_model(faultsim, tmp_path, monkeypatch, link: bool) -> None:
    net = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    target = tmp_path / "other.onnx" if link else net
    if link:
        target.symlink_to(net)

    def searched(*_: object, **__: object) -> None:
        raise AssertionError("searched before the target was refused")

    monkeypatch.setattr("faultsim.attacks.run.one_set", searched)
    before = net.read_bytes()
    done = faultsim("attack", net, "--eps", "rel:1", "-o", target, "--quiet", "--threads", 1)
    assert (done.code, done.err) == (
        2,
        f"faultsim: -o {target}: that is the model itself, which is never overwritten; give another name\n",
    )
    assert net.read_bytes() == before


def test_a_pipe_is_written_to_and_stays_a_pipe(faultsim, results: Path) -> None:
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()))
    reader.start()
    done = faultsim("compare", "a", "b", "--json", "pipe")
    reader.join(10)
    assert done.code == 0
    assert read[0].startswith("{")
    assert Path("pipe").is_fifo()


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to("to/file.txt")
    for text in ("first", "second"):
        write_text(link, text)
        assert link.is_symlink()
        assert (tmp_path / "to" / "file.txt").read_text() == text
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file.txt", "link.txt", "to"]


def test_an_open_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    with (tmp_path / "shown.txt").open("w+") as file:
        link = tmp_path / "link"
        link.symlink_to(f"/dev/fd/{file.fileno()}")
        write_text(link, "seen")
        assert file.read() == "seen"
    write_text(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    "words",
    [
        ("assess", "digits", "-d", "sram", "--out", ""),
        ("assess", "digits", "-d", "sram", "--fault-list", " "),
        ("sweep", "digits", "-d", "sram", "--over", "vdd=1", "--out", ""),
        ("attack", "digits", "--eps", "1", "--out", ""),
        ("attack", "digits", "--eps", "1", "-o", ""),
        ("probe", "digits", "--out", ""),
        ("campaign", "digits", "--out", ""),
        ("bitmap", "digits", "--out", ""),
        ("harden", "digits", "-d", "sram", "-o", "x.onnx", "--out", ""),
        ("run", "demo", "--out", ""),
        ("merge", "a", "--out", ""),
        ("init", "digits", "--out", ""),
        ("replay", "a", "-t", 0, "--out", ""),
        ("report", "a", "--out", ""),
        ("report", "a", "--figures", ""),
        ("compare", "a", "b", "--json", ""),
    ],
)
def test_an_empty_name_is_refused(faultsim, results: Path, words) -> None:
    before = sorted(results.rglob("*"))
    done = faultsim(*words)
    assert done.code == 2
    assert done.err.startswith("faultsim: --")
    assert done.err.endswith(": is empty; give a name, or leave the option out\n")
    assert sorted(results.rglob("*")) == before


@pytest.mark.parametrize("seed", [-1, 2**63])
@pytest.mark.parametrize(
    "words",
    [
        ("assess", "digits", "-d", "sram"),
        ("sweep", "digits", "-d", "sram", "--over", "vdd=1"),
        ("attack", "digits", "--eps", "1"),
        ("probe", "digits"),
        ("campaign", "digits"),
        ("bitmap", "digits"),
        ("harden", "digits", "-d", "sram", "-o", "x.onnx"),
    ],
)
def test_a_seed_out_of_range_is_refused(faultsim, words, seed: int) -> None:
    done = faultsim(*words, "--seed", seed, "--quiet")
    assert (done.code, done.err) == (
        2,
        f"faultsim: seed is {seed}, it must be from 0 to {2**63 - 1}; give another, such as 0\n",
    )


def test_a_replaced_result_is_whole(results: Path) -> None:
    write_text(Path("link.json"), to_json(shifted(10)))
    assert load_result("a/result.json").random is not None
