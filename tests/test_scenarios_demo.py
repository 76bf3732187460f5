"""The bundled digits demo: small, valid, as accurate as its README says, and what its script writes again."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from faultsim.model import exact_codes

MODELS = ("digits_float", "digits_int8")


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "scenarios" / "digits"


def session(path: Path) -> ort.InferenceSession:
    """Open a file on plain onnxruntime, its products of codes exact on every processor: the README's are."""
    options = ort.SessionOptions()
    exact_codes.ask(options)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def test_every_file_is_small_enough_to_ship(folder):
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert {f"{name}{end}" for name in MODELS for end in (".onnx", ".npz")} < sizes.keys()
    assert max(sizes.values()) < 300_000


@pytest.mark.parametrize("name", MODELS)
def test_the_readme_states_the_accuracy_of_the_very_file(name, folder):
    stated = re.search(rf"`{name}\.onnx`.*?([\d.]+) % of (\d+) test", (folder / "README.md").read_text())
    with np.load(folder / f"{name}.npz", allow_pickle=False) as data:
        images, labels = data["image"], data["labels"]
    scores = session(folder / f"{name}.onnx").run(["logits"], {"image": images})[0]
    accuracy = float((scores.argmax(axis=1) == labels).mean())
    assert len(labels) == int(stated[2])
    assert accuracy == pytest.approx(float(stated[1]) / 100, abs=0.003)  # int8 kernels differ by a code


@pytest.mark.parametrize("name", MODELS)
def test_the_model_is_valid_and_takes_any_batch(name, folder):
    model = onnx.load(folder / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 13
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [17]
    for batch in (1, 3):
        scores = session(folder / f"{name}.onnx").run(None, {"image": np.zeros((batch, 1, 8, 8), np.float32)})
        assert scores[0].shape == (batch, 10)


def test_the_int8_model_holds_codes_per_channel_and_int32_biases(folder):
    model = onnx.load(folder / "digits_int8.onnx")
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for layer in ("conv1", "conv2", "fc"):
        assert found[f"{layer}.weight_quantized"].dtype == np.int8
        assert found[f"{layer}.weight_scale"].shape == (len(found[f"{layer}.weight_quantized"]),)
        assert found[f"{layer}.bias_quantized"].dtype == np.int32
    assert not any(name.endswith(".weight") for name in found)


def test_no_file_names_the_machine_it_was_made_on(folder):
    for path in folder.glob("*.onnx"):
        content = path.read_bytes()
        assert b"/home/" not in content
        assert b"/tmp/" not in content
        assert b".py" not in content


@pytest.mark.slow
def test_the_script_trains_the_demo_again(folder, root, tmp_path):
    command = [sys.executable, root / "benchmarks" / "train_digits.py", "--out", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    for name in MODELS:
        new, old = (np.load(place / f"{name}.npz", allow_pickle=False) for place in (tmp_path, folder))
        np.testing.assert_array_equal(new["image"], old["image"])
        np.testing.assert_array_equal(new["labels"], old["labels"])
        scores = session(tmp_path / f"{name}.onnx").run(["logits"], {"image": new["image"]})[0]
        assert (scores.argmax(axis=1) == new["labels"]).mean() > 0.97
