"""`harden` from the files to the comparison: what is written, what is said, and what happens where it did not help."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from brevitas.quant import Int8WeightPerChannelFloat, Uint8ActPerTensorFloat
from torch import nn

from faultsim.assessment import Options, assess
from faultsim.errors import OptionError
from faultsim.harden import Ball, Hardening, Training, harden
from faultsim.harden.prepare import beside
from faultsim.harden.validate import Validator
from faultsim.model import load_model
from faultsim.report.hardening import lines
from faultsim.results.hardening import HardenResult
from tests.harden.conftest import DIGITS, Arrays

QUICK = Hardening(
    losses=("l_star",),
    strength=0.05,
    training=Training(steps=60, batch_size=32, lr=3e-3, validate_every=15),
    assess=Options(trials=4, site_trials=0, site_samples=32, search_gradients=4),
    chips=2,
    tolerance=0.02,
    radius_samples=64,
    radius_gradients=2,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harden")
    before = (DIGITS / "digits_int8.onnx").read_bytes()
    data = DIGITS / "digits_int8.npz"
    found = harden("digits_int8", "reram", data, target=folder / "h.onnx", out=folder / "out", options=QUICK)
    assert (DIGITS / "digits_int8.onnx").read_bytes() == before
    return folder, found


def test_the_result_is_of_the_same_chips_and_samples(done):
    _, found = done
    result = found.result
    assert result.before.seed == result.after.seed
    assert result.before.device == result.after.device
    assert result.before.data == result.after.data
    assert result.before.data.samples == result.training.test_samples
    assert [row.trial for row in result.before.random.per_trial] == [row.trial for row in result.after.random.per_trial]
    gains = [
        (new.correct - old.correct) / new.n
        for old, new in zip(result.before.random.per_trial, result.after.random.per_trial, strict=True)
    ]
    assert result.paired.mean == pytest.approx(np.mean(gains))
    assert result.paired.better == sum(gain > 0 for gain in gains)
    assert HardenResult.model_validate_json(result.model_dump_json(by_alias=True)) == result


def test_both_assessments_are_those_that_assess_gives(done):
    folder, found = done
    place = found.exported.path
    options = replace(QUICK.assess, limit=None)
    with np.load(DIGITS / "digits_int8.npz") as archive:
        image, labels = archive["image"], archive["labels"]
    from faultsim.harden.samples import split

    model = load_model(DIGITS / "digits_int8.onnx")
    parts = split(Arrays("image", image, labels), model.inputs, seed=0, validation=0.15, test=0.25)
    again = assess(place, "reram", parts.test, options=options)
    assert again.random.accuracy == found.result.after.random.accuracy
    assert again.clean == found.result.after.clean
    assert folder.exists()


def test_the_training_is_told_with_its_curve(done):
    _, found = done
    training = found.result.training
    assert training.steps == training.planned == 60
    assert [point.step for point in training.curve] == [0, 15, 30, 45, 60]
    assert training.curve[0].train_loss is None
    own = [point.score for point in training.curve]
    scores = own[:2] + [(one + two) / 2 for one, two in pairwise(own[1:])]
    near = [point.step for point, score in zip(training.curve, scores, strict=True)
            if score >= max(scores) - 0.01 and score > own[0]]  # fmt: skip
    assert training.best_step == (near[-1] if near else 0)
    assert training.train_samples + training.validation_samples + training.test_samples == 600
    assert training.batch_norm == "none"
    assert "l_star(ball=ball(p=2, eps=0.05" in training.settings


def test_the_file_is_the_graph_with_new_codes(done):
    _, found = done
    old, new = onnx.load(DIGITS / "digits_int8.onnx"), onnx.load(found.exported.path)
    assert [node.SerializeToString() for node in old.graph.node] == [
        node.SerializeToString() for node in new.graph.node
    ]
    assert [tensor.name for tensor in old.graph.initializer] == [tensor.name for tensor in new.graph.initializer]
    assert found.result.agreement.max_abs_difference <= found.result.agreement.tolerance


def test_the_report_says_what_was_found(done):
    _, found = done
    told = list(lines(found.result))
    assert max(map(len, told)) <= 80
    text = " ".join(" ".join(told).split())
    assert found.result.sentence in text
    for row in found.result.compared:
        assert row.name in text
    assert "found, not proven" in text
    first, last = found.result.training.curve[1], found.result.training.curve[-1]
    assert f"training loss {first.train_loss:.3g} → {last.train_loss:.3g} (steps to 15 and to 60); validation" in text
    assert "batch norm: none; scales: keep" in text
    assert "L2 radius at which it loses 5 points" in text


def test_resuming_what_has_ended_gives_the_same_and_trains_no_more(done, tmp_path):
    folder, found = done
    again = harden(
        "digits_int8",
        "reram",
        DIGITS / "digits_int8.npz",
        target=tmp_path / "again.onnx",
        out=folder / "out",
        options=replace(QUICK, resume=True),
    )
    assert all(np.array_equal(again.trained.numbers[n], a) for n, a in found.trained.numbers.items())
    assert again.trained.curve == found.trained.curve
    assert again.result.compared == found.result.compared


def test_what_did_not_help_is_not_written_to_its_target(tmp_path):
    idle = replace(QUICK, losses=("plain",), strength=None, radii=False, training=Training(steps=2, lr=1e-9, ema=0.0))
    out = tmp_path / "out"
    found = harden("digits", "reram", target=tmp_path / "h.onnx", out=out, options=idle)
    assert not found.result.helped
    assert found.result.sentence.startswith("It did not help: nothing improved")
    assert found.result.hardened is None
    assert not (tmp_path / "h.onnx").exists()
    assert (out / "candidate.onnx").exists()
    bare = harden("digits", "reram", target=tmp_path / "h.onnx", options=idle)
    assert not bare.result.helped
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_a_training_that_the_way_back_rejects_is_not_told_as_one_that_was_never_better(tmp_path, monkeypatch):
    monkeypatch.setattr(Validator, "spares", lambda self, numbers: False)
    score = Validator._judged
    monkeypatch.setattr(Validator, "_judged", lambda self, numbers: score(self, numbers)._replace(score=next(rising)))
    rising = iter(range(9))
    options = replace(QUICK, radii=False, training=Training(steps=4, batch_size=32, validate_every=4))
    result = harden("digits", "reram", target=tmp_path / "h.onnx", options=options).result
    assert result.training.best_step == 0
    assert any(note.startswith("Step 4 was better on the validation samples, but nothing") for note in result.notes)
    assert not any("No step of the training was better" in note for note in result.notes)


def test_the_strength_is_searched_and_a_search_goes_on_where_it_was(tmp_path):
    options = replace(
        QUICK,
        strength=None,
        search=2,
        radii=False,
        training=Training(steps=8, batch_size=32, lr=3e-3, validate_every=4),
    )
    out = tmp_path / "out"
    found = harden("digits", "reram", target=tmp_path / "h.onnx", out=out, options=options)
    tried = found.result.training.strengths
    assert [one.strength for one in tried] == [0.03, 0.06]
    best = max(one.score for one in tried)
    taken = found.result.training.strength
    assert taken == min(one.strength for one in tried if one.score >= best - 0.01)
    written = json.loads((out / "strengths.json").read_text())
    known = written["scores"]
    assert list(known.values()) == [one.score for one in tried]
    written["scores"] = {key: 5.0 if key.startswith(f"{taken:g}-") else -5.0 for key in known}
    (out / "strengths.json").write_text(json.dumps(written))
    again = harden("digits", "reram", target=tmp_path / "h2.onnx", out=out, options=replace(options, resume=True))
    again_tried = again.result.training.strengths
    assert [one.score for one in again_tried] == [5.0 if one.strength == taken else -5.0 for one in tried]


def test_without_data_it_trains_and_assesses_on_what_lies_beside_the_model(tmp_path):
    options = replace(QUICK, radii=False, training=Training(steps=4, batch_size=32))
    found = harden("digits_int8", "reram", target=tmp_path / "h.onnx", options=options).result
    assert found.training.train_samples + found.training.validation_samples == 1197
    assert found.training.test_samples == found.before.data.samples == 600
    assert not any("held out of the data" in note for note in found.notes)
    data, same = beside("digits", DIGITS / "digits_float.npz", options)
    assert (data, same) == (DIGITS / "digits_float.npz", options)
    bare = tmp_path / "bare.onnx"
    bare.write_bytes((DIGITS / "digits_float.onnx").read_bytes())
    assert beside(bare, None, options) == (None, options)


def test_without_labels_it_is_trained_towards_the_original(tmp_path):
    with np.load(DIGITS / "digits_float.npz") as archive:
        np.savez(tmp_path / "bare.npz", image=archive["image"])
    options = replace(QUICK, radii=False, training=Training(steps=6, batch_size=32))
    found = harden("digits", "reram", tmp_path / "bare.npz", target=tmp_path / "h.onnx", options=options)
    assert found.result.training.towards == "clean"
    assert found.result.before.clean.accuracy == 1.0
    with pytest.raises(OptionError, match="holds no labels; give labels, or train towards the clean model"):
        harden(
            "digits",
            "reram",
            tmp_path / "bare.npz",
            target=tmp_path / "h.onnx",
            options=replace(options, towards="labels"),
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.0}, "strength is 0, it must be above 0"),
        ({"alpha": 0.0, "losses": ("randbet",)}, "alpha is 0, it must be above 0 and at most 1"),
        ({"alpha": 0.5}, "alpha goes with named losses"),
        ({"search": 0}, "search is 0, it must be at least 1"),
        ({"search_part": 0.0}, "search_part is 0"),
        ({"tolerance": 1.0}, "tolerance is 1"),
        ({"chips": -1}, "chips is -1"),
        ({"scales": "learned"}, "scales is 'learned', it must be 'keep' or 'learn'"),
        ({"batch_norm": "live"}, "batch_norm is 'live', it must be 'frozen' or 'recalibrated'"),
        ({"towards": "label"}, "towards is 'label', it must be None or 'labels' or 'clean'"),
        ({"ball": Ball(eps=0.0)}, "eps is 0, it must be above 0; --loss plain trains without"),
        ({"recipe": "lp", "losses": ("sam",)}, "recipe 'lp' and losses sam: give one of the two"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Hardening(**options)


def test_the_original_is_refused_as_target_before_anything_is_computed(tmp_path):
    path = Path(tmp_path / "m.onnx")
    path.write_bytes((DIGITS / "digits_float.onnx").read_bytes())
    with pytest.raises(OptionError, match="that is the original, which is never overwritten"):
        harden(
            path,
            "reram",
            DIGITS / "digits_float.npz",
            target=path,
            options=replace(QUICK, strength=None, ball=Ball(eps=0.1)),
        )


def test_the_package_is_the_function_however_it_was_imported():
    import faultsim

    code = "import faultsim; a = faultsim.harden; b = faultsim.harden; assert callable(a) and callable(b); b.Hardening"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    with pytest.raises(OptionError, match="no such file"):
        faultsim.harden("nothing_of_that_name", "reram", target="h.onnx")


def test_a_brevitas_module_is_hardened_with_its_quantizers_in_the_loop(tmp_path):
    torch.manual_seed(1)
    module = nn.Sequential(
        qnn.QuantLinear(6, 16, bias=True, weight_quant=Int8WeightPerChannelFloat, weight_bit_width=4),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=4),
        qnn.QuantLinear(16, 3, bias=True, weight_quant=Int8WeightPerChannelFloat, weight_bit_width=4),
    ).train()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    y = (x[:, :3]).argmax(1)
    module(torch.from_numpy(x[:64]))
    module.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    route = load_model(module, torch.from_numpy(x[:2]))
    data = Arrays(route.inputs[0].name, x, y)
    options = replace(QUICK, radii=False, training=Training(steps=150, batch_size=32, lr=2e-2))
    example = torch.from_numpy(x[:2])
    one = harden(module, "reram", data, target=tmp_path / "m.onnx", options=options, example_inputs=example)
    two = harden(route, "reram", data, target=tmp_path / "o.onnx", options=options)
    assert one.result.training.best_step > 0
    assert one.trained.numbers.keys() == two.trained.numbers.keys()
    assert all(np.array_equal(one.trained.numbers[name], two.trained.numbers[name]) for name in one.trained.numbers)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert one.exported.agreement.max_abs_difference <= one.exported.agreement.tolerance
