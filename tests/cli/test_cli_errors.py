"""Everything a user can give wrong is one clear message on stderr, exit code 2, and no traceback."""

import re

import numpy as np
import onnx
import pytest
import tiny_nets
from onnx import TensorProto

DEVICE = "sram_low_voltage"


@pytest.fixture
def net(tmp_path):
    """A small network with its sidecar data."""
    return tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())


def refused(outcome, *said):
    """One message: it says all of *said*, starts with the tool's name, and nothing else is printed."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert outcome.err.count("faultsim: ") == 1
    assert outcome.err.startswith("faultsim: ")
    assert "Warning" not in outcome.err
    for words in said:
        assert re.search(words, outcome.err), outcome.err
    return outcome.err


def one_line(outcome, *said):
    assert refused(outcome, *said).count("\n") == 1


def externals(path, location):
    proto = tiny_nets.dense()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("kept", [0, 1, 10, 100, 300])
def test_a_truncated_model(kept, net, faultsim):
    net.write_bytes(net.read_bytes()[:kept])
    one_line(faultsim("assess", net, "-d", DEVICE), r"net\.onnx: .*(export|copy)")


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_as_a_model(seed, tmp_path, faultsim):
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(seed).bytes(2000))
    one_line(faultsim("assess", path, "-d", DEVICE), r"noise\.onnx: not an ONNX model, or cut short")


def test_a_model_of_another_opset(net, faultsim):
    proto = onnx.load(net)
    proto.opset_import[0].version = 99
    net.write_bytes(proto.SerializeToString())
    one_line(faultsim("assess", net, "-d", DEVICE), r"opset 99 is not between 1 and \d+; convert it with")


def test_missing_external_data(tmp_path, faultsim):
    path = externals(tmp_path / "net.onnx", "weights.bin")
    one_line(faultsim("assess", path, "-d", DEVICE), "external data of 'first.weight' are missing: no file 'weights")


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "link.bin"])
def test_external_data_outside_the_folder(location, tmp_path, faultsim):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(b"\0" * 192)
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    path = externals(folder / "net.onnx", location)
    one_line(faultsim("assess", path, "-d", DEVICE), "external data of 'first.weight' lie at .*folder")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digit", "'digit': no such file, did you mean the bundled model 'digits'"),
        ("nothing_like_it", "'nothing_like_it': no such file; give the path of an .onnx file"),
        ("no/such.onnx", r"no/such\.onnx: no such file"),
        (".", "is a folder; give the .onnx file in it"),
        ("", "is a folder; give the .onnx file in it"),
    ],
)
def test_a_model_that_is_not_there(name, said, faultsim):
    one_line(faultsim("assess", name, "-d", DEVICE), said)


def test_a_device_that_is_not_there(net, faultsim):
    one_line(faultsim("assess", net, "-d", "rerm_1t1r"), "unknown device 'rerm_1t1r', did you mean 'reram_1t1r'")
    one_line(faultsim("assess", net, "-d", "./none.yaml"), "'./none.yaml': no such file; give the path of a YAML file")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": None, "image": np.zeros((30, 6), np.float32), "more": np.zeros((30, 6))}, "has no array for input 'x'"),
        ({"x": np.zeros((30, 5), np.float32)}, "5"),
        ({"x": np.zeros((30, 6, 2), np.float32)}, "6"),
        ({"x": np.array([["a"] * 6] * 30)}, "array 'x'"),
        ({"x": np.zeros((30, 6), complex)}, "array 'x'"),
        ({"x": np.zeros((29, 6), np.float32)}, "differ in their number of samples: 'x' has 29, 'labels' has 30"),
        ({"x": np.zeros((0, 6), np.float32), "labels": np.zeros(0, int)}, "is empty; give at least one sample"),
        ({"x": np.full((30, 6), np.nan, np.float32)}, r"array 'x' in net\.npz holds NaN at \[0, 0\]"),
        ({"labels": np.full(30, 4)}, r"label 4 at \[0\] in .*net\.npz is out of range: the model has 4 classes, 0…3"),
        ({"labels": np.full(30, -1)}, r"label -1 at \[0\]"),
        ({"labels": np.arange(30) % 4 + 1}, "label_offset: -1"),
        ({"labels": np.zeros((30, 7, 3))}, "are no task that can be told from them; give --task"),
        ({"labels": np.array([{}] * 30, dtype=object)}, "holds Python objects, which are never loaded"),
    ],
)
def test_data_that_do_not_fit(change, said, net, faultsim):
    data = {k: v for k, v in (tiny_nets.samples() | change).items() if v is not None}
    np.savez(net.with_suffix(".npz"), **data)
    one_line(faultsim("assess", net, "-d", DEVICE), said)


def test_data_that_are_no_data(net, tmp_path, faultsim):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 and nothing else")
    one_line(faultsim("assess", net, "-d", DEVICE, "--data", tmp_path / "bad.npz"), r"bad\.npz")
    one_line(faultsim("assess", net, "-d", DEVICE, "--data", tmp_path / "nett.npz"), "does not exist, did you mean")
    (tmp_path / "data.csv").write_text("1,2,3")
    one_line(faultsim("assess", net, "-d", DEVICE, "--data", tmp_path / "data.csv"), "of no kind that can be read")
    one_line(faultsim("assess", net, "-d", DEVICE, "--data", "no_such_module:f"), "no_such_module")


def test_nan_in_the_weights(net, faultsim):
    proto = onnx.load(net)
    values = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    values[0, 0] = np.nan
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "first.weight"))
    net.write_bytes(proto.SerializeToString())
    one_line(faultsim("assess", net, "-d", DEVICE), "initializer 'first.weight' holds 1 NaN of 48 numbers")


@pytest.fixture
def profile(root, tmp_path):
    """Write a device profile made from the library's SRAM by text replacement."""

    def write(*changes):
        text = (root / "devices" / "sram_low_voltage.yaml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("bits: 8", "bitts: 8"), [r"mine\.yaml:\d+:\d+: storage\.bitts", "did you mean 'bits'"]),
        (("unit: V/Vmin", "unit: volt"), [r"environment\.v_norm.*'volt'.*V/Vmin"]),
        (("bits: 8", "bits: 8\n  bits: 4"), [r"mine\.yaml:\d+:\d+: storage\.bits: given twice, first in line"]),
        (("value: 0.80", "value: '1e-3'"), [r"environment\.v_norm\.value.*'1e-3'"]),
        (("value: 0.80", "value: on"), [r"environment\.v_norm\.value.*'on'"]),
        (("value: 0.80", "value: .nan"), [r"mine\.yaml:\d+:\d+: .*nan"]),
        (("model: bit_error_rate", "model: bit_flp"), ["bit_flp"]),
        (("faultsim_device: 1", "faultsim_device: [1"), [r"mine\.yaml:\d+:\d+: "]),
    ],
)
def test_a_wrong_profile(change, said, net, profile, faultsim):
    path = profile(change)
    message = refused(faultsim("assess", net, "-d", path), *said)
    assert refused(faultsim("devices", "check", path), *said) == message


def test_every_error_of_a_profile_at_once(profile, faultsim):
    path = profile(("bits: 8", "bitts: 8"), ("unit: V/Vmin", "unit: volt"), ("value: [[1.0, 0.0]", "value: [[on, 0.0]"))
    message = refused(faultsim("devices", "check", path), "bitts", "volt", "'on'")
    places = re.findall(r"mine\.yaml:(\d+):\d+: ", message)
    assert len(places) >= 3
    assert sorted(places, key=int) == places


def test_a_profile_that_cannot_be_read(net, tmp_path, faultsim, monkeypatch):
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "bytes.yaml").write_bytes(bytes(range(256)))
    for name in ("empty.yaml", "bytes.yaml"):
        refused(faultsim("assess", net, "-d", tmp_path / name), name)
        refused(faultsim("devices", "check", tmp_path / name), name)
    one_line(faultsim("devices", "check", tmp_path), "is a folder; give the path of a YAML file, or one of: dram_")
    (tmp_path / "chips").mkdir()
    monkeypatch.chdir(tmp_path)
    one_line(
        faultsim("sweep", "digits", "-d", "chips", "--over", "at=1h"), "device 'chips': is a folder; give the path"
    )
    one_line(faultsim("scenarios", "show", "./chips"), "scenario './chips': is a folder; give the path of a YAML file")
    one_line(faultsim("devices", "check", "none.yaml"), "'none.yaml': no such file; give the path of a YAML file")


def test_a_device_that_cannot_hold_the_model(root, tmp_path, profile, faultsim):
    small = profile(("bits: 8", "bits: 4"))
    model = root / "scenarios" / "digits" / "digits_int8.onnx"
    one_line(faultsim("assess", model, "-d", small), "8.bit|int8")
    nothing = profile(("stores: [weight, bias, norm]", "stores: [norm]"))
    one_line(faultsim("assess", model, "-d", nothing), "no tensor of the roles that sram_low_voltage stores")


def test_a_device_without_a_mechanism(net, profile, faultsim):
    off = profile(("    model: bit_error_rate", "    enabled: false\n    model: bit_error_rate"))
    one_line(faultsim("assess", net, "-d", off), "no mechanism that faultsim simulates .*; switch one on")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trials", "-5"], "trials is -5, it must be at least 1"),
        (["--trials", "0"], "trials is 0, it must be at least 1"),
        (["--batch-size", "0"], "batch.size is 0"),
        (["--limit", "0"], "limit is 0"),
        (["--level", "1.5"], "level is 1.5, it must lie strictly between 0 and 1"),
        (["--confidence", "95"], "confidence is 95, it must lie strictly between 0 and 1, such as 0.95"),
        (["--threads", "-1"], "threads is -1"),
        (["--threads", "100000"], "threads is 100000, .*0 uses all cores"),
        (["--task", "top4"], "task 'top4' is always right with 4 classes; give a number below 4"),
        (["--sites", "frist.weight"], "--sites 'frist.weight' fits no site of net.onnx; did you mean 'first.weight'"),
        (["--sites", "third.*"], "the stored sites are first.weight, first.bias, second.weight\n"),
        (["--exclude", "*"], "leave no site of net.onnx; widen them"),
        (["--output", "z"], "net.onnx has no output 'z'; its outputs are y"),
        (["--task", "clasification"], "task 'clasification' is unknown, did you mean 'classification'"),
        (["--torch-device", "cuda:77"], "torch device 'cuda:77' cannot be used here"),
        (["--torch-device", "gpu"], "torch device 'gpu' cannot be used here"),
        (["--torch-device", "meta"], "torch device 'meta' cannot be used here"),
        (["--require", "acuracy>=0.5"], "unknown metric 'acuracy', did you mean 'accuracy'"),
        (["--require", "accuracy>=95"], "write 95 % as 0.95 or 95%"),
        (["--preprocess", "none.yaml"], "none.yaml"),
    ],
)
def test_options_out_of_range(words, said, net, faultsim):
    one_line(faultsim("assess", net, "-d", DEVICE, *words), said)


def test_every_wrong_requirement_at_once(net, faultsim):
    words = ("--require", "speed<=1", "--require", "accuracy>=2")
    message = refused(faultsim("assess", net, "-d", DEVICE, *words), "unknown metric 'speed'", "'accuracy>=2'")
    assert message.count("\n") == 2


@pytest.mark.parametrize("word", ["--trials", "--seed", "--level"])
def test_words_that_are_no_numbers(word, net, faultsim):
    outcome = faultsim("assess", net, "-d", DEVICE, word, "many")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert f"'{word}': 'many' is not a valid" in outcome.err


def test_out_that_is_a_file_or_cannot_be_made(net, tmp_path, faultsim):
    (tmp_path / "taken").write_text("")
    one_line(faultsim("assess", net, "-d", DEVICE, "-o", tmp_path / "taken"), "taken: is a file; give a folder")
    deep = tmp_path / "taken" / "deep"
    one_line(faultsim("assess", net, "-d", DEVICE, "-o", deep), "deep: .*taken is a file; give a folder")


def test_bad_input_leaves_no_empty_folder_behind(net, tmp_path, faultsim):
    refused(faultsim("assess", net, "-d", "nothing", "-o", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_missing_words_and_unknown_commands(faultsim):
    assert faultsim("assess").code == faultsim("assess", "digits").code == 2
    unknown = faultsim("asess")
    assert unknown.code == 2
    assert "no command 'asess'; did you mean 'assess'?" in unknown.err
    assert faultsim("assess", "digits", "-d", DEVICE, "--trails", "3").code == 2
