"""``faultsim harden``: files, exit codes and sentences."""

import json
import math
import sys

import pytest

from faultsim.cli import main
from faultsim.device import load_device
from faultsim.errors import OptionError
from faultsim.harden import Ball
from faultsim.harden.recipes import L1_EPS, named_loss

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
    words = ("-d", "sram", "-o", tmp_path / "h.onnx", "--precision", "bf16", "--loss", "l_star", *FAST)
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
    from faultsim.specs.scenario import in_minutes
    from faultsim.units import duration_s

    assert [duration_s(in_minutes(text)) for text in ("20m", "1.5 m", "90", "1h", "2min")] == [1200, 90, 90, 3600, 120]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--recipe", "plain", "--eps", "0.1"),
            "--eps and --p are of l_a, l_star, sam and gradient_l1, not of --recipe",
        ),
        (("--loss", "noise", "--loss", "clip", "--p", "2"), "not of --loss noise clip; leave them out"),
        (("--loss", "l_a", "--virtual-steps", "2"), "--virtual-steps is of l_star and sam, not of --loss l_a"),
        (("--loss", "gradient_l1", "--loss", "l_a", "--eps", "0.1"), "gradient_l1 is for p = inf, not p = 2"),
        (("--eps", "0"), "eps is 0, it must be above 0"),
        (("--loss", "l_star", "--eps", "0.5"), "--eps 0.5 and --strength 0.05 turn the same knob of l_star; leave one"),
        (("--recipe", "lp", "--eps", "0.5"), "--eps 0.5 and --strength 0.05 turn the same knob of l_star; leave one"),
        (("--loss", "noise", "--alpha", "0.9"), "--alpha 0.9 and --strength 0.05 turn the same knob of noise; leave"),
        (
            ("--loss", "noise", "--loss", "l_a", "--alpha", "0.9", "--eps", "0.5"),
            "--alpha 0.9 and --eps 0.5 and --strength 0.05 turn the same knob of noise+l_a; leave one of them out",
        ),
        (("--recipe", "plain"), "--strength 0.05 turns the knob of a loss, and --recipe plain has none; leave it out"),
        (("--loss", "plain"), "--strength 0.05 turns the knob of a loss, and --loss plain has none; leave it out"),
        (
            ("--loss", "plain", "--loss", "negative_bias"),
            "--strength 0.05 turns the knob of a loss, and --loss plain negative_bias has none; leave it out",
        ),
        (("--epochs", "3"), "--epochs is how long to train, and --steps is given; leave one of them out"),
        (("--search", "4"), "--search is how many strengths are tried, and --strength is given; leave one of them out"),
        (
            ("--validation", "0.15", "--validation-data", "v.npz"),
            "--validation is a part of --data to choose by, and --validation-data is given; leave one of them out",
        ),
        (("--held-out", "0.3"), "--held-out 0.3 is a part of --data to assess on, and digits_float brings samples"),
    ],
)
def test_an_option_without_an_effect_is_refused(faultsim, tmp_path, words, message):
    code, _, err = faultsim("harden", "digits", "-d", "reram", "-o", tmp_path / "h.onnx", *FAST, *words)
    assert code == 2
    assert message in " ".join(err.split())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--loss", "gradient_l1", "--loss", "clip", "--eps", "0.001"), (math.inf, 0.001, False)),
        (("--loss", "l_star", "--eps", "0.001"), (2.0, 0.001, False)),
        (("--loss", "l_star", "--p", "1"), (1.0, 0.03, True)),
        (("--loss", "gradient_l1", "--p", "inf"), (math.inf, 0.01, True)),
        (("--loss", "l_a", "--p", "inf"), (math.inf, 0.03, True)),
    ],
)
def test_the_norm_is_that_of_the_loss_where_none_is_given(faultsim, tmp_path, monkeypatch, words, found):
    seen = []

    def harden(*_, options, **__):
        seen.append(options.ball)
        raise OptionError("enough")

    monkeypatch.setattr(sys.modules["faultsim.harden"], "harden", harden)
    faultsim("harden", "digits", "-d", "reram", "-o", tmp_path / "h.onnx", *words)
    [ball] = seen
    assert (ball.p, ball.eps, ball.relative) == found


def test_the_norm_of_gradient_l1_may_be_named_without_another_radius():
    usual, named = (
        named_loss(("gradient_l1",), load_device("sram"), ball=ball).loss.strength
        for ball in (None, Ball(p=math.inf, eps=L1_EPS, relative=True))
    )
    assert usual == named == 0.01
