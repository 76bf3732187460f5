"""What a hardening refuses before it computes anything, and what it leaves behind when it is cut short."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import assess
from faultsim.cli import cli
from faultsim.errors import DisagreementError, OptionError
from faultsim.harden import Training, harden
from faultsim.harden import export as exporting
from faultsim.harden import run as running
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, Arrays
from tests.harden.test_harden import QUICK

FLOAT = DIGITS / "digits_float.onnx"
SHORT = replace(QUICK, radii=False, training=Training(steps=2, batch_size=32))


def _channels_last():
    rng = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(rng.normal(size=(64, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(np.zeros(3, np.float32), "b"),
    ]
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"], "flat"), helper.make_node("Gemm", ["f", "w", "b"], ["y"], "gemm")],
        "last",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 8, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.fixture
def early(monkeypatch):
    """Nothing may be assessed."""

    def assessed(*_, **__):
        raise AssertionError("it was assessed before the refusal")

    monkeypatch.setattr(running, "assess", assessed)


@pytest.mark.parametrize("name", ["candidate.onnx", "quantized.onnx"])
def test_the_original_in_the_folder_of_the_candidate_is_refused(tmp_path, early, name):
    out = tmp_path / "out"
    out.mkdir()
    model = out / name
    model.write_bytes(FLOAT.read_bytes())
    with pytest.raises(OptionError, match=rf"--out .*{name}: that is the original, which is never overwritten"):
        harden(model, "reram", DIGITS / "digits_float.npz", target=tmp_path / "h.onnx", out=out, options=SHORT)
    assert model.read_bytes() == FLOAT.read_bytes()


def test_the_original_is_never_the_candidate_beside_the_target(tmp_path, early):
    model = tmp_path / "h.onnx.candidate"
    model.write_bytes(FLOAT.read_bytes())
    with pytest.raises(OptionError, match=r"h\.onnx\.candidate: that is the original"):
        harden(model, "reram", DIGITS / "digits_float.npz", target=tmp_path / "h.onnx", options=SHORT)
    assert model.read_bytes() == FLOAT.read_bytes()


@pytest.mark.parametrize(
    ("device", "changes", "message"),
    [
        ("reram", {"losses": (), "recipe": "bits"}, "recipe 'bits' is for memories that hold words"),
        (
            "sram",
            {"losses": ("negative_bias",), "strength": None},
            "stores no trained bias of more than 24 bits of digits_float",
        ),
        ("sram", {"losses": ("clip",), "virtual_steps": 3}, "--virtual-steps is of l_star and sam, not of --loss clip"),
        ("sram", {"losses": (), "recipe": "plain", "virtual_steps": 3}, "l_star and sam, not of --recipe plain"),
    ],
)
def test_what_cannot_be_trained_is_refused_early(tmp_path, early, device, changes, message):
    options = replace(SHORT, **changes)
    with pytest.raises(OptionError, match=message):
        harden("digits", device, target=tmp_path / "h.onnx", options=options)


def test_channels_last_are_refused_early(tmp_path, early):
    rng = np.random.default_rng(0)
    onnx.save(_channels_last(), tmp_path / "m.onnx")
    data = Arrays("x", rng.normal(size=(60, 8, 8, 1)).astype(np.float32), rng.integers(0, 3, 60))
    options = replace(SHORT, training=Training(steps=2, augment="shift"))
    with pytest.raises(OptionError, match="input 'x' are N×8×8×1, channels last; use none"):
        harden(tmp_path / "m.onnx", "reram", data, target=tmp_path / "h.onnx", options=options)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("folder", ["", "new"])
def test_a_hardening_that_is_cut_short_after_the_training_keeps_what_was_trained(tmp_path, monkeypatch, error, folder):
    calls = []

    def cut(*given, **named):
        calls.append(given)
        if len(calls) > 1:
            assert list(tmp_path.rglob("*.candidate"))
            raise error
        return assess(*given, **named)

    monkeypatch.setattr(running, "assess", cut)
    with pytest.raises(error) as raised:
        harden("digits", "reram", target=tmp_path / folder / "h.onnx", options=SHORT)
    kept = tmp_path / folder / "h.onnx.candidate"
    assert raised.value.__notes__ == [f"The hardened model is {kept}; whether it helped was not judged."]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert load_model(kept).sites


@pytest.mark.parametrize("error", [KeyboardInterrupt, DisagreementError("onnxruntime says otherwise")])
def test_a_hardening_that_ends_in_the_check_of_its_file_keeps_what_was_trained(tmp_path, monkeypatch, error):
    def checked(model, feeds):
        raise error

    monkeypatch.setattr(exporting, "check_agreement", checked)
    with pytest.raises((KeyboardInterrupt, DisagreementError)) as raised:
        harden("digits", "reram", target=tmp_path / "h.onnx", options=SHORT)
    kept = tmp_path / "h.onnx.candidate"
    assert raised.value.__notes__ == [f"The hardened model is {kept}; whether it helped was not judged."]
    assert load_model(kept).sites


def test_a_model_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def refused(trainable, numbers, place, feeds, wrote):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(running, "write", refused)
    with pytest.raises(OSError, match="disk full"):
        harden("digits", "reram", target=tmp_path / "new" / "h.onnx", options=SHORT)
    assert not list(tmp_path.iterdir())


def test_a_command_that_is_cut_short_after_the_training_says_where_the_model_lies(tmp_path, monkeypatch):
    calls = []

    def cut(*given, **named):
        calls.append(given)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return assess(*given, **named)

    monkeypatch.setattr(running, "assess", cut)
    arguments = ["harden", "digits", "-d", "reram", "-o", str(tmp_path / "h.onnx"), "--steps", "2", "--search", "1",
                 "--lr", "1e-4", "--trials", "2", "--search-gradients", "2", "--quiet"]  # fmt: skip
    ended = CliRunner().invoke(cli, arguments)
    assert ended.stderr.split("\n")[:2] == [
        f"The hardened model is {tmp_path / 'h.onnx.candidate'}; whether it helped was not judged.",
        "faultsim: interrupted; with --out it could be resumed",
    ]


def test_a_folder_that_is_used_again_is_rid_of_what_would_be_resumed_and_of_nothing_else(tmp_path, monkeypatch):
    out = tmp_path / "out"
    stale = [
        out / "strengths.json",
        out / "final" / "checkpoint.safetensors",
        out / "strength-0.1" / "checkpoint.safetensors",
    ]
    others = [out / "mine" / "checkpoint.safetensors", out / "final" / "notes.txt", out / "harden.json"]
    for path in (*stale, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")

    def cut(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "assess", cut)
    for resume, left in ((True, stale), (False, [])):
        with pytest.raises(KeyboardInterrupt):
            harden("digits", "reram", target=tmp_path / "h.onnx", out=out, options=replace(SHORT, resume=resume))
        assert [path for path in stale if path.exists()] == left
    assert all(path.exists() for path in others)
