"""Where the files of a hardening lie: weights beside the model, and the plainly quantized model beside the hardened."""

from dataclasses import replace

import pytest

from faultsim.assessment import run as assessing
from faultsim.cli import main
from faultsim.errors import OptionError
from faultsim.harden import harden
from faultsim.harden import run as running
from faultsim.model import load_model, proto
from tests.harden.conftest import DIGITS
from tests.harden.test_leavings import SHORT


@pytest.mark.parametrize(("folder", "name"), [("out", "new/h.onnx"), ("", "new/h.onnx")])
def test_a_model_whose_weights_lie_apart_is_whole_where_it_was_asked_for(tmp_path, monkeypatch, folder, name):
    monkeypatch.setattr(proto, "PROTOBUF_LIMIT", 1000)
    monkeypatch.setattr(running, "assemble", _helped(running.assemble))
    target, out = tmp_path / name, tmp_path / folder if folder else None
    done = harden("digits", "reram", target=target, out=out, options=SHORT)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "checkpoint.safetensors"]
    assert set(files) == {target, target.with_name(f"{target.name}.data")}
    found = load_model(target)
    assert found.sha256 == done.result.hardened_sha256 == done.result.after.model.sha256
    for key, numbers in done.exported.model.numbers.items():
        assert (found.numbers[key] == numbers).all()


def test_what_did_not_help_leaves_no_weights_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(proto, "PROTOBUF_LIMIT", 1000)
    monkeypatch.setattr(running, "assemble", _helped(running.assemble, helped=False))
    harden("digits", "reram", target=tmp_path / "new" / "h.onnx", options=SHORT)
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_written_leave_the_candidate(tmp_path, monkeypatch):
    monkeypatch.setattr(proto, "PROTOBUF_LIMIT", 1000)
    monkeypatch.setattr(running, "assemble", _helped(running.assemble))
    target = tmp_path / "h.onnx"
    (tmp_path / "h.onnx.data").mkdir()
    found = harden("digits", "reram", target=target, out=tmp_path / "out", options=SHORT).result
    place = tmp_path / "out" / "candidate.onnx"
    assert found.notes[-1].endswith(f"the hardened model is {place}.")
    assert found.hardened == str(place)
    assert load_model(place).sha256 == found.hardened_sha256
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("quantized.onnx", "int8", "the plainly quantized model"),
        ("candidate.onnx", "int8", "a model that did not help"),
        ("candidate.onnx", None, "a model that did not help"),
    ],
)
def test_the_places_of_other_models_are_refused_for_the_hardened_one(tmp_path, monkeypatch, name, kind, what):
    def assessed(*_, **__):
        raise AssertionError("it was assessed before the refusal")

    monkeypatch.setattr(running, "assess", assessed)
    out = tmp_path / "out"
    options = replace(SHORT, quantize=kind)
    with pytest.raises(OptionError, match=rf"-o .*: that is where --out puts {what}; give another name than {name}"):
        harden("digits", "sram", target=out / ".." / "out" / name, out=out, options=options)
    assert not out.exists()


@pytest.mark.parametrize("call", [1, 2, 3])
def test_ctrl_c_in_the_middle_of_an_assessment_ends_with_130(tmp_path, monkeypatch, capsys, call):
    calls, whole = [], assessing.random_in_set

    def cut(*given):
        calls.append(given)
        if len(calls) == call:
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(assessing, "random_in_set", cut)
    out = tmp_path / "out"
    arguments = ["harden", "digits", "-d", "sram", "-o", str(tmp_path / "h.onnx"), "--out", str(out), "--steps", "2",
                 "--search", "1", "--quantize", "int4", "--loss", "plain", "--trials", "2", "--no-radii",
                 "--search-gradients", "1", "--quiet", "--data", str(DIGITS / "digits_float.npz")]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    err = capsys.readouterr().err
    assert len(calls) == call
    assert stop.value.code == 130
    assert err.endswith("faultsim: interrupted; the same command with --resume goes on\n")
    assert (f"The hardened model is {out / 'candidate.onnx'}" in err) == (call == 3)


def _helped(whole, *, helped=True):
    def assembled(*given, target, **named):
        found = whole(*given, target=target, **named)
        return found.model_copy(
            update={
                "helped": helped,
                "hardened": str(target) if helped else None,
                "hardened_sha256": given[2].model.sha256 if helped else None,
            }
        )

    return assembled
