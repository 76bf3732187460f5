"""Options that would change nothing are refused, names of the library are taken, and a check draws a chip."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets
from onnx import numpy_helper

from faultsim.criteria import parse_criterion
from faultsim.errors import OptionError

QUIET = ("--threads", 1, "--quiet")


def said(outcome) -> str:
    assert outcome.code == 2, outcome.out
    assert "Traceback" not in outcome.err
    return " ".join(outcome.err.split())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("attack", "digits", "--eps", "0.1", "--points", 3), "--points goes with --curve eps or --curve n"),
        (("probe", "digits", "--mode", "gradient", "--remove", 0.3), "--remove is of the modes weights and units"),
        (("probe", "digits", "--mode", "units", "--eps", 0.9), "--eps is of the modes gradient and random"),
        (("probe", "digits", "--mode", "units", "--n", 9), "--n is of the modes gradient and random"),
        (("probe", "digits", "--mode", "weights", "--p", "inf"), "--p is of the modes gradient and random"),
        (("probe", "digits", "--p", "two"), "--p 'two' is no number"),
        (
            ("assess", "digits", "-d", "reram", "--input-shape", "image=1,1,8,8"),
            "--input-shape is for inputs that are drawn, and there are data",
        ),
    ],
)
def test_what_would_not_be_heard_is_refused(faultsim, words, why) -> None:
    assert why in said(faultsim(*words, *QUIET))


def test_a_part_to_hold_out_is_refused_beside_test_data(faultsim, root, tmp_path: Path) -> None:
    data = root / "scenarios" / "digits" / "digits.npz"
    words = ("harden", "digits", "-d", "sram", "--data", data, "--test-data", data, "--held-out", 0.9)
    text = said(faultsim(*words, "-o", tmp_path / "h.onnx", *QUIET))
    assert "--held-out is a part of --data to assess on, and --test-data is given" in text


def test_drawn_inputs_take_a_shape_in_maps_and_sweeps_too(faultsim, tmp_path: Path) -> None:
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx")
    (size,) = {i.type.tensor_type.shape.dim[1].dim_value for i in onnx.load(path).graph.input}
    shape = ("--input-shape", f"x=20,{size}")
    swept = faultsim("sweep", path, "-d", "sram", "--over", "vdd=0.8:0.9:2", "--trials", 2, *shape, *QUIET)
    assert swept.code == 0, swept.err
    mapped = faultsim("bitmap", path, "--audit", 20, "--images", 8, *shape, *QUIET)
    assert mapped.code == 0, mapped.err


def test_checks_take_names_of_the_library(faultsim) -> None:
    assert faultsim("devices", "check", "reram_1t1r").out == "reram_1t1r: a valid profile of reram_1t1r\n"
    assert "demo: a valid scenario" in faultsim("scenarios", "check", "demo").out


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("ecc: {scheme: none}", "ecc: {scheme: secded, data_bits: 64, check_bits: 3}", "check bits"),
        ("    model: bit_error_rate", "    enabled: false\n    model: bit_error_rate", "switch one on"),
    ],
)
def test_a_profile_that_no_run_would_take_is_no_valid_one(faultsim, root, tmp_path: Path, old, new, why) -> None:
    text = (
        (root / "devices" / "sram_low_voltage.yaml")
        .read_text()
        .replace("    enabled: false\n", "")
        .replace("  word_bits: 64\n", "")
    )
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new))
    message = said(faultsim("devices", "check", tmp_path / "mine.yaml"))
    assert why in message
    assert "no chip can be drawn at the profile's own conditions" in message


@pytest.mark.parametrize("text", ["accuracy_drop<=1@max", "worst_case_drop <= 1", "critical<=1"])
def test_a_limit_that_nothing_exceeds_is_refused_unless_it_is_meant(text: str) -> None:
    with pytest.raises(OptionError, match=r"is all of it, which nothing exceeds; write 1 % as 0.01 or 1%, or 100%"):
        parse_criterion(text)
    assert parse_criterion("accuracy_drop<=100%").limit == 1
    assert parse_criterion("accuracy>=1").limit == 1


def test_long_names_of_layers_are_told_apart(faultsim, root, tmp_path: Path) -> None:
    proto = onnx.load(root / "scenarios" / "digits" / "digits_float.onnx")
    weights = [one for one in proto.graph.initializer if len(one.dims) > 1]
    names = {}
    for number, one in enumerate(weights):
        names[one.name] = f"model.encoder.layers.11.self_attention.part{number}_proj.weight"
        one.name = names[one.name]
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    onnx.save(proto, tmp_path / "long.onnx")
    found = faultsim("campaign", tmp_path / "long.onnx", "--trials", 40, "--stratify", "site", *QUIET)
    assert found.code == 0, found.err
    for number in range(len(weights)):
        assert f"part{number}_proj.weight" in found.out or f"{number}_proj.weight" in found.out
    assert all(np.size(numpy_helper.to_array(one)) for one in weights)
