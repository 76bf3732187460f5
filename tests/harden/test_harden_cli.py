"""``faultsim harden``: files, exit codes and sentences."""

import json

import pytest

from faultsim.cli import main

FAST = ("--steps", "4", "--strength", "0.05", "--trials", "2", "--search-gradients", "2", "--no-radii", "--quiet",
        "--limit", "200")  # fmt: skip


@pytest.fixture
def faultsim(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        seen = capsys.readouterr()
        return int(stop.value.code or 0), seen.out, seen.err

    return call


def test_it_writes_harden_json_and_says_whether_it_helped(faultsim, tmp_path):
    target, out = tmp_path / "h.onnx", tmp_path / "out"
    code, text, err = faultsim("harden", "digits", "-d", "reram", "-o", target, "--out", out, "--loss", "l_star", *FAST)
    found = json.loads((out / "harden.json").read_text())
    assert code == (0 if found["helped"] else 1)
    assert found["sentence"] in " ".join(text.split())
    assert target.exists() == found["helped"]
    assert found["training"]["loss"] == "l_star"
    assert not err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--loss", "l_stra"), "no loss is called 'l_stra'; did you mean 'l_star'"),
        (("--resume",), "--resume needs --out"),
        (("--time-budget", "soon"), "'soon' is no duration"),
        (("--lr", "0"), "lr is 0, it must be above 0"),
        (("--eps", "-1"), "eps is -1"),
        (("--precision", "half"), "'half' is not one of 'auto', 'float32', 'bf16'"),
        (("--sites", "nothing"), "fits no site"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_2(faultsim, tmp_path, words, message):
    code, _, err = faultsim("harden", "digits", "-d", "reram", "-o", tmp_path / "h.onnx", *FAST, *words)
    assert code == 2
    assert message in err
    assert not (tmp_path / "h.onnx").exists()


def test_a_qdq_graph_is_trained_in_bfloat16_where_it_is_asked_for(faultsim, tmp_path):
    words = ("-d", "sram", "-o", tmp_path / "h.onnx", "--precision", "bf16", "--loss", "plain", *FAST)
    code, text, err = faultsim("harden", "digits_int8", *words)
    assert code in (0, 1), err
    assert "trained in bfloat16" in text


def test_a_float_model_is_quantized_on_the_way(faultsim, tmp_path):
    target, out = tmp_path / "h.onnx", tmp_path / "out"
    words = ("-d", "sram", "-o", target, "--out", out, "--loss", "l_star", *FAST)
    code, text, err = faultsim("harden", "digits", "--quantize", "int4", *words)
    found = json.loads((out / "harden.json").read_text())
    assert code == (0 if found["helped"] else 1)
    assert found["before"]["model"]["path"] == "digits_float_int4.onnx"
    assert (out / "quantized.onnx").exists()
    assert "Before is the plainly quantized model: int4 weights" in " ".join(text.split())
    assert "The float original, digits_float.onnx, on the same chips: clean accuracy " in " ".join(text.split())
    assert not err
    code, _, err = faultsim("harden", "digits_int8", "--quantize", "int8", *words)
    assert code == 2
    assert "digits_int8.onnx is quantized already (it holds DequantizeLinear, QuantizeLinear)" in err


def test_minutes_are_minutes(faultsim, tmp_path):
    from faultsim.cli.harden import _minutes
    from faultsim.units import duration_s

    assert [duration_s(_minutes(text)) for text in ("20m", "1.5m", "90", "1h", "2min")] == [1200, 90, 90, 3600, 120]
