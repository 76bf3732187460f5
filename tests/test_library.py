"""A name finds one file, a path always wins, and no name reaches outside the library."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultsim.errors import DeviceError, OptionError
from faultsim.library import _aliases, closest, find_device, find_model, find_scenario, list_devices, list_scenarios
from faultsim.specs.device import DeviceSpec
from faultsim.specs.load import load

DEVICES = Path(__file__).parents[1] / "devices"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of its own, in front of the shipped one, and an empty folder to work in."""
    (tmp_path / "lib" / "devices").mkdir(parents=True)
    (tmp_path / "lib" / "scenarios").mkdir()
    monkeypatch.setenv("FAULTSIM_LIBRARY", str(tmp_path / "lib"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "lib"


@pytest.mark.parametrize("name", ["reram", "reram.yaml", "reram_1t1r", "reram_1t1r.yaml", "rram"])
def test_every_spelling_of_reram_is_the_same_profile(name):
    assert find_device(name) == DEVICES / "reram_1t1r.yaml"


@pytest.mark.parametrize(
    ("name", "stem"), [("pcm", "pcm_analog"), ("fpga", "fpga_bram_int8"), ("sram", "sram_low_voltage")]
)
def test_aliases_and_whole_words_at_the_start_are_enough(name, stem):
    assert find_device(name).stem == stem
    assert find_device("sram_low").stem == "sram_low_voltage"


def test_a_file_given_as_path_wins(library):
    Path("reram.yaml").write_text("x: 1\n")
    assert find_device("reram.yaml").read_text() == "x: 1\n"
    assert find_device("./reram.yaml").read_text() == "x: 1\n"
    assert find_device("reram") == DEVICES / "reram_1t1r.yaml"


def test_the_chosen_library_comes_first(library):
    (library / "devices" / "pcm_analog.yaml").write_text("x: 1\n")
    assert find_device("pcm_analog").parent == library / "devices"
    assert list_devices().count("pcm_analog") == 1


def test_an_ambiguous_name_lists_what_it_fits(library):
    for name in ("mram_a", "mram_b"):
        (library / "devices" / f"{name}.yaml").write_text("x: 1\n")
    with pytest.raises(DeviceError, match=r"device 'mram' fits more than one: mram_a, mram_b; give the whole name"):
        find_device("mram")


def test_an_alias_beats_a_prefix(library):
    (library / "devices" / "reram_other.yaml").write_text("x: 1\n")
    assert find_device("reram") == DEVICES / "reram_1t1r.yaml"


def test_an_unknown_name_gets_a_hint_and_the_list():
    with pytest.raises(DeviceError) as caught:
        find_device("rerm")
    assert str(caught.value) == (
        f"unknown device 'rerm', did you mean 'reram'? available: {', '.join(list_devices())};"
        " or give the path of a YAML file"
    )


def test_a_scenario_is_found_the_same_way(library):
    (library / "scenarios" / "edge.yaml").write_text("x: 1\n")
    assert find_scenario("edge") == library / "scenarios" / "edge.yaml"
    assert "edge" in list_scenarios()
    with pytest.raises(OptionError, match=r"unknown scenario 'egde', did you mean 'edge'\?"):
        find_scenario("egde")


@pytest.mark.parametrize(
    "name", ["../devices/reram_1t1r", "/etc/passwd_", "..", "a/b", "\\x", "x\x00y", "", "a" * 5000]
)
def test_no_name_reaches_outside_the_library(name, library):
    with pytest.raises(DeviceError):
        find_device(name)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_any_name_gives_a_file_or_a_device_error(name):
    try:
        path = find_device(name)
    except DeviceError:
        return
    assert path.is_file()


@pytest.mark.parametrize("path", sorted(DEVICES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_scan_for_aliases_reads_what_the_loader_reads(path):
    assert _aliases(path) == load(path, DeviceSpec).aliases


def test_aliases_may_be_written_as_a_block(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\naliases:\n  - one\n  - 'two' # second\nx: 1\n")
    assert _aliases(tmp_path / "a.yaml") == ("one", "two")
    (tmp_path / "b.yaml").write_text("name: a\nnote: 'aliases: [x]'\n")
    assert _aliases(tmp_path / "b.yaml") == ()


def test_closest_needs_some_likeness():
    assert closest("pcn", ["pcm", "sram"]) == "pcm"
    assert closest("qqq", ["pcm", "sram"]) is None


def test_a_look_up_imports_nothing_heavy():
    code = (
        "import sys; from faultsim.library import find_device; find_device('reram');"
        "print([m for m in ('torch', 'onnx', 'pydantic', 'yaml', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=DEVICES.parent)
    assert done.stdout.strip() == "[]"


def test_a_folder_of_its_name_hides_no_bundled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("digits").name == "digits_float.onnx"
    assert find_model("other") == Path("other")  # said to be a folder by what opens it
